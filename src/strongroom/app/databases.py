"""The database that a configuration names: an SQLite file, or one of PostgreSQL, which many nodes share."""

from collections.abc import Callable
from typing import TypeVar

from strongroom.app.client_files import write_private
from strongroom.audit.segments import sync_directory
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.model.domain_key import DomainKey
from strongroom.storage import postgresql, sqlite
from strongroom.storage.audit_archive import AuditArchive
from strongroom.storage.audit_index import SqliteAuditIndex
from strongroom.storage.contract import Nonces
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.nonces import DatabaseNonces, SqliteNonces
from strongroom.storage.postgresql import PostgresqlDatabase
from strongroom.storage.shared_audit_index import SharedAuditIndex

T = TypeVar("T")


def create_storage(config: Config, row_key: bytes) -> DatabaseStorage:
    """Make the database of a new installation and open it. Raises StorageError if there is something already."""
    shared = config.postgresql
    if shared is None:
        return sqlite.create_storage(config.database, row_key)
    return _with_driver(lambda: postgresql.create_storage(shared.url, row_key))


def open_storage(config: Config, row_key: bytes) -> DatabaseStorage:
    """Open the database and bring its schema up to date. It proves nothing yet: that is `load`. Raises StorageError."""
    shared = config.postgresql
    if shared is None:
        _refuse_moved(config)
        return sqlite.open_storage(config.database, row_key)
    return _with_driver(lambda: postgresql.open_storage(shared.url, row_key))


def read_domain_keys(config: Config) -> tuple[str, list[DomainKey]]:
    """Read the installation's id and all domain keys, not verified. Raises StorageError."""
    shared = config.postgresql
    if shared is None:
        _refuse_moved(config)
        return sqlite.read_domain_keys(config.database)
    return _with_driver(lambda: postgresql.read_domain_keys(shared.url))


def shared_nonces(config: Config, storage: DatabaseStorage) -> Nonces:
    """The nonces of services' requests, which all server processes share: those of a machine, or of all nodes."""
    return SqliteNonces(config.nonces) if config.postgresql is None else DatabaseNonces(storage.database)


def audit_archive(config: Config, storage: DatabaseStorage) -> AuditArchive | None:
    """Where nodes keep their audit chains together; None on one machine, where they are in files alone."""
    return None if config.postgresql is None else AuditArchive(storage.database)


def audit_index(config: Config, storage: DatabaseStorage) -> SqliteAuditIndex | SharedAuditIndex:
    """Where events of the audit log are looked up."""
    if isinstance(storage.database, postgresql.PostgresqlDatabase):
        return SharedAuditIndex(storage.database)
    return SqliteAuditIndex(config.audit_index)


def open_server(url: str) -> PostgresqlDatabase:
    """Open the database of a URL as it is, which may be empty. Raises StorageError, ConfigurationError."""
    return _with_driver(lambda: PostgresqlDatabase(url))


def mark_moved(config: Config, to: str) -> None:
    """Have the SQLite file refused from now on: it was moved. Raises OSError."""
    write_private(config.moved, f"{to}\n")
    sync_directory(config.data)


def _refuse_moved(config: Config) -> None:
    if config.moved.exists():
        to = config.moved.read_text().strip()
        raise ConfigurationError(f"{config.database} was moved to {to}, which the configuration does not name")


def _with_driver(work: Callable[[], T]) -> T:
    try:
        return work()
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"PostgreSQL needs the package {error.name}: install strongroom[postgresql]") from None
