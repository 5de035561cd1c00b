"""The gate of a PKCS #11 library: calls are counted, and whoever initializes the library anew has it alone.

Numbers that a library gave out mean something else after that, or nothing: no call may be under way, of any token.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

DRAIN_SECONDS = 2.0
"""How long to wait for calls that are under way before the library is initialized anew."""


class Gate:
    """Who is inside a library.

    `changed` guards the members, and what each token of the library keeps beside them: a call takes one lock. It tells
    of changes.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.under_way = 0
        """Calls of all tokens. Whoever counts one more has seen that it is not `closed`."""
        self.closed = False
        """Whether somebody has the library alone, or waits for it."""

    def leave(self) -> None:
        """Count a call no more. The lock is held."""
        self.under_way -= 1
        if self.under_way == 0 and self.closed:
            self.changed.notify_all()

    @contextmanager
    def inside(self, patience: float | None = None) -> Iterator[bool]:
        """Be inside during the block: whether it came to that, within so many seconds if there is a limit."""
        with self.changed:
            entered = self.changed.wait_for(lambda: not self.closed, patience)
            self.under_way += entered
        try:
            yield entered
        finally:
            if entered:
                with self.changed:
                    self.leave()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have the library alone during the block: whether it came to that, or calls did not come to an end.

        Used by one thread at a time.
        """
        with self.changed:
            self.closed = True
            drained = self.changed.wait_for(lambda: self.under_way == 0, DRAIN_SECONDS)
            if not drained:
                self._open()
        try:
            yield drained
        finally:
            if drained:
                with self.changed:
                    self._open()

    def _open(self) -> None:
        self.closed = False
        self.changed.notify_all()
