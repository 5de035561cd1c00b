"""The key store in an HSM cluster, connected."""

import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM
from strongroom.errors import (
    ConfigurationError,
    ConnectionFailedError,
    CustomKeyStoreInvalidState,
    KeyUnavailable,
    KMSInvalidState,
    RequestError,
    UnsupportedOperation,
)
from strongroom.keystores.cluster.objects import destroy_objects, find_object, make_object
from strongroom.keystores.cluster.opening import Place, open_token, unreachable
from strongroom.keystores.contract import SymmetricKey
from strongroom.keystores.hsm.capabilities import LastingKeys
from strongroom.keystores.hsm.failures import Pkcs11Error, UnclearError
from strongroom.keystores.hsm.keys import HsmDirectKey, HsmSymmetricKey
from strongroom.keystores.hsm.mechanisms import subkey
from strongroom.keystores.hsm.module import Module, open_module
from strongroom.keystores.hsm.opened import OpenedMaterials
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.keystores.hsm.token import Lease, Token
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import SYMMETRIC_DEFAULT

KEY_STORE = "cluster"
"""The name of the key store, with each material."""

_THREADS = 4
_CALL_SECONDS = 5.0
"""How long a request waits for the cluster. A call that takes longer is taken to hang."""
_PAUSE_SECONDS = 1.0
"""How long calls fail at once after the token could not be opened for one."""
_CLOSE_SECONDS = 2.0
"""How long to wait, at the end, for a thread that opens the token."""

_Result = TypeVar("_Result")


def absence(library: Path, label: str) -> str | None:
    """Why the token of a cluster is not there; None if it is. Nobody logs in; a library that hangs is waited for."""
    try:
        there = open_module(str(library)).has_token(label)
    except ConfigurationError as error:
        return str(error)
    return None if there else f"there is no token {label!r} in {library}"


class _Open(NamedTuple):
    """The token in this process, and the key material that is open in it."""

    token: Token[LastingKeys]
    deriving: OpenedMaterials[LastingKeys, int]
    direct: OpenedMaterials[LastingKeys, None]

    def run(self, work: Callable[[Lease[LastingKeys]], _Result]) -> _Result:
        """Do work that needs no opened material, and can be done twice. Raises KMSInvalidState if the token fails."""
        try:
            try:
                return self.token.run(work)
            except UnclearError:  # so SoftHSM may answer where processes make and destroy objects at once
                return self.token.run(work)
        except Pkcs11Error as error:
            self.token.suspect(error)
            raise unreachable() from None


