"""LookupEvents.

What it tells is the index of the audit log, which is not authenticated, and behind the log by a second or two.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Struct, structs

from strongroom.audit.events import read_event
from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import (
    InvalidEventCategory,
    InvalidLookupAttributes,
    InvalidMaxResults,
    InvalidNextToken,
    InvalidTimeRange,
)
from strongroom.messages.cloudtrail.events import (
    Event,
    LookupAttribute,
    LookupEventsRequest,
    LookupEventsResponse,
    Resource,
)
from strongroom.operations.call import Call
from strongroom.operations.logged import every_member
from strongroom.operations.targets import AccountTarget
from strongroom.storage.audit_events import KEPT_SECONDS, EventQuery, FoundEvent, Place

_MAX_RESULTS: Final = 50
_ATTRIBUTES: Final = frozenset(
    {"AccessKeyId", "EventId", "EventName", "EventSource", "ReadOnly", "ResourceName", "ResourceType", "Username"}
)
_MAX_VALUE: Final = 2_000
_MAX_TOKEN: Final = 512
_LOGGED: Final = 64
"""Characters of a text that mean something, and are logged of one that may be longer."""
_DOUBLE: Final = "_ ,\n"
"""Characters of an attribute's value that count twice."""
_LAST_TIME: Final = 253_402_300_799
"""The last second that a calendar of four-digit years has."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_TOKEN = msgspec.json.Decoder(tuple[str, _Number, Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z.-]+$")], _Number])


def lookup_events_targets(request: LookupEventsRequest) -> list[AccountTarget]:
    """The caller's account. Raises the errors of parameters, which AWS does not document the texts of."""
    if request.max_results is not None and not 1 <= request.max_results <= _MAX_RESULTS:
        raise InvalidMaxResults(f"MaxResults must be from 1 to {_MAX_RESULTS}.")
    if request.event_category not in (None, "insight"):
        raise InvalidEventCategory("The only event category that can be named is insight.")
    times = (request.start_time, request.end_time)
    if any(time is not None and not 0 <= time <= _LAST_TIME for time in times):
        raise InvalidTimeRange("A time is outside the range of possible values.")
    if request.start_time is not None and request.end_time is not None and request.start_time > request.end_time:
        raise InvalidTimeRange("StartTime must not be after EndTime.")
    if request.next_token is not None and len(request.next_token) > _MAX_TOKEN:
        raise InvalidNextToken("The token is not valid.")
    attributes = request.lookup_attributes or ()
    if len(attributes) > 1:
        raise InvalidLookupAttributes("Only one lookup attribute can be given.")
    for attribute in attributes:
        _check(attribute)
    return [AccountTarget("cloudtrail:LookupEvents")]


def logged(request: Struct, keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
    """Log what was asked, of long texts their beginning: whoever may not look up anything is recorded too."""
    assert isinstance(request, LookupEventsRequest), "its row says so"
    attributes = None if request.lookup_attributes is None else tuple(map(_shortened, request.lookup_attributes[:1]))
    token = None if request.next_token is None else request.next_token[:_LOGGED]
    category = None if request.event_category is None else request.event_category[:_LOGGED]
    short = structs.replace(request, lookup_attributes=attributes, next_token=token, event_category=category)
    return every_member(short, keys)


def _shortened(attribute: LookupAttribute) -> LookupAttribute:
    key, value = attribute.attribute_key or "", attribute.attribute_value or ""
    return structs.replace(attribute, attribute_key=key[:_LOGGED], attribute_value=value[:_MAX_VALUE])


def lookup_events(call: Call, request: LookupEventsRequest, _nothing: object) -> LookupEventsResponse:
    """AWS: LookupEvents. Blocks on the disk."""
    after = None if request.next_token is None else _place(request.next_token, _bound(call, request))
    if request.event_category is not None:  # there are no Insights events
        return LookupEventsResponse(events=())
    attribute = request.lookup_attributes[0] if request.lookup_attributes else None
    since = int(call.now) - KEPT_SECONDS
    query = EventQuery(
        account=call.account,
        region=call.region,
        since=since if request.start_time is None else max(since, -int(-request.start_time // 1)),
        until=_LAST_TIME if request.end_time is None else int(request.end_time),
        attribute=None if attribute is None else attribute.attribute_key,
        value="" if attribute is None else attribute.attribute_value or "",
        limit=request.max_results or _MAX_RESULTS,
        after=after,
    )
    page = call.events.look_up(query)
    events = tuple(event for found in page.events if (event := _told(found, (call.account, call.region))) is not None)
    token = _token(page.events[-1].place, _bound(call, request)) if page.more else None
    return LookupEventsResponse(events=events, next_token=token)


def _check(attribute: LookupAttribute) -> None:
    """Raise InvalidLookupAttributes unless events can be looked up by this attribute and value."""
    key, value = attribute.attribute_key, attribute.attribute_value or ""
    if key not in _ATTRIBUTES:
        raise InvalidLookupAttributes(f"The attribute key must be one of {', '.join(sorted(_ATTRIBUTES))}.")
    if not 1 <= len(value) + sum(map(value.count, _DOUBLE)) <= _MAX_VALUE:
        raise InvalidLookupAttributes(f"The attribute value must have from 1 to {_MAX_VALUE} characters.")
    if "\0" in value:  # no event has it, and PostgreSQL no text
        raise InvalidLookupAttributes("The attribute value must not have the character NUL.")
    if key == "ReadOnly" and value not in ("true", "false"):
        raise InvalidLookupAttributes("The attribute value of ReadOnly must be true or false.")


def _told(found: FoundEvent, of: tuple[str, str]) -> Event | None:
    """An event as AWS tells it; None if its record, which the index may have from anybody, is not `of` the caller."""
    event = read_event(found.place.chain_id, found.place.sequence, found.record)
    if event is None or (event.account, event.region) != of:
        return None
    return Event(
        event_id=event.event_id,
        event_name=event.event_name,
        read_only="true" if event.read_only else "false",
        access_key_id=event.access_key_id,
        event_time=float(event.event_time),
        event_source=event.event_source,
        username=event.user_name,
        resources=tuple(Resource(resource_type=event.resource_type, resource_name=arn) for arn in event.resource_names),
        cloud_trail_event=event.record.decode(),
    )


def _bound(call: Call, request: LookupEventsRequest) -> str:
    """What a token belongs to: who asks, where, and all that the request says but for the size of its pages."""
    said = (request.lookup_attributes, request.start_time, request.end_time, request.event_category)
    return hashlib.sha256(msgspec.json.encode((call.account, call.region, said))).hexdigest()[:32]


def _token(last: Place, bound: str) -> str:
    return base64.b64encode(msgspec.json.encode((bound, *last))).decode()


def _place(token: str, bound: str) -> Place:
    """The last event told before. A token needs no secret: whatever it names, only the caller's own events are told."""
    try:
        stated, event_time, chain_id, sequence = _TOKEN.decode(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidNextToken("The token is not valid.") from error
    if stated != bound:
        raise InvalidNextToken("The token belongs to a request with other parameters.")
    return Place(event_time, chain_id, sequence)
