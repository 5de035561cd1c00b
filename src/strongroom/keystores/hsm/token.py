"""One token of a PKCS #11 library: login, sessions, and what happens when it goes away.

A `Token` is open, or quarantined: then every use fails at once with an error that callers retry, while a thread of its
own opens it anew, again and again with a growing pause, until the token is back and has passed its test. For that the
library is initialized anew, which takes all its other tokens along: those enter it again, and their calls wait for it.
All handles are of one *epoch*, from one entering to the next. The library is initialized anew only while no call is
under way (`gate.py`), and entered while none of the token's is: no handle is used in another epoch than its own.

Session objects belong to one session, which does nothing else (the owner). The others are used by one thread at a time.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from strongroom.errors import KMSInternal, OperatorError, RequestError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.failures import (
    LoginRefusedError,
    NoTokenError,
    OpeningFailedError,
    PinRefusedError,
    Pkcs11Error,
    SessionLostError,
    TokenLostError,
    UserRefusedError,
)
from strongroom.keystores.hsm.gate import DRAIN_SECONDS
from strongroom.keystores.hsm.module import FIRST_PAUSES, Module
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.session import Session

STUCK_SECONDS = 60.0
"""How long an attempt to open the token anew may take before it is taken to hang."""
DESTROYED_LIMIT = 200_000
"""Session objects destroyed before the library is initialized anew: until then SoftHSM keeps 240 bytes of each."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

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
        self._gate = module.gate
        self._changed = self._gate.changed
        """Guards what follows, and tells of changes."""
        self._under_way = 0
        self._closed_to_calls = True  # while the token is entered
        self._quarantined: str | None = None
        self._ended = False
        self._idle: list[Session] = []
        self._destroyed = 0
        self._opening: _Opening[Prepared] | None = None
        """None until the token is entered, for the first time or again."""
        self._last_epoch = 0
        self._tried = 0
        """The library's epoch in which it was entered last, or was not."""
        self._entrance = threading.Lock()
        """Held by the one thread that enters the token, and initializes the library anew for that."""
        self.owner_lock = threading.Lock()
        """Held by whoever uses `owner`."""
        self.name = "the HSM"
        """What the operator is told it is."""
        self.unavailable: Callable[[], RequestError] = unavailable
        """What callers are told while the token is away."""
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
            self._module.before_finalizing.append(self._close_sessions)
            self._enter_first()
        except Pkcs11Error as error:
            raise OpeningFailedError(f"the token {self._label!r} cannot be opened: {error}", error) from None
        self._closed_to_calls = False

    def _enter_first(self) -> None:
        """Enter a library that others may use already.

        Some see only the tokens that there were when they began, and SoftHSM not even one that another process is just
        logging in to, whose file it writes: so it is begun anew, unless that were to trouble others.
        """
        module = self._module
        for pause in FIRST_PAUSES:
            try:
                self._enter()
            except (NoTokenError, Pkcs11Error) as error:
                if isinstance(error, Pkcs11Error) and module.users == 1:
                    raise
                time.sleep(pause)
                if not module.reinitialize_for_one(others=module.well_users > 1):
                    raise
            else:
                return
        self._enter()

    def close(self) -> None:
        """End, for good. Session objects are gone with it; a call that does not return is not waited for."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            if self._quarantined is not None:
                self._module.away -= 1
            self._closed_to_calls = True
            self._changed.notify_all()
            drained = self._changed.wait_for(lambda: self._under_way == 0, DRAIN_SECONDS)
        if drained and self._entrance.acquire(timeout=DRAIN_SECONDS):
            try:
                with self._gate.inside(DRAIN_SECONDS) as inside:
                    if inside:
                        self._close_sessions()
            finally:
                self._entrance.release()
        if self._close_sessions in self._module.before_finalizing:
            self._module.before_finalizing.remove(self._close_sessions)
        self._module.leave()

    def run(self, work: Callable[[Lease[Prepared]], Result]) -> Result:
        """Do some work with a session. It may be done a second time, if the session was lost.

        A session in which a call has failed is closed: an operation may be under way in it still.

        Raises `unavailable` while the token is away; Pkcs11Error of any kind that says nothing of session or token.
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
        raise self.unavailable()

    def quarantine(self, reason: str) -> None:
        """Use the token no more until it has been opened anew and tested."""
        with self._changed:
            if self._quarantined is not None or self._ended:
                return
            self._quarantined = reason
            self._module.away += 1
            self._changed.notify_all()
        sys.stderr.write(f"strongroom: {self.name} is not used until it is well again: {reason}\n")
        threading.Thread(target=self._recover, name="hsm-recovery", daemon=True).start()

    def examine(self, reason: str) -> None:
        """Test the token beside a call that takes too long, in the background; quarantine it if the test fails."""

        def test() -> None:
            if not self._well_beside_other_calls() and self._opening is not None:
                self.quarantine(reason)

        threading.Thread(target=test, name="hsm-test", daemon=True).start()

    def suspect(self, error: Pkcs11Error) -> None:
        """Test the token, since a call has failed for which it may be to blame; quarantine it if the test fails."""
        try:
            self.run(lambda lease: self._test(lease.session, lease.prepared))
        except (Pkcs11Error, OperatorError) as failed:
            self.quarantine(f"{error}, and then: {failed}")

    def check(self, lease: Lease[Prepared]) -> None:
        """Test the token within some work. Raises TokenLostError, SessionLostError."""
        try:
            self._test(lease.session, lease.prepared)
        except (TokenLostError, SessionLostError):
            raise
        except Pkcs11Error as error:
            raise TokenLostError(error.function, error.code) from None
        except OperatorError:
            raise TokenLostError("the test of the token", p11.CKR_TOKEN_NOT_PRESENT) from None

    def _begin(self) -> Session:
        with self._changed:
            while self._quarantined is not None or self._closed_to_calls or self._gate.closed or self._opening is None:
                if self._quarantined is not None or self._ended:
                    raise self.unavailable()
                if not (self._closed_to_calls or self._gate.closed):
                    self._close_to_calls(self._reenter)  # the library was initialized anew for another token
                self._changed.wait()
            self._under_way += 1
            self._gate.under_way += 1
            if self._idle:
                return self._idle.pop()
            opening = self._opening
        try:
            return self._open_session(opening.slot, opening.epoch)
        except Pkcs11Error as error:
            self._end(None, usable=False)
            self.quarantine(str(error))
            raise self.unavailable() from None

    def _open_session(self, slot: int, epoch: int) -> Session:
        session = self._module.open_session(slot)
        session.epoch = epoch
        return session

    def _end(self, session: Session | None, *, usable: bool) -> None:
        if session is not None and (session.worn or not usable):
            session.close()  # and with it the objects that it made
        with self._changed:
            self._under_way -= 1
            if session is not None:
                self._count_destroyed(session)
            if session is not None and usable and not session.worn:
                self._idle.append(session)
            last = self._under_way == 0 and self._closed_to_calls
            if last:
                self._changed.notify_all()
            if not (last and self._ended):
                self._gate.leave()
                return
        self._close_sessions()  # `close` may have waited in vain
        with self._changed:
            self._gate.leave()

    def _count_destroyed(self, session: Session) -> None:
        """Count session objects that were destroyed; at a bound, initialize the library anew. The lock is held."""
        self._destroyed += session.destroyed
        session.destroyed = 0
        if self._destroyed >= DESTROYED_LIMIT and not (self._closed_to_calls or self._quarantined or self._ended):
            self._destroyed = 0
            self._close_to_calls(self._renew)

    def _close_to_calls(self, until: Callable[[], None]) -> None:
        """Have calls wait until something is done, on a thread of its own. The lock is held."""
        self._closed_to_calls = True
        threading.Thread(target=until, name="hsm-renewal", daemon=True).start()

    def _renew(self) -> None:
        """Initialize the library anew with a token that is well: calls wait for it."""
        self._reenter(anew=True)

    def _reenter(self, *, anew: bool = False) -> None:
        """Enter again with a token that is well: calls wait for it."""
        failed: str | None = None
        with self._entrance, self._watched():
            if self._quarantined is not None or self._ended:
                return
            try:
                if anew:
                    self._module.reinitialize()
                if self._opening is None:
                    self._enter()
            except (Pkcs11Error, OperatorError) as error:
                failed = str(error)
            with self._changed:
                self._closed_to_calls = failed is not None or self._quarantined is not None
                self._changed.notify_all()
        if failed is not None:
            self.quarantine(failed)

    def _recover(self) -> None:
        """Open the token anew, as often as it takes."""
        pause = FIRST_PAUSE
        while not self._ended:
            if self._reopened():
                sys.stderr.write(f"strongroom: {self.name} is well again\n")
                return
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 — so that processes do not come all at once
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reopened(self) -> bool:
        with self._entrance, self._watched():
            with self._changed:
                self._closed_to_calls = True
                drained = self._changed.wait_for(lambda: self._under_way == 0 or self._ended, DRAIN_SECONDS)
                if self._ended:
                    return False
            well = self._entered_anew() if drained else self._well_beside_other_calls()
            if well and not self._resume():
                self._close_sessions()
            return well

    def _well_beside_other_calls(self) -> bool:
        """Test the token in its epoch: it cannot be entered anew while a call is under way."""
        with self._gate.inside():
            opening = self._opening
            if opening is None:
                return False
            try:
                session = self._open_session(opening.slot, opening.epoch)
                try:
                    self._test(session, opening.prepared)
                finally:
                    session.close()
            except (Pkcs11Error, OperatorError):
                return False
            return True

    def _resume(self) -> bool:
        """Let calls through, unless the token was closed meanwhile."""
        with self._changed:
            if self._ended:
                return False
            self._quarantined = None
            self._module.away -= 1
            self._closed_to_calls = False
            self._changed.notify_all()
            return True

    def _entered_anew(self) -> bool:
        """Initialize the library anew and enter; whether that succeeds. None of the token's calls is under way.

        It is entered as it is first, if another token has had it initialized since, or others use it that are well.
        """
        others = self._module.well_users > 0
        as_it_is = others or self._tried != self._module.epoch
        if as_it_is and self._entered():
            return True
        try:
            anew = self._module.reinitialize_for_one(others=others)
        except Pkcs11Error:
            return False
        return (anew or not as_it_is) and self._entered()

    def _entered(self) -> bool:
        try:
            self._enter()
        except (Pkcs11Error, OperatorError):
            return False
        return True

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Tell it if the block takes so long that it hangs."""
        watch = threading.Timer(STUCK_SECONDS, lambda: self.on_stuck("the library does not come back"))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _close_sessions(self) -> None:
        """Close what this token has open, with no call of its own under way.

        Not every library does so when it is finalized.
        """
        with self._changed:
            opening, self._opening = self._opening, None
            idle, self._idle = self._idle, []
        if opening is not None:
            for session in (*idle, opening.owner):
                session.close()

    def _enter(self) -> None:
        """Find the token, log in, prepare and test. None of its calls is under way. Raises HsmError, Pkcs11Error."""
        with self._gate.inside():
            self._close_sessions()
            self._tried = self._module.epoch
            slot = self._module.find_slot(self._label)
            if slot is None:
                raise NoTokenError(f"there is no token {self._label!r}")
            if self._module.token_info(slot).flags & p11.CKF_USER_PIN_LOCKED:
                raise LoginRefusedError(f"the PIN of the token {self._label!r} is locked", p11.CKR_PIN_LOCKED)
            self._last_epoch += 1
            owner = self._open_session(slot, self._last_epoch)
            try:
                self._login(owner)
                prepared = self._prepare(owner)
                self._test(owner, prepared)
            except BaseException:
                owner.close()
                raise
            self._destroyed = 0
            self._opening = _Opening(owner.epoch, slot, owner, prepared)

    def _opened(self) -> _Opening[Prepared]:
        assert self._opening is not None, "open() comes first"
        return self._opening

    def _login(self, owner: Session) -> None:
        try:
            with self._pin.tried() as pin:
                owner.login(pin)
        except PinRefusedError as error:
            text = f"the token {self._label!r} refuses the PIN ({error}); it is not tried again"
            raise LoginRefusedError(text, error.code) from None
        except UserRefusedError as error:
            raise LoginRefusedError(f"the token {self._label!r} lets no user in ({error})", error.code) from None


def unavailable() -> KMSInternal:
    """What callers are told while the token is away. They can retry."""
    return KMSInternal("An internal error occurred. Try the request again.")
