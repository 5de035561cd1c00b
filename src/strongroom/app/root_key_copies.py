"""Copies of the root key under a passphrase: make one, and put it back."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from strongroom.app.databases import read_domain_keys
from strongroom.app.hardware import opened_protection
from strongroom.app.installing import audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.audit.segments import sync_directory
from strongroom.config import Config
from strongroom.errors import ConfigurationError, DataDirectoryError
from strongroom.keystores import root_key_export
from strongroom.keystores.domain_keys import DomainKeys
from strongroom.keystores.private_file import read_private_file
from strongroom.keystores.root_key import read_root_key

_LONGEST_PASSPHRASE = 1024
"""Bytes that are read of a file with a passphrase."""


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, without its end. Raises DataDirectoryError, also if others may read the file."""
    content = read_private_file(path, "the file with the passphrase", _LONGEST_PASSPHRASE)
    return content.partition(b"\n")[0].rstrip(b"\r")


def export_root_key(config: Config, out: Path, passphrase: bytes, *, now: float) -> str:
    """Write a copy of the root key to `out`, which must not exist; return its id. It is recorded before it is written.

    Raises ConfigurationError with an HSM, RootKeyError, or DataDirectoryError.
    """
    _refuse_hsm(config, "back its token up as its maker says, and prove it with `strongroom hsm verify-backup`")
    root_key_id, exported = root_key_export.export_root_key(config.root_key, passphrase)
    with opened_to_change(config) as opened:
        event = service_event(
            name="ExportRootKey",
            event_id=str(uuid.uuid4()),
            now=now,
            details={"rootKeyId": root_key_id, "file": str(out.absolute())},
        )
        with _new_file(out) as file:
            commit_recorded(audit_log(opened), event, [], opened.storage.commit)
            file.write(exported)
    return root_key_id


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Make a file that its owner alone may read, whole and durably or not at all. Raises DataDirectoryError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise DataDirectoryError(f"{path} exists already: it is not written over") from None
    except OSError as error:
        raise DataDirectoryError(f"{path} cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except BaseException:
        path.unlink()
        raise


def import_root_key(config: Config, source: Path, ask_passphrase: Callable[[], bytes]) -> str:
    """Put a root key where the configuration says that it is; return its id.

    If there is a database, the root key must open its domain keys, or it is taken away again. Another root key that is
    there is never overwritten. Raises RootKeyError, IntegrityError, ConfigurationError, DataDirectoryError.
    """
    _refuse_hsm(config, "connect the token, or a second one that holds the same keys")
    before = config.root_key.exists()
    root_key_export.place_root_key(source, config.root_key, ask_passphrase)
    try:
        root_key = read_root_key(config.root_key)
        root_key.close()
        if config.postgresql is not None or config.database.exists():
            _prove(config)
    except BaseException:
        if not before:
            config.root_key.unlink()
        raise
    return root_key.root_key_id


def _prove(config: Config) -> None:
    installation_id, records = read_domain_keys(config)
    with opened_protection(config, installation_id, records) as protection:
        DomainKeys.open(protection.root, installation_id, records)


def _refuse_hsm(config: Config, instead: str) -> None:
    if config.hsm is not None:
        raise ConfigurationError(f"there is no root key: the keys are in an HSM; {instead}")
