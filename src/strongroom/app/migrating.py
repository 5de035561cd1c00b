"""Move an installation's database from its SQLite file to PostgreSQL, where nodes can share it.

Steps; a kill between two leaves the rest to the same command again:
1. All rows, and the audit log, are copied in one transaction, exactly as they are.
2. The copy is proven. Its newest change is that of the file: the chain of changes says that it is the same.
3. The move is recorded there, as its first change: the file is behind the audit log from then on.
4. The file is marked as moved, and never opened again: if it has not changed.
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
from strongroom.storage.audit_archive import AuditArchive
from strongroom.storage.contract import Position
from strongroom.storage.copying import read_position, read_tables
from strongroom.storage.database import Database, DatabaseStorage, fill, has_tables, read_domain_keys
from strongroom.storage.postgresql import has_password
from strongroom.storage.tables import REVISION

_EVENT = b'"eventName":"MoveDatabase"'
"""As it stands in the record; a caller's text cannot, since its quotes are escaped."""


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
    if has_password(url):
        raise ConfigurationError("a password on the command line is seen by others: name a file in the URL (passfile=)")
    with alone(config):
        opened = open_installation(config)
        server = open_server(url)
        try:
            contents = opened.storage.load()
            resumed = has_tables(server)
            if resumed:
                position = contents.position
            else:
                refuse_rollback(opened)
                position = _copy(opened, server)
            storage = _proven_copy(opened, server, position)
            moved = opened._replace(config=replace(config, postgresql=Postgresql(url)), storage=storage)
            if resumed:
                _refuse_older_log(opened, moved)
            if not _is_recorded(opened, moved):
                _record(moved, now)
            if opened.storage.position() != position:
                raise StorageError(f"{config.database} was changed meanwhile: empty {server.name}, and try again")
            mark_moved(config, server.name)
        except OSError as error:
            raise DataDirectoryError(f"cannot move {config.database}: {error.strerror}") from error
        finally:
            server.close()
            opened.close()
    return Migrated(len(contents.records), position.number, server.name)


def _copy(opened: Opened, server: Database) -> Position:
    """Copy all, and return the position that was copied."""
    with opened.storage.database.reading() as connection:
        tables = chain(read_tables(connection), log_tables(opened.config.audit_directory))
        fill(server, REVISION, tables)
        return read_position(connection)


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
        raise _older(server)
    return storage


def _refuse_older_log(opened: Opened, moved: Opened) -> None:
    """Raise StorageError if the file was served since it was copied: uses of keys change nothing but the log."""
    archive = AuditArchive(moved.storage.database)
    before = {one.chain_id for one in opened.storage.chains()}
    since = {one.chain_id for one in moved.storage.chains()} - before
    there = {
        chain_id: max((group.last for group in archive.groups(chain_id)), default=0)
        for chain_id in archive.chain_ids() - since
    }
    groups, _ = log_tables(opened.config.audit_directory)
    for chain_id, _first, last, *_ in groups.rows:
        if chain_id not in since and there.get(str(chain_id), 0) < int(str(last)):
            raise _older(moved.storage.database)


def _is_recorded(opened: Opened, moved: Opened) -> bool:
    """Whether the move is recorded there already: in a chain, or waiting for one."""
    archive = AuditArchive(moved.storage.database)
    since = archive.chain_ids() - {one.chain_id for one in opened.storage.chains()}
    lines = (group.lines for chain_id in since for group in archive.groups(chain_id))
    waiting = (one.entry.record for one in moved.storage.outbox())
    return any(_EVENT in one for one in chain(lines, waiting))


def _older(server: Database) -> StorageError:
    return StorageError(f"{server.name}: there is an older copy in it, of a move that did not end: empty it first")


def _record(moved: Opened, now: float) -> None:
    details = {"to": moved.storage.name}
    event = service_event(name="MoveDatabase", event_id=str(uuid.uuid4()), now=now, details=details)
    commit_recorded(audit_log(moved), event, [], moved.storage.commit)
