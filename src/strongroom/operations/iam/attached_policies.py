"""Managed policies of users, groups and roles: Attach, Detach, ListAttached; ListEntitiesForPolicy."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from strongroom.errors import NoSuchEntity
from strongroom.messages.iam import attached_policies as messages
from strongroom.messages.iam.shapes import AttachedPolicy
from strongroom.model.iam import Entity, Group, Role, User
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import (
    attachable_policy,
    changed,
    check_quota,
    entity_of,
    kind_of,
    policy_of_arn,
    under,
)
from strongroom.operations.iam.pages import paged

_MAX_ATTACHED = 10

Request = Any
"""One of the requests of the family: for users, groups and roles they differ in one name."""


def attach(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: AttachUserPolicy and its like. One that is attached already stays so."""
    entity = entity_of(call, request)
    policy = attachable_policy(call, request.policy_arn)
    if policy.arn in entity.record.attached:
        return call.identity_change(None)
    check_quota(len(entity.record.attached), f"PoliciesPer{kind_of(entity.record)}", _MAX_ATTACHED)
    return changed(call, entity, attached=(*entity.record.attached, policy.arn))


def detach(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: DetachUserPolicy and its like."""
    entity = entity_of(call, request)
    if request.policy_arn not in entity.record.attached:
        raise NoSuchEntity(f"Policy {request.policy_arn} was not found.")
    return changed(call, entity, attached=tuple(arn for arn in entity.record.attached if arn != request.policy_arn))


def list_attached(call: Call, request: Request, _nothing: Sequence[object]) -> Struct:
    """AWS: ListAttachedUserPolicies and its like."""
    entity, _ = entity_of(call, request)
    policies = [policy_of_arn(call, arn) for arn in entity.attached]
    page = paged(request, under(request.path_prefix, policies), lambda policy: f"{policy.name} {policy.account}")
    told: dict[str, Any] = {
        "attached_policies": tuple(
            AttachedPolicy(policy_name=policy.name, policy_arn=policy.arn) for policy in page.items
        ),
        "is_truncated": page.truncated,
        "marker": page.next_marker,
    }
    match kind_of(entity):
        case "User":
            return messages.ListAttachedUserPoliciesResponse(**told)
        case "Group":
            return messages.ListAttachedGroupPoliciesResponse(**told)
        case _:
            return messages.ListAttachedRolePoliciesResponse(**told)


def list_entities_for_policy(
    call: Call, request: messages.ListEntitiesForPolicyRequest, _nothing: Sequence[object]
) -> messages.ListEntitiesForPolicyResponse:
    """AWS: ListEntitiesForPolicy."""
    policy = policy_of_arn(call, request.policy_arn)
    usage, kind = request.policy_usage_filter, request.entity_filter
    found: list[Entity] = [
        entity
        for entity in under(request.path_prefix, call.directory.entities)
        if kind in (None, kind_of(entity)) and _uses(entity, policy.arn, usage)
    ]
    page = paged(request, found, lambda entity: f"{kind_of(entity)} {entity.name}", of=f"{kind} {usage}")
    return messages.ListEntitiesForPolicyResponse(
        policy_groups=tuple(
            messages.PolicyGroup(group_name=one.name, group_id=one.group_id)
            for one in page.items
            if isinstance(one, Group)
        ),
        policy_users=tuple(
            messages.PolicyUser(user_name=one.name, user_id=one.user_id) for one in page.items if isinstance(one, User)
        ),
        policy_roles=tuple(
            messages.PolicyRole(role_name=one.name, role_id=one.role_id) for one in page.items if isinstance(one, Role)
        ),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def _uses(entity: Entity, arn: str, usage: str | None) -> bool:
    attached = usage != "PermissionsBoundary" and arn in entity.attached
    bounded = usage != "PermissionsPolicy" and not isinstance(entity, Group) and entity.boundary == arn
    return attached or bounded
