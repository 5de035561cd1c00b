"""The key stores that the XKS proxy serves, and the credentials of their callers, as the operator makes them."""

import base64
import re
import secrets
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.app.installing import Opened, audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.authorization.xks_rules import parse_rules
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.messages.xks import BASE
from strongroom.model.xks import ExternalKey, XksCredential, XksStore
from strongroom.storage.contract import Delete, Insert, Position, Replace, Write

MOST_CREDENTIALS = 2
"""Of a key store: AWS KMS goes over from one to the next while both are good."""
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_-]+)*")
_LONGEST_PREFIX = 101
"""Characters: with what follows it, `XksProxyUriPath` has 128 at most."""
_RATES = range(1, 1_000_001)
"""Requests a second."""


class IssuedCredential(NamedTuple):
    """A new credential of a key store, as AWS KMS is told it: nobody is told its secret again."""

    uri_path: str
    access_key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"IssuedCredential({self.access_key_id})"


class ListedStore(NamedTuple):
    """A key store, the ids of its credentials, the older first, and how many keys it has."""

    store: XksStore
    access_key_ids: list[str]
    keys: int


def create_xks_store(config: Config, prefix: str, *, rate: int, rules: str | None, now: float) -> IssuedCredential:
    """Make a key store with a first credential. Raises ConfigurationError."""
    _check_prefix(prefix)
    store = XksStore(prefix, now, _checked_rate(rate), "" if rules is None else _checked_rules(rules))
    with opened_to_change(config) as opened:
        if opened.storage.find(XksStore, (prefix,)) is not None:
            raise ConfigurationError(f"there is a key store {prefix!r} already")
        credential, issued = _new_credential(opened, prefix, now)
        details = _told(store) | {"accessKeyId": issued.access_key_id}
        commit(opened, "CreateXksStore", details, [Insert(store), Insert(credential)], now)
    return issued


def list_xks_stores(config: Config) -> list[ListedStore]:
    """All key stores, by prefix."""
    with opened_to_change(config) as opened:
        stores = [store for store, _ in opened.storage.find_all(XksStore)]
        keys = [key.prefix for key, _ in opened.storage.find_all(ExternalKey)]
        return [
            ListedStore(
                store,
                [credential.access_key_id for credential, _ in _credentials(opened, store.prefix)],
                keys.count(store.prefix),
            )
            for store in sorted(stores, key=lambda store: store.prefix)
        ]


def update_xks_store(config: Config, prefix: str, *, rate: int | None, rules: str | None, now: float) -> None:
    """Give a key store another rate, other rules, or both; None leaves what there is. Raises ConfigurationError."""
    if rate is None and rules is None:
        raise ConfigurationError("neither another rate nor other rules are given")
    with opened_to_change(config) as opened:
        store, number = find_store(opened, prefix)
        if rate is not None:
            store = replace(store, rate=_checked_rate(rate))
        if rules is not None:
            store = replace(store, rules=_checked_rules(rules))
        commit(opened, "UpdateXksStore", _told(store), [Replace(store, number)], now)


def delete_xks_store(config: Config, prefix: str, now: float) -> None:
    """Take a key store and its credentials away. Raises ConfigurationError if it has keys."""
    with opened_to_change(config) as opened:
        store, number = find_store(opened, prefix)
        keys = sum(key.prefix == prefix for key, _ in opened.storage.find_all(ExternalKey))
        if keys:
            raise ConfigurationError(f"key store {prefix!r} has {keys} keys: delete them first")
        writes = [Delete(store, number), *(Delete(*credential) for credential in _credentials(opened, prefix))]
        commit(opened, "DeleteXksStore", {"prefix": prefix}, writes, now)


