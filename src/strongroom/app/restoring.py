"""Restore an installation from a backup, its root key, and its audit log since then.

What the log knows of changes after the backup is done again as far as it tells it (`app/replay/`): a backup does not
bring back what was deleted, disabled or revoked. That the database goes back is a decision, recorded as
`accept-rollback` is. All is made in a directory beside, which then takes its name.
"""

import hmac
import os
import secrets
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.app.backup_file import BackupReader, Manifest, key_binding, open_backup
from strongroom.app.client_files import write_private
from strongroom.app.databases import open_storage, read_domain_keys
from strongroom.app.hardware import opened_protection
from strongroom.app.history import find_lost_changes
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
from strongroom.errors import ConfigurationError, DataDirectoryError, HsmError, IntegrityError, RootKeyError
from strongroom.keystores.domain_keys import HSM, DomainKeys, recovery_fingerprint
from strongroom.keystores.hsm.recovery import RecoveryRoot, read_private_key
from strongroom.keystores.root_key_export import place_root_key
from strongroom.model.domain_key import DomainKey
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.xks import ExternalKey
from strongroom.storage.contract import Storage
from strongroom.storage.database import fill
from strongroom.storage.sqlite import new_database


class ByRootKey(NamedTuple):
    """What opens a backup: a root key file, or an export of one, whose passphrase is then asked for."""

    file: Path
    ask_passphrase: Callable[[], bytes]


class ByToken(NamedTuple):
    """What opens a backup: a token that holds the installation's keys."""

    hsm: Hsm


class ByRecoveryKey(NamedTuple):
    """What opens a backup if every token is lost: the private half of the recovery key (PEM).

    `fingerprint` is what `init` told: anybody can make a backup for the holder of the key. `hsm` is the token to which
    `strongroom hsm move` is to move everything afterwards.
    """

    file: Path
    ask_passphrase: Callable[[], bytes]
    fingerprint: str
    hsm: Hsm


Opener = ByRootKey | ByToken | ByRecoveryKey


class Restored(NamedTuple):
    """What was restored: the backup's manifest, and what the audit log knew beyond it.

    `known` is the newest change that the log knows. Of those after the backup `done_again` were done again, `left` were
    not; `disabled` are the ARNs of keys that are disabled for that, `not_disabled` those that cannot be, each with its
    state. `damage` is what is wrong with the log; of `unrecorded` changes it has no record. `counted` are the keys
    whose encryptions are counted: those since the backup are not.
    """

    manifest: Manifest
    known: int
    done_again: int
    left: list[LeftChange]
    disabled: list[str]
    not_disabled: list[tuple[str, str]]
    damage: list[str]
    unrecorded: list[int]
    counted: list[str]


def restore(
    backup: Path, data: Path, opener: Opener, *, audit: Sequence[Path], accept_damage: bool = False, now: float
) -> Restored:
    """Make the installation of a backup in `data`, which must be missing or empty, whole or not at all.

    `audit` are copies of the audit log; without any, nothing that came after the backup is known. One that was altered,
    or is not whole, is taken only with `accept_damage`. Raises OperatorError.
    """
    with _whole_or_nothing(data.absolute()) as building, open_backup(backup) as reader:
        hsm = None if isinstance(opener, ByRootKey) else opener.hsm
        config = Config(data=building, root_key=building / "root.key", hsm=hsm)
        if isinstance(opener, ByRootKey):
            place_root_key(opener.file, config.root_key, opener.ask_passphrase)
        if isinstance(opener, ByRecoveryKey):
            lost = RecoveryRoot(read_private_key(opener.file.read_bytes(), opener.ask_passphrase() or None))
            key = _recovered_key(reader, lost)
            open_restored = partial(_open_recovered, config, opener.fingerprint, lost)
        else:
            key = _key_in_token_or_file(config, reader)
            open_restored = partial(open_installation, config)
        with new_database(config.database) as database:
            fill(database, reader.manifest.schema, reader.tables(key))
        _copy_log(audit, config.audit_directory)
        opened = open_restored()
        try:
            opened.storage.load()
            if opened.storage.position() != reader.manifest.position:
                raise IntegrityError(f"{backup}: the backup does not hold the change that it names")
            restored = _catch_up(opened, reader.manifest, with_log=bool(audit), accept_damage=accept_damage, now=now)
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


def _key_in_token_or_file(config: Config, reader: BackupReader) -> bytes:
    """The key of the rows, as the root key or the token opens it. Raises RootKeyError, IntegrityError, HsmError."""
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
    return key


