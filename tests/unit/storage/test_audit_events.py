"""Events that are put in and looked up again, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event, text

from strongroom.storage import audit_events
from strongroom.storage.audit_events import (
    AuditEvent,
    EventQuery,
    Place,
    forget_events,
    insert_events,
    look_up_events,
    metadata,
)
from strongroom.testing.postgresql import Postgresql

NOW = 1_790_000_000
ACCOUNT, REGION = "111122223333", "us-east-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"
EVERYTHING = EventQuery(ACCOUNT, REGION, 0, NOW * 2, None, "", 50, None)


def made(sequence: int, **members: object) -> AuditEvent:
    plain = AuditEvent(
        chain_id="node.1",
        sequence=sequence,
        event_time=NOW + sequence,
        account=ACCOUNT,
        region=REGION,
        event_id=f"id-{sequence}",
        event_name="Encrypt",
        event_source="kms.amazonaws.com",
        read_only=True,
        user_name="root",
        access_key_id="AKIA1",
        resource_type="AWS::KMS::Key",
        resource_names=(f"{KEY}{sequence}",),
        record=b'{"number":%d}' % sequence,
    )
    return plain._replace(**members)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('events') / 'events.db'}"
    else:
        postgresql: Postgresql = request.getfixturevalue("postgresql")
        with postgresql.database() as found:
            yield found.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection to empty tables."""
    engine = create_engine(url)
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
        connection.rollback()
        metadata.drop_all(connection)
        connection.commit()
    engine.dispose()


def sequences(connection: Connection, query: EventQuery) -> list[int]:
    return [found.place.sequence for found in look_up_events(connection, query).events]


def test_the_newest_come_first_as_they_were_put_in(connection: Connection) -> None:
    insert_events(connection, [made(1), made(3), made(2)])
    page = look_up_events(connection, EVERYTHING)

    assert [found.record for found in page.events] == [b'{"number":3}', b'{"number":2}', b'{"number":1}']
    assert page.events[0].place == Place(NOW + 3, "node.1", 3)
    assert not page.more


def test_nothing_is_put_in_and_found(connection: Connection) -> None:
    insert_events(connection, [])
    assert look_up_events(connection, EVERYTHING) == ((), False)


def test_others_accounts_and_regions_are_not_told(connection: Connection) -> None:
    insert_events(connection, [made(1), made(2, account="444455556666"), made(3, region="eu-west-1")])

    assert sequences(connection, EVERYTHING) == [1]
    for attribute, value in (("ResourceName", f"{KEY}2"), ("EventId", "id-3")):
        assert sequences(connection, EVERYTHING._replace(attribute=attribute, value=value)) == []
    assert sequences(connection, EVERYTHING._replace(account="444455556666")) == [2]


@pytest.mark.parametrize(("since", "until", "told"), [(2, 3, [3, 2]), (2, 2, [2]), (4, 9, [4]), (5, 9, []), (3, 2, [])])
def test_both_ends_of_a_time_range_are_in_it(connection: Connection, since: int, until: int, told: list[int]) -> None:
    insert_events(connection, [made(sequence) for sequence in range(1, 5)])
    assert sequences(connection, EVERYTHING._replace(since=NOW + since, until=NOW + until)) == told


ODD = made(
    7,
    event_name="AssumeRole",
    event_source="sts.amazonaws.com",
    read_only=False,
    user_name="work",
    access_key_id="ASIA7",
    resource_type="AWS::IAM::Role",
)
BARE = made(8, user_name=None, access_key_id=None, resource_type=None, resource_names=())
ATTRIBUTES = [
    ("EventId", "id-7", [7]),
    ("EventName", "AssumeRole", [7]),
    ("EventName", "Encrypt", [8, 2, 1]),
    ("EventSource", "sts.amazonaws.com", [7]),
    ("EventSource", "kms.amazonaws.com", [8, 2, 1]),
    ("ReadOnly", "false", [7]),
    ("ReadOnly", "true", [8, 2, 1]),
    ("Username", "work", [7]),
    ("Username", "root", [2, 1]),
    ("AccessKeyId", "ASIA7", [7]),
    ("ResourceType", "AWS::IAM::Role", [7]),
    ("ResourceType", "AWS::KMS::Key", [2, 1]),
    ("ResourceName", f"{KEY}7", [7]),
    ("ResourceName", f"{KEY}", []),
    ("Username", "ROOT", []),
    ("EventName", "Enc%", []),
]


