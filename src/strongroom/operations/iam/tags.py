"""Tags of users, roles, policies and identity providers."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from strongroom.errors import InvalidInput, NoSuchEntity
from strongroom.messages.iam import shapes, tags
from strongroom.model.iam import Pairs
from strongroom.model.numbered import Numbered
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import (
    changed,
    check_quota,
    policy_of_arn,
    provider_of_arn,
    role_named,
    user_named,
)
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.told import told_tags

_MAX_TAGS = 50


def requested_tags(asked_for: Iterable[shapes.Tag] | None, kind: str) -> Pairs:
    """The tags of a request, for a new `User` or `Role` and so on. Raises InvalidInput or LimitExceeded."""
    return _merged((), tuple((tag.key or "", tag.value or "") for tag in asked_for or ()), kind)


def tag(call: Call, request: Struct, _nothing: Sequence[object]) -> Change:
    """AWS: TagUser and its like. A tag that is there, in whatever case, takes the new value and keeps its place."""
    tagged = _tagged(call, request)
    asked_for = tuple((one.key or "", one.value or "") for one in getattr(request, "tags", None) or ())
    return changed(call, tagged, tags=_merged(tagged.record.tags, asked_for, type(tagged.record).__name__))


def untag(call: Call, request: Struct, _nothing: Sequence[object]) -> Change:
    """AWS: UntagUser and its like. Tags that are not there are gone already."""
    tagged = _tagged(call, request)
    gone = {key.lower() for key in getattr(request, "tag_keys", None) or ()}
    return changed(call, tagged, tags=tuple(one for one in tagged.record.tags if one[0].lower() not in gone))


def list_tags(call: Call, request: Struct, _nothing: Sequence[object]) -> Struct:
    """AWS: ListUserTags and its like, in order of key. A page begins at a place: a key is too long for a marker."""
    tagged = sorted(_tagged(call, request).record.tags)
    page = paged(request, range(len(tagged)), lambda place: f"{place:02}")
    response: Struct = _RESPONSES[type(request)](
        tags=told_tags(tuple(tagged[place] for place in page.items)),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )
    return response


_RESPONSES: dict[type, type[Any]] = {
    tags.ListOpenIDConnectProviderTagsRequest: tags.ListOpenIDConnectProviderTagsResponse,
    tags.ListPolicyTagsRequest: tags.ListPolicyTagsResponse,
    tags.ListRoleTagsRequest: tags.ListRoleTagsResponse,
    tags.ListUserTagsRequest: tags.ListUserTagsResponse,
}


def _tagged(call: Call, request: Struct) -> Numbered[Any]:
    """What a request tags. Raises NoSuchEntity."""
    if hasattr(request, "open_id_connect_provider_arn"):
        return provider_of_arn(call, request.open_id_connect_provider_arn)
    if hasattr(request, "policy_arn"):
        policy_of_arn(call, request.policy_arn)
        own = call.directory.own_policy(request.policy_arn)
        if own is None:  # AWS's own have none
            raise NoSuchEntity(f"Policy {request.policy_arn} was not found.")
        return own
    if hasattr(request, "role_name"):
        return role_named(call, request.role_name)
    return user_named(call, getattr(request, "user_name", None))


def _merged(tags: Pairs, asked_for: Pairs, kind: str) -> Pairs:
    keys = [key.lower() for key, _ in asked_for]
    if len(set(keys)) != len(keys):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise InvalidInput("Tag keys beginning with aws: are reserved for system use.")
    merged = {key.lower(): (key, value) for key, value in tags}
    merged |= {key.lower(): (key, value) for key, value in asked_for}
    check_quota(len(merged) - 1, f"TagsPer{kind}", _MAX_TAGS)
    return tuple(merged.values())
