"""The custom key stores that are connected, in this process: one connection for each, made when it is first needed.

What a connection does runs on threads of its own, so that a store that hangs holds up nothing but itself. Where one
request uses two stores it runs on others still: neither store's threads wait for the other. So does what looks whether
a store can be made or changed.
"""

import threading
import time
from collections.abc import Collection
from typing import NamedTuple, Protocol

from strongroom.errors import KMSInvalidState
from strongroom.keystores.contract import CustomKeyStoreConnection, Threads
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.model.custom_key_store import CustomKeyStore

_BETWEEN_THREADS = 8
"""Requests at once that use two custom key stores."""
_BETWEEN_SECONDS = 5.0
_CONFIGURING_THREADS = 4
"""Requests at once that make, change or connect custom key stores."""
_CONFIGURING_SECONDS = 15.0
_CLOSING_SECONDS = 3.0
"""How long to wait, at the end, for connections to be closed."""

_Settings = tuple[object, ...]


class Cluster(NamedTuple):
    """An HSM cluster that the configuration names: its trust anchor (DER), and how many HSMs it has."""

    certificate: bytes
    hsms: int


class Backing(Protocol):
    """What the operator's configuration lets custom key stores be made of, and how they are reached."""

    def cluster(self, cluster_id: str, account: str) -> Cluster | None:
        """A cluster that an account may use; None if there is none."""
        ...

    def cluster_is_there(self, cluster_id: str) -> bool:
        """Whether a cluster that there is answers, without logging in. Waits for it, for some seconds at most."""
        ...

    def vpc_endpoint_services(self) -> dict[str, str]:
        """The names of VPC endpoint services, each with the endpoint that it stands for."""
        ...

    def check_proxy(self, store: CustomKeyStore, secret: str | None, *, request_id: str, operation: str) -> None:
        """See that an external key store as it is to be can be used; `secret` is its new secret, if that is new.

        Waits for the proxy. Raises the Xks… errors of CreateCustomKeyStore.
        """
        ...

    def has_secret(self, store: CustomKeyStore, secret: str) -> bool:
        """Whether this is the secret of a store."""
        ...

    def open(self, store: CustomKeyStore) -> CustomKeyStoreConnection:
        """Make the connection of a store. Waits for nothing. Raises KMSInvalidState if it is configured no more."""
        ...


class CustomKeyStores:
    """The connections of this process. Safe to share between threads."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self._connections: dict[tuple[str, str, str], tuple[_Settings, CustomKeyStoreConnection]] = {}
        self._lock = threading.Lock()
        self._between = _threads(_BETWEEN_THREADS, _BETWEEN_SECONDS, "between-stores")
        self.configuring = _threads(_CONFIGURING_THREADS, _CONFIGURING_SECONDS, "configuring-stores")
        """Where requests run that look whether something can back a store."""

    def connection(self, store: CustomKeyStore) -> CustomKeyStoreConnection:
        """The connection of a store as it is configured now."""
        identity, settings = _identity(store), _settings(store)
        kept = self._connections.get(identity)
        if kept is not None and kept[0] == settings:
            return kept[1]
        with self._lock:
            kept = self._connections.get(identity)
            if kept is not None and kept[0] == settings:
                return kept[1]
            made = self.backing.open(store)
            self._connections[identity] = (settings, made)
        if kept is not None:
            _close(kept[1])
        return made

    def threads(self, stores: Collection[CustomKeyStore]) -> Threads:
        """Where a request runs that uses these stores. That one is configured no more is told where it is used."""
        first, *others = {_identity(store): store for store in stores}.values()
        try:
            return self._between if others else self.connection(first).calls
        except KMSInvalidState:
            return self._between

    def close_all_but(self, connected: Collection[CustomKeyStore]) -> list[threading.Thread]:
        """Close the connections of stores that are not among these. Returns the threads that do it."""
        kept = {_identity(store) for store in connected}
        with self._lock:
            closed = [self._connections.pop(identity)[1] for identity in self._connections.keys() - kept]
        return [_close(connection) for connection in closed]

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region, in whichever store it is. Idempotent."""
        for _, connection in list(self._connections.values()):
            connection.forget(region, material_id)

    def close(self) -> None:
        """Close all, but wait for nothing that hangs."""
        deadline = time.monotonic() + _CLOSING_SECONDS
        for closing in self.close_all_but(()):
            closing.join(max(0.0, deadline - time.monotonic()))
        self._between.stop()
        self.configuring.stop()


def _threads(count: int, seconds: float, name: str) -> CallThreads:
    return CallThreads(count, seconds, name=name, on_overdue=lambda _: None, on_all_hanging=lambda _: None)


def _close(connection: CustomKeyStoreConnection) -> threading.Thread:
    """Close a connection on a thread of its own: what backs it may hang."""
    closing = threading.Thread(target=connection.close, name="closing", daemon=True)
    closing.start()
    return closing


def _identity(store: CustomKeyStore) -> tuple[str, str, str]:
    return (store.region, store.account, store.custom_key_store_id)


def _settings(store: CustomKeyStore) -> _Settings:
    """What a connection depends on."""
    return (store.cluster_id, store.uri_endpoint, store.uri_path, store.access_key_id, store.sealed_secret)
