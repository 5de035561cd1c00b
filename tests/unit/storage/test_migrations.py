"""Databases that earlier versions wrote are brought up to date, and are proven as they are."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom.model.installation import Installation
from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.storage.contract import Insert, Replace
from strongroom.storage.copying import TableCopy
from strongroom.storage.database import DatabaseStorage, fill
from strongroom.storage.postgresql import PostgresqlDatabase
from strongroom.storage.sqlite import open_storage
from strongroom.testing.postgresql import Postgresql

RECORDS = {
    "schema-0001": 6,
    "schema-0002": 9,
    "schema-0004": 11,
    "schema-0006": 18,
    "schema-0007": 18,
    "schema-0008": 18,
    "schema-0009": 18,
    "schema-0010": 19,
    "schema-0011": 23,
}
"""How many records each has: one of every kind that there was."""

VECTORS = Path(__file__).parents[2] / "vectors" / "storage"
KEY = ("111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab")


ROW_KEY = bytes(range(32))
every_dump = pytest.mark.parametrize("dump", sorted(VECTORS.glob("schema-*.sql")), ids=lambda path: path.stem)


@every_dump
def test_an_earlier_schema_is_brought_up_to_date(tmp_path: Path, dump: Path) -> None:
    path = tmp_path / "strongroom.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)
    storage = open_storage(path, ROW_KEY)
    assert len(storage.load().records) == RECORDS[dump.stem]
    continue_in(storage)
    storage.close()


@every_dump
def test_an_earlier_schema_in_postgresql_is_too(postgresql: Postgresql, dump: Path) -> None:
    """And so is a backup of that time: it is filled into its own schema."""
    with closing(sqlite3.connect(":memory:")) as connection, postgresql.database() as url:
        connection.executescript(dump.read_text())
        ((revision,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        server = PostgresqlDatabase(url)
        fill(server, revision, tables_of(connection))
        storage = DatabaseStorage.open(server, ROW_KEY)
        assert len(storage.load().records) == RECORDS[dump.stem]
        continue_in(storage)
        storage.close()


def tables_of(connection: sqlite3.Connection) -> Iterator[TableCopy]:
    """All rows of a dump, with the types that PostgreSQL knows apart."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        if name != "alembic_version":
            described = connection.execute(f"PRAGMA table_info({name})").fetchall()
            flags = [kind == "BOOLEAN" for _, _, kind, *_ in described]
            yield TableCopy(
                name,
                [column for _, column, *_ in described],
                (
                    [bool(cell) if flag else cell for cell, flag in zip(row, flags, strict=True)]
                    for row in connection.execute(f'SELECT * FROM "{name}"').fetchall()
                ),
            )


def continue_in(storage: DatabaseStorage) -> None:
    """See that what was there is as it was, and go on."""
    found = storage.find(KmsKey, KEY)
    assert found is not None
    key, number = found
    assert (key.description, key.tags, key.deletion_date) == ("first", (("a", "b"),), None)
    assert len(storage.outbox()) == 1
    ((installation, installed),) = storage.find_all(Installation)
    assert installation.usage_tracked_since is None
    usage = KeyUsage(*KEY, 1.0, "Encrypt", "request-1", "event-1")
    tracked = replace(installation, usage_tracked_since=1.0)
    storage.commit([Replace(replace(key, deletion_date=1.0), number), Insert(usage), Replace(tracked, installed)], None)
    storage.load()
