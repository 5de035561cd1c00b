"""The events of the audit log as they are looked up (AWS: LookupEvents): one schema, for SQLite and for PostgreSQL.

It is an index: a copy of what the log has, made from it, not authenticated and not part of the state. Every function
takes a connection in a transaction, which is the caller's to commit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    insert,
    literal_column,
    not_,
    select,
    tuple_,
)

KEPT_SECONDS = 90 * 86_400
"""How long an event can be looked up."""
FORGOTTEN_AT_ONCE = 5_000
"""How many old events `forget` removes at once, and the rest of the last one's second."""

metadata = MetaData()

audit_events = Table(
    "audit_events",
    metadata,
    Column("chain_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("event_time", BigInteger, nullable=False),
    Column("account", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_name", Text, nullable=False),
    Column("event_source", Text, nullable=False),
    Column("read_only", Boolean, nullable=False),
    Column("user_name", Text),
    Column("access_key_id", Text),
    Column("resource_type", Text),
    Column("record", LargeBinary, nullable=False),
)
_EVENTS = audit_events.c

audit_event_resources = Table(
    "audit_event_resources",
    metadata,
    Column("account", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("event_time", BigInteger, primary_key=True, autoincrement=False),
    Column("chain_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""The names of what events touched: one row for each event and name, in the order in which they are looked up."""
_RESOURCES = audit_event_resources.c
_SHARED = ("account", "region", "event_time", "chain_id", "sequence")

_COLUMNS: dict[str, Column[str]] = {
    "AccessKeyId": _EVENTS.access_key_id,
    "EventId": _EVENTS.event_id,
    "EventName": _EVENTS.event_name,
    "EventSource": _EVENTS.event_source,
    "ResourceName": _RESOURCES.name,
    "ResourceType": _EVENTS.resource_type,
    "Username": _EVENTS.user_name,
}


class _Common(NamedTuple):
    """The value that nearly all events have, and the condition that one has another."""

    value: str
    others: ColumnElement[bool]


# An index costs more than the row itself: values that nearly all events have are in none.
_COMMON = {
    "EventSource": _Common("kms.amazonaws.com", _EVENTS.event_source != literal_column("'kms.amazonaws.com'")),
    "ResourceType": _Common("AWS::KMS::Key", _EVENTS.resource_type != literal_column("'AWS::KMS::Key'")),
}
_WRITES = not_(_EVENTS.read_only)
_BY_ACCOUNT = (_EVENTS.account, _EVENTS.region)
Index("audit_events_by_time", _EVENTS.event_time)
Index("audit_events_by_account", *_BY_ACCOUNT, _EVENTS.event_time)
Index("audit_events_by_id", *_BY_ACCOUNT, _EVENTS.event_id, _EVENTS.event_time)
Index("audit_events_by_name", *_BY_ACCOUNT, _EVENTS.event_name, _EVENTS.event_time)
Index("audit_events_by_user", *_BY_ACCOUNT, _EVENTS.user_name, _EVENTS.event_time)
Index("audit_events_by_access_key", *_BY_ACCOUNT, _EVENTS.access_key_id, _EVENTS.event_time)
for _name, _column, _among in (
    ("audit_events_that_write", None, _WRITES),
    ("audit_events_by_source", _EVENTS.event_source, _COMMON["EventSource"].others),
    ("audit_events_by_resource_type", _EVENTS.resource_type, _COMMON["ResourceType"].others),
):
    _key = (*_BY_ACCOUNT, *([] if _column is None else [_column]), _EVENTS.event_time)
    Index(_name, *_key, sqlite_where=_among, postgresql_where=_among)
Index("audit_event_resources_by_time", _RESOURCES.event_time)


_positions = Table(
    "audit_index_positions",
    metadata,
    Column("chain_id", Text, primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)


class AuditEvent(NamedTuple):
    """An event: where its record is in the log, and what it is looked up by.

    `event_time` is in whole seconds since the epoch. All of its resources have one type. `record` is the JSON.
    """

    chain_id: str
    sequence: int
    event_time: int
    account: str
    region: str
    event_id: str
    event_name: str
    event_source: str
    read_only: bool
    user_name: str | None
    access_key_id: str | None
    resource_type: str | None
    resource_names: tuple[str, ...]
    record: bytes


class Place(NamedTuple):
    """The place of an event among all others: they are told in descending order of this."""

    event_time: int
    chain_id: str
    sequence: int


class LogPosition(NamedTuple):
    """Up to which sequence a chain is indexed, and the next byte to read: `offset` in the file of `segment`."""

    segment: int
    offset: int
    sequence: int


BEGINNING = LogPosition(1, 0, 0)


class IndexedLines(NamedTuple):
    """The events of the next lines of a chain, the position after them, and whether there are more."""

    events: Sequence[AuditEvent]
    position: LogPosition
    more: bool


class EventQuery(NamedTuple):
    """What is looked up: events of an account in a Region, from `since` to `until` (whole seconds, both inclusive).

    `attribute` is AWS's name of one (EventName, ResourceName …), which must have the `value`; None for all events. At
    most `limit` events are told, those that come after the place `after`.
    """

    account: str
    region: str
    since: int
    until: int
    attribute: str | None
    value: str
    limit: int
    after: Place | None


class FoundEvent(NamedTuple):
    """An event that was found: its place, and its record."""

    place: Place
    record: bytes


class EventPage(NamedTuple):
    """The newest events that a query asks for, newest first, and whether there are more."""

    events: tuple[FoundEvent, ...]
    more: bool


class EventIndex(Protocol):
    """Where events are looked up."""

    def look_up(self, query: EventQuery) -> EventPage:
        """Find a page of events. Blocks on the disk, or on the database. Raises StorageError."""
        ...


class AuditIndex(EventIndex, Protocol):
    """Where events are kept to be looked up. Methods block, and raise StorageError."""

    def extend(self, chain_id: str, read: Callable[[LogPosition], IndexedLines], *, forget_before: int) -> bool:
        """Add what `read` finds in a chain behind a position, forget some of what is too old; whether there is more.

        Nobody else adds of that chain meanwhile, so that nothing is added twice.
        """
        ...

    def position(self, chain_id: str) -> LogPosition:
        """How far a chain is indexed."""
        ...

    def positions(self) -> dict[str, LogPosition]:
        """How far each chain is indexed of which there is anything."""
        ...


def extend_chain(
    connection: Connection, chain_id: str, read: Callable[[LogPosition], IndexedLines], *, forget_before: int
) -> bool:
    """Add the next events of a chain, forget some that are too old; whether there are more to add."""
    lines = read(position(connection, chain_id))
    insert_events(connection, lines.events)
    forget_events(connection, forget_before)
    connection.execute(delete(_positions).where(_positions.c.chain_id == chain_id))
    connection.execute(insert(_positions), {"chain_id": chain_id, **lines.position._asdict()})
    return lines.more


def position(connection: Connection, chain_id: str) -> LogPosition:
    """How far a chain is indexed."""
    found = connection.execute(select(_positions).where(_positions.c.chain_id == chain_id)).one_or_none()
    return BEGINNING if found is None else LogPosition(*found[1:])


def positions(connection: Connection) -> dict[str, LogPosition]:
    """How far each chain is indexed of which there is anything."""
    return {row[0]: LogPosition(*row[1:]) for row in connection.execute(select(_positions))}


def insert_events(connection: Connection, events: Sequence[AuditEvent]) -> None:
    """Add events that are not there yet."""
    rows = [event._asdict() for event in events]
    names = [
        {"name": name, **{column: row[column] for column in _SHARED}}
        for row in rows
        for name in set(row.pop("resource_names"))
    ]
    if rows:
        connection.execute(insert(audit_events), rows)
    if names:
        connection.execute(insert(audit_event_resources), names)


def look_up_events(connection: Connection, query: EventQuery) -> EventPage:
    """Find a page of events."""
    named = query.attribute == "ResourceName"
    columns = audit_event_resources.c if named else _EVENTS
    key = (columns.event_time, columns.chain_id, columns.sequence)
    conditions = [columns.account == query.account, columns.region == query.region, *_has(query)]
    conditions.append(columns.event_time.between(query.since, query.until))
    if query.after is not None:
        conditions += [columns.event_time <= query.after.event_time, tuple_(*key) < tuple_(*query.after)]
    newest = select(*key).where(*conditions).order_by(*(column.desc() for column in key)).limit(query.limit + 1)
    place = newest.subquery().c  # records are read of those that are told, and not sorted with all the others
    same = and_(_EVENTS.chain_id == place.chain_id, _EVENTS.sequence == place.sequence)
    order = (place.event_time.desc(), place.chain_id.desc(), place.sequence.desc())
    found = [
        FoundEvent(Place(*where), record)
        for *where, record in connection.execute(
            select(place.event_time, place.chain_id, place.sequence, _EVENTS.record).where(same).order_by(*order)
        )
    ]
    return EventPage(tuple(found[: query.limit]), more=len(found) > query.limit)


def forget_events(connection: Connection, before: int) -> None:
    """Remove events from before a time (seconds since the epoch), the oldest first, FORGOTTEN_AT_ONCE or a few more."""
    times = select(_EVENTS.event_time).where(_EVENTS.event_time < before).order_by(_EVENTS.event_time)
    last = connection.execute(times.offset(FORGOTTEN_AT_ONCE).limit(1)).scalar_one_or_none()
    until = before - 1 if last is None else last
    connection.execute(delete(audit_events).where(_EVENTS.event_time <= until))
    connection.execute(delete(audit_event_resources).where(_RESOURCES.event_time <= until))


def _has(query: EventQuery) -> list[ColumnElement[bool]]:
    """The conditions that the attribute has the value. They say too that a value is in a partial index, if it is."""
    attribute, value = query.attribute, query.value
    if attribute is None:
        return []
    if attribute == "ReadOnly":
        return [_EVENTS.read_only if value == "true" else _WRITES]
    has = _COLUMNS[attribute] == value
    common = _COMMON.get(attribute)
    return [has] if common is None or common.value == value else [has, common.others]
