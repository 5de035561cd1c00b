"""The index that nodes share."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom.storage.audit_events import BEGINNING, EventQuery, IndexedLines, LogPosition
from strongroom.storage.postgresql import PostgresqlDatabase, create_storage
from strongroom.storage.shared_audit_index import SharedAuditIndex
from strongroom.testing.postgresql import Postgresql
from tests.unit.storage.test_audit_events import ACCOUNT, NOW, REGION, made

EVERYTHING = EventQuery(ACCOUNT, REGION, 0, NOW * 2, None, "", 50, None)


@pytest.fixture
def index(postgresql: Postgresql) -> Iterator[SharedAuditIndex]:
    with postgresql.database() as url:
        storage = create_storage(url, bytes(32))
        assert isinstance(storage.database, PostgresqlDatabase)
        yield SharedAuditIndex(storage.database)
        storage.close()


def add(index: SharedAuditIndex, chain_id: str, upto: int) -> None:
    """Put the events of a chain in, up to a sequence, from where it is."""

    def read(position: LogPosition) -> IndexedLines:
        events = [made(number, chain_id=chain_id) for number in range(position.sequence + 1, upto + 1)]
        return IndexedLines(events, LogPosition(1, 10 * upto, upto), more=False)

    assert not index.extend(chain_id, read, forget_before=0)


def test_events_are_found_and_the_position_goes_on(index: SharedAuditIndex) -> None:
    assert index.position("a.1") == BEGINNING
    add(index, "a.1", 2)
    add(index, "a.1", 3)
    assert [event.place.sequence for event in index.look_up(EVERYTHING).events] == [3, 2, 1]
    assert index.positions() == {"a.1": LogPosition(1, 30, 3)}


def test_of_many_who_add_the_same_chain_each_event_is_there_once(index: SharedAuditIndex) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(index, f"a.{number % 2}", 5), range(16)))
    assert sorted(event.place.sequence for event in index.look_up(EVERYTHING).events) == sorted([*range(1, 6)] * 2)
