"""The nonces of requests: in an SQLite file that all server processes of a machine share, or in the nodes' database.

The file is not synced to the disk: a power failure may forget the newest nonces, a killed process does not.
"""

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from strongroom.errors import StorageError
from strongroom.storage.contract import NONCE_SECONDS
from strongroom.storage.database import Database
from strongroom.storage.tables import NONCES

_SCHEMA = "CREATE TABLE nonces (owner TEXT, nonce TEXT, used REAL, PRIMARY KEY (owner, nonce)) WITHOUT ROWID"
_FORGET = "DELETE FROM nonces WHERE used < ?"
_INSERT = "INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)"
_BUSY_SECONDS = 5


class SqliteNonces:
    """See `contract.Nonces`. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Make the file if there is none. Raises StorageError, also if it is damaged: a nonce might be forgotten."""
        self._path = path
        try:
            if not path.exists():
                _create(path)
            with closing(self._connect()) as connection:
                connection.execute(_FORGET, (0.0,))  # fails if the table is not there
                (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            raise StorageError(f"cannot use {path}: {error}") from error
        if found != "ok":
            raise StorageError(f"cannot use {path}: it is damaged: {' '.join(str(found).split())}")

    def first_use(self, owner: str, nonce: str, now: float) -> bool:
        """Note a nonce; whether it was not there."""
        try:
            with closing(self._connect()) as connection:
                connection.execute(_FORGET, (now - NONCE_SECONDS,))
                return connection.execute(_INSERT, (owner, nonce, now)).rowcount == 1
        except sqlite3.Error as error:
            raise StorageError(f"cannot write {self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA synchronous = OFF")
        except sqlite3.Error as error:
            raise StorageError(f"cannot open {self._path}: {error}") from error
        return connection


def _create(path: Path) -> None:
    """Make the file, whole or not at all: one that lost its contents must not pass for a new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_SCHEMA)
        connection.execute("CREATE INDEX nonces_by_time ON nonces (used)")
    with contextlib.suppress(FileExistsError):  # another process was first
        path.hardlink_to(unfinished)
    unfinished.unlink()


class DatabaseNonces:
    """See `contract.Nonces`. Safe to use from any thread. The table is neither authenticated nor part of a backup."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def first_use(self, owner: str, nonce: str, now: float) -> bool:
        """Note a nonce; whether it was not there."""
        with self._database.connecting() as connection:
            connection.execute(delete(NONCES).where(NONCES.c.used < now - NONCE_SECONDS))
            given = insert(NONCES).values(owner=owner, nonce=nonce, used=now).on_conflict_do_nothing()
            return connection.execute(given.returning(NONCES.c.used)).first() is not None
