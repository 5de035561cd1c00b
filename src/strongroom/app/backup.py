"""Back an installation up: all that its database holds at one position, sealed, while it is served or not.

One read transaction sees one state, and holds up nobody who changes it. The database is proven right before: no backup
is made of one that would be refused.
"""

import os
import secrets
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from strongroom.app.backup_file import CopiedTable, Manifest, key_binding, write_backup
from strongroom.app.history import refuse_rollback
from strongroom.app.installing import Opened, audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event, utc_time
from strongroom.audit.segments import sync_directory
from strongroom.config import Config
from strongroom.crypto.sealed_stream import KEY_LENGTH
from strongroom.errors import DataDirectoryError
from strongroom.keystores.domain_keys import versions_in_hsm
from strongroom.keystores.hsm.recovery import for_holder, rsa_public_key
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.root_key import read_root_key
from strongroom.model.domain_key import DomainKey
from strongroom.storage.copying import count_rows, read_position, read_tables
from strongroom.storage.tables import METADATA, RECORD_TABLES, REVISION, column_names


class BackedUp(NamedTuple):
    """A backup that was made, and the SHA-256 of its file in hex."""

    manifest: Manifest
    sha256: str


def back_up(config: Config, out: Path, now: float) -> BackedUp:
    """Write a backup to `out`, which must not exist, whole or not at all. The audit log tells of it.

    Raises OperatorError if the installation cannot be opened, was altered, or is behind its audit log.
    """
    if out.exists():
        raise _exists(out)
    unfinished = out.with_name(f"{out.name}.unfinished-{secrets.token_hex(4)}")
    with opened_to_change(config) as opened:
        try:
            refuse_rollback(opened)
            details = {"file": str(out.absolute())}
            event = service_event(name="CreateBackup", event_id=str(uuid.uuid4()), now=now, details=details)
            commit_recorded(audit_log(opened), event, [], opened.storage.commit)
            backed_up = _write(opened, unfinished, now)
            _claim(out)
            unfinished.rename(out)
            sync_directory(out.parent)
        except OSError as error:
            raise DataDirectoryError(f"cannot write {out}: {error.strerror}") from error
        finally:
            unfinished.unlink(missing_ok=True)
    return backed_up


def _claim(out: Path) -> None:
    """Take the name, which somebody may have taken meanwhile. Not every file system has links, which need no claim."""
    try:
        os.close(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise _exists(out) from None


def _exists(out: Path) -> DataDirectoryError:
    return DataDirectoryError(f"{out} exists already: a backup is never written over anything")


def _write(opened: Opened, path: Path, now: float) -> BackedUp:
    installation = opened.installation
    key = os.urandom(KEY_LENGTH)
    holder = installation.recovery_public_key
    with opened.storage.database.reading() as connection:
        counts = count_rows(connection)
        position = read_position(connection)
        manifest = Manifest(
            created=utc_time(int(now)),
            strongroom=version("strongroom"),
            installation_id=installation.installation_id,
            schema=REVISION,
            change=position.number,
            chain=position.chain.hex(),
            records=sum(counts[entry.name] for entry in RECORD_TABLES.values()),
            tables=tuple(
                CopiedTable(str(table.name), column_names(table), counts[str(table.name)])
                for table in METADATA.sorted_tables
            ),
            hsm_versions=tuple(sorted(versions_in_hsm(record for record, _ in opened.storage.find_all(DomainKey)))),
            wrapped_key=_wrapped(opened, key),
            recovery=None if holder is None else for_holder(rsa_public_key(holder), key),
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            digest = write_backup(file, manifest, key, read_tables(connection))
            file.flush()
            os.fsync(file.fileno())
    return BackedUp(manifest, digest)


def _wrapped(opened: Opened, key: bytes) -> bytes:
    """The key of a backup as the root key or the HSM wraps it: whoever can open the installation can open it."""
    binding = key_binding(opened.installation.installation_id)
    if opened.hsm is not None:
        return HsmRoot(opened.hsm.token).wrap(key, binding)
    root_key = read_root_key(opened.config.root_key)
    try:
        return root_key.wrap(key, binding)
    finally:
        root_key.close()
