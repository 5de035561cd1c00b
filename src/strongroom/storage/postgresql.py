"""Storage in a PostgreSQL database, which many machines can share. Needs the extra `strongroom[postgresql]`.

A change is committed synchronously. Changes are serialized by an advisory lock; readers see one state (REPEATABLE
READ). Nothing tells one PostgreSQL database from another but what is in it: a database that was put in place of the one
that was opened is found by its change feed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from select import POLLIN, poll
from typing import Any

from sqlalchemy import URL, Connection, FromClause, Label, create_engine, event, func, literal, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from strongroom.errors import DatabaseAwayError, StorageError
from strongroom.model.domain_key import DomainKey
from strongroom.storage import database
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.tables import FEED_HEAD, METADATA, RECORD_TABLES

_CONNECT_SECONDS = 5
_LOCK_SECONDS = 5
_STATEMENT_SECONDS = 60
_SETTINGS = (
    "-c extra_float_digits=1 "  # times come back as exactly what they were
    "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed "
    f"-c lock_timeout={_LOCK_SECONDS}s -c statement_timeout={_STATEMENT_SECONDS}s"
)
_CONNECT = {
    "connect_timeout": _CONNECT_SECONDS,
    "options": _SETTINGS,
    "target_session_attrs": "read-write",  # of several hosts never a standby, which may be behind
    "fallback_application_name": "strongroom",  # unless the URL says another
    "tcp_user_timeout": 10_000,  # milliseconds: a server that is gone without a word
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_POOL_SIZE = 8
"""Connections kept open; as many more are made while more threads read at once."""
_CHANNEL = "strongroom"
"""What is notified when something was committed. It says nothing, and is believed nothing: it wakes up."""
_WRITER = 0x5374726F6E67726D
"""The advisory lock of whoever changes anything."""

_NOT_OURS = "the database is damaged or not one of Strongroom's"
_REASONS = {
    "28": "the database refuses the user or password",
    "3D": "there is no such database",
    "40": "the database could not order concurrent changes",
    "42": _NOT_OURS,
    "53": "the database has no memory, disk or connections left",
    "55": "the database is locked by another process",
    "57": "the database ended the statement or the connection",
    "58": "the database reports an input or output error",
    "XX": "the database is damaged",
    "23": "a row that the change would write is there already",
}
"""Class of an SQLSTATE (PostgreSQL: "Error Codes") -> what it means here."""

_AWAY = ("08", "53", "57")
"""Those of a server that may be well again by itself."""

_HEAD = select(FEED_HEAD.c.chain)

_ERASE_SECONDS = 5.0
"""How long erasing waits for transactions that still see what was deleted."""
_NEXT_TRANSACTION = text("SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text")
_OLDER_VIEWS = text("""
    SELECT count(*) FROM (
        SELECT backend_xmin AS oldest FROM pg_stat_activity WHERE pid <> pg_backend_pid()
        UNION ALL SELECT backend_xid FROM pg_stat_activity WHERE pid <> pg_backend_pid()
        UNION ALL SELECT transaction FROM pg_prepared_xacts
        UNION ALL SELECT xmin FROM pg_replication_slots
    ) AS held WHERE age(oldest) > age(CAST(:before AS text)::xid)
