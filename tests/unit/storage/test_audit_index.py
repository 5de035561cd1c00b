"""The index's file: shared, private, and made anew whenever it is not what we wrote."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.storage import audit_index
from strongroom.storage.audit_events import BEGINNING, EventQuery, IndexedLines, LogPosition
from strongroom.storage.audit_index import SqliteAuditIndex
from tests.unit.storage.test_audit_events import ACCOUNT, NOW, REGION, made

EVERYTHING = EventQuery(ACCOUNT, REGION, 0, NOW * 2, None, "", 50, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit-index.db"


@pytest.fixture
def index(path: Path) -> Iterator[SqliteAuditIndex]:
    index = SqliteAuditIndex(path)
    yield index
    index.close()


def add(index: SqliteAuditIndex, *sequences: int, chain_id: str = "node.1") -> list[LogPosition]:
    """Put events in; the positions that were read from."""
    positions = []

    def read(position: LogPosition) -> IndexedLines:
        positions.append(position)
        events = [made(sequence, chain_id=chain_id) for sequence in sequences]
        return IndexedLines(events, LogPosition(1, 10 * sequences[-1], sequences[-1]), more=False)

    assert not index.extend(chain_id, read, forget_before=0)
    return positions


def found(index: SqliteAuditIndex) -> list[int]:
    return [event.place.sequence for event in index.look_up(EVERYTHING).events]


def test_events_are_found_and_the_position_goes_on(index: SqliteAuditIndex) -> None:
    assert index.position("node.1") == BEGINNING
    assert add(index, 1, 2) == [BEGINNING]
    assert add(index, 3) == [LogPosition(1, 20, 2)]

    assert found(index) == [3, 2, 1]
    assert index.positions() == {"node.1": LogPosition(1, 30, 3)}


def test_it_is_shared_and_kept(path: Path, index: SqliteAuditIndex) -> None:
    other = SqliteAuditIndex(path)
    add(index, 1)
    add(other, 2, chain_id="node.2")
    assert found(index) == found(other) == [2, 1]
    other.close()
    index.close()
    again = SqliteAuditIndex(path)
    assert found(again) == [2, 1]
    again.close()


def test_nobody_else_may_read_it(path: Path, index: SqliteAuditIndex) -> None:
    add(index, 1)
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
    assert len(files) == 4  # with the write-ahead log, its index, and the lock
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_fails_in_between_leaves_nothing(index: SqliteAuditIndex) -> None:
    def read(_position: LogPosition) -> IndexedLines:
        return IndexedLines([made(1), made(2)._replace(event_name=[])], LogPosition(1, 20, 2), more=False)  # type: ignore[arg-type]

    with pytest.raises(StorageError):
        index.extend("node.1", read, forget_before=0)

    assert found(index) == []
    assert index.positions() == {}


def test_what_is_too_old_leaves_when_something_comes(index: SqliteAuditIndex) -> None:
    add(index, 1, 2)
    index.extend("node.1", lambda position: IndexedLines([], position, more=False), forget_before=NOW + 2)
    assert found(index) == [2]


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_that_is_removed_is_made_anew(path: Path, index: SqliteAuditIndex, wal: bool) -> None:  # noqa: FBT001
    add(index, 1)
    path.unlink()
    if wal:
        Path(f"{path}-wal").unlink()
        Path(f"{path}-shm").unlink()

    assert found(index) == []
    assert add(index, 1, 2) == [BEGINNING]
    assert found(index) == [2, 1]


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))


def drop(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE audit_events")
    connection.close()


def forget_positions(path: Path) -> None:
    """What was indexed is indexed again, and is there already."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM audit_index_positions")
    connection.close()


@pytest.mark.parametrize("damage", [overwrite, cut, scribble, drop, forget_positions])
def test_a_damaged_file_is_made_anew(
    path: Path, index: SqliteAuditIndex, damage: object, capfd: pytest.CaptureFixture[str]
) -> None:
    add(index, *range(1, 40))
    index.close()  # what is in the write-ahead log is in the file then
    assert callable(damage)
    damage(path)
    positions = add(index, *range(1, 50))

    assert positions[-1] == BEGINNING
    assert len(found(index)) == 49
    assert "is damaged: it is made anew from the audit log" in capfd.readouterr().err


def test_another_version_is_made_anew_without_a_word(
    path: Path, index: SqliteAuditIndex, capfd: pytest.CaptureFixture[str]
) -> None:
    add(index, 1)
    index.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    assert found(index) == []
    assert add(index, 1) == [BEGINNING]
    assert capfd.readouterr().err == ""


def test_it_is_made_anew_when_nobody_has_the_old_one_open(path: Path, index: SqliteAuditIndex) -> None:
    other = SqliteAuditIndex(path)
    add(index, 1)
    assert found(other) == [1]
    path.unlink()
    with pytest.raises(StorageError, match="when no other process has it open"):
        found(index)
    assert found(other) == []
    assert add(index, 1, 2) == [BEGINNING]
    assert found(other) == [2, 1]
    other.close()


def test_the_last_of_the_disk_is_the_logs(index: SqliteAuditIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    add(index, 1)
    monkeypatch.setattr(audit_index, "SPACE_KEPT", 1 << 60)
    with pytest.raises(StorageError, match="of the disk are for the audit log"):
        add(index, 2)
    assert found(index) == [1]


def test_what_is_no_damage_is_told(tmp_path: Path) -> None:
    index = SqliteAuditIndex(tmp_path / "nowhere" / "audit-index.db")
    with pytest.raises(StorageError, match="No such file"):
        index.look_up(EVERYTHING)
