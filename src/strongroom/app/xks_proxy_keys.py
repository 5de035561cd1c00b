"""The external keys that the XKS proxy serves, as the operator makes, disables and deletes them."""

import re
import uuid
from contextlib import suppress

from msgspec.structs import replace

from strongroom.app.installing import Opened, opened_to_change
from strongroom.app.key_store import key_store_of, served_external_keys
from strongroom.app.xks_proxy import commit, find_store
from strongroom.config import Config
from strongroom.errors import ConfigurationError, ConflictError, IntegrityError, OperatorError, RollbackError
from strongroom.keystores.external_keys import ACCOUNT
from strongroom.keystores.hsm.objects import KEY_STORE as OBJECT
from strongroom.model.erasure import PendingErasure
from strongroom.model.xks import AttachedObject, ExternalKey
from strongroom.storage.contract import Delete, Insert, Replace, Storage, Write

_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")
"""Without `.` and `..`, which clients and load balancers take out of paths."""


def create_external_key(
    config: Config, prefix: str, external_key_id: str | None, *, label: str | None, now: float
) -> ExternalKey:
    """Make a key of a key store; its id is random if None. With `label` it is that object of the token.

    Raises ConfigurationError, HsmError, or what the key store has against it.
    """
    external_key_id = str(uuid.uuid4()) if external_key_id is None else external_key_id
    if _ID.fullmatch(external_key_id) is None:
        raise ConfigurationError(
            f"key id {external_key_id!r} is not 1 to 128 of A-Z, a-z, 0-9, ., _ and -, or is . or .."
        )
    with opened_to_change(config) as opened:
        store, number = find_store(opened, prefix)
        if opened.storage.find(ExternalKey, (prefix, external_key_id)) is not None:
            raise ConfigurationError(f"key store {prefix!r} has a key {external_key_id} already")
        external_keys = served_external_keys(opened, key_store_of(opened))
        details: dict[str, object] = {}
        writes: list[Write] = [Replace(store, number)]
        if label is None:
            key = external_keys.new(prefix, external_key_id, now)
        else:
            uses, attached = _unattached(opened, label)
            key = external_keys.attach(prefix, external_key_id, label, now, uses=uses)
            details["object"] = label
            writes.append(attached)
        commit(opened, "CreateExternalKey", _told(key) | details, [*writes, Insert(key)], now)
    return key


def list_external_keys(config: Config, prefix: str) -> list[ExternalKey]:
    """The keys of a key store, by id. Raises ConfigurationError if there is no such key store."""
    with opened_to_change(config) as opened:
        find_store(opened, prefix)
        keys = [key for key, _ in opened.storage.find_all(ExternalKey) if key.prefix == prefix]
    return sorted(keys, key=lambda key: key.external_key_id)


def enable_external_key(config: Config, prefix: str, external_key_id: str, now: float) -> None:
    """Let a key be used again. Raises ConfigurationError."""
    _set_enabled(config, prefix, external_key_id, enabled=True, now=now)


def disable_external_key(config: Config, prefix: str, external_key_id: str, now: float) -> None:
    """Let a key not be used. Raises ConfigurationError."""
    _set_enabled(config, prefix, external_key_id, enabled=False, now=now)


def delete_external_key(config: Config, prefix: str, external_key_id: str, now: float) -> str | None:
    """Delete a key that is disabled, and erase its material from the database's files: what it encrypted is lost.

    An object of the token stays there. Returns None, or why its bytes are still in the files: a server that runs, or
    the next one, erases them. Raises ConfigurationError.
    """
    with opened_to_change(config) as opened:
        key, number = _find(opened, prefix, external_key_id)
        if key.enabled:
            raise ConfigurationError(
                f"key {external_key_id} is enabled: disable it first, and delete it when nobody misses it"
            )
        note = PendingErasure(ACCOUNT, prefix, external_key_id, now)
        noted = opened.storage.find(PendingErasure, (ACCOUNT, prefix, external_key_id))
        noting: Write = Insert(note) if noted is None else Replace(note, noted[1])
        writes = [Delete(key, number), noting, *counted(opened.storage, key)]
        position = commit(opened, "DeleteExternalKey", _told(key), writes, now)
        return _erase(opened, Delete(note, position.number))


def counted(storage: Storage, key: ExternalKey) -> list[Write]:
    """What remembers the uses of an object of the token when its key is deleted."""
    if key.key_store != OBJECT:
        return []
    found = storage.find(AttachedObject, (key.wrapped.decode(),))
    assert found is not None, "it was attached"
    return [Replace(replace(found[0], uses=key.uses or 0), found[1])]


def _erase(opened: Opened, done: Delete) -> str | None:
    try:
        opened.storage.erase()
    except (IntegrityError, RollbackError):
        raise
    except OperatorError as error:
        return str(error)
    with suppress(ConflictError):  # a server has erased it too, and was the first to say so
        opened.storage.commit([done], None)
    return None


def _set_enabled(config: Config, prefix: str, external_key_id: str, *, enabled: bool, now: float) -> None:
    with opened_to_change(config) as opened:
        key, number = _find(opened, prefix, external_key_id)
        name = "EnableExternalKey" if enabled else "DisableExternalKey"
        commit(opened, name, _told(key), [Replace(replace(key, enabled=enabled), number)], now)


def _find(opened: Opened, prefix: str, external_key_id: str) -> tuple[ExternalKey, int]:
    find_store(opened, prefix)
    found = opened.storage.find(ExternalKey, (prefix, external_key_id))
    if found is None:
        raise ConfigurationError(f"key store {prefix!r} has no key {external_key_id!r}")
    return found


def _unattached(opened: Opened, label: str) -> tuple[int, Write]:
    """The uses of an object so far, and its record, to be written with its key: of two keys at once one is not made.

    Two keys of one object would count its encryptions apart, and AES-GCM bears only so many. Raises ConfigurationError.
    """
    for key, _ in opened.storage.find_all(ExternalKey):
        if key.key_store == OBJECT and key.wrapped == label.encode():
            raise ConfigurationError(
                f"{label!r} in the token is key {key.external_key_id} of key store {key.prefix!r} already"
            )
    found = opened.storage.find(AttachedObject, (label,))
    return (0, Insert(AttachedObject(label, 0))) if found is None else (found[0].uses, Replace(*found))


def _told(key: ExternalKey) -> dict[str, object]:
    """What the audit log is told of a key."""
    return {"prefix": key.prefix, "externalKeyId": key.external_key_id, "materialId": key.material_id}
