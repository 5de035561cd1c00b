"""One token of a PKCS #11 library: login, sessions, and what happens when it goes away.

A `Token` is open, or quarantined: then every use fails at once with an error that callers retry, while a thread of its
own initializes the library anew, again and again with a growing pause, until the token is back and has passed its test.
All handles are of one *epoch*, from one initialization to the next. The library is initialized anew only while no call
is under way, so that no handle is ever used in another epoch than its own.

Session objects belong to one session, which does nothing else (the owner). The others are used by one thread at a time.
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from strongroom.errors import HsmError, KMSInternal, OperatorError, RequestError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.failures import PinRefusedError, Pkcs11Error, SessionLostError, TokenLostError
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.session import Session

STUCK_SECONDS = 60.0
"""How long an attempt to open the token anew may take before it is taken to hang."""
DESTROYED_LIMIT = 200_000
"""Session objects destroyed before the library is initialized anew: until then SoftHSM keeps 240 bytes of each."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
_DRAIN_SECONDS = 2.0
"""How long to wait for calls that are under way before the library is initialized anew."""

Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


class Lease(NamedTuple, Generic[Prepared]):
    """A session to use until `Token.run` returns, and what was prepared in its epoch."""

    session: Session
    prepared: Prepared


class _Opening(NamedTuple, Generic[Prepared]):
    """What belongs to one epoch: nothing of it is worth anything in another."""

    epoch: int
    slot: int
    owner: Session
    prepared: Prepared


