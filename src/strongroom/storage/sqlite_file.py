"""The SQLite file itself: who may read it, how connections are set up, and plain reasons for failures."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sqlalchemy import Engine, QueuePool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from strongroom.errors import DataDirectoryError, RollbackError, StorageError

_BUSY_SECONDS = 5.0
"""How long a statement waits for another process's lock."""
_ERASE_WAITS_MILLISECONDS = 1_000
"""How long an erasure waits for others, who wait for it meanwhile."""
SPACE_KEPT = 64 << 20
"""Bytes of disk that erasures leave free, for the audit log above all."""
_POOL_SIZE = 8
"""Connections kept open; more are made while more threads read at once."""

_NOT_OURS = "the database is damaged or not one of Strongroom's"
_REASONS = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "the file is damaged or not a database",
    sqlite3.SQLITE_READONLY: "the database is read-only for this user",
    sqlite3.SQLITE_PERM: "no permission to open the database",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an input or output error",
    sqlite3.SQLITE_CONSTRAINT: "a row that the change would write is there already",
    sqlite3.SQLITE_ERROR: _NOT_OURS,
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite, SQLAlchemy and the file system raise into a StorageError of one line without any values."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(f"{path}: {_reason(error.orig)}") from error
    except SQLAlchemyError as error:
        raise StorageError(f"{path}: {_NOT_OURS}") from error
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {_reason(error)}") from error
    except UnicodeDecodeError as error:  # in a name of the schema, or in SQLite's own words about one
        raise StorageError(f"{path}: the database is damaged") from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _reason(error: BaseException | None) -> str:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _REASONS.get(code & 0xFF, f"SQLite failed with {getattr(error, 'sqlite_errorname', code)}")
    if isinstance(error, sqlite3.OperationalError):  # from Python's module: text that is not UTF-8
        return "the database is damaged"
    return "the database is closed"


class DatabaseFile(NamedTuple):
    """A database file: its path, and which file was there when it was opened.

    An open file's inode number is given to no other, wherever the file is moved.
    """

    path: Path
    device: int
    inode: int

    @classmethod
    def at(cls, path: Path) -> "DatabaseFile":
        """The file that is at a path now. Raises OSError if there is none."""
        found = path.stat()
        return cls(path, found.st_dev, found.st_ino)

    def refuse_another(self) -> None:
        """Raise RollbackError if another file is at the path now, OSError if none is."""
        if self.at(self.path) != self:
            raise RollbackError(f"{self.path}: the database file was replaced while it was open")


def connect(file: DatabaseFile) -> sqlite3.Connection:
    """Open a connection to a file. It begins no transaction by itself, and may be used from any thread.

    Raises RollbackError if another file is at its path by now, which is left as it is.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(file.path.absolute()))}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        file.refuse_another()  # before any statement: it would apply the write-ahead log of the file that was there
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def make_engine(file: DatabaseFile) -> Engine:
    """Make a pool of connections to a file."""
    return create_engine(
        "sqlite://",
        creator=lambda: connect(file),
        poolclass=QueuePool,
        pool_size=_POOL_SIZE,
        max_overflow=-1,
        hide_parameters=True,
    )


def write_anew(file: DatabaseFile) -> None:
    """Copy what is stored over the file and empty the write-ahead log, so that nothing deleted is left in either.

    `secure_delete` alone is not enough: when rows move between pages their old copies stay where they were, and the
    log keeps every page as it was. Raises StorageError if others keep the log in use.
    """
    connection = connect(file)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_ERASE_WAITS_MILLISECONDS}")  # it holds up all who write
        _empty_log(connection, file)  # first, so that nothing is copied in vain
        _require_space(file)
        connection.execute("PRAGMA temp_store = MEMORY")  # VACUUM's copy is written to no other file
        try:
            connection.execute("VACUUM")
        finally:
            _empty_log(connection, file)  # also of what a copy left that could not be completed
    finally:
        connection.close()


def _require_space(file: DatabaseFile) -> None:
    """Raise StorageError if a copy in the write-ahead log would leave too little room for the audit log."""
    needed = 2 * file.path.stat().st_size + SPACE_KEPT
    if shutil.disk_usage(file.path.parent).free < needed:
        raise StorageError(f"{file.path}: to write it anew, {needed >> 20:,} MiB of disk must be free")


def _empty_log(connection: sqlite3.Connection, file: DatabaseFile) -> None:
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StorageError(f"{file.path}: the write-ahead log is in use; it could not be emptied")


def create_file(path: Path) -> None:
    """Create an empty database that its owner alone may read. Raises StorageError if there is a file already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError as error:
        raise StorageError(f"{path}: there is a database already") from error


def remove_file(path: Path) -> None:
    """Remove a database that could not be completed."""
    for name in files(path):
        name.unlink(missing_ok=True)


def files(path: Path) -> list[Path]:
    """The files of a database: itself, the write-ahead log, and the log's index."""
    return [path, Path(f"{path}-wal"), Path(f"{path}-shm")]


def check_file(path: Path) -> None:
    """Raise StorageError if there is no database, DataDirectoryError if others may read or write it."""
    if not path.exists():
        raise StorageError(f"{path}: there is no database")
    for name in files(path):
        if name.exists() and stat.S_IMODE(name.stat().st_mode) & 0o077:
            raise DataDirectoryError(f"{name}: other users may access it; its mode must be 0600")