""")
"""How many see, or may yet see, rows that were deleted before a transaction: VACUUM keeps those rows for them."""

_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_PLAN = text(
    "SELECT set_config('enable_seqscan', :by_table, true), set_config('enable_bitmapscan', 'off', true),"
    " set_config('enable_indexscan', :by_index, true), set_config('enable_indexonlyscan', :by_index, true),"
    " set_config('enable_sort', :by_table, true), set_config('enable_incremental_sort', 'off', true)"
)
"""For the rest of a transaction: tables are read as they lie, or through the index of the order that is asked for."""
_INDEXES = [
    (table, columns)
    for table in METADATA.sorted_tables
    for columns in (list(table.primary_key), *(list(index.columns) for index in table.indexes))
    if columns
]


def _count(rows: FromClause, label: str) -> Label[int]:
    return select(func.count()).select_from(rows).scalar_subquery().label(label)


_COUNT_ROWS = select(*(_count(table, f"rows_{at}") for at, (table, _) in enumerate(_INDEXES)))
_COUNT_ENTRIES = select(
    *(
        _count(select(literal(1)).select_from(table).order_by(*columns).offset(0).subquery(), f"entries_{at}")
        for at, (table, columns) in enumerate(_INDEXES)
    )
)
"""PostgreSQL keeps to the order of a query within another if that has an OFFSET."""


def create_storage(url: str, row_key: bytes) -> DatabaseStorage:
    """Make the tables in an empty database and open it. `row_key` is 32 bytes.

    `url` is `postgresql://user:password@host:port/database`. Raises StorageError if the tables are there already.
    """
    opened = PostgresqlDatabase(url)
    try:
        return DatabaseStorage.create(opened, row_key)
    except BaseException:
        opened.close()
        raise


def open_storage(url: str, row_key: bytes) -> DatabaseStorage:
    """Open a database and bring its schema up to date. It proves nothing yet: that is `load`. Raises StorageError."""
    opened = PostgresqlDatabase(url)
    try:
        return DatabaseStorage.open(opened, row_key)
    except BaseException:
        opened.close()
        raise


def has_password(url: str) -> bool:
    """Whether a password stands in a URL. Raises StorageError if it cannot be read."""
    return _checked(url).password is not None


def is_used(url: str) -> bool:
    """Whether anybody else is connected to a database. Raises StorageError."""
    opened = PostgresqlDatabase(url)
    try:
        with opened.connecting() as connection:
            return bool(connection.execute(_OTHERS).scalar_one())
    finally:
        opened.close()


def read_domain_keys(url: str) -> tuple[str, list[DomainKey]]:
    """Read the installation's id and all domain keys, not verified; see `database.read_domain_keys`."""
    opened = PostgresqlDatabase(url)
    try:
        return database.read_domain_keys(opened)
    finally:
        opened.close()


