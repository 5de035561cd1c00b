"""The index of the audit log on one machine: an SQLite file of its own, which is made from the log and can be lost.

It never slows a change of state, and is no part of it. After a crash it may be behind the log, never beyond it: how far
each chain is indexed is written with the events. One that is damaged, or of another version, is made anew.
"""

import fcntl
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, QueuePool, create_engine, text
from sqlalchemy.exc import DBAPIError

from strongroom.errors import StorageError
from strongroom.storage import audit_events, sqlite_file
from strongroom.storage.audit_events import EventPage, EventQuery, IndexedLines, LogPosition

_VERSION = 1
"""Of the schema: SQLite's `user_version`. There are no migrations."""
SPACE_KEPT = 1 << 30
"""Bytes of disk that the index leaves free: it is a convenience, and the audit log is none."""
_BUSY_SECONDS = 5.0
_PAGE_BYTES = 8_192
"""Of a small page much would stay empty: a record takes more than a kilobyte."""
_CACHE_KILOBYTES = 16_384
"""Memory for pages, of each connection: the leaves of indexes are written to all over."""
LOOK_UP_SECONDS = 2.0
"""How long one look-up may take: an attribute that few events have is sought among all of the account's."""
_STEPS = 10_000
"""Of SQLite's machine between two looks at the clock."""
_PAGES_IN_LOG = 2_000
"""How long the write-ahead log grows until it is copied into the file, and both are synced."""
_DAMAGED = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
}
"""What SQLite answers if the file is not what we wrote."""

T = TypeVar("T")


class SqliteEvents:
    """Where events are looked up on one machine: beside whoever adds to the index, and not for long."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def look_up(self, query: EventQuery) -> EventPage:
        """Find a page of events (`audit_events.EventIndex`). Raises StorageError, also if it takes too long."""
        index = SqliteAuditIndex(self._path, patience=LOOK_UP_SECONDS)
        try:
            return index.look_up(query)
        finally:
            index.close()


class SqliteAuditIndex:
    """The index, for any thread, one at a time. Server processes share the file. All raise StorageError.

    Whoever has the file open holds a lock on the one beside it. Another is put in its place by who holds that alone:
    SQLite removes the write-ahead log of a file that it closes by its name, which must not be the new one's.
    """

    def __init__(self, path: Path, patience: float | None = None) -> None:
        """`patience` is for how many seconds statements of this object may run, together; None for any time."""
        self._path = path
        self._deadline = None if patience is None else time.monotonic() + patience
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=QueuePool, hide_parameters=True)
        self._mutex = Lock()
        self._held: int | None = None
        self._inode = 0

    def look_up(self, query: EventQuery) -> EventPage:
        """Find a page of events (`audit_events.EventIndex`)."""
        return self._do("BEGIN", lambda connection: audit_events.look_up_events(connection, query))

    def extend(self, chain_id: str, read: Callable[[LogPosition], IndexedLines], *, forget_before: int) -> bool:
        """Add what `read` finds in a chain behind a position, forget some of what is too old; whether there is more.

        Nobody else writes meanwhile, so that nothing is added twice. On a disk that is nearly full nothing is added,
        which is a StorageError; what is too old goes.
        """
        if shutil.disk_usage(self._path.parent).free < SPACE_KEPT:
            self._do("BEGIN IMMEDIATE", lambda connection: audit_events.forget_events(connection, forget_before))
            raise StorageError(f"{self._path}: the last {SPACE_KEPT >> 20:,} MiB of the disk are for the audit log")

        def work(connection: Connection) -> bool:
            return audit_events.extend_chain(connection, chain_id, read, forget_before=forget_before)

        return self._do("BEGIN IMMEDIATE", work)

    def position(self, chain_id: str) -> LogPosition:
        """How far a chain is indexed."""
        return self._do("BEGIN", lambda connection: audit_events.position(connection, chain_id))

    def positions(self) -> dict[str, LogPosition]:
        """How far each chain is indexed of which there is anything."""
        return self._do("BEGIN", audit_events.positions)

    def close(self) -> None:
        """Release the file. It is opened again when it is used again."""
        with self._mutex:
            self._release()

    def _do(self, begin: str, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction, if need be with a file made anew."""
        with self._mutex, sqlite_file.explained(self._path):
            try:
                self._open()
                return self._once(begin, work)
            except _NotOursError:
                pass
            except DBAPIError as error:
                if not _is_damage(error.orig):
                    self._release()
                    raise
                sys.stderr.write(f"strongroom: {self._path} is damaged: it is made anew from the audit log\n")
            self._make_anew()
            return self._once(begin, work)

    def _once(self, begin: str, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            connection.connection.cursor().execute(begin)
            if connection.execute(text("PRAGMA user_version")).scalar_one() != _VERSION:
                raise _NotOursError
            return work(connection)

    def _open(self) -> None:
        """Share the file that is there. Raises _NotOursError if there is none."""
        inode = self._path.stat().st_ino if self._path.exists() else 0
        if self._held is None or inode != self._inode:
            self._release()
            self._hold(fcntl.LOCK_SH)
            self._inode = inode
        if not inode:
            raise _NotOursError

    def _make_anew(self) -> None:
        """Put an empty file in the place of the one that is there, if any.

        Raises StorageError while other processes have that open: they let go of it when they use it next.
        """
        self._release()
        try:
            self._hold(fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fill()
            self._hold(fcntl.LOCK_SH)
        except BaseException as error:
            self._release()
            if isinstance(error, BlockingIOError):
                raise StorageError(f"{self._path}: it is made anew when no other process has it open") from None
            raise

    def _fill(self) -> None:
        """Make an empty file."""
        sqlite_file.remove_file(self._path)
        sqlite_file.create_file(self._path)
        with self._engine.begin() as connection:
            connection.execute(text(f"PRAGMA page_size = {_PAGE_BYTES}"))
            connection.execute(text("PRAGMA journal_mode = WAL"))
            audit_events.metadata.create_all(connection, checkfirst=False)
            connection.execute(text(f"PRAGMA user_version = {_VERSION}"))
        self._inode = self._path.stat().st_ino

    def _hold(self, how: int) -> None:
        """Take the lock, or take it in another way."""
        if self._held is None:
            self._held = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._held, how)

    def _release(self) -> None:
        """Close the file, then give the lock back."""
        self._engine.dispose()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path.absolute()))}?mode=rw",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # what a crash takes is the newest, and read again
            connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_IN_LOG}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}")
            if self._deadline is not None:
                deadline = self._deadline
                connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        except BaseException:
            connection.close()
            raise
        return connection


class _NotOursError(Exception):
    """There is no file, or one of another schema."""


def _is_damage(error: BaseException | None) -> bool:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _DAMAGED  # without a code: text that is not UTF-8
