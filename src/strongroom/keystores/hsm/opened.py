"""Key material that is open in the token: a bounded number of objects, which are opened again when they are lost.

They are session objects, made for it, or objects that stay in the token. A session object is destroyed only when no
thread uses it: a token that destroys one in use answers with random errors.
"""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from strongroom.keystores.hsm.failures import NoRoomError, Pkcs11Error
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.token import Lease, Token
from strongroom.model.key import KeyMaterial, KmsKey

OPEN_LIMIT = 5_000
"""Materials that are open at once in one process: SoftHSM takes about 10 KB for each."""

Result = TypeVar("Result")
Prepared = TypeVar("Prepared")
Extra = TypeVar("Extra")


class _Object(Generic[Extra]):
    """An object of the token. `users` are the threads that use it now."""

    __slots__ = ("dropped", "epoch", "extra", "handle", "users")

    def __init__(self, handle: int, epoch: int, extra: Extra) -> None:
        self.handle = handle
        self.epoch = epoch
        self.extra = extra
        self.users = 0
        self.dropped = False


class Opened(Generic[Extra]):
    """Key material as it was opened, and its object if there is one now."""

    __slots__ = ("closed", "key", "material", "object")

    def __init__(self, key: KmsKey, material: KeyMaterial) -> None:
        self.key = key
        self.material = material
        self.object: _Object[Extra] | None = None
        self.closed = False
        """Whether it is no more among those that are kept: then an object lives for one use."""

    def __repr__(self) -> str:
        return f"Opened({self.material.material_id})"


class OpenedMaterials(Generic[Prepared, Extra]):
    """The materials that were opened last. Safe to share between threads."""

    def __init__(
        self,
        token: Token[Prepared],
        unwrap: Callable[[Lease[Prepared], KmsKey, KeyMaterial], tuple[int, Extra]],
        limit: int = OPEN_LIMIT,
        *,
        lasting: bool = False,
    ) -> None:
        """`unwrap` opens material as an object of the token's owner session, and says what is kept beside it.

        It raises KeyUnavailable if the material is not whole. With `lasting` it finds objects that stay in the token.
        """
        self._token = token
        self._unwrap = unwrap
        self._limit = limit
        self._lasting = lasting
        self._kept: dict[tuple[str, str], Opened[Extra]] = {}
        self._lock = threading.Lock()
        self._doomed: deque[_Object[Extra]] = deque()

    def get(self, key: KmsKey, material: KeyMaterial) -> Opened[Extra]:
        """Open material, or return it as opened before. Raises KeyUnavailable, and as `use`."""
        identity = (material.region, material.material_id)
        kept = self._kept.get(identity)
        if (
            kept is not None
            and (kept.material is material or kept.material == material)
            and (kept.key.key_spec, kept.key.key_usage) == (key.key_spec, key.key_usage)
        ):
            return kept
        opened: Opened[Extra] = Opened(key, material)
        with self._lock:  # before it is opened: whoever forgets it meanwhile finds it
            replaced = self._kept.pop(identity, None)
            if replaced is not None:
                self._close(replaced)
            while len(self._kept) >= self._limit:
                self._close(self._kept.pop(next(iter(self._kept))))
            self._kept[identity] = opened
        try:
            self.use(opened, lambda *_: None)
        except BaseException:
            with self._lock:
                if self._kept.get(identity) is opened:
                    self._close(self._kept.pop(identity))
            raise
        return opened

    def use(self, opened: Opened[Extra], work: Callable[[Session, int, Extra], Result]) -> Result:
        """Do some work with a session, the object's handle, and what is kept beside it.

        It may be done twice. Raises what the token raises when it is away, if it fails twice.
        """
        attempt = partial(self._attempt, opened, work)
        try:
            return self._token.run(attempt)
        except Pkcs11Error:
            # Tokens blame the key or the mechanism for an object that is gone. Then another one is opened.
            with self._lock:
                self._drop(opened)
        try:
            return self._token.run(attempt)
        except Pkcs11Error as error:
            self._token.suspect(error)
            raise self._token.unavailable() from None

    def forget(self, region: str, material_id: str) -> None:
        """Close material of a key in a Region. Its object goes with the next use of another, or `sweep`."""
        with self._lock:
            opened = self._kept.pop((region, material_id), None)
            if opened is not None:
                self._close(opened)

    def sweep(self) -> None:
        """Destroy the objects of material that was forgotten."""
        if self._doomed:
            self._token.run(lambda lease: self._destroy_doomed(lease.session))

    def _attempt(
        self, opened: Opened[Extra], work: Callable[[Session, int, Extra], Result], lease: Lease[Prepared]
    ) -> Result:
        session = lease.session
        used = self._hold(opened, session.epoch) or self._open(opened, lease)
        try:
            return work(session, used.handle, used.extra)
        finally:
            with self._lock:
                used.users -= 1
                self._doom(used)
            if self._doomed:
                self._destroy_doomed(session)

    def _hold(self, opened: Opened[Extra], epoch: int) -> _Object[Extra] | None:
        """The object, kept from being destroyed; None if there is none in this epoch."""
        with self._lock:
            there = opened.object
            if there is None or there.epoch != epoch:
                return None
            there.users += 1
            return there

    def _open(self, opened: Opened[Extra], lease: Lease[Prepared]) -> _Object[Extra]:
        with self._token.owner_lock:
            there = self._hold(opened, lease.session.epoch)  # another thread may have opened it meanwhile
            if there is not None:
                return there
            try:
                handle, extra = self._unwrap(lease, opened.key, opened.material)
            except NoRoomError:
                self._make_room(lease.session)
                handle, extra = self._unwrap(lease, opened.key, opened.material)
            made = _Object(handle, lease.session.epoch, extra)
            made.users = 1
            with self._lock:
                if opened.closed:
                    made.dropped = True
                else:
                    opened.object = made
            return made

    def _make_room(self, session: Session) -> None:
        """Close the half that was opened first: the token has no room for more."""
        with self._lock:
            for identity in list(self._kept)[: len(self._kept) // 2]:
                self._close(self._kept.pop(identity))
        self._destroy_doomed(session)

    def _close(self, opened: Opened[Extra]) -> None:
        """Keep it no more. The lock is held."""
        opened.closed = True
        self._drop(opened)

    def _drop(self, opened: Opened[Extra]) -> None:
        """Part material from its object. The lock is held."""
        there, opened.object = opened.object, None
        if there is not None:
            there.dropped = True
            self._doom(there)

    def _doom(self, there: _Object[Extra]) -> None:
        """Note that an object is to be destroyed, if it is now. The lock is held."""
        if there.dropped and there.users == 0 and not self._lasting:
            self._doomed.append(there)

    def _destroy_doomed(self, session: Session) -> None:
        """Destroy what nobody uses any more; of another epoch it is gone already."""
        while True:
            try:
                doomed = self._doomed.popleft()
            except IndexError:
                return
            if doomed.epoch != session.epoch:
                continue
            try:
                session.destroy(doomed.handle)
            except Pkcs11Error:
                continue  # it goes with the epoch
