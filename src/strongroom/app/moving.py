"""Move everything that is protected by one token to another, with the recovery key (docs/how-to/use-an-hsm.md).

The configuration names the new token, which holds nothing of this installation; the old one need not exist any more.
Key material is opened inside the new token and never seen here; the service's own keys and the seeds of keys that are
used in software pass through this process, as they do whenever they are used.
"""

import hmac
import uuid
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from strongroom.app.databases import open_storage, read_domain_keys
from strongroom.app.hardware import made_in_token, place_of
from strongroom.app.history import refuse_rollback
from strongroom.app.installing import Opened, audit_log
from strongroom.app.recorded_change import commit_recorded
from strongroom.app.serving_lock import alone
from strongroom.audit.record import service_event
from strongroom.config import Config
from strongroom.errors import ConfigurationError, DataDirectoryError, HsmError, RequestError
from strongroom.keystores.domain_keys import HSM, DomainKeys, recovery_fingerprint, versions_in_hsm, wrapped_anew
from strongroom.keystores.external_keys import key_and_material, with_material
from strongroom.keystores.hsm.objects import KEY_STORE as OBJECT
from strongroom.keystores.hsm.opening import clear_token
from strongroom.keystores.hsm.recovery import RecoveryRoot, read_private_key
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.model.domain_key import DomainKey
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.xks import ExternalKey
from strongroom.storage.contract import Delete, Insert, Replace, Storage, Write
from strongroom.storage.database import DatabaseStorage


def move_to_token(
    config: Config,
    recovery_key: Path,
    ask_passphrase: Callable[[], bytes | None],
    *,
    fingerprint: str,
    discard_unfinished: bool,
    now: float,
) -> int:
    """Move the installation to the token that its configuration names; return how many key materials moved.

    All of it or nothing: one change, recorded. `fingerprint` is what `init` told, and `doctor` tells. With
    `discard_unfinished` the keys that an attempt left in the token are destroyed; they might be another copy's.
    Raises HsmError, ConfigurationError, DataDirectoryError, StorageError.
    """
    settings = config.hsm
    if settings is None:
        raise ConfigurationError("the configuration names no HSM to move to")
    with alone(config):
        installation_id, records = read_domain_keys(config)
        versions = versions_in_hsm(records)
        if not versions:
            raise ConfigurationError("this installation has a root key file: there is nothing in an HSM")
        if any(record.recovery is None for record in records if record.purpose != HSM):
            raise HsmError("this installation was made without a recovery key: nothing of it can be moved")
        if not hmac.compare_digest(recovery_fingerprint(records), fingerprint.strip().lower()):
            raise HsmError("the fingerprint is another one: these are not the keys that the installation was made with")
        lost = RecoveryRoot(read_private_key(recovery_key.read_bytes(), ask_passphrase()))
        recoverable = [replace(record, wrapped=record.recovery or b"") for record in records]
        domain_keys = DomainKeys.open(lost, installation_id, recoverable)
        storage = open_storage(config, domain_keys.row_authentication)
        try:
            storage.load()
            installation, number = _installation(storage, installation_id)
            opened = Opened(config, storage, domain_keys, installation, None)
            refuse_rollback(opened)
            _refuse_objects(storage)
            version = max(versions) + 1
            if discard_unfinished:
                clear_token(place_of(config, settings), installation_id, version)

            def needed() -> bool:
                return version in versions_in_hsm(read_domain_keys(config)[1])

            with made_in_token(config, settings, installation_id, version, needed=needed) as hsm:
                anew = wrapped_anew(HsmRoot(hsm.token), lost, installation_id, recoverable, version, now)
                store = HsmKeyStore.for_moving(hsm.token, hsm.can, settings.allow)
                moved = [*_moved_materials(storage, store, lost), *_moved_external_keys(storage, store, lost)]
                writes = [
                    *_replaced_domain_keys(storage, anew),
                    *moved,
                    Replace(replace(installation, backup_verified=None), number),
                ]
                event = service_event(
                    name="MoveToHsm",
                    event_id=str(uuid.uuid4()),
                    now=now,
                    details={"token": settings.token, "version": version, "keyMaterials": len(moved)},
                )
                commit_recorded(audit_log(opened), event, writes, storage.commit)
        finally:
            storage.close()
        return len(moved)


def _replaced_domain_keys(storage: Storage, anew: list[DomainKey]) -> list[Write]:
    writes: list[Write] = []
    by_name = {(record.purpose, record.version): record for record in anew}
    for record, number in storage.find_all(DomainKey):
        new = by_name.pop((record.purpose, record.version), None)
        writes.append(
            Delete(record, number) if new is None else Replace(replace(new, recovery=record.recovery), number)
        )
    return [*writes, *(Insert(record) for record in by_name.values())]


def _moved_materials(storage: Storage, store: HsmKeyStore, lost: RecoveryRoot) -> list[Write]:
    keys = {(key.account, key.region, key.key_id): key for key, _ in storage.find_all(KmsKey)}
    writes: list[Write] = []
    for material, number in storage.find_all(KeyMaterial):
        key = keys[material.account, material.region, material.key_id]
        if material.key_store == HsmKeyStore.name and material.present:  # of what was deleted there is nothing to move
            try:
                writes.append(Replace(store.moved(key, material, lost), number))
            except RequestError as error:
                raise HsmError(f"{key.arn} cannot be moved: {error.message or error.code}") from None
    return writes


def _moved_external_keys(storage: Storage, store: HsmKeyStore, lost: RecoveryRoot) -> list[Write]:
    writes: list[Write] = []
    for external, number in storage.find_all(ExternalKey):
        if external.key_store == HsmKeyStore.name:
            try:
                moved = store.moved(*key_and_material(external), lost)
            except RequestError as error:
                raise HsmError(f"{_named(external)} cannot be moved: {error.message or error.code}") from None
            writes.append(Replace(with_material(external, moved), number))
    return writes


def _refuse_objects(storage: Storage) -> None:
    """Refuse to leave a token with keys that were in it before: nobody can take them out. Raises HsmError."""
    for external, _ in storage.find_all(ExternalKey):
        if external.key_store == OBJECT:
            label = external.wrapped.decode(errors="replace")
            raise HsmError(f"{_named(external)} cannot be moved: it is the object {label!r} of the old token")


def _named(external: ExternalKey) -> str:
    return f"the external key {external.external_key_id} of {external.prefix or '/'}"


def _installation(storage: DatabaseStorage, installation_id: str) -> tuple[Installation, int]:
    found = storage.find(Installation, (installation_id,))
    if found is None:
        raise DataDirectoryError(f"{storage.name} does not name its installation")
    return found
