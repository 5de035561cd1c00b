"""Storage in one SQLite file, for the server processes of one machine.

The file is in WAL mode with `synchronous=FULL`: an acknowledged change has been synced. Changes are serialized by
SQLite's write lock; readers see the state as of their first read.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from strongroom.errors import StorageError
from strongroom.model.domain_key import DomainKey
from strongroom.storage import database, sqlite_file
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite_file import DatabaseFile


def create_storage(path: Path, row_key: bytes) -> DatabaseStorage:
    """Make a new database, which only its owner may read, and open it. `row_key` is 32 bytes.

    Raises StorageError if there is a file already, or if it cannot be made; then nothing is left behind.
    """
    with sqlite_file.explained(path):
        sqlite_file.create_file(path)
        try:
            return _fill(DatabaseFile.at(path), row_key)
        except BaseException:
            sqlite_file.remove_file(path)
            raise


def open_storage(path: Path, row_key: bytes) -> DatabaseStorage:
    """Open a database and bring its schema up to date. It proves nothing yet: that is `load`.

    Raises StorageError if there is none or it cannot be used, DataDirectoryError if others may access its files.
    """
    opened = open_database(path)
    try:
        return DatabaseStorage.open(opened, row_key)
    except BaseException:
        opened.close()
        raise


def read_domain_keys(path: Path) -> tuple[str, list[DomainKey]]:
    """Read the installation's id and all domain keys, not verified; see `database.read_domain_keys`."""
    opened = open_database(path)
    try:
        return database.read_domain_keys(opened)
    finally:
        opened.close()


@contextmanager
def new_database(path: Path) -> Iterator["SqliteDatabase"]:
    """Make a file without tables, which only its owner may read, for the block to fill.

    Raises StorageError if there is a file already. If the block fails nothing is left behind.
    """
    with sqlite_file.explained(path):
        sqlite_file.create_file(path)
        try:
            opened = SqliteDatabase(DatabaseFile.at(path))
            try:
                opened.use_write_ahead_log()
                yield opened
            finally:
                opened.close()
        except BaseException:
            sqlite_file.remove_file(path)
            raise


def _fill(file: DatabaseFile, row_key: bytes) -> DatabaseStorage:
    opened = SqliteDatabase(file)
    try:
        opened.use_write_ahead_log()
        return DatabaseStorage.create(opened, row_key)
    except BaseException:
        opened.close()
        raise


def open_database(path: Path) -> "SqliteDatabase":
    """Open the file as it is, whatever its schema. Raises StorageError, DataDirectoryError if others may access it."""
    with sqlite_file.explained(path):
        sqlite_file.check_file(path)
        return SqliteDatabase(DatabaseFile.at(path))


class SqliteDatabase:
    """An open SQLite file; `Database` says what each method promises. Raises RollbackError if the file was replaced."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._versions = sqlite_file.connect(file)
        self._engine = sqlite_file.make_engine(file)

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._file.path)

    def use_write_ahead_log(self) -> None:
        """Put a new database into WAL mode, which it keeps: readers and the writer do not wait for each other."""
        self._versions.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def connecting(self) -> Iterator[Connection]:
        """A connection for one SELECT. It does not look for another file in our file's place."""
        with sqlite_file.explained(self._file.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state, as of its first read."""
        with sqlite_file.explained(self._file.path):
            self._file.refuse_another()
            with self._engine.begin() as connection:
                connection.connection.cursor().execute("BEGIN")
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its beginning.

        What is written is durable, and in the file at our path, when it has ended.
        """
        with sqlite_file.explained(self._file.path):
            self._file.refuse_another()
            with self._engine.begin() as connection:
                connection.connection.cursor().execute("BEGIN IMMEDIATE")
                yield connection
            self._file.refuse_another()  # it was lost if the file was replaced meanwhile

    def version(self) -> int:
        """SQLite's count of what others committed, as this connection, which does nothing else, sees it."""
        try:
            row: tuple[int] = self._versions.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            with sqlite_file.explained(self._file.path):
                raise
        return row[0]

    def await_change(self, seconds: float) -> None:
        """Nothing tells: whoever shares the file asks for its version."""
        time.sleep(seconds)

    def check_structure(self, connection: Connection) -> None:
        """Raise StorageError unless SQLite finds the file sound, its indexes included."""
        found = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
        if found != "ok":
            raise StorageError(f"{self.name}: the database is damaged: {' '.join(str(found).split())}")

    def write_anew(self) -> None:
        """Copy what is stored over the file and empty the write-ahead log."""
        with sqlite_file.explained(self._file.path):
            self._file.refuse_another()
            sqlite_file.write_anew(self._file)

    def close(self) -> None:
        """Release every connection."""
        self._versions.close()
        self._engine.dispose()
