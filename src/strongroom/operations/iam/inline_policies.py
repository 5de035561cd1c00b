"""Inline policies of users, groups and roles: Put, Get, List and Delete."""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from strongroom.authorization.documents import compile_identity_policy
from strongroom.errors import LimitExceeded, NoSuchEntity
from strongroom.messages.iam import inline_policies as messages
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import changed, entity_of, kind_of
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.told import encoded

_MAX_SIZES = {"User": 2_048, "Group": 5_120, "Role": 10_240}
"""Characters of all inline policies of one identity together, white space not counted."""
_SPACE = re.compile(r"\s")

Request = Any
"""One of the requests of the family: for users, groups and roles they differ in one name."""


def size_of(document: str) -> int:
    """Characters of a policy as AWS counts them: without white space."""
    return len(_SPACE.sub("", document))


def put(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: PutUserPolicy and its like. One of the same name is replaced."""
    entity = entity_of(call, request)
    compile_identity_policy(request.policy_document)
    policies = dict(entity.record.policies) | {request.policy_name: request.policy_document}
    kind, name = kind_of(entity.record), entity.record.name
    if sum(map(size_of, policies.values())) > _MAX_SIZES[kind]:
        raise LimitExceeded(f"Maximum policy size of {_MAX_SIZES[kind]} bytes exceeded for {kind.lower()} {name}")
    return changed(call, entity, policies=tuple(sorted(policies.items())))


def get(call: Call, request: Request, _nothing: Sequence[object]) -> Struct:
    """AWS: GetUserPolicy and its like."""
    entity, _ = entity_of(call, request)
    document = dict(entity.policies).get(request.policy_name)
    if document is None:
        raise _not_found(request)
    told: dict[str, Any] = {"policy_name": request.policy_name, "policy_document": encoded(document)}
    match kind_of(entity):
        case "User":
            return messages.GetUserPolicyResponse(user_name=entity.name, **told)
        case "Group":
            return messages.GetGroupPolicyResponse(group_name=entity.name, **told)
        case _:
            return messages.GetRolePolicyResponse(role_name=entity.name, **told)


def list_names(call: Call, request: Request, _nothing: Sequence[object]) -> Struct:
    """AWS: ListUserPolicies and its like."""
    entity, _ = entity_of(call, request)
    page = paged(request, (name for name, _ in entity.policies), str, of=entity.name)
    told: dict[str, Any] = {"policy_names": page.items, "is_truncated": page.truncated, "marker": page.next_marker}
    match kind_of(entity):
        case "User":
            return messages.ListUserPoliciesResponse(**told)
        case "Group":
            return messages.ListGroupPoliciesResponse(**told)
        case _:
            return messages.ListRolePoliciesResponse(**told)


def delete(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteUserPolicy and its like."""
    entity = entity_of(call, request)
    left = tuple(policy for policy in entity.record.policies if policy[0] != request.policy_name)
    if left == entity.record.policies:
        raise _not_found(request)
    return changed(call, entity, policies=left)


def _not_found(request: Request) -> NoSuchEntity:
    kind = next(kind for kind in ("user", "group", "role") if hasattr(request, f"{kind}_name"))
    return NoSuchEntity(f"The {kind} policy with name {request.policy_name} cannot be found.")