class ClusterKeyStore:
    """Implements `CustomKeyStoreConnection`. The token is opened when it is needed first, or by `connect`."""

    def __init__(
        self,
        *,
        library: Path,
        label: str,
        password: str,
        marker: Path,
        count_use: Callable[[KeyMaterial], None],
        load: Callable[[str], Module] = open_module,
        on_ended: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`library` and `label` say which token it is; `password` is that of its user.

        `marker` is a file that is made when the token refuses the password, which no process tries then any more: a
        new password has another. Logins take turns that have their markers in one directory.
        `count_use` counts encryptions that must not be too many. `load` gives the library of a path, one for all its
        tokens. `on_ended` is told how many seconds each call took.
        """
        self._place = Place(library, label, Pin(file=None, text=password, marker=marker))
        self._count_use = count_use
        self._load = load
        self._calls = CallThreads(
            _THREADS,
            _CALL_SECONDS,
            name="cluster",
            on_overdue=self._doubt,
            on_all_hanging=lambda _: None,
            on_ended=on_ended,
        )
        self._open: _Open | None = None
        self._closed = False
        self._opening = threading.Lock()
        """Held by the thread that opens the token."""
        self._objects = threading.Lock()
        """Held by the thread that makes or destroys an object."""
        self._not_before = 0.0  # on the monotonic clock
        self._told: str | None = None
        """Why the token is not open, as the operator was told."""

    @property
    def calls(self) -> CallThreads:
        """Where its methods must run. When the cluster holds up all of its threads, calls fail at once."""
        return self._calls

    def connect(self, request_id: str) -> None:  # noqa: ARG002 — a token is told of no requests
        """Open the token, unless it is open and well. Raises ConnectionFailedError."""
        with self._opening:
            if self._closed:
                raise ConnectionFailedError("INTERNAL_ERROR", "the key store is disconnected")
            if self._open is None:
                self._open = self._opened_now()
        reason = self._open.token.quarantined
        if reason is not None:
            raise ConnectionFailedError("NETWORK_ERRORS", reason)

    def check(self, request_id: str) -> str | None:  # noqa: ARG002 — a token is told of no requests
        """Why the token is not used at present, if it was in this process; None if it is."""
        opened = self._open
        return None if opened is None else opened.token.quarantined

    def new_material(
        self,
        use: KeyStoreUse,  # noqa: ARG002 — a token is told of nobody
        key: KmsKey,
        *,
        material_id: str,
        created: float,
    ) -> KeyMaterial:
        """Make the material of a new key in the token. Raises UnsupportedOperation, CustomKeyStoreInvalidState."""
        if key.key_spec != SYMMETRIC_DEFAULT:
            raise UnsupportedOperation("A custom key store has symmetric encryption keys only.")
        object_id = bytes.fromhex(material_id)

        def make(lease: Lease[LastingKeys]) -> bool:
            make_object(lease.session, key.arn, object_id, lease.prepared)
            return lease.prepared.xaes

        try:
            opened = self._opened()
            with self._objects:
                xaes = opened.run(make)
        except KMSInvalidState as error:
            self.discard(key, material_id)  # it may have been made nevertheless
            raise CustomKeyStoreInvalidState(error.message) from None
        return KeyMaterial(
            account=key.account,
            region=key.region,
            key_id=key.key_id,
            material_id=material_id,
            algorithm=ALGORITHM_XAES_256_GCM if xaes else ALGORITHM_AES_256_GCM,
            key_store=KEY_STORE,
            domain_key_version=0,
            wrapped=object_id,
            created=created,
        )

    def discard(self, key: KmsKey, material_id: str) -> None:
        """Destroy the object that was made for a key. Fails for nobody."""
        self.destroy(key.arn, [material_id])

    def destroy(self, key_arn: str, material_ids: Sequence[str]) -> Collection[str]:
        """Destroy the objects of a key, and return the ids of which there is none left. Fails for nobody."""
        return {material_id for material_id in material_ids if self._destroyed(key_arn, material_id)}

    def _destroyed(self, key_arn: str, material_id: str) -> bool:
        try:
            opened = self._opened()
            with self._objects:
                return opened.run(partial(_destroyed, opened.token, key_arn, bytes.fromhex(material_id)))
        except RequestError:
            return False

    def open_symmetric(
        self,
        use: KeyStoreUse,  # noqa: ARG002 — a token is told of nobody
        key: KmsKey,
        material: KeyMaterial,
    ) -> SymmetricKey:
        """Find the object of a key. Raises KMSInvalidState if the token is away, or has no such object."""
        if material.key_store != KEY_STORE:
            raise KeyUnavailable
        opened = self._opened()
        if material.algorithm == ALGORITHM_XAES_256_GCM:
            return HsmSymmetricKey(opened.deriving, opened.deriving.get(key, material))
        if material.algorithm != ALGORITHM_AES_256_GCM:
            raise KeyUnavailable
        return HsmDirectKey(opened.direct, opened.direct.get(key, material), self._count_use)

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes of the token's generator. Raises KMSInvalidState."""
        return self._opened().run(lambda lease: lease.session.random(length)) if length else b""

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region: it stays in the token. Idempotent."""
        opened = self._open
        if opened is not None:
            opened.deriving.forget(region, material_id)
            opened.direct.forget(region, material_id)

    def close(self) -> None:
        """Log out. Idempotent. A call that does not come back is not waited for."""
        self._closed = True
        if self._opening.acquire(timeout=_CLOSE_SECONDS):
            try:
                opened, self._open = self._open, None
            finally:
                self._opening.release()
            if opened is not None:
                opened.token.close()
        self._calls.stop()

    def _doubt(self, reason: str) -> None:
        """A call has not come back in time."""
        opened = self._open
        if opened is not None:
            opened.token.quarantine(reason)

    def _opened(self) -> _Open:
        """The token, opened if it is not. Raises KMSInvalidState."""
        opened = self._open
        if opened is not None:
            return opened
        with self._opening:
            if self._open is None:
                if self._closed or time.monotonic() < self._not_before:
                    raise unreachable()
                self._not_before = time.monotonic() + _PAUSE_SECONDS
                try:
                    self._open = self._opened_now()
                    if self._told is not None:
                        sys.stderr.write(f"strongroom: the token {self._place.label!r} is open again\n")
                    self._told = None
                except ConnectionFailedError as error:
                    self._not_before = time.monotonic() + _PAUSE_SECONDS  # from its end on
                    self._tell(str(error))
                    raise unreachable() from None
            return self._open

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            sys.stderr.write(f"strongroom: the token {self._place.label!r} is not opened: {reason}\n")

    def _opened_now(self) -> _Open:
        token = open_token(self._place, self._load)
        if self._closed:  # meanwhile: nobody else would close it
            token.close()
        return _Open(
            token,
            OpenedMaterials(token, partial(_find_deriving, token), lasting=True),
            OpenedMaterials(token, partial(_find, token), lasting=True),
        )


def _destroyed(token: Token[LastingKeys], key_arn: str, object_id: bytes, lease: Lease[LastingKeys]) -> bool:
    gone = destroy_objects(lease.session, key_arn, object_id)
    token.check(lease)  # of one that is away nothing is seen
    return gone


def _find(token: Token[LastingKeys], lease: Lease[LastingKeys], key: KmsKey, material: KeyMaterial) -> tuple[int, None]:
    handle = find_object(lease.session, key.arn, material.wrapped)
    if handle is None:
        token.check(lease)
        raise KMSInvalidState("KMS cannot find the key material in the CloudHSM cluster.")
    return handle, None


def _find_deriving(
    token: Token[LastingKeys], lease: Lease[LastingKeys], key: KmsKey, material: KeyMaterial
) -> tuple[int, int]:
    handle, _ = _find(token, lease, key, material)
    return handle, subkey(lease.session, handle)