class Token(Generic[Prepared]):
    """The token with a label. `prepare` finds in a new session what is needed of the token and tests it."""

    def __init__(
        self,
        module: Module,
        label: str,
        pin: Pin,
        prepare: Callable[[Session], Prepared],
        test: Callable[[Session, Prepared], None],
    ) -> None:
        """`prepare` and `test` raise HsmError or Pkcs11Error if the token does not have or do what it must."""
        self._module = module
        self._label = label
        self._pin = pin
        self._prepare = prepare
        self._test = test
        self._changed = threading.Condition()
        """Guards what follows, and tells of changes."""
        self._under_way = 0
        self._closed_to_calls = True  # while the library is initialized anew
        self._quarantined: str | None = None
        self._ended = False
        self._idle: list[Session] = []
        self._destroyed = 0
        self._opening: _Opening[Prepared] | None = None
        self._initialization = threading.Lock()
        """Held by the one thread that initializes the library anew."""
        self.owner_lock = threading.Lock()
        """Held by whoever uses `owner`."""
        self.on_stuck: Callable[[str], None] = lambda _: None
        """Told, on a thread of its own, if the library hangs while the token is opened anew."""

    @property
    def owner(self) -> Session:
        """The session that session objects belong to."""
        return self._opened().owner

    @property
    def quarantined(self) -> str | None:
        """Why the token is not used at present; None if it is."""
        return self._quarantined

    def open(self) -> None:
        """Open the token for the first time. Raises HsmError, in one line for the operator."""
        try:
            self._module.enter()
            self._enter()
        except Pkcs11Error as error:
            raise HsmError(f"the token {self._label!r} cannot be opened: {error}") from None
        self._closed_to_calls = False

    def close(self) -> None:
        """End, for good. Session objects are gone with it; a call that does not return is not waited for."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._closed_to_calls = True
            self._changed.notify_all()
            drained = self._changed.wait_for(lambda: self._under_way == 0, _DRAIN_SECONDS)
        if drained and self._initialization.acquire(timeout=_DRAIN_SECONDS):
            try:
                self._close_sessions()
                self._module.leave()
            finally:
                self._initialization.release()

    def run(self, work: Callable[[Lease[Prepared]], Result]) -> Result:
        """Do some work with a session. It may be done a second time, if the session was lost.

        A session in which a call has failed is closed: an operation may be under way in it still.

        Raises KMSInternal while the token is away; Pkcs11Error of any kind that says nothing of session or token.
        """
        for attempt in (1, 2):
            session = self._begin()
            usable = False
            try:
                opening = self._opened()
                if opening.epoch != session.epoch:
                    raise TokenLostError("the library", 0)  # noqa: TRY301 — as if it had said so
                result = work(Lease(session, opening.prepared))
            except SessionLostError as error:
                if attempt > 1:
                    self.quarantine(str(error))
            except TokenLostError as error:
                self.quarantine(str(error))
            except RequestError:
                usable = True
                raise
            else:
                usable = True
                return result
            finally:
                self._end(session, usable=usable)
        raise unavailable()

    def quarantine(self, reason: str) -> None:
        """Use the token no more until it has been opened anew and tested."""
        with self._changed:
            if self._quarantined is not None or self._ended:
                return
            self._quarantined = reason
            self._changed.notify_all()
        self._begin_recovery(reason)

    def examine(self, reason: str) -> None:
        """Test the token beside a call that takes too long, in the background; quarantine it if the test fails."""

        def test() -> None:
            if not self._well_beside_other_calls():
                self.quarantine(reason)

        threading.Thread(target=test, name="hsm-test", daemon=True).start()

    def _begin_recovery(self, reason: str) -> None:
        sys.stderr.write(f"strongroom: the HSM is not used until it is well again: {reason}\n")
        threading.Thread(target=self._recover, name="hsm-recovery", daemon=True).start()

    def suspect(self, error: Pkcs11Error) -> None:
        """Test the token, since a call has failed for which it may be to blame; quarantine it if the test fails."""
        try:
            self.run(lambda lease: self._test(lease.session, lease.prepared))
        except (Pkcs11Error, OperatorError) as failed:
            self.quarantine(f"{error}, and then: {failed}")

    def _begin(self) -> Session:
        with self._changed:
            while self._closed_to_calls and self._quarantined is None and not self._ended:
                self._changed.wait()
            if self._quarantined is not None or self._ended:
                raise unavailable()
            self._under_way += 1
            opening = self._opened()
            current = opening.epoch == self._module.epoch
            if self._idle and current:
                return self._idle.pop()
        if not current:
            self._end(None, usable=False)
            self.quarantine("the library was initialized anew for another token")
            raise unavailable()
        try:
            return self._module.open_session(opening.slot)
        except Pkcs11Error as error:
            self._end(None, usable=False)
            self.quarantine(str(error))
            raise unavailable() from None

    def _end(self, session: Session | None, *, usable: bool) -> None:
        if session is not None and (session.worn or not usable):
            session.close()  # and with it the objects that it made
        with self._changed:
            self._under_way -= 1
            if session is not None:
                self._count_destroyed(session)
            if session is not None and usable and not session.worn:
                self._idle.append(session)
            if self._under_way == 0 and self._closed_to_calls:
                self._changed.notify_all()

    def _count_destroyed(self, session: Session) -> None:
        """Count session objects that were destroyed; at a bound, initialize the library anew. The lock is held."""
        self._destroyed += session.destroyed
        session.destroyed = 0
        if self._destroyed >= DESTROYED_LIMIT and not (self._closed_to_calls or self._quarantined or self._ended):
            self._destroyed = 0
            self._closed_to_calls = True
            threading.Thread(target=self._renew, name="hsm-renewal", daemon=True).start()

    def _renew(self) -> None:
        """Initialize anew a token that is well: calls wait for it."""
        failed: str | None = None
        with self._initialization:
            with self._changed:
                drained = self._changed.wait_for(lambda: self._under_way == 0, _DRAIN_SECONDS)
                if self._quarantined is not None or self._ended:
                    return
            if drained:
                failed = self._initialized()
            with self._changed:
                if failed is not None:
                    self._quarantined = failed
                self._closed_to_calls = self._quarantined is not None
                self._changed.notify_all()
        if failed is not None:
            self._begin_recovery(failed)

    def _recover(self) -> None:
        """Open the token anew, as often as it takes."""
        pause = FIRST_PAUSE
        while not self._ended:
            if self._reopened():
                sys.stderr.write("strongroom: the HSM is well again\n")
                return
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 — so that processes do not come all at once
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reopened(self) -> bool:
        with self._initialization:
            with self._changed:
                self._closed_to_calls = True
                drained = self._changed.wait_for(lambda: self._under_way == 0 or self._ended, _DRAIN_SECONDS)
                if self._ended:
                    return False
            well = self._initialized() is None if drained else self._well_beside_other_calls()
            if well:
                self._resume()
            return well

    def _well_beside_other_calls(self) -> bool:
        """Test the token in its epoch: it cannot be initialized anew while a call is under way."""
        opening = self._opened()
        if opening.epoch != self._module.epoch:
            return False
        try:
            session = self._module.open_session(opening.slot)
            try:
                self._test(session, opening.prepared)
            finally:
                session.close()
        except (Pkcs11Error, OperatorError):
            return False
        return True

    def _resume(self) -> None:
        with self._changed:
            self._quarantined = None
            self._closed_to_calls = False
            self._changed.notify_all()

    def _initialized(self) -> str | None:
        """Initialize the library anew, unless another token has had it done, and enter; say why if that fails.

        No call is under way.
        """
        watch = threading.Timer(STUCK_SECONDS, lambda: self.on_stuck("the library does not come back"))
        watch.daemon = True
        watch.start()
        try:
            if self._module.epoch in (0, self._opened().epoch):
                self._close_sessions()
                self._module.finalize()
                self._module.initialize()
            self._enter()
        except (Pkcs11Error, OperatorError) as error:
            return str(error)
        finally:
            watch.cancel()
        return None

    def _close_sessions(self) -> None:
        """Close what this token has open: not every library does so when it is finalized."""
        opening = self._opening
        if opening is not None and opening.epoch == self._module.epoch:
            for session in (*self._idle, opening.owner):
                session.close()
        self._idle.clear()

    def _enter(self) -> None:
        """Find the token, log in, prepare and test."""
        self._idle.clear()
        self._destroyed = 0
        slot = self._module.find_slot(self._label)
        if slot is None:
            raise HsmError(f"there is no token {self._label!r}")
        if self._module.token_info(slot).flags & p11.CKF_USER_PIN_LOCKED:
            raise HsmError(f"the PIN of the token {self._label!r} is locked")
        owner = self._module.open_session(slot)
        self._login(owner)
        prepared = self._prepare(owner)
        self._test(owner, prepared)
        self._opening = _Opening(owner.epoch, slot, owner, prepared)

    def _opened(self) -> _Opening[Prepared]:
        assert self._opening is not None, "open() comes first"
        return self._opening

    def _login(self, owner: Session) -> None:
        try:
            with self._pin.tried() as pin:
                owner.login(pin)
        except PinRefusedError as error:
            raise HsmError(f"the token {self._label!r} refuses the PIN ({error}); it is not tried again") from None


def unavailable() -> KMSInternal:
    """What callers are told while the token is away. They can retry."""
    return KMSInternal("An internal error occurred. Try the request again.")
