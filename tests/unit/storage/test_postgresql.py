"""What is particular to PostgreSQL: what its errors say, a server that goes, and what its files keep."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import select, update

from strongroom.errors import ConflictError, IntegrityError, RollbackError, StorageError
from strongroom.model.alias import Alias
from strongroom.model.domain_key import DomainKey
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, Account
from strongroom.storage import feed, sqlite
from strongroom.storage import postgresql as postgresql_storage
from strongroom.storage.contract import AuditChain, Delete, Insert, OutboxEntry, Position, Record, Replace, Stored
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import create_storage, open_storage, read_domain_keys
from strongroom.storage.postgresql_connection import PatientConnection
from strongroom.storage.tables import METADATA, RECORD_TABLES
from strongroom.testing.postgresql import Postgresql, running_postgresql

ROW_KEY = bytes(range(32))
ACCOUNT = Account("111122223333", 1.0, 1.5)
KEY = KmsKey(
    ACCOUNT.account, "us-east-1", "key-1", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled",
    "tëxt\x00", "{}", (("a", "b"),), 1.1, "ab" * 32, deletion_date=2.2, pending_window_in_days=7,
    policy_principals=(("arn:1", "AIDA1"),), rotation_period_in_days=90, next_rotation=3.3,
    on_demand_rotation_start=4.4, pending_material_id="cd" * 32, primary_region="us-east-1",
)  # fmt: skip
RECORDS: list[Record] = [
    ACCOUNT,
    Installation("installation-1", 1.25, b"chain", b"digest", 2.5, b"recovery", 3.5),
    DomainKey("rows", 1, 0.1, b"wrapped", b"recovery"),
    AccessKey("AKIA1", ACCOUNT.account, 2.0, b"sealed", "AIDA1", "s3", 3.0),
    KEY,
    KeyMaterial(
        ACCOUNT.account,
        "us-east-1",
        "key-1",
        "ab" * 32,
        1,
        "software",
        1,
        b"wrapped",
        1.5,
        b"public",
        7,
        b"recovery",
        "description",
        2.5,
        3.5,
        "AUTOMATIC",
    ),
    KeyUsage(ACCOUNT.account, "us-east-1", "key-1", 1.5, "Encrypt", "request-1", "event-1"),
]


@pytest.fixture
def url(postgresql: Postgresql) -> Iterator[str]:
    with postgresql.database() as url:
        yield url


@pytest.fixture
def storage(url: str) -> Iterator[DatabaseStorage]:
    storage = create_storage(url, ROW_KEY)
    yield storage
    storage.close()


@pytest.fixture
def intruder(storage: DatabaseStorage, url: str) -> Iterator[psycopg.Connection]:
    """Another connection to the database, not ours."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        yield connection


