"""What is particular to PostgreSQL: what its errors say, a server that goes, and what its files keep."""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from strongroom.errors import IntegrityError, StorageError
from strongroom.model.domain_key import DomainKey
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial
from strongroom.model.principal import Account
from strongroom.storage.contract import Delete, Insert
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import create_storage, open_storage, read_domain_keys
from strongroom.testing.postgresql import Postgresql, running_postgresql

ROW_KEY = bytes(range(32))


@pytest.fixture
def url(postgresql: Postgresql) -> str:
    return postgresql.create_database()


@pytest.fixture
def storage(url: str) -> Iterator[DatabaseStorage]:
    storage = create_storage(url, ROW_KEY)
    yield storage
    storage.close()


def fails(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(StorageError) as failure:
        call()
    text = str(failure.value)
    assert text.endswith(reason)
    assert "\n" not in text
    assert "s3cret" not in text


def test_an_installation_is_made_only_once(storage: DatabaseStorage, url: str) -> None:
    storage.commit([Insert(Account("111122223333", 1.0))], None)
    fails(lambda: create_storage(url, ROW_KEY), "there is an installation in the database already")
    assert len(storage.load().records) == 1


def test_a_database_without_tables_is_not_ours(url: str) -> None:
    fails(lambda: open_storage(url, ROW_KEY), "the database is damaged or not one of Strongroom's")


def test_what_cannot_be_reached_is_told_without_the_password(tmp_path: Path, url: str) -> None:
    away = f"postgresql://someone:s3cret@/database?host={tmp_path}"
    fails(lambda: open_storage(away, ROW_KEY), f"at {tmp_path}: the database cannot be reached")
    fails(lambda: open_storage("mysql://someone:s3cret@/x", ROW_KEY), "must begin with postgresql://")
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


def test_bytes_that_are_no_text_are_found(storage: DatabaseStorage, url: str) -> None:
    storage.commit([Insert(Account("111122223333", 1.0))], None)
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
    return hashlib.sha256(b"%d" % number).digest() * 2
