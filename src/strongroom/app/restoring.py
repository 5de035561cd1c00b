"""Restore an installation from a backup, its root key, and its audit log since then.

What the log knows of changes after the backup is done again as far as it tells it (`app/replay/`): a backup does not
bring back what was deleted, disabled or revoked. That the database goes back is a decision, recorded as
`accept-rollback` is. All is made in a directory beside, which then takes its name.
"""

import os
import secrets
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from strongroom.app.backup_file import BackupReader, Manifest, key_binding, open_backup
from strongroom.app.client_files import write_private
from strongroom.app.hardware import opened_protection
from strongroom.app.history import find_lost_changes, missing_chains
from strongroom.app.installing import CONFIGURATION, Opened, audit_log, configuration_text, open_installation
from strongroom.app.recorded_change import commit_recorded
from strongroom.app.replay.replaying import LeftChange, Replayed, replay
from strongroom.app.usage_tracking import tracking_anew
from strongroom.audit.changes import LaterChanges, changes_after
from strongroom.audit.record import service_event
from strongroom.audit.rollback import RESTORE_EVENT, RestoreDetails, lost_chains
from strongroom.audit.segments import chain_directories, sync_directory
from strongroom.config import Config, Hsm
from strongroom.crypto.public_keys import public_key_to_pem
from strongroom.errors import ConfigurationError, DataDirectoryError, IntegrityError, RootKeyError
from strongroom.keystores.domain_keys import HSM
from strongroom.keystores.root_key_export import place_root_key
from strongroom.model.domain_key import DomainKey
from strongroom.storage.database import fill
from strongroom.storage.sqlite import new_database


class Restored(NamedTuple):
    """What was restored: the backup's manifest, and what the audit log knew beyond it.

    `known` is the newest change that the log knows. Of those after the backup `done_again` were done again, `left` were
    not; `disabled` are the ARNs of keys that are disabled for that, `damage` is what is wrong with the log.
    """

    manifest: Manifest
    known: int
    done_again: int
    left: list[LeftChange]
    disabled: list[str]
    damage: list[str]


def restore(
    backup: Path,
    data: Path,
    *,
    root_key: Path | None,
    ask_passphrase: Callable[[], bytes],
    hsm: Hsm | None,
    audit: Sequence[Path],
    now: float,
) -> Restored:
    """Make the installation of a backup in `data`, which must be missing or empty, whole or not at all.

    `root_key` is a root key file, or an export of one, whose passphrase is then asked for; with `hsm` there is none.
    `audit` are copies of the audit log; without any, nothing that came after the backup is known. Raises OperatorError.
    """
    if (root_key is None) == (hsm is None):
        raise ConfigurationError("name the root key, or else the HSM that holds the keys: one of them")
    with _whole_or_nothing(data.absolute()) as building, open_backup(backup) as reader:
        config = Config(data=building, root_key=building / "root.key", hsm=hsm)
        if root_key is not None:
            place_root_key(root_key, config.root_key, ask_passphrase)
        _fill_database(config, reader)
        _copy_log(audit, config.audit_directory)
        opened = open_installation(config)
        try:
            opened.storage.load()
            if opened.storage.position() != reader.manifest.position:
                raise IntegrityError(f"{backup}: the backup does not hold the change that it names")
            restored = _catch_up(opened, reader.manifest, with_log=bool(audit), now=now)
            opened.storage.erase()
            public_key = public_key_to_pem(opened.installation.digest_public_key).decode()
        finally:
            opened.close()
        write_private(building / "audit-public-key.pem", public_key)
        write_private(building / CONFIGURATION, configuration_text(config))
    return restored


@contextmanager
def _whole_or_nothing(data: Path) -> Iterator[Path]:
    building = data.with_name(f"{data.name}.unfinished-{secrets.token_hex(4)}")
    try:
        if data.exists() and any(data.iterdir()):
            raise DataDirectoryError(f"{data} is not empty: name another directory")
        building.mkdir(mode=0o700, parents=True)
        yield building
        os.sync()  # also what was copied
        building.rename(data)
        sync_directory(data.parent)
    except OSError as error:
        raise DataDirectoryError(f"cannot restore to {data}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _fill_database(config: Config, reader: BackupReader) -> None:
    manifest = reader.manifest
    in_token = [DomainKey(HSM, version, 0.0, b"") for version in manifest.hsm_versions]
    with opened_protection(config, manifest.installation_id, in_token) as protection:
        try:
            key = protection.root.unwrap(manifest.wrapped_key, key_binding(manifest.installation_id))
        except RootKeyError:
            raise RootKeyError(f"{reader.path}: the backup was made under another root key") from None
        except IntegrityError:
            raise IntegrityError(f"{reader.path}: the manifest of the backup was altered") from None
    if protection.hsm is not None:
        protection.hsm.token.close()
    with new_database(config.database) as database:
        fill(database, manifest.schema, reader.tables(key))


def _copy_log(sources: Sequence[Path], directory: Path) -> None:
    """Bring the chains of all copies together. A chain that is in two of them must be named once."""
    directory.mkdir(mode=0o700)
    for source in sources:
        chains = chain_directories(source)
        if not chains:
            raise ConfigurationError(f"{source} holds no audit log: name an audit directory or a copy of it")
        for chain in chains:
            if (directory / chain.name).exists():
                raise ConfigurationError(f"audit chain {chain.name} is in two of the copies: name the newer one alone")
            shutil.copytree(chain, directory / chain.name)
    for path in directory.rglob("*"):
        path.chmod(stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR)


def _catch_up(opened: Opened, manifest: Manifest, *, with_log: bool, now: float) -> Restored:
    """Do again what the log knows, and record the restore."""
    directory, position = opened.config.audit_directory, manifest.position
    private_key = opened.domain_keys.chain_private_key
    later = LaterChanges([], [])
    first, newest = position.number + 1, position.number
    if with_log:
        later = changes_after(directory, opened.installation, position.number, chain_private_key=private_key)
        later.damage.extend(f"audit chain {chain_id}: its log is missing" for chain_id in missing_chains(opened))
        lost = find_lost_changes(opened)
        if lost is not None:
            first, newest = lost.first, lost.newest
    chains = lost_chains(
        directory,
        opened.installation,
        {chain.chain_id for chain in opened.storage.chains()},
        chain_private_key=private_key,
    )
    replayed = replay(opened, later.changes, beyond=newest) if later.changes else Replayed([], [], [], [])
    event = service_event(
        name=RESTORE_EVENT,
        event_id=str(uuid.uuid4()),
        now=now,
        details=RestoreDetails(
            position.number,
            first,
            newest,
            chains,
            backup=manifest.created,
            without_audit_log=not with_log,
            done_again=replayed.done_again,
            left=[one.change.number for one in replayed.left],
            disabled=replayed.disabled,
            damage=later.damage,
        ),
    )
    writes = [*replayed.writes, tracking_anew(opened, now)]  # which keys were used since then is not known
    commit_recorded(audit_log(opened), event, writes, partial(opened.storage.commit, beyond=newest))
    return Restored(manifest, newest, len(replayed.done_again), replayed.left, replayed.disabled, later.damage)