def fails(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(StorageError) as failure:
        call()
    text = str(failure.value)
    assert text.endswith(reason)
    assert "\n" not in text
    assert "s3cret" not in text


def test_an_installation_is_made_only_once(storage: DatabaseStorage, url: str) -> None:
    storage.commit([Insert(Account("111122223333", 1.0))], None)
    fails(lambda: create_storage(url, ROW_KEY), "there are tables in the database already")
    assert len(storage.load().records) == 1


def test_no_samples_are_kept_of_what_is_wrapped(intruder: psycopg.Connection) -> None:
    wrapped = {
        (table.name, column)
        for table in RECORD_TABLES.values()
        for column in {"wrapped", "sealed_secret", "recovery"} & set(table.columns)
    }
    query = "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attstattarget = 0 AND attnum > 0"
    assert set(intruder.execute(query).fetchall()) == wrapped


def test_a_database_without_tables_is_not_ours(url: str) -> None:
    fails(lambda: open_storage(url, ROW_KEY), "the database is damaged or not one of Strongroom's")


def test_what_cannot_be_reached_is_told_without_the_password(tmp_path: Path, url: str) -> None:
    away = f"postgresql://someone:s3cret@/database?host={tmp_path}"
    fails(lambda: open_storage(away, ROW_KEY), f"at {tmp_path}: the database cannot be reached, or does not answer")
    fails(lambda: open_storage("mysql://someone:s3cret@/x", ROW_KEY), "must begin with postgresql://")
    for unescaped in ("s3cret@s3cret", "s3@s3cret/s3cret", "x@y?s3cret"):
        mistyped = f"postgresql://someone:{unescaped}@localhost:1/database"
        fails(partial(open_storage, mistyped, ROW_KEY), "an @ in its user or password is written %40")
    fails(
        lambda: open_storage("postgresql://someone:s3cret@[::1/x", ROW_KEY), "postgresql://user:password@host/database"
    )
    fails(lambda: open_storage("someone:s3cret@x", ROW_KEY), "postgresql://user:password@host/database")
    missing = url.replace("/database", "/no-such-database")
    with pytest.raises(StorageError, match="the database cannot be reached"):
        open_storage(missing, ROW_KEY)


def test_an_edited_row_is_found(storage: DatabaseStorage, url: str) -> None:
    storage.commit([Insert(Account("111122223333", 1.0)), Insert(Account("222233334444", 1.0))], None)
    with psycopg.connect(url) as intruder:
        intruder.execute("UPDATE accounts SET created = 2 WHERE account = '222233334444'")
    expected = "the database was altered: accounts row 222233334444: its authentication code does not match"
    for call in (storage.load, lambda: storage.find(Account, ("222233334444",))):
        with pytest.raises(IntegrityError) as failure:
            call()
        assert str(failure.value) == expected


def test_a_creation_beside_another_is_refused(url: str) -> None:
    together = threading.Barrier(2)
    made: list[DatabaseStorage] = []
    refusals: list[str] = []

    def create() -> None:
        together.wait()
        try:
            made.append(create_storage(url, ROW_KEY))
        except StorageError as refusal:
            refusals.append(str(refusal).partition(": ")[2])

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals == ["there are tables in the database already"]
    assert made[0].load().records == []
    made[0].close()


def test_times_come_back_exactly_whatever_the_database_says(storage: DatabaseStorage, url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET extra_float_digits = -5")
    with closing(open_storage(url, ROW_KEY)) as other:
        other.commit([Insert(Account("111122223333", 1 / 3))], None)
        assert other.load().records == [Stored(Account("111122223333", 1 / 3), 1)]


def test_bytes_that_are_no_text_are_found(storage: DatabaseStorage, url: str) -> None:
    """Even in the place of the character that stands for such bytes."""
    storage.commit([Insert(Account("\ufffd", 1.0))], None)
    with psycopg.connect(url) as intruder:
        intruder.execute(r"UPDATE accounts SET account = '\xff'")
    with pytest.raises(IntegrityError, match="its authentication code does not match"):
        storage.load()


def test_domain_keys_are_read_before_the_row_key_is_known(storage: DatabaseStorage, url: str) -> None:
    keys = [DomainKey("rows", 1, 1.0, b"one"), DomainKey("rows", 2, 2.0, b"two")]
    storage.commit([Insert(Installation("installation-1", 1.0, b"", b"")), *map(Insert, keys)], None)
    assert read_domain_keys(url) == ("installation-1", keys)


def test_erasing_leaves_no_deleted_material_in_the_tables_files(
    storage: DatabaseStorage, url: str, postgresql: Postgresql
) -> None:
    """PostgreSQL's write-ahead log is another matter: docs/formats/storage.md says so."""
    materials = [
        KeyMaterial("111122223333", "us-east-1", "key", f"{number:064x}", 1, "software", 1, wrapped(number), 1.0)
        for number in range(50)
    ]
    storage.commit([Insert(material) for material in materials], None)
    with psycopg.connect(url) as connection:
        connection.execute("ANALYZE")  # PostgreSQL keeps samples of what columns hold
    storage.commit([Delete(material, 1) for material in materials[1:]], None)
    storage.erase()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")  # the files are written, and those of before are gone
    held = b"".join(path.read_bytes() for path in (postgresql.folder / "data" / "base").rglob("*") if path.is_file())
    assert [number for number in range(50) if wrapped(number) in held] == [0]
    assert [stored.record for stored in storage.load().records] == materials[:1]


def test_a_server_that_went_is_found_again() -> None:
    with running_postgresql() as server:
        storage = create_storage(server.create_database(), ROW_KEY)
        storage.commit([Insert(Account("111122223333", 1.0))], None)
        before = storage.version()
        for backend in server.run(
            "psql", "-Atc", "SELECT pid FROM pg_stat_activity WHERE application_name = 'strongroom'", "database1"
        ).split():
            os.kill(int(backend), signal.SIGTERM)
        with pytest.raises(StorageError):
            storage.version()
        assert storage.version() == before
        for _ in range(3):  # every connection that was lost is noticed once
            try:
                storage.commit([Insert(Account("222233334444", 1.0))], None)
                break
            except StorageError:
                continue
        assert len(storage.load().records) == 2
        storage.close()


def wrapped(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()  # nothing that PostgreSQL could compress


def test_rows_and_their_codes_are_those_of_sqlite(storage: DatabaseStorage, tmp_path: Path) -> None:
    def written(one: DatabaseStorage) -> list[Any]:
        one.commit([Insert(record) for record in RECORDS], OutboxEntry("chain-1", "event-1", b"record"))
        one.register_chain(AuditChain("chain-1", 1.1, 7, bytes(32), ended=True))
        with one.database.reading() as connection:
            tables = [connection.execute(select(table)).all() for table in METADATA.sorted_tables]
        return [one.position(), tables]

    with closing(sqlite.create_storage(tmp_path / "strongroom.db", ROW_KEY)) as other:
        assert written(storage) == written(other)


def test_what_the_server_says_of_a_row_is_not_repeated(storage: DatabaseStorage, intruder: psycopg.Connection) -> None:
    storage.commit([Insert(ACCOUNT)], None)
    intruder.execute("ALTER TABLE accounts ADD CHECK (created < 5)")
    with pytest.raises(StorageError) as failure:
        storage.commit([Replace(Account(ACCOUNT.account, 6.0), 1)], None)
    told = "".join(traceback.format_exception(failure.value))
    assert "Failing row" not in told
    assert storage.load().records == [Stored(ACCOUNT, 1)]


def test_a_locked_database(
    storage: DatabaseStorage, intruder: psycopg.Connection, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_storage, "_SETTINGS", "-c lock_timeout=50ms")
    with closing(open_storage(url, ROW_KEY)) as waiting:
        intruder.execute("SELECT pg_advisory_lock(%s)", (postgresql_storage._WRITER,))
        fails(lambda: waiting.commit([Insert(ACCOUNT)], None), "the database is locked by another process")
        assert waiting.load().records == [], "readers do not wait for writers"
        intruder.execute("SELECT pg_advisory_unlock_all()")
        assert waiting.commit([Insert(ACCOUNT)], None).number == 1


def test_a_creation_that_fails_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(feed, "begin", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create_storage(url, ROW_KEY)
    create_storage(url, ROW_KEY).close()


OTHER_PROCESS = """
import sys
from strongroom.model.principal import Account
from strongroom.storage.contract import Replace
from strongroom.storage.postgresql import open_storage
storage = open_storage(sys.argv[1], bytes(range(32)))
print(storage.commit([Replace(Account("111122223333", 2.0), 1)], None).number)
storage.close()
"""


def test_another_process_is_seen_and_conflicts(storage: DatabaseStorage, url: str) -> None:
    position = storage.commit([Insert(ACCOUNT)], None)
    version = storage.version()
    command = [sys.executable, "-c", OTHER_PROCESS, url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "2\n"
    assert storage.version() != version
    with pytest.raises(ConflictError):
        storage.commit([Replace(ACCOUNT, 1)], None)
    changes = storage.changes_since(position)
    assert changes is not None
    assert changes.written == [Stored(Account("111122223333", 2.0), 2)]


def test_a_process_killed_in_the_middle_of_a_change_leaves_nothing_of_it(storage: DatabaseStorage, url: str) -> None:
    before = storage.commit([Insert(ACCOUNT)], None)
    dies = "import os\nfrom strongroom.storage import feed\nfeed.append = lambda *_: os._exit(9)\n"
    script = dies + OTHER_PROCESS  # after the rows were written, before the feed is
    done = subprocess.run([sys.executable, "-c", script, url], check=False, timeout=60)
    assert done.returncode == 9
    assert storage.load().position == before
    assert storage.commit([], None).number == 2


def calls(storage: DatabaseStorage, position: Position) -> list[Callable[[], object]]:
    return [
        lambda: storage.commit([Insert(Account("000000000077", 1.0))], None),
        lambda: storage.register_chain(AuditChain("chain-1", 1.0, 0, bytes(32), ended=False)),
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


@pytest.fixture
def put_back(storage: DatabaseStorage, intruder: psycopg.Connection) -> Callable[[], None]:
    """Puts the contents back that the database has after change 1."""
    storage.commit([Insert(ACCOUNT)], None)
    tables = [sql.Identifier(name) for name in METADATA.tables]
    intruder.execute("CREATE SCHEMA backup")
    for table in tables:
        intruder.execute(sql.SQL("CREATE TABLE backup.{0} AS SELECT * FROM public.{0}").format(table))

    def put_back() -> None:
        with intruder.transaction():
            for table in tables:
                intruder.execute(sql.SQL("DELETE FROM public.{0}").format(table))
                intruder.execute(sql.SQL("INSERT INTO public.{0} SELECT * FROM backup.{0}").format(table))

    return put_back


def test_older_contents_put_back(storage: DatabaseStorage, put_back: Callable[[], None]) -> None:
    before = storage.position()
    storage.commit([Insert(Account("000000000002", 1.0))], None)
    version = storage.version()
    put_back()
    assert storage.version() != version
    refused(storage, before, "the database stands at change 1, but change 2 was made already")


def test_another_change_in_the_place_of_the_newest(
    storage: DatabaseStorage, put_back: Callable[[], None], url: str
) -> None:
    before = storage.position()
    storage.commit([Insert(Account("000000000002", 1.0))], None)
    version = storage.version()
    put_back()
    with closing(open_storage(url, ROW_KEY)) as other:
        other.commit([Insert(Account("000000000003", 1.0))], None)
    assert storage.version() != version, "the number is the same, the change is not"
    refused(storage, before, "change 2 of the database is not the one that was made before")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_an_edited_cell(storage: DatabaseStorage, record: Record) -> None:
    entry = RECORD_TABLES[type(record)]
    storage.commit([Insert(record)], None)
    for column in entry.table.columns:
        with storage.database.writing() as connection:
            cell = connection.execute(select(column)).scalar_one()
            connection.execute(update(entry.table).values({column: altered(cell)}))
        with pytest.raises(IntegrityError, match=rf"{entry.name} row [^\n;]*: its authentication code does not match"):
            storage.load()
        with storage.database.writing() as connection:
            connection.execute(update(entry.table).values({column: cell}))
    storage.load()


def altered(cell: object) -> object:
    match cell:
        case bool():
            return not cell
        case int() | float():
            return cell + 1
        case bytes():
            return bytes([*cell[:-1], cell[-1] ^ 1])
        case _:
            return f"{cell} "


@pytest.mark.parametrize("index", ["accounts_pkey", "aliases_by_key"])
def test_an_index_that_lacks_a_row_is_found(storage: DatabaseStorage, intruder: psycopg.Connection, index: str) -> None:
    """The index is out of use while the row is written, and then in use again."""
    use = "UPDATE pg_index SET indisready = {0}, indisvalid = {0} WHERE indexrelid = '{1}'::regclass"
    intruder.execute("SET allow_system_table_mods = on")
    intruder.execute(sql.SQL(use.format("false", index)))
    storage.commit([Insert(ACCOUNT), Insert(Alias(ACCOUNT.account, "us-east-1", "alias/a", "key-1", 1.0, 1.0))], None)
    storage.load()
    intruder.execute(sql.SQL(use.format("true", index)))
    table = index.split("_", maxsplit=1)[0]
    fails(storage.load, f"the database is damaged: an index of {table} does not fit its table")


def test_erasing_waits_for_those_who_see_what_was_deleted(
    storage: DatabaseStorage, intruder: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_storage, "_ERASE_SECONDS", 0.1)
    storage.commit([Insert(ACCOUNT)], None)
    intruder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    intruder.execute("SELECT 1 FROM feed_head")
    storage.commit([Delete(ACCOUNT, 1)], None)
    fails(storage.erase, "others still see what was deleted; it could not be erased")
    intruder.execute("ROLLBACK")
    storage.erase()


def test_a_server_that_hangs_is_waited_for_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientConnection, "patience", 0.3)
    with running_postgresql() as own, closing(create_storage(own.create_database(), ROW_KEY)) as storage:
        position = storage.commit([Insert(Account("000000000001", 1.0))], None)
        assert own.process is not None
        signal_all(own.process.pid, signal.SIGSTOP)
        try:
            for work in (storage.version, lambda: storage.commit([Insert(Account("000000000002", 1.0))], None)):
                with pytest.raises(StorageError, match="cannot be reached"):
                    work()
        finally:
            signal_all(own.process.pid, signal.SIGCONT)
        assert storage.position() == position
        storage.commit([Insert(Account("000000000003", 1.0))], None)


def signal_all(server: int, with_signal: signal.Signals) -> None:
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    for process in (server, *map(int, children)):
        os.kill(process, with_signal)
