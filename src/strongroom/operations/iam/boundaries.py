"""Permissions boundaries of users and roles."""

from collections.abc import Sequence
from typing import Any

from strongroom.errors import NoSuchEntity
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import boundary_of, changed, entity_of

Request = Any
"""One of the requests of the family: for users and roles they differ in one name."""


def put(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: PutUserPermissionsBoundary, PutRolePermissionsBoundary."""
    entity = entity_of(call, request)
    return changed(call, entity, boundary=boundary_of(call, request.permissions_boundary))


def delete(call: Call, request: Request, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteUserPermissionsBoundary, DeleteRolePermissionsBoundary."""
    entity = entity_of(call, request)
    if getattr(entity.record, "boundary", None) is None:
        raise NoSuchEntity(f"{entity.record.name} does not have a permissions boundary.")
    return changed(call, entity, boundary=None)
