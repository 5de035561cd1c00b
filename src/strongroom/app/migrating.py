"""Move an installation's database from its SQLite file to PostgreSQL, where nodes can share it.

Steps; a kill between two leaves the rest to the same command again:
1. All rows, and the audit log, are copied in one transaction, exactly as they are.
2. The copy is proven. Its newest change is that of the file: the chain of changes says that it is the same.
3. The move is recorded there, as its first change: the file is behind the audit log from then on.
4. The file is marked as moved, and never opened again.
"""

import uuid
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.app.databases import mark_moved, open_server
from strongroom.app.history import refuse_rollback
from strongroom.app.installing import Opened, audit_log, open_installation
from strongroom.app.recorded_change import commit_recorded
from strongroom.app.serving_lock import alone
from strongroom.audit.archiving import log_tables
from strongroom.audit.record import service_event
from strongroom.config import Config, Postgresql
from strongroom.errors import ConfigurationError, DataDirectoryError, IntegrityError, RollbackError, StorageError
from strongroom.storage.contract import Position
from strongroom.storage.copying import read_tables
from strongroom.storage.database import Database, DatabaseStorage, fill, has_tables, read_domain_keys
from strongroom.storage.tables import REVISION


class Migrated(NamedTuple):
    """What was moved: how many records, up to which change, to what."""

    records: int
    change: int
    to: str


def migrate(config: Config, url: str, now: float) -> Migrated:
    """Move the database to the PostgreSQL database of a URL, which must be empty, or hold what a killed move left.

    Raises ConfigurationError while a server runs, StorageError if there is another database, IntegrityError.
    """
    if config.postgresql is not None:
        raise ConfigurationError("the configuration names a PostgreSQL database already")
    with alone(config):
        opened = open_installation(config)
        server = open_server(url)
        try:
            contents = opened.storage.load()
            if not has_tables(server):
                refuse_rollback(opened)
                _copy(opened, server)
            storage = _proven_copy(opened, server, contents.position)
            if storage.position() == contents.position:
                _record(opened._replace(config=replace(config, postgresql=Postgresql(url)), storage=storage), now)
            mark_moved(config, server.name)
        except OSError as error:
            raise DataDirectoryError(f"cannot move {config.database}: {error.strerror}") from error
        finally:
            server.close()
            opened.close()
    return Migrated(len(contents.records), contents.position.number, server.name)


def _copy(opened: Opened, server: Database) -> None:
    with opened.storage.database.reading() as connection:
        tables = chain(read_tables(connection), log_tables(opened.config.audit_directory))
        fill(server, REVISION, tables)


def _proven_copy(opened: Opened, server: Database, position: Position) -> DatabaseStorage:
    """The copy, proven as a server's start proves it; it may have gone on since. Raises StorageError if it is none."""
    if read_domain_keys(server)[0] != opened.installation.installation_id:
        raise StorageError(f"{server.name}: there is another installation in it")
    storage = DatabaseStorage.open(server, opened.domain_keys.row_authentication)
    storage.load()
    try:
        changes = storage.changes_since(position)
    except (IntegrityError, RollbackError):
        changes = None
    if changes is None:
        raise StorageError(f"{server.name}: there is an older copy in it, of a move that did not end: empty it first")
    return storage


def _record(moved: Opened, now: float) -> None:
    details = {"to": moved.storage.name}
    event = service_event(name="MoveDatabase", event_id=str(uuid.uuid4()), now=now, details=details)
    commit_recorded(audit_log(moved), event, [], moved.storage.commit)
