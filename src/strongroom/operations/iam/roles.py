"""CreateRole, GetRole, ListRoles, UpdateRole, UpdateAssumeRolePolicy, DeleteRole."""

import os
from collections.abc import Sequence

from msgspec import structs

from strongroom.authorization.documents import compile_trust_policy
from strongroom.errors import EntityAlreadyExists, MalformedPolicyDocument
from strongroom.messages.iam import roles as messages
from strongroom.model.iam import Pairs, Role
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import boundary_of, changed, check_quota, role_named, under
from strongroom.operations.iam.inline_policies import size_of
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.tags import requested_tags
from strongroom.operations.iam.told import told_role
from strongroom.operations.iam.unique_ids import ROLE, new_unique_id
from strongroom.operations.iam.users import check_without_policies
from strongroom.operations.remembered import remembered_principals
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert

_MAX_ROLES = 1_000
_MAX_TRUST_POLICY = 2_048
"""Characters of a trust policy, white space not counted."""
_SESSION_SECONDS = 3_600


def create_role(call: Call, request: messages.CreateRoleRequest, _nothing: Sequence[object]) -> Change:
    """AWS: CreateRole."""
    assert request.role_name is not None, "the model requires it"
    assert request.assume_role_policy_document is not None, "the model requires it"
    if call.directory.role(request.role_name) is not None:
        raise EntityAlreadyExists(f"Role with name {request.role_name} already exists.")
    check_quota(len(call.directory.roles), "RolesPerAccount", _MAX_ROLES)
    role = Role(
        account=call.account,
        role_id=new_unique_id(ROLE, os.urandom),
        name=request.role_name,
        path=request.path or "/",
        created=float(int(call.now)),
        trust_policy=request.assume_role_policy_document,
        trusted=_trusted(call, request.assume_role_policy_document),
        description=request.description or "",
        max_session_duration=request.max_session_duration or _SESSION_SECONDS,
        tags=requested_tags(request.tags, "Role"),
        boundary=boundary_of(call, request.permissions_boundary),
    )
    return call.identity_change(messages.CreateRoleResponse(role=told_role(call, role)), Insert(role))


def get_role(call: Call, request: messages.GetRoleRequest, _nothing: Sequence[object]) -> messages.GetRoleResponse:
    """AWS: GetRole."""
    return messages.GetRoleResponse(role=told_role(call, role_named(call, request.role_name).record))


def list_roles_targets(request: messages.ListRolesRequest) -> list[IdentityTarget]:
    """The roles of a path."""
    return [IdentityTarget("iam:ListRoles", "role", "", request.path_prefix or "/")]


def list_roles(
    call: Call, request: messages.ListRolesRequest, _nothing: Sequence[object]
) -> messages.ListRolesResponse:
    """AWS: ListRoles."""
    roles: list[Role] = under(request.path_prefix, (role for role, _ in call.directory.roles.values()))
    page = paged(request, roles, lambda role: role.name, of=request.path_prefix or "/")
    return messages.ListRolesResponse(
        roles=tuple(told_role(call, role, whole=False) for role in page.items),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def update_role(call: Call, request: messages.UpdateRoleRequest, _nothing: Sequence[object]) -> Change:
    """AWS: UpdateRole. Without a description the role keeps its own; without a duration it gets the default."""
    role = role_named(call, request.role_name)
    description = role.record.description if request.description is None else request.description
    return changed(
        call,
        role,
        messages.UpdateRoleResponse(),
        description=description,
        max_session_duration=request.max_session_duration or _SESSION_SECONDS,
    )


def update_role_description(
    call: Call, request: messages.UpdateRoleDescriptionRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: UpdateRoleDescription."""
    role = role_named(call, request.role_name)
    change = changed(call, role, description=request.description or "")
    told = told_role(call, structs.replace(role.record, description=request.description or ""))
    return change._replace(response=messages.UpdateRoleDescriptionResponse(role=told))


def update_assume_role_policy(
    call: Call, request: messages.UpdateAssumeRolePolicyRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: UpdateAssumeRolePolicy. Whom it names is remembered anew."""
    assert request.policy_document is not None, "the model requires it"
    role = role_named(call, request.role_name)
    trusted = _trusted(call, request.policy_document)
    return changed(call, role, trust_policy=request.policy_document, trusted=trusted)


def delete_role(call: Call, request: messages.DeleteRoleRequest, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteRole. Its sessions end with it."""
    role = role_named(call, request.role_name)
    check_without_policies(role.record)
    return call.identity_change(None, Delete(*role))


def list_instance_profiles_for_role(
    call: Call, request: messages.ListInstanceProfilesForRoleRequest, _nothing: Sequence[object]
) -> messages.ListInstanceProfilesForRoleResponse:
    """AWS: ListInstanceProfilesForRole. There are none; tools ask before they delete a role."""
    role_named(call, request.role_name)
    return messages.ListInstanceProfilesForRoleResponse(instance_profiles=(), is_truncated=False)


def _trusted(call: Call, document: str) -> Pairs:
    """Check a trust policy; return whom it names, by unique id. Raises LimitExceeded or MalformedPolicyDocument."""
    check_quota(size_of(document) - 1, "ACLSizePerRole", _MAX_TRUST_POLICY)
    principals, unknown = remembered_principals(call.snapshot, compile_trust_policy(document))
    if unknown:
        raise MalformedPolicyDocument(f'Invalid principal in policy: "AWS":"{unknown[0]}"')
    return principals
