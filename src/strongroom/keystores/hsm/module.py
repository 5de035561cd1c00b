"""A PKCS #11 library in this process: initialized and finalized for all who use it, and its slots and tokens."""

import os
import threading
import time
import weakref
from collections.abc import Callable
from ctypes import byref, c_ulong
from functools import lru_cache
from typing import NamedTuple

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.failures import NotPossibleError, Pkcs11Error, check, failed
from strongroom.keystores.hsm.functions import Functions, load
from strongroom.keystores.hsm.gate import DRAIN_SECONDS, Gate
from strongroom.keystores.hsm.session import Session

FIRST_PAUSES = (0.01, 0.05, 0.2)
"""Seconds between the first looks for a token: SoftHSM does not see one while another process writes its file."""
QUIET_SECONDS = 20.0
"""How long tokens that are well are left alone before the library is initialized anew again for one that is not."""


@lru_cache
def open_module(path: str) -> "Module":
    """The library of a path: one for all its tokens. Raises ConfigurationError."""
    return Module(load(path))


class TokenInfo(NamedTuple):
    """What a token says of itself."""

    label: str
    maker: str
    model: str
    serial: str
    flags: int


class Module:
    """A library in this process, for the tokens that are open in it.

    `epoch` is a number of its own for each initialization, 0 while it is not initialized. `gate` is what all calls go
    through that are made while others may use the library.
    """

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.gate = Gate()
        self.epoch = 0
        self._last_epoch = 0
        self._initialized = 0.0
        self._life = threading.Lock()
        """Held by whoever initializes or finalizes the library."""
        self.users = 0
        self.away = 0
        """How many of the users are tokens that are not used at present. The gate's lock guards it."""
        self.before_finalizing: list[Callable[[], None]] = []
        """What tokens do before the library is finalized. None of their calls is under way then."""
        _forbid_after_fork(self)

    @property
    def well_users(self) -> int:
        """How many of the users are well, or no tokens."""
        return self.users - self.away

    def enter(self) -> None:
        """Begin to use the library. Raises Pkcs11Error."""
        with self._life:
            self.users += 1
            if self.users == 1:
                self.initialize()

    def leave(self) -> None:
        """End to use it; with the last user everything that was opened is given up.

        It stays as it is while a call does not come back, or another thread is held up in initializing it.
        """
        if not self._life.acquire(timeout=DRAIN_SECONDS):
            return
        try:
            self.users -= 1
            if self.users == 0:
                with self.gate.alone() as alone:
                    if alone:
                        self.finalize()
        finally:
            self._life.release()

    def initialize(self) -> None:
        """Initialize the library for calls from many threads. Raises Pkcs11Error."""
        self._initialized = time.monotonic()
        arguments = p11.CK_C_INITIALIZE_ARGS(None, None, None, None, p11.CKF_OS_LOCKING_OK, None)
        code = self.functions.C_Initialize(byref(arguments))
        if code not in (p11.CKR_OK, p11.CKR_CRYPTOKI_ALREADY_INITIALIZED):
            raise failed("C_Initialize", code)
        self._last_epoch += 1
        self.epoch = self._last_epoch

    def finalize(self) -> None:
        """Give up everything that was opened. No call may be under way. A failure is of no interest."""
        for prepare in tuple(self.before_finalizing):
            prepare()
        self.epoch = 0
        self.functions.C_Finalize(None)

    def reinitialize(self) -> bool:
        """Initialize the library anew, unless calls do not come to an end; say whether that was done.

        Calls wait meanwhile. Raises Pkcs11Error.
        """
        with self._life, self.gate.alone() as alone:
            if alone:
                self.finalize()
                self.initialize()
        return alone

    def reinitialize_for_one(self, *, others: bool) -> bool:
        """The same for a token that is not found, or not well: seldom, if others are that are well."""
        if others and self.epoch and time.monotonic() - self._initialized < QUIET_SECONDS:
            return False
        return self.reinitialize()

    def has_token(self, label: str) -> bool:
        """Whether the token with a label is there now; nobody logs in."""
        try:
            self.enter()
            found = self._sees(label)
            for pause in FIRST_PAUSES:
                if found:
                    break
                time.sleep(pause)
                found = self.reinitialize_for_one(others=self.well_users > 1) and self._sees(label)
        except Pkcs11Error:
            return False
        finally:
            self.leave()
        return found

    def _sees(self, label: str) -> bool:
        with self.gate.inside():
            return self.find_slot(label) is not None

    def description(self) -> str:
        """The library's name and version, as it tells them."""
        info = p11.CK_INFO()
        check("C_GetInfo", self.functions.C_GetInfo(byref(info)))
        name = f"{_text(info.manufacturerID)} {_text(info.libraryDescription)}"
        return f"{name} {info.libraryVersion.major}.{info.libraryVersion.minor}"

    def find_slot(self, label: str) -> int | None:
        """The slot of the token with a label; None if there is none. Raises NotPossibleError if there are two."""
        found = [slot for slot in self._slots() if self._label(slot) == label]
        if len(found) > 1:
            raise NotPossibleError("C_GetSlotList", 0x10)
        return found[0] if found else None

    def _label(self, slot: int) -> str | None:
        try:
            return self.token_info(slot).label
        except Pkcs11Error:
            return None  # another slot's trouble is not ours

    def _slots(self) -> list[int]:
        count = c_ulong()
        check("C_GetSlotList", self.functions.C_GetSlotList(1, None, byref(count)))
        slots = (c_ulong * count.value)()
        check("C_GetSlotList", self.functions.C_GetSlotList(1, slots, byref(count)))
        return list(slots[: count.value])

    def token_info(self, slot: int) -> TokenInfo:
        """What the token in a slot says of itself."""
        info = p11.CK_TOKEN_INFO()
        check("C_GetTokenInfo", self.functions.C_GetTokenInfo(slot, byref(info)))
        return TokenInfo(
            _text(info.label), _text(info.manufacturerID), _text(info.model), _text(info.serialNumber), info.flags
        )

    def mechanisms(self, slot: int) -> frozenset[int]:
        """The mechanisms that the token says it has."""
        count = c_ulong()
        check("C_GetMechanismList", self.functions.C_GetMechanismList(slot, None, byref(count)))
        numbers = (c_ulong * count.value)()
        check("C_GetMechanismList", self.functions.C_GetMechanismList(slot, numbers, byref(count)))
        return frozenset(numbers[: count.value])

    def open_session(self, slot: int) -> Session:
        """Open a session that may change things. Raises Pkcs11Error."""
        number = c_ulong()
        flags = p11.CKF_SERIAL_SESSION | p11.CKF_RW_SESSION
        check("C_OpenSession", self.functions.C_OpenSession(slot, flags, None, None, byref(number)))
        return Session(self.functions, number.value, slot)


def _text(padded: bytes) -> str:
    return padded.decode(errors="replace").strip()


def _forbid_after_fork(module: Module) -> None:
    """A child that was forked has the parent's sessions and locks: it must not call the library at all."""
    parent = os.getpid()
    held = weakref.ref(module)

    def forbid(*_: object) -> int:
        raise RuntimeError(f"this process was forked from {parent}, which has the PKCS #11 library open")

    def after() -> None:
        module = held()
        if module is not None:
            module.functions.__dict__.update(dict.fromkeys(p11.SIGNATURES, forbid))

    os.register_at_fork(after_in_child=after)
