"""CreateGroup, GetGroup, ListGroups, UpdateGroup, DeleteGroup, and who is in them."""

import os
from collections.abc import Sequence

from strongroom.errors import DeleteConflict, EntityAlreadyExists
from strongroom.messages.iam.groups import (
    AddUserToGroupRequest,
    CreateGroupRequest,
    CreateGroupResponse,
    DeleteGroupRequest,
    GetGroupRequest,
    GetGroupResponse,
    ListGroupsForUserRequest,
    ListGroupsForUserResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    RemoveUserFromGroupRequest,
    UpdateGroupRequest,
)
from strongroom.model.iam import Group
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import called_by_name, changed, check_quota, group_named, under, user_named
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.told import told_group, told_user
from strongroom.operations.iam.unique_ids import GROUP, new_unique_id
from strongroom.operations.iam.users import check_without_policies
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert

_MAX_GROUPS = 300
_MAX_GROUPS_OF_USER = 10


def create_group(call: Call, request: CreateGroupRequest, _nothing: Sequence[object]) -> Change:
    """AWS: CreateGroup."""
    assert request.group_name is not None, "the model requires it"
    _check_free(call, request.group_name)
    check_quota(len(call.directory.groups), "GroupsPerAccount", _MAX_GROUPS)
    group = Group(
        account=call.account,
        group_id=new_unique_id(GROUP, os.urandom),
        name=request.group_name,
        path=request.path or "/",
        created=float(int(call.now)),
    )
    return call.identity_change(CreateGroupResponse(group=told_group(group)), Insert(group))


def get_group(call: Call, request: GetGroupRequest, _nothing: Sequence[object]) -> GetGroupResponse:
    """AWS: GetGroup, with its users."""
    group, _ = group_named(call, request.group_name)
    page = paged(request, call.directory.members(group), lambda user: user.name, of=group.name)
    return GetGroupResponse(
        group=told_group(group),
        users=tuple(told_user(user, whole=False) for user in page.items),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def list_groups_targets(request: ListGroupsRequest) -> list[IdentityTarget]:
    """The groups of a path."""
    return [IdentityTarget("iam:ListGroups", "group", "", request.path_prefix or "/")]


def list_groups(call: Call, request: ListGroupsRequest, _nothing: Sequence[object]) -> ListGroupsResponse:
    """AWS: ListGroups."""
    groups: list[Group] = under(request.path_prefix, (group for group, _ in call.directory.groups.values()))
    page = paged(request, groups, lambda group: group.name, of=request.path_prefix or "/")
    return ListGroupsResponse(
        groups=tuple(map(told_group, page.items)), is_truncated=page.truncated, marker=page.next_marker
    )


def list_groups_for_user(
    call: Call, request: ListGroupsForUserRequest, _nothing: Sequence[object]
) -> ListGroupsForUserResponse:
    """AWS: ListGroupsForUser."""
    user, _ = user_named(call, request.user_name)
    page = paged(request, call.directory.groups_of(user), lambda group: group.name, of=user.name)
    return ListGroupsForUserResponse(
        groups=tuple(map(told_group, page.items)), is_truncated=page.truncated, marker=page.next_marker
    )


def update_group_targets(request: UpdateGroupRequest) -> list[IdentityTarget]:
    """The group, and what it is to be called: both must be allowed (AWS: UpdateGroup)."""
    before = IdentityTarget("iam:UpdateGroup", "group", request.group_name)
    return [called_by_name(before), before._replace(new_name=request.new_group_name, new_path=request.new_path)]


def update_group(call: Call, request: UpdateGroupRequest, _nothing: Sequence[object]) -> Change:
    """AWS: UpdateGroup."""
    group = group_named(call, request.group_name)
    name = request.new_group_name or group.record.name
    if name.lower() != group.record.name.lower():
        _check_free(call, name)
    return changed(call, group, name=name, path=request.new_path or group.record.path)


def delete_group(call: Call, request: DeleteGroupRequest, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteGroup. It must have no users and no policies."""
    group = group_named(call, request.group_name)
    if call.directory.members(group.record):
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    check_without_policies(group.record)
    return call.identity_change(None, Delete(*group))


def add_user_to_group(call: Call, request: AddUserToGroupRequest, _nothing: Sequence[object]) -> Change:
    """AWS: AddUserToGroup. Who is in it already stays in it."""
    group, _ = group_named(call, request.group_name)
    user = user_named(call, request.user_name)
    if group.group_id in user.record.groups:
        return call.identity_change(None)
    check_quota(len(user.record.groups), "GroupsPerUser", _MAX_GROUPS_OF_USER)
    return changed(call, user, groups=(*user.record.groups, group.group_id))


def remove_user_from_group(call: Call, request: RemoveUserFromGroupRequest, _nothing: Sequence[object]) -> Change:
    """AWS: RemoveUserFromGroup."""
    group, _ = group_named(call, request.group_name)
    user = user_named(call, request.user_name)
    return changed(call, user, groups=tuple(one for one in user.record.groups if one != group.group_id))


def _check_free(call: Call, name: str) -> None:
    if call.directory.group(name) is not None:
        raise EntityAlreadyExists(f"Group with name {name} already exists.")