class PostgresqlDatabase:
    """An open PostgreSQL database; `Database` says what each method promises."""

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        engine = create_engine(
            self._url,
            connect_args=_CONNECT,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_SIZE,
            pool_timeout=_LOCK_SECONDS,
            hide_parameters=True,
        )
        event.listen(engine, "do_connect", _connect)
        event.listen(engine, "checkout", _refuse_ended)
        self._engine = engine
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writers = engine.execution_options(isolation_level="READ COMMITTED")
        self._versions: Connection | None = None
        self._notices: Connection | None = None

    @property
    def name(self) -> str:
        """The name of the database and where it is. No password."""
        where = self._url.host or self._url.query.get("host", "localhost")
        return f"PostgreSQL database {self._url.database} at {where}"

    @contextmanager
    def connecting(self) -> Iterator[Connection]:
        """A connection for one SELECT."""
        with self._explained(), self._single.connect() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state, as of its first read."""
        with self._explained(), self._readers.begin() as connection, _patient(connection, _STATEMENT_SECONDS):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that has the writers' lock from its beginning; what it reads later is what they left."""
        with self._explained(), self._writers.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITER})
            yield connection
            connection.execute(text(f"NOTIFY {_CHANNEL}"))

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """A transaction that changes what is no state. It waits for no writer of state, and wakes nobody up."""
        with self._explained(), self._writers.begin() as connection:
            yield connection

    def version(self) -> int:
        """The first 64 bits of the newest change's chain value: another change of the same number has others."""
        with self._explained():
            try:
                if self._versions is None:
                    self._versions = self._single.connect()
                chain = self._versions.execute(_HEAD).scalar_one_or_none()
            except SQLAlchemyError:
                self._forget_versions()  # the next call connects anew
                raise
        return 0 if chain is None else int.from_bytes(chain[:8])

    def await_change(self, seconds: float) -> None:
        """Return when something was committed since the last call, perhaps earlier, at most after `seconds`.

        For one thread. Raises StorageError; the next call connects anew.
        """
        with self._explained():
            try:
                if self._notices is None:
                    self._notices = self._single.connect()
                    self._notices.execute(text(f"LISTEN {_CHANNEL}"))
                    return  # nobody knows what came before
                raw: Any = self._notices.connection.driver_connection
                for _ in raw.notifies(timeout=seconds, stop_after=1):
                    pass
            except self._engine.dialect.loaded_dbapi.Error as error:
                self._forget_notices()
                raise self._failure(error) from None
            except SQLAlchemyError:
                self._forget_notices()
                raise

    def check_structure(self, connection: Connection) -> None:
        """Raise StorageError unless every index leads to as many rows as its table has.

        PostgreSQL proves more with its module amcheck, which only a superuser may use.
        """
        connection.execute(_PLAN, {"by_table": "on", "by_index": "off"})
        rows = connection.execute(_COUNT_ROWS).one()
        connection.execute(_PLAN, {"by_table": "off", "by_index": "on"})
        entries = connection.execute(_COUNT_ENTRIES).one()
        for (table, _), one, other in zip(_INDEXES, rows, entries, strict=True):
            if one != other:
                raise StorageError(
                    f"{self.name}: the database is damaged: an index of {table.name} does not fit its table"
                )

    def write_anew(self) -> None:
        """Write the tables of records anew. PostgreSQL's write-ahead log keeps old pages until they are recycled."""
        tables = ", ".join(entry.name for entry in RECORD_TABLES.values())
        with self.connecting() as connection:
            self._await_older_views(connection)
            connection.execute(text("SET statement_timeout = 0"))
            try:
                with _patient(connection, None):
                    connection.execute(text(f"VACUUM (FULL) {tables}"))
            finally:
                connection.invalidate()  # with its setting

    def _await_older_views(self, connection: Connection) -> None:
        deadline = time.monotonic() + _ERASE_SECONDS
        before = connection.execute(_NEXT_TRANSACTION).scalar_one()
        while connection.execute(_OLDER_VIEWS, {"before": before}).scalar_one():
            if time.monotonic() > deadline:
                raise StorageError(f"{self.name}: others still see what was deleted; it could not be erased")
            time.sleep(0.05)

    def close(self) -> None:
        """Release every connection."""
        self._forget_versions()
        self._forget_notices()
        self._engine.dispose()

    def _failure(self, error: BaseException | None) -> StorageError:
        state: str | None = getattr(error, "sqlstate", None)
        if state is None:
            return DatabaseAwayError(f"{self.name}: the database cannot be reached, or does not answer")
        reason = _REASONS.get(state[:2], f"PostgreSQL failed with SQLSTATE {state}")
        kind = DatabaseAwayError if state[:2] in _AWAY else StorageError
        return kind(f"{self.name}: {reason}")

    def _forget_versions(self) -> None:
        if self._versions is not None:
            self._versions.invalidate()
            self._versions.close()
            self._versions = None

    def _forget_notices(self) -> None:
        if self._notices is not None:
            self._notices.invalidate()
            self._notices.close()
            self._notices = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what PostgreSQL and SQLAlchemy raise into a StorageError of one line without any values."""
        try:
            yield
        except DBAPIError as error:
            raise self._failure(error.orig) from None  # its text may quote values
        except PoolTimeoutError:
            raise StorageError(f"{self.name}: all connections are in use") from None
        except SQLAlchemyError as error:
            raise StorageError(f"{self.name}: {_NOT_OURS}") from error


def _refuse_ended(raw: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 — psycopg's connection
    """Have a connection made anew on which the server said something unasked: that it has ended. Asks nobody."""
    said = poll()
    said.register(raw.pgconn.socket, POLLIN)
    if said.poll(0):
        raise DisconnectionError


def _connect(_dialect: object, _record: object, arguments: list[str], settings: dict[str, Any]) -> object:
    from strongroom.storage.postgresql_connection import PatientConnection

    return PatientConnection.connect(*arguments, **settings)


@contextmanager
def _patient(connection: Connection, seconds: float | None) -> Iterator[None]:
    """For a block, wait longer for the server's answers: it may read much."""
    raw: Any = connection.connection.driver_connection
    before, raw.patience = raw.patience, seconds
    try:
        yield
    finally:
        raw.patience = before


def _checked(url: str) -> URL:
    if url.count("@") > 1:  # part of the password would be taken for the host, and named in messages
        raise StorageError("the URL of the database: an @ in its user or password is written %40")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError("the URL of the database cannot be read: postgresql://user:password@host/database") from None
    if parsed.get_backend_name() != "postgresql":
        raise StorageError("the URL of the database must begin with postgresql://")
    return parsed.set(drivername="postgresql+psycopg")
