"""How users, groups, roles and policies are told."""

import urllib.parse

from strongroom.messages.iam import shapes
from strongroom.messages.iam.groups import Group as ToldGroup
from strongroom.messages.iam.managed_policies import Policy
from strongroom.model.iam import Group, ManagedPolicy, Pairs, PolicyVersion, Role, User
from strongroom.operations.call import Call
from strongroom.operations.remembered import shown_policy


def encoded(document: str) -> str:
    """A policy document as IAM tells it: percent-encoded (RFC 3986)."""
    return urllib.parse.quote(document, safe="")


def told_tags(tags: Pairs) -> tuple[shapes.Tag, ...]:
    """Tags."""
    return tuple(shapes.Tag(key=key, value=value) for key, value in tags)


def _boundary(arn: str | None) -> shapes.AttachedPermissionsBoundary | None:
    if arn is None:
        return None
    return shapes.AttachedPermissionsBoundary(
        permissions_boundary_type="Policy",  # what AWS answers, whatever its model says
        permissions_boundary_arn=arn,
    )


def told_user(user: User, *, whole: bool = True) -> shapes.User:
    """A user. Lists leave out tags and boundary."""
    return shapes.User(
        path=user.path,
        user_name=user.name,
        user_id=user.user_id,
        arn=user.arn,
        create_date=user.created,
        permissions_boundary=_boundary(user.boundary) if whole else None,
        tags=(told_tags(user.tags) or None) if whole else None,
    )


def told_group(group: Group) -> ToldGroup:
    """A group."""
    return ToldGroup(
        path=group.path,
        group_name=group.name,
        group_id=group.group_id,
        arn=group.arn,
        create_date=group.created,
    )


def told_role(call: Call, role: Role, *, whole: bool = True) -> shapes.Role:
    """A role. Lists leave out tags and boundary."""
    return shapes.Role(
        path=role.path,
        role_name=role.name,
        role_id=role.role_id,
        arn=role.arn,
        create_date=role.created,
        assume_role_policy_document=encoded(shown_policy(call.snapshot, role.trust_policy, role.trusted)),
        description=role.description or None,
        max_session_duration=role.max_session_duration,
        permissions_boundary=_boundary(role.boundary) if whole else None,
        tags=(told_tags(role.tags) or None) if whole else None,
    )


def told_policy(call: Call, policy: ManagedPolicy, *, whole: bool = True) -> Policy:
    """A managed policy, with how many of the account's identities have it. Lists leave out description and tags."""
    return Policy(
        policy_name=policy.name,
        policy_id=policy.policy_id,
        arn=policy.arn,
        path=policy.path,
        default_version_id=policy.default_version_id,
        attachment_count=call.directory.attachments[policy.arn],
        permissions_boundary_usage_count=call.directory.boundaries[policy.arn],
        is_attachable=True,
        description=(policy.description or None) if whole else None,
        create_date=policy.created,
        update_date=policy.updated,
        tags=(told_tags(policy.tags) or None) if whole else None,
    )


def told_version(policy: ManagedPolicy, version: PolicyVersion, *, document: bool = True) -> shapes.PolicyVersion:
    """A version of a managed policy. Lists leave out the document."""
    return shapes.PolicyVersion(
        document=encoded(version.document) if document else None,
        version_id=version.version_id,
        is_default_version=version.version_id == policy.default_version_id,
        create_date=version.created,
    )
