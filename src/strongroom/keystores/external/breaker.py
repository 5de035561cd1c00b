"""A proxy that cannot be reached is left alone for a while: callers are told at once, and no thread waits for it."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from strongroom.keystores.external.failures import COMMUNICATION, Kind, ProxyError

Result = TypeVar("Result")

_FAILURES = 10
"""Calls in a row without an answer, until it opens."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0


class Breaker:
    """Counts calls without an answer. Open, it fails calls as the last of them did; after a pause one is let through.

    Any answer closes it, an error too: there is somebody who answers. Safe to share between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._last: Kind | None = None
        """How the last one failed, while it is open."""
        self._until = 0.0
        self._pause = _FIRST_PAUSE

    def call(self, work: Callable[[], Result], *, always: bool = False) -> Result:
        """Do some work that raises ProxyError; or raise it at once. `always`: do it even if it is open."""
        trial = False if always else self._admitted()
        try:
            result = work()
        except ProxyError as error:
            if error.kind in COMMUNICATION:
                self._failed(error.kind, trial=trial)
            else:
                self._answered()
            raise
        self._answered()
        return result

    def _admitted(self) -> bool:
        """Whether the call is the one by which a pause ends. Raises ProxyError."""
        with self._lock:
            if self._last is None:
                return False
            now = self._clock()
            if now < self._until:
                raise ProxyError(self._last)
            self._until = now + self._pause  # the others wait for what becomes of it
            return True

    def _failed(self, kind: Kind, *, trial: bool) -> None:
        with self._lock:
            self._failures += 1
            if self._last is None and self._failures >= _FAILURES:
                self._pause = _FIRST_PAUSE
            elif self._last is not None and trial:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            else:
                return  # it is closed still, or opened by others since the call began
            self._last, self._until = kind, self._clock() + self._pause

    def _answered(self) -> None:
        with self._lock:
            self._failures, self._last = 0, None