def add_xks_credential(config: Config, prefix: str, now: float) -> IssuedCredential:
    """Make another credential of a key store. Raises ConfigurationError if it has two."""
    with opened_to_change(config) as opened:
        store, number = find_store(opened, prefix)
        if len(_credentials(opened, prefix)) >= MOST_CREDENTIALS:
            raise ConfigurationError(f"key store {prefix!r} has {MOST_CREDENTIALS} credentials: remove one first")
        credential, issued = _new_credential(opened, prefix, now)
        details: dict[str, object] = {"prefix": prefix, "accessKeyId": issued.access_key_id}
        commit(opened, "AddXksCredential", details, [Replace(store, number), Insert(credential)], now)
    return issued


def remove_xks_credential(config: Config, prefix: str, access_key_id: str, now: float) -> None:
    """Take a credential of a key store away. Raises ConfigurationError if it is the last."""
    with opened_to_change(config) as opened:
        store, number = find_store(opened, prefix)
        there = _credentials(opened, prefix)
        removed = [found for found in there if found[0].access_key_id == access_key_id]
        if not removed:
            raise ConfigurationError(f"key store {prefix!r} has no credential {access_key_id!r}")
        if len(there) == 1:
            raise ConfigurationError(f"{access_key_id} is the last credential of key store {prefix!r}: add one first")
        details: dict[str, object] = {"prefix": prefix, "accessKeyId": access_key_id}
        commit(opened, "RemoveXksCredential", details, [Replace(store, number), Delete(*removed[0])], now)


def find_store(opened: Opened, prefix: str) -> tuple[XksStore, int]:
    """The key store of a prefix. Raises ConfigurationError.

    Whatever is added to it or taken from it replaces it too, by itself: of two such changes at once one is not made.
    """
    _check_prefix(prefix)
    found = opened.storage.find(XksStore, (prefix,))
    if found is None:
        raise ConfigurationError(f"there is no key store {prefix!r}")
    return found


def commit(opened: Opened, name: str, details: dict[str, object], writes: Sequence[Write], now: float) -> Position:
    """Commit a change with its audit record."""
    event = service_event(name=name, event_id=str(uuid.uuid4()), now=now, details=details)
    return commit_recorded(audit_log(opened), event, writes, opened.storage.commit)


def _credentials(opened: Opened, prefix: str) -> list[tuple[XksCredential, int]]:
    """The credentials of a key store with their numbers, the older first."""
    found = [stored for stored in opened.storage.find_all(XksCredential) if stored[0].prefix == prefix]
    return sorted(found, key=lambda stored: (stored[0].created, stored[0].access_key_id))


def _new_credential(opened: Opened, prefix: str, now: float) -> tuple[XksCredential, IssuedCredential]:
    access_key_id = base64.b32encode(secrets.token_bytes(15)).decode()[:20]
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    sealed = opened.domain_keys.seal_xks_secret(secret.encode(), prefix=prefix, access_key_id=access_key_id)
    issued = IssuedCredential(f"{prefix}{BASE}", access_key_id, secret)
    return XksCredential(access_key_id, prefix, now, sealed), issued


def _told(store: XksStore) -> dict[str, object]:
    """What the audit log is told of a key store."""
    return {"prefix": store.prefix, "rate": store.rate, "rules": store.rules}


def _check_prefix(prefix: str) -> None:
    if _PREFIX.fullmatch(prefix) is None or len(prefix) > _LONGEST_PREFIX:
        raise ConfigurationError(
            f"prefix {prefix!r} is neither empty nor a slash and 1 to 100 of A-Z, a-z, 0-9, _, - and single slashes"
            " with none at the end"
        )
    if f"{BASE.rpartition('/')[0]}/" in f"{prefix}/":
        raise ConfigurationError(f"prefix {prefix!r} has a part that the proxy's own paths have")


def _checked_rate(rate: int) -> int:
    if rate not in _RATES:
        raise ConfigurationError(f"a rate is {_RATES[0]} to {_RATES[-1]:,} requests a second, not {rate}")
    return rate


def _checked_rules(rules: str) -> str:
    parse_rules(rules)
    return rules