@pytest.mark.parametrize(("attribute", "value", "told"), ATTRIBUTES)
def test_an_attribute_must_have_the_value(connection: Connection, attribute: str, value: str, told: list[int]) -> None:
    insert_events(connection, [made(1), made(2), ODD, BARE])
    assert sequences(connection, EVERYTHING._replace(attribute=attribute, value=value)) == told


def test_an_event_is_found_by_each_of_its_resources_and_told_once(connection: Connection) -> None:
    insert_events(connection, [made(1, resource_names=("a", "b", "a")), made(2, resource_names=("b",))])

    told = {name: sequences(connection, EVERYTHING._replace(attribute="ResourceName", value=name)) for name in "abc"}
    assert told == {"a": [1], "b": [2, 1], "c": []}


@pytest.mark.parametrize(("attribute", "value"), [(None, ""), ("EventName", "Encrypt"), ("ResourceName", "shared")])
def test_pages_tell_each_event_once_though_others_come_meanwhile(
    connection: Connection, attribute: str | None, value: str
) -> None:
    """All in two seconds, and of two chains: the time alone does not say where the next page begins."""
    old = [
        made(sequence, chain_id=chain_id, event_time=NOW + sequence % 2, resource_names=("shared",))
        for chain_id in ("node.1", "node.2")
        for sequence in range(1, 9)
    ]
    insert_events(connection, old)
    query = EVERYTHING._replace(attribute=attribute, value=value, limit=3)
    told, more = [], True
    while more:
        page = look_up_events(connection, query)
        told += [found.place for found in page.events]
        more = page.more
        query = query._replace(after=told[-1])
        insert_events(connection, [made(100 + len(told), event_time=NOW + 5, resource_names=("shared",))])

    expected = [Place(one.event_time, one.chain_id, one.sequence) for one in old]
    assert told == sorted(expected, reverse=True)


def test_what_is_too_old_is_forgotten_with_its_resources(connection: Connection) -> None:
    insert_events(connection, [made(sequence) for sequence in range(1, 6)])
    forget_events(connection, NOW + 4)

    assert sequences(connection, EVERYTHING) == [5, 4]
    assert connection.execute(text("SELECT count(*) FROM audit_event_resources")).scalar_one() == 2


def test_much_is_forgotten_bit_by_bit_and_a_second_as_a_whole(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_events, "FORGOTTEN_AT_ONCE", 2)
    insert_events(connection, [made(sequence, event_time=NOW + sequence // 4) for sequence in range(16)])
    left = []
    for _ in range(4):
        forget_events(connection, NOW + 3)
        left.append(len(sequences(connection, EVERYTHING)))

    assert left == [12, 8, 4, 4]


@pytest.mark.parametrize(
    ("attribute", "value", "index"),
    [
        (None, "", "audit_events_by_account (account=? AND region=? AND event_time>? AND event_time<?)"),
        ("EventId", "a", "audit_events_by_id (account=? AND region=? AND event_id=?"),
        ("EventName", "a", "audit_events_by_name (account=? AND region=? AND event_name=?"),
        ("EventSource", "a", "audit_events_by_source (account=? AND region=? AND event_source=?"),
        ("ReadOnly", "false", "(account=? AND region=? AND event_time>? AND event_time<?)"),  # by either of two
        ("Username", "a", "audit_events_by_user (account=? AND region=? AND user_name=?"),
        ("AccessKeyId", "a", "audit_events_by_access_key (account=? AND region=? AND access_key_id=?"),
        ("ResourceType", "a", "audit_events_by_resource_type (account=? AND region=? AND resource_type=?"),
        ("ResourceName", "a", "audit_event_resources USING PRIMARY KEY (account=? AND region=? AND name=?"),
    ],
)
def test_every_look_up_uses_an_index(tmp_path: Path, attribute: str | None, value: str, index: str) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'events.db'}")
    asked: list[tuple[str, tuple[object, ...]]] = []
    event.listen(
        engine, "before_cursor_execute", lambda _c, _u, statement, values, _x, _m: asked.append((statement, values))
    )
    with engine.connect() as connection:
        metadata.create_all(connection)
        asked.clear()
        look_up_events(connection, EVERYTHING._replace(attribute=attribute, value=value, after=Place(NOW, "a", 1)))
        (statement, values), *_ = asked
        plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    engine.dispose()

    assert any(index in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN audit")], plan
