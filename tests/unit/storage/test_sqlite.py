"""The SQLite file: who may read it, what happens when it is damaged, full or locked, and other processes."""

import hashlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, DataDirectoryError, IntegrityError, StorageError
from strongroom.model.domain_key import DomainKey
from strongroom.model.installation import Installation
from strongroom.model.principal import Account
from strongroom.storage import sqlite_file
from strongroom.storage.contract import Delete, Insert, OutboxEntry, Replace, Stored
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite import create_storage, open_storage, read_domain_keys
from strongroom.storage.sqlite_file import DatabaseFile

ROW_KEY = bytes(range(32))
ACCOUNT = Account("111122223333", 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "strong room?#%.db"


@pytest.fixture
def storage(path: Path) -> Iterator[DatabaseStorage]:
    storage = create_storage(path, ROW_KEY)
    yield storage
    storage.close()


def fails(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(StorageError) as failure:
        call()
    assert str(failure.value).endswith(f": {reason}")
    assert "\n" not in str(failure.value)


def test_nobody_else_may_read_any_of_the_files(storage: DatabaseStorage, path: Path) -> None:
    storage.commit([Insert(ACCOUNT)], None)
    found = {name.name: stat.S_IMODE(name.stat().st_mode) for name in path.parent.iterdir()}
    assert found == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_files_that_others_may_read_are_refused(storage: DatabaseStorage, path: Path, suffix: str) -> None:
    Path(f"{path}{suffix}").chmod(0o640)
    with pytest.raises(DataDirectoryError, match=r"its mode must be 0600"):
        open_storage(path, ROW_KEY)


def test_create_refuses_a_file_that_is_there_and_leaves_it_alone(storage: DatabaseStorage, path: Path) -> None:
    storage.commit([Insert(ACCOUNT)], None)
    fails(lambda: create_storage(path, ROW_KEY), "there is a database already")
    assert storage.load().records == [Stored(ACCOUNT, 1)]


def test_a_creation_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as limited:
        limit_connections(limited, "PRAGMA max_page_count = 3")
        fails(lambda: create_storage(path, ROW_KEY), "the disk is full")
    assert list(path.parent.iterdir()) == []
    create_storage(path, ROW_KEY).close()
    fails(lambda: create_storage(path.parent / "missing" / "x.db", ROW_KEY), "No such file or directory")


def test_open_makes_no_database(path: Path) -> None:
    fails(lambda: open_storage(path, ROW_KEY), "there is no database")
    fails(lambda: read_domain_keys(path), "there is no database")
    assert not path.exists()


def test_connections_are_durable_and_erase_what_is_deleted(storage: DatabaseStorage) -> None:
    with storage.database.connecting() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "busy_timeout": 5000}


def test_deleted_bytes_leave_the_database_file(storage: DatabaseStorage, path: Path) -> None:
    secret = b"wrapped-material-that-must-go"
    storage.commit([Insert(DomainKey("rows", 1, 1.0, secret))], None)
    checkpoint(path)
    assert secret in path.read_bytes()
    storage.commit([Delete(DomainKey("rows", 1, 1.0, secret), 1)], None)
    checkpoint(path)
    assert secret not in path.read_bytes()


def test_erasing_leaves_no_copy_of_deleted_rows_in_any_file(storage: DatabaseStorage, path: Path) -> None:
    """Rows move between pages when their neighbors go: their old copies must go too."""
    keys = [DomainKey(f"{number * 7919 % 1000:04}", 1, 1.0, secret_of(number)) for number in range(300)]
    for key in keys:
        storage.commit([Insert(key)], None)
    for number, key in enumerate(keys, start=1):
        if number % 10:
            storage.commit([Delete(key, number)], None)
    storage.erase()
    held = b"".join(file.read_bytes() for file in path.parent.iterdir())
    present = [secret_of(number) in held for number in range(300)]
    assert present == [(number + 1) % 10 == 0 for number in range(300)]


def test_erasing_waits_for_those_who_read(
    storage: DatabaseStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.1)
    storage.commit([Insert(DomainKey("rows", 1, 1.0, b"wrapped"))], None)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM feed").fetchall()
        fails(storage.erase, "the write-ahead log is in use; it could not be emptied")
    storage.erase()
    assert not Path(f"{path}-wal").exists() or Path(f"{path}-wal").stat().st_size == 0


def test_erasing_leaves_room_on_the_disk(storage: DatabaseStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would stop the audit log, and with it every request."""
    storage.commit([Insert(DomainKey("rows", 1, 1.0, b"wrapped"))], None)
    monkeypatch.setattr(sqlite_file, "SPACE_KEPT", 1 << 60)
    with pytest.raises(StorageError, match=r"to write it anew, [0-9,]+ MiB of disk must be free\Z"):
        storage.erase()
    assert len(storage.load().records) == 1
    monkeypatch.undo()
    storage.erase()


def secret_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * 2


def checkpoint(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_domain_keys_are_read_before_the_row_key_is_known(storage: DatabaseStorage, path: Path) -> None:
    keys = [DomainKey("rows", 1, 1.0, b"one"), DomainKey("rows", 2, 2.0, b"two")]
    fails(lambda: read_domain_keys(path), "the database belongs to no installation; was `strongroom init` interrupted?")
    storage.commit([Insert(Installation("installation-1", 1.0, b"", b"")), *map(Insert, keys)], None)
    assert read_domain_keys(path) == ("installation-1", keys)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1_000, b"SQLite format 3\x00" + bytes(4_080)])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    for call in (lambda: open_storage(path, ROW_KEY), lambda: read_domain_keys(path)):
        with pytest.raises(StorageError, match=r"damaged( or not [^\n]*)?\Z"):
            call()


def test_a_domain_key_that_has_not_the_form_of_one(storage: DatabaseStorage, path: Path) -> None:
    key = DomainKey("key-material", 1, 1.0, b"wrapped")
    storage.commit([Insert(Installation("installation-1", 1.0, b"", b"")), Insert(key)], None)
    storage.close()
    assert read_domain_keys(path) == ("installation-1", [key])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE domain_keys SET purpose = x'00ff'")
    fails(lambda: read_domain_keys(path), "the database is damaged: a domain key has not the form of one")


def test_a_schema_that_is_not_utf_8(storage: DatabaseStorage, path: Path) -> None:
    """SQLite's message repeats what it could not read."""
    storage.close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE domain_keys", b"CREATE \xc3ABLE domain_keys"))
    fails(lambda: read_domain_keys(path), "the database is damaged")


@pytest.mark.parametrize("keep", [100, 4_096, 20_000, 60_000])
def test_a_truncated_database(storage: DatabaseStorage, path: Path, keep: int) -> None:
    storage.commit([Insert(Account(f"{number:012d}", 1.0)) for number in range(1_000)], None)
    storage.close()
    path.write_bytes(path.read_bytes()[:keep])

    def open_and_load() -> None:
        damaged = open_storage(path, ROW_KEY)
        try:
            damaged.load()
        finally:
            damaged.close()

    with pytest.raises(StorageError, match=r"damaged( or not [^\n]*)?\Z"):
        open_and_load()


def test_text_that_is_not_utf_8_is_damage(storage: DatabaseStorage, path: Path) -> None:
    storage.commit([Insert(ACCOUNT)], None)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE accounts SET account = CAST(X'736563726574ff' AS TEXT)")
    connection.commit()
    connection.close()
    fails(storage.load, "the database is damaged")


def test_a_database_of_another_version(storage: DatabaseStorage, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    fails(lambda: open_storage(path, ROW_KEY), "the database was made by another version of Strongroom")


def limit_connections(monkeypatch: pytest.MonkeyPatch, pragma: str) -> None:
    connect = sqlite_file.connect

    def limited(file: DatabaseFile) -> sqlite3.Connection:
        connection = connect(file)
        connection.execute(pragma)
        return connection

    monkeypatch.setattr(sqlite_file, "connect", limited)


def test_a_full_disk_refuses_the_change_and_keeps_the_state(
    storage: DatabaseStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = storage.commit([Insert(ACCOUNT)], None)
    limit_connections(monkeypatch, "PRAGMA max_page_count = 1")
    full = open_storage(path, ROW_KEY)
    fails(lambda: full.commit([], OutboxEntry("chain-1", "event-1", bytes(100_000))), "the disk is full")
    assert full.load().position == before
    assert full.outbox() == []
    full.close()


def test_a_locked_database(storage: DatabaseStorage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    waiting = open_storage(path, ROW_KEY)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    fails(lambda: waiting.commit([Insert(ACCOUNT)], None), "the database is locked by another process")
    assert waiting.load().records == [], "readers do not wait for writers"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert waiting.commit([Insert(ACCOUNT)], None).number == 1
    waiting.close()


def test_a_read_only_database(storage: DatabaseStorage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_connections(monkeypatch, "PRAGMA query_only = ON")
    readable = open_storage(path, ROW_KEY)
    fails(lambda: readable.commit([Insert(ACCOUNT)], None), "the database is read-only for this user")
    assert readable.load().records == []
    readable.close()


def test_the_version_of_a_closed_storage(storage: DatabaseStorage) -> None:
    storage.close()
    fails(storage.version, "the database is closed")


OTHER_PROCESS = """
import sys
from pathlib import Path
from strongroom.model.principal import Account
from strongroom.storage.contract import Replace
from strongroom.storage.sqlite import open_storage
storage = open_storage(Path(sys.argv[1]), bytes(range(32)))
print(storage.commit([Replace(Account("111122223333", 2.0), 1)], None).number)
storage.close()
"""


def test_another_process_is_seen_and_conflicts(storage: DatabaseStorage, path: Path) -> None:
    position = storage.commit([Insert(ACCOUNT)], None)
    version = storage.version()
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "2\n"
    assert storage.version() != version
    with pytest.raises(ConflictError):
        storage.commit([Replace(ACCOUNT, 1)], None)
    changes = storage.changes_since(position)
    assert changes is not None
    assert changes.written == [Stored(Account("111122223333", 2.0), 2)]


def test_a_process_killed_in_the_middle_of_a_change_leaves_nothing_of_it(storage: DatabaseStorage, path: Path) -> None:
    before = storage.commit([Insert(ACCOUNT)], None)
    dies = "import os\nfrom strongroom.storage import feed\nfeed.append = lambda *_: os._exit(9)\n"
    script = dies + OTHER_PROCESS  # after the rows were written, before the feed is
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == 9
    assert storage.load().position == before
    assert storage.commit([], None).number == 2


def test_an_index_that_does_not_fit_its_table_is_found(path: Path, storage: DatabaseStorage) -> None:
    storage.commit([Insert(ACCOUNT)], None)
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = path.read_bytes()
    at = [found for found in range(len(content)) if content.startswith(b"111122223333", found)]
    assert len(at) >= 2
    for place in at:
        altered = bytearray(content)
        altered[place] = ord("2")
        path.write_bytes(altered)
        damaged = open_storage(path, ROW_KEY)
        with pytest.raises((StorageError, IntegrityError)):
            damaged.load()
        damaged.close()
