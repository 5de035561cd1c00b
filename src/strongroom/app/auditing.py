"""Verify the audit log; accept an older copy of the database."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from strongroom.app.history import find_lost_changes, forget_seen
from strongroom.app.installing import Opened, audit_log, open_installation, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.app.usage_tracking import tracking_anew
from strongroom.audit.archiving import export_chain
from strongroom.audit.record import service_event
from strongroom.audit.rollback import ROLLBACK_EVENT, RollbackDetails, lost_chains
from strongroom.audit.segments import chain_directories, segments
from strongroom.audit.verify import Report, verify, verify_offline
from strongroom.config import Config
from strongroom.crypto.public_keys import public_key_from_pem
from strongroom.errors import ConfigurationError, DataDirectoryError, RollbackError
from strongroom.storage.audit_archive import AuditArchive


def verify_audit(config: Config) -> Report:
    """Recompute the whole log with the installation's keys. Changes nothing; the server may be running."""
    opened = open_installation(config)
    try:
        private_key = opened.domain_keys.chain_private_key
        with _whole_log(opened) as (directory, fetch):
            return verify(
                directory, opened.installation, chain_private_key=private_key, storage=opened.storage, fetch=fetch
            )
    except OSError as error:
        raise DataDirectoryError(f"cannot read {config.audit_directory}: {error.strerror}") from error
    finally:
        opened.close()


def export_audit(config: Config, target: Path) -> int:
    """Write the log of all nodes, as their database has it, into a directory that is not there; return the chains.

    Raises ConfigurationError if there is no such database, DataDirectoryError.
    """
    opened = open_installation(config)
    try:
        archive = audit_log(opened).archive
        if archive is None:
            raise ConfigurationError(f"the audit log is in files already: {config.audit_directory}")
        if target.exists():
            raise DataDirectoryError(f"{target} is there already")
        chains = _chains(opened, archive)
        for chain_id in chains:
            export_chain(archive, target / chain_id)
        return len(chains)
    except OSError as error:
        raise DataDirectoryError(f"cannot write {target}: {error.strerror}") from error
    finally:
        opened.close()


@contextmanager
def _whole_log(opened: Opened) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A directory for the log of all nodes, and what brings it there: of several, the database's copy of it.

    That is in the system's directory for temporary files ($TMPDIR), and gone after the block.
    """
    archive = audit_log(opened).archive
    if archive is None:
        yield opened.config.audit_directory, lambda: None
        return
    with TemporaryDirectory(prefix="strongroom-audit-") as name:
        directory = Path(name)

        def fetch() -> None:
            for chain_id in _chains(opened, archive):
                export_chain(archive, directory / chain_id)

        yield directory, fetch


def _chains(opened: Opened, archive: AuditArchive) -> list[str]:
    """All chains, those also that the database does not know any more: what it lost was accepted as lost."""
    return sorted({chain.chain_id for chain in opened.storage.chains()} | archive.chain_ids())


def verify_audit_offline(directory: Path, public_key: Path) -> Report:
    """Check a copy of the log by its digests alone. `public_key` is the PEM file that `init` wrote."""
    try:
        der = public_key_from_pem(public_key.read_bytes())
        if not any(segments(chain) for chain in chain_directories(directory)):
            raise ConfigurationError(f"{directory} holds no audit log: name the audit directory or a copy of it")
        return verify_offline(directory, der)
    except OSError as error:
        raise DataDirectoryError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{public_key} is not a public key in PEM") from error


def accept_rollback(config: Config, *, to: int, now: float) -> int:
    """Go on from change `to` of an older database, past all that the audit log knows; return the newest lost change.

    Raises RollbackError if there is nothing to accept, or if `to` is not the database's newest change.
    """
    with opened_to_change(config) as opened, _reading(config):
        lost = find_lost_changes(opened)
        position = opened.storage.position()
        if lost is None:
            raise RollbackError("the database has all changes that the audit log knows: there is nothing to accept")
        if position.number != to:
            raise RollbackError(f"the database ends with change {position.number}, not with {to}")
        chains = lost_chains(
            config.audit_directory,
            opened.installation,
            {chain.chain_id for chain in opened.storage.chains()},
            chain_private_key=opened.domain_keys.chain_private_key,
        )
        event = service_event(
            name=ROLLBACK_EVENT,
            event_id=str(uuid.uuid4()),
            now=now,
            details=RollbackDetails(to, lost.first, lost.newest, chains),
        )
        writes = [tracking_anew(opened, now)]  # which keys were used in the lost changes is not known any more
        commit_recorded(audit_log(opened), event, writes, partial(opened.storage.commit, beyond=lost.newest))
        forget_seen(config)
    return lost.newest


@contextmanager
def _reading(config: Config) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataDirectoryError(f"cannot read {config.audit_directory}: {error.strerror}") from error
