"""Storage in a PostgreSQL database, which many machines can share. Needs the extra `strongroom[postgresql]`.

A change is committed synchronously. Changes are serialized by an advisory lock; readers see one state (REPEATABLE
READ). Nothing tells one PostgreSQL database from another but what is in it: a database that was put in place of the one
that was opened is found by its change feed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, create_engine, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from strongroom.errors import StorageError
from strongroom.model.domain_key import DomainKey
from strongroom.storage import database
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.tables import FEED_HEAD, KEY_MATERIALS, KMS_KEYS

_CONNECT_SECONDS = 5
_LOCK_SECONDS = 5
_STATEMENT_SECONDS = 60
_SETTINGS = (
    "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed "
    f"-c lock_timeout={_LOCK_SECONDS}s -c statement_timeout={_STATEMENT_SECONDS}s"
)
_POOL_SIZE = 8
"""Connections kept open; more are made while more threads read at once."""
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

_HEAD = select(FEED_HEAD.c.number)


def create_storage(url: str, row_key: bytes) -> DatabaseStorage:
    """Make the tables in an empty database and open it. `row_key` is 32 bytes.

    `url` is `postgresql://user:password@host:port/database`. Raises StorageError if the tables are there already.
    """
    opened = PostgresqlDatabase(url)
    try:
        opened.refuse_tables()
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
            connect_args={"connect_timeout": _CONNECT_SECONDS, "options": _SETTINGS, "application_name": "strongroom"},
            pool_size=_POOL_SIZE,
            max_overflow=-1,
            hide_parameters=True,
        )
        self._engine = engine
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writers = engine.execution_options(isolation_level="READ COMMITTED")
        self._versions: Connection | None = None

    @property
    def name(self) -> str:
        """The name of the database and where it is. No password."""
        where = self._url.host or self._url.query.get("host", "localhost")
        return f"PostgreSQL database {self._url.database} at {where}"

    def refuse_tables(self) -> None:
        """Raise StorageError if the tables are there already."""
        with self.connecting() as connection:
            made = inspect(connection).has_table(str(FEED_HEAD.name))
        if made:
            raise StorageError(f"{self.name}: there is an installation in the database already")

    @contextmanager
    def connecting(self) -> Iterator[Connection]:
        """A connection for one SELECT."""
        with self._explained(), self._single.connect() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state, as of its first read."""
        with self._explained(), self._readers.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that has the writers' lock from its beginning; what it reads later is what they left."""
        with self._explained(), self._writers.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITER})
            yield connection

    def version(self) -> int:
        """The number of the newest change, on a connection that does nothing else."""
        with self._explained():
            try:
                if self._versions is None:
                    self._versions = self._single.connect()
                return int(self._versions.execute(_HEAD).scalar_one())
            except SQLAlchemyError:
                self._forget_versions()  # the next call connects anew
                raise

    def check_structure(self, connection: Connection) -> None:
        """Nothing: PostgreSQL checks its pages itself as they are read, if it was set up with checksums."""

    def write_anew(self) -> None:
        """Write the tables anew that hold key material. Its write-ahead log keeps old pages until they are recycled."""
        with self.connecting() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            try:
                for table in (KEY_MATERIALS, KMS_KEYS):
                    connection.execute(text(f"VACUUM (FULL) {table.name}"))
            finally:
                connection.invalidate()  # with its setting

    def close(self) -> None:
        """Release every connection."""
        self._forget_versions()
        self._engine.dispose()

    def _forget_versions(self) -> None:
        if self._versions is not None:
            self._versions.invalidate()
            self._versions.close()
            self._versions = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what PostgreSQL and SQLAlchemy raise into a StorageError of one line without any values."""
        try:
            yield
        except DBAPIError as error:
            raise StorageError(f"{self.name}: {_reason(error.orig)}") from None  # its text may quote values
        except SQLAlchemyError as error:
            raise StorageError(f"{self.name}: {_NOT_OURS}") from error


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError("the URL of the database cannot be read: postgresql://user:password@host/database") from None
    if parsed.get_backend_name() != "postgresql":
        raise StorageError("the URL of the database must begin with postgresql://")
    return parsed.set(drivername="postgresql+psycopg")


def _reason(error: BaseException | None) -> str:
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:
        return "the database cannot be reached"
    return _REASONS.get(state[:2], f"PostgreSQL failed with SQLSTATE {state}")