def _recovered_key(reader: BackupReader, lost: RecoveryRoot) -> bytes:
    """The key of the rows, as the holder of the recovery key opens it. Raises HsmError."""
    if reader.manifest.recovery is None:
        raise HsmError(f"{reader.path}: the installation has no recovery key")
    return lost.unwrap(reader.manifest.recovery, key_binding(reader.manifest.installation_id))


def _open_recovered(config: Config, fingerprint: str, lost: RecoveryRoot) -> Opened:
    """Open the database with the recovery key. Raises HsmError unless it holds the keys that `init` told of."""
    installation_id, records = read_domain_keys(config)
    if not hmac.compare_digest(recovery_fingerprint(records), fingerprint.strip().lower()):
        raise HsmError("the fingerprint is another one: these are not the keys that the installation was made with")
    recoverable = [replace(record, wrapped=record.recovery or b"") for record in records]
    domain_keys = DomainKeys.open(lost, installation_id, recoverable)
    storage = open_storage(config, domain_keys.row_authentication)
    found = storage.find(Installation, (installation_id,))
    assert found is not None, "its id was read there"
    return Opened(config, storage, domain_keys, found[0], None)


def _copy_log(sources: Sequence[Path], directory: Path) -> None:
    """Bring the chains of all copies together. A chain that is in two of them must be named once."""
    directory.mkdir(mode=0o700)
    for source in sources:
        chains = chain_directories(source)
        if not chains:
            raise ConfigurationError(f"{source} holds no audit log: name an audit directory or a copy of it")
        for chain in chains:
            if chain.is_symlink():
                raise ConfigurationError(f"{chain} is a link: copy the log itself")
            if (directory / chain.name).exists():
                raise ConfigurationError(f"audit chain {chain.name} is in two of the copies: name the newer one alone")
            _copy_chain(chain, directory / chain.name)


def _copy_chain(source: Path, directory: Path) -> None:
    """Copy what a chain consists of, and nothing else that stands there. Raises ConfigurationError for links."""
    directory.mkdir(mode=0o700)
    for path in source.iterdir():
        if path.suffix in {".log", ".digest", ".sig"}:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ConfigurationError(f"{path} is not a regular file: copy the log itself")
            copied = os.open(directory / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with path.open("rb") as original, os.fdopen(copied, "wb") as copy:
                shutil.copyfileobj(original, copy)


def _unreached(opened: Opened, ends: Mapping[str, int]) -> list[str]:
    """What the log does not have although it was there when the backup was made: older copies of it tell too little."""
    return [
        f"audit chain {chain.chain_id}: the copy ends at record {ends.get(chain.chain_id, 0)}, but had come to "
        f"{chain.sequence} when the backup was made"
        for chain in opened.storage.chains()
        if ends.get(chain.chain_id, 0) < chain.sequence
    ]


def _catch_up(opened: Opened, manifest: Manifest, *, with_log: bool, accept_damage: bool, now: float) -> Restored:
    """Do again what the log knows, and record the restore."""
    directory, position = opened.config.audit_directory, manifest.position
    private_key = opened.domain_keys.chain_private_key
    later = LaterChanges([], [], {}, [])
    first, newest = position.number + 1, position.number
    if with_log:
        lost = find_lost_changes(opened)
        if lost is not None:
            first, newest = lost.first, lost.newest
        later = changes_after(
            directory,
            opened.installation,
            position.number,
            newest=newest,
            registered={chain.chain_id: chain.sequence for chain in opened.storage.chains()},
            chain_private_key=private_key,
        )
        later.damage.extend(_unreached(opened, later.ends))
        if later.damage and not accept_damage:
            raise IntegrityError(
                f"the audit log was altered, or is not whole: {later.damage[0]}; "
                "to restore by what is left of it, knowingly: --damaged-audit-log"
            )
    chains = lost_chains(
        directory,
        opened.installation,
        {chain.chain_id for chain in opened.storage.chains()},
        chain_private_key=private_key,
    )
    replayed = replay(opened, later.changes, beyond=newest) if later.changes else Replayed([], [], [], [], [])
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
    return Restored(
        manifest,
        newest,
        len(replayed.done_again),
        replayed.left,
        replayed.disabled,
        replayed.not_disabled,
        later.damage,
        later.unrecorded,
        _counted(opened.storage),
    )


def _counted(storage: Storage) -> list[str]:
    """The keys whose encryptions are counted: AES-GCM bears only so many, and nobody knows how many there were."""
    counting = {(one.account, one.key_id) for one, _ in storage.find_all(KeyMaterial) if one.uses is not None}
    keys = [key.arn for key, _ in storage.find_all(KmsKey) if (key.account, key.key_id) in counting]
    external = [key for key, _ in storage.find_all(ExternalKey) if key.uses is not None]
    return [*sorted(keys), *(f"external key {key.external_key_id} of key store {key.prefix!r}" for key in external)]
