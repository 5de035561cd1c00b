"""TagResource, UntagResource, ListResourceTags."""

import hashlib
from collections.abc import Iterable, Sequence

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import TagError
from strongroom.messages.kms.shapes import Tag
from strongroom.messages.kms.tags import (
    ListResourceTagsRequest,
    ListResourceTagsResponse,
    TagResourceRequest,
    UntagResourceRequest,
)
from strongroom.operations.call import Call, Change
from strongroom.operations.pages import Listing
from strongroom.operations.targets import KeyTarget

MAX_TAGS = 50
"""Tags that one KMS key can have."""

_TAGS = Listing("ListResourceTags", default=50, maximum=50)

Tags = tuple[tuple[str, str], ...]


def requested_tags(tags: Iterable[Tag] | None) -> Tags:
    """The tags of a request. Raises TagError, with AWS's texts, for those that no key can have."""
    requested = tuple((tag.tag_key or "", tag.tag_value or "") for tag in tags or ())
    check_tag_keys([tag_key for tag_key, _ in requested])
    return requested


def check_tag_keys(tag_keys: Sequence[str]) -> None:
    """Raise TagError if these cannot be the keys of one KMS key's tags."""
    if len(tag_keys) > MAX_TAGS:
        raise TagError("Too many tags")
    if len(set(tag_keys)) != len(tag_keys):
        raise TagError("Duplicate tag keys")
    if any(tag_key.lower().startswith("aws:") for tag_key in tag_keys):
        raise TagError("Tags beginning with aws: are reserved")


def tag_resource_targets(request: TagResourceRequest) -> list[KeyTarget]:
    """The key to tag."""
    requested_tags(request.tags)
    return [KeyTarget("kms:TagResource", request.key_id)]


def tag_resource(call: Call, request: TagResourceRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: TagResource. A tag that is there takes the new value and keeps its place."""
    (key,) = keys
    tags = dict(key.key.tags) | dict(requested_tags(request.tags))
    if len(tags) > MAX_TAGS:
        raise TagError("Too many tags")
    return Change(None, [call.replace(key, tags=tuple(tags.items()))])


def logged_tag_resource(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows tags in clear."""
    assert isinstance(request, TagResourceRequest)
    return {"keyId": request.key_id, "tags": logged_tags(request.tags)}


def logged_tags(tags: Iterable[Tag] | None) -> list[dict[str, str | None]]:
    """Tags as CloudTrail spells them."""
    return [{"tagKey": tag.tag_key, "tagValue": tag.tag_value} for tag in tags or ()]


def untag_resource_targets(request: UntagResourceRequest) -> list[KeyTarget]:
    """The key to take tags from."""
    return [KeyTarget("kms:UntagResource", request.key_id)]


def untag_resource(call: Call, request: UntagResourceRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: UntagResource. Tags that are not there are gone already."""
    (key,) = keys
    gone = frozenset(request.tag_keys or ())
    return Change(None, [call.replace(key, tags=tuple(tag for tag in key.key.tags if tag[0] not in gone))])


def list_resource_tags_targets(request: ListResourceTagsRequest) -> list[KeyTarget]:
    """The key whose tags are told."""
    _TAGS.check(request.limit)
    return [KeyTarget("kms:ListResourceTags", request.key_id)]


def _mark(tag: tuple[str, str]) -> str:
    """What stands for a tag in a marker: its key may be longer than a marker can be."""
    return hashlib.sha256(tag[0].encode()).hexdigest()


def list_resource_tags(
    call: Call, request: ListResourceTagsRequest, keys: Sequence[AuthorizedKey]
) -> ListResourceTagsResponse:
    """AWS: ListResourceTags, in order of arrival."""
    (key,) = keys
    tags = call.read(key).tags

    def after(last: str, limit: int) -> Tags:
        # Whoever removes the tags of each page as they go on goes on from the start.
        marks = [_mark(tag) for tag in tags]
        begin = marks.index(last) + 1 if last in marks else 0
        return tags[begin : begin + limit]

    page = _TAGS.page(after, _mark, limit=request.limit, marker=request.marker, of=key.key.arn)
    return ListResourceTagsResponse(
        tags=tuple(Tag(tag_key=tag_key, tag_value=tag_value) for tag_key, tag_value in page.items),
        truncated=page.truncated,
        next_marker=page.next_marker,
    )
