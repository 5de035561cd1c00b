"""CreateUser, GetUser, ListUsers, UpdateUser, DeleteUser."""

import os
from collections.abc import Sequence

from strongroom.errors import DeleteConflict, EntityAlreadyExists
from strongroom.messages.iam import shapes
from strongroom.messages.iam.users import (
    CreateUserRequest,
    CreateUserResponse,
    DeleteUserRequest,
    GetUserRequest,
    GetUserResponse,
    ListUsersRequest,
    ListUsersResponse,
    UpdateUserRequest,
)
from strongroom.model.iam import Entity, User
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import boundary_of, called_by_name, changed, check_quota, under, user_named
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.tags import requested_tags
from strongroom.operations.iam.told import told_user
from strongroom.operations.iam.unique_ids import USER, new_unique_id
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert

_MAX_USERS = 5_000


def create_user(call: Call, request: CreateUserRequest, _nothing: Sequence[object]) -> Change:
    """AWS: CreateUser."""
    assert request.user_name is not None, "the model requires it"
    _check_free(call, request.user_name)
    check_quota(len(call.directory.users), "UsersPerAccount", _MAX_USERS)
    user = User(
        account=call.account,
        user_id=new_unique_id(USER, os.urandom),
        name=request.user_name,
        path=request.path or "/",
        created=float(int(call.now)),
        tags=requested_tags(request.tags, "User"),
        boundary=boundary_of(call, request.permissions_boundary),
    )
    return call.identity_change(CreateUserResponse(user=told_user(user)), Insert(user))


def get_user(call: Call, request: GetUserRequest, _nothing: Sequence[object]) -> GetUserResponse:
    """AWS: GetUser. Without a name it is the caller, who may be the root user."""
    if request.user_name is None and call.principal.is_root_user:
        account = call.directory.account.record
        root = shapes.User(user_id=call.account, arn=call.principal.arn, create_date=account.created)
        return GetUserResponse(user=root)
    return GetUserResponse(user=told_user(user_named(call, request.user_name).record))


def list_users_targets(request: ListUsersRequest) -> list[IdentityTarget]:
    """The users of a path."""
    return [IdentityTarget("iam:ListUsers", "user", "", request.path_prefix or "/")]


def list_users(call: Call, request: ListUsersRequest, _nothing: Sequence[object]) -> ListUsersResponse:
    """AWS: ListUsers."""
    users: list[User] = under(request.path_prefix, (user for user, _ in call.directory.users.values()))
    page = paged(request, users, lambda user: user.name, of=request.path_prefix or "/")
    return ListUsersResponse(
        users=tuple(told_user(user, whole=False) for user in page.items),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def update_user_targets(request: UpdateUserRequest) -> list[IdentityTarget]:
    """The user, and what it is to be called: both must be allowed (AWS: UpdateUser)."""
    before = IdentityTarget("iam:UpdateUser", "user", request.user_name)
    return [called_by_name(before), before._replace(new_name=request.new_user_name, new_path=request.new_path)]


def update_user(call: Call, request: UpdateUserRequest, _nothing: Sequence[object]) -> Change:
    """AWS: UpdateUser. Who is renamed stays who it is."""
    user = user_named(call, request.user_name)
    name = request.new_user_name or user.record.name
    if name.lower() != user.record.name.lower():
        _check_free(call, name)
    return changed(call, user, name=name, path=request.new_path or user.record.path)


def delete_user(call: Call, request: DeleteUserRequest, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteUser. What belongs to it must be gone."""
    user = user_named(call, request.user_name)
    if call.directory.access_keys_of(user.record.user_id):
        raise DeleteConflict("Cannot delete entity, must delete access keys first.")
    check_without_policies(user.record)
    if user.record.groups:
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    return call.identity_change(None, Delete(*user))


def check_without_policies(entity: Entity) -> None:
    """Raise DeleteConflict if an identity that is to be deleted has policies."""
    if entity.policies:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    if entity.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")


def _check_free(call: Call, name: str) -> None:
    if call.directory.user(name) is not None:
        raise EntityAlreadyExists(f"User with name {name} already exists.")
