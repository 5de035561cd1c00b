"""Rows that are copied to another database, of another system too, are the rows that were proven."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.storage.copying import TableCopy, count_rows, read_position, read_tables
from strongroom.storage.database import Database, DatabaseStorage, fill
from strongroom.storage.postgresql import PostgresqlDatabase
from strongroom.storage.sqlite import new_database, open_database, open_storage
from strongroom.storage.tables import REVISION
from strongroom.testing.postgresql import Postgresql

VECTORS = Path(__file__).parents[2] / "vectors" / "storage"
ROW_KEY = bytes(range(32))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database with a row of nearly every kind, brought up to date."""
    path = tmp_path / "source.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(max(VECTORS.glob("schema-*.sql")).read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)
    open_storage(path, ROW_KEY).close()
    return path


def copy(source: Database, target: Database, revision: str = REVISION) -> None:
    with source.reading() as connection:
        fill(target, revision, read_tables(connection))


def prove_the_same(source: Path, copied: Database) -> None:
    original = open_storage(source, ROW_KEY)
    storage = DatabaseStorage.open(copied, ROW_KEY)
    assert storage.load() == original.load()
    assert storage.outbox() == original.outbox()
    assert storage.chains() == original.chains()
    original.close()


def test_to_a_file_and_to_a_server_and_back(source: Path, tmp_path: Path, postgresql: Postgresql) -> None:
    server = PostgresqlDatabase(postgresql.create_database())
    opened = open_database(source)
    copy(opened, server)
    opened.close()
    prove_the_same(source, server)
    with new_database(tmp_path / "back.db") as back:
        copy(server, back)
        prove_the_same(source, back)
    server.close()


def test_counts_and_position_are_those_of_the_rows(source: Path) -> None:
    database = open_database(source)
    with database.reading() as connection:
        counts = count_rows(connection)
        assert counts == {table.name: len(list(table.rows)) for table in read_tables(connection)}
        position = read_position(connection)
    database.close()
    storage = open_storage(source, ROW_KEY)
    assert position == storage.position()
    storage.close()


def test_tables_that_are_there_are_not_written_to(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    database = open_database(source)
    with pytest.raises(StorageError, match="there are tables in the database already"):
        fill(database, REVISION, [])
    database.close()
    assert source.read_bytes() == before


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[TableCopy]:
        yield TableCopy("accounts", ("account", "created", "number", "mac"), [("111122223333", 1.0, 1, b"")])
        raise StorageError("the source failed")

    with pytest.raises(StorageError, match="the source failed"), new_database(tmp_path / "new.db") as target:
        fill(target, REVISION, failing())
    assert list(tmp_path.iterdir()) == []
