"""The database replaced under an open storage: nothing is acknowledged that the next start would not find."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from strongroom.errors import RollbackError, StorageError
from strongroom.model.principal import Account
from strongroom.storage import feed, sqlite_file
from strongroom.storage.contract import AuditChain, Insert, Position
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.row_authentication import FeedHead, FeedRow
from strongroom.storage.sqlite import create_storage, open_storage
from strongroom.storage.sqlite_file import DatabaseFile

ROW_KEY = bytes(range(32))
CHAIN = AuditChain("chain-1", 1.0, 0, bytes(32), ended=False)
REPLACED = "the database file was replaced while it was open"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "strongroom.db"


@pytest.fixture
def storage(path: Path) -> Iterator[DatabaseStorage]:
    """It has made change 1."""
    storage = create_storage(path, ROW_KEY)
    storage.commit([account(1)], None)
    yield storage
    storage.close()


@pytest.fixture
def copy(storage: DatabaseStorage, path: Path, tmp_path: Path) -> Path:
    """A complete second database, of now."""
    return copied(path, tmp_path / "copy.db")


def account(number: int) -> Insert:
    return Insert(Account(f"{number:012d}", 1.0))


def copied(source: Path, target: Path) -> Path:
    """Copy a database's contents into a file, over what that has."""
    connections = [sqlite3.connect(source), sqlite3.connect(target)]
    connections[0].backup(connections[1])
    for connection in connections:
        connection.close()
    target.chmod(0o600)
    return target


def calls(storage: DatabaseStorage, position: Position) -> list[Callable[[], object]]:
    return [
        lambda: storage.commit([account(77)], None),
        lambda: storage.register_chain(CHAIN),
        lambda: storage.changes_since(position),
        storage.position,
        storage.checkpoint,
        storage.load,
        storage.outbox,
        storage.chains,
        storage.change_records,
    ]


def refused(storage: DatabaseStorage, position: Position, reason: str) -> None:
    for call in calls(storage, position):
        with pytest.raises(RollbackError, match=reason):
            call()


def test_a_file_moved_into_place_takes_no_change(storage: DatabaseStorage, path: Path, copy: Path) -> None:
    position = storage.position()
    content = copy.read_bytes()
    copy.replace(path)
    refused(storage, position, REPLACED)
    assert path.read_bytes() == content


def test_threads_that_commit_while_the_file_is_replaced(storage: DatabaseStorage, path: Path, copy: Path) -> None:
    """Some read meanwhile, which makes them open new connections."""
    content = copy.read_bytes()
    replaced = threading.Event()
    under_way = threading.Barrier(9)
    acknowledged: list[int] = []
    refusals: list[RollbackError] = []

    def work(thread: int) -> None:
        under_way.wait()
        for turn in range(2_000):
            late = replaced.is_set()
            try:
                position = storage.commit([account(thread * 10_000 + turn)], None)
                storage.find(Account, ("000000000001",))
                storage.changes_since(position)
            except RollbackError as refusal:
                refusals.append(refusal)
                if late:
                    return
            else:
                if late:
                    acknowledged.append(position.number)
                    return

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(1, 9)]
    for thread in threads:
        thread.start()
    under_way.wait()
    copy.replace(path)
    replaced.set()
    for thread in threads:
        thread.join()
    assert acknowledged == []
    assert len(refusals) >= 8
    assert path.read_bytes() == content


def test_a_change_is_not_acknowledged_if_the_file_was_replaced_meanwhile(
    storage: DatabaseStorage, path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = feed.append

    def replace_and_append(connection: Connection, key: bytes, head: FeedHead, row: FeedRow) -> Position:
        copy.replace(path)
        return append(connection, key, head, row)

    monkeypatch.setattr(feed, "append", replace_and_append)
    with pytest.raises(RollbackError, match=REPLACED):
        storage.commit([account(2)], None)


def test_no_connection_is_made_to_another_file(storage: DatabaseStorage, path: Path, copy: Path) -> None:
    file = DatabaseFile.at(path)
    content = copy.read_bytes()
    before = sorted(Path("/proc/self/fd").iterdir())
    copy.replace(path)
    with pytest.raises(RollbackError, match=REPLACED):
        sqlite_file.connect(file)
    assert path.read_bytes() == content
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_file_that_was_moved_away_takes_no_change_until_it_is_back(storage: DatabaseStorage, path: Path) -> None:
    elsewhere = path.replace(path.with_suffix(".away"))
    with pytest.raises(StorageError, match="No such file or directory"):
        storage.commit([account(2)], None)
    elsewhere.replace(path)
    assert storage.commit([account(2)], None).number == 2


def test_an_older_copy_put_back_in_place(storage: DatabaseStorage, path: Path, copy: Path) -> None:
    """The file is the same, its contents are not."""
    before = storage.position()
    storage.commit([account(2)], None)
    copied(copy, path)
    refused(storage, before, "the database stands at change 1, but change 2 was made already")


def test_what_another_process_made_is_remembered_once_it_was_seen(
    storage: DatabaseStorage, path: Path, copy: Path
) -> None:
    before = storage.position()
    other = open_storage(path, ROW_KEY)
    other.commit([account(2)], None)
    other.close()
    assert storage.position().number == 2
    copied(copy, path)
    refused(storage, before, "the database stands at change 1, but change 2 was made already")


def test_another_change_in_the_place_of_the_newest(storage: DatabaseStorage, path: Path, copy: Path) -> None:
    before = storage.position()
    storage.commit([account(2)], None)
    copied(copy, path)
    other = open_storage(path, ROW_KEY)
    other.commit([account(3)], None)
    other.close()
    refused(storage, before, "change 2 of the database is not the one that was made before")


def test_a_change_that_fails_is_not_taken_for_made(storage: DatabaseStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(feed, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            storage.commit([account(2)], None)
    assert storage.commit([account(2)], None).number == 2
