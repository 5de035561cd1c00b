"""The threads that calls of one external key store run on: a proxy that is slow holds up nothing else.

Nor does a default key store that hangs, which has the inner layer.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from strongroom.errors import Throttling
from strongroom.keystores.hsm.threads import CallThreads

_THREADS = 32
_CALLS = 64
"""Under way and waiting. A call of the proxy takes at most 250 ms: nobody waits longer than as long again for it."""
_CALL_SECONDS = 5.0
"""After them a call is let go that waits for the default key store."""

Result = TypeVar("Result")


class ProxyThreads:
    """Implements `Threads`, with a bound on the calls that are in. For one event loop."""

    def __init__(self, on_ended: Callable[[float], None] = lambda _: None) -> None:
        """`on_ended` is told how many seconds a caller waited."""
        self._threads = CallThreads(
            _THREADS,
            _CALL_SECONDS,
            name="xks",
            on_overdue=lambda _: None,  # what hangs is the default key store, which sees to itself
            on_all_hanging=lambda _: None,
            on_ended=on_ended,
        )
        self._calls = 0

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401 — passed on
        """Call a function on one of them. Raises what it raises; DependencyTimeout if it takes too long.

        Raises Throttling if too many calls are in.
        """
        if self._calls >= _CALLS:
            raise Throttling(
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
            )
        self._calls += 1
        try:
            return await self._threads.run(function, *arguments)
        finally:
            self._calls -= 1

    def stop(self) -> None:
        """Let the threads end after the calls that are in; later ones fail. Any thread may call it. Idempotent."""
        self._threads.stop()
