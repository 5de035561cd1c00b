"""The threads that calls of one external key store run on: a proxy that is slow holds up nothing else."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from strongroom.errors import Throttling

_THREADS = 32
_CALLS = 64
"""Under way and waiting. A call takes at most 250 ms: nobody waits longer than as long again."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CallThreads(ThreadPoolExecutor):
    """Threads, made as they are needed, with a bound on the calls that are in."""

    def __init__(self) -> None:
        super().__init__(_THREADS, "xks")
        self._room = threading.Semaphore(_CALLS)

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Have a function called. Raises Throttling if too many calls are in."""
        if not self._room.acquire(blocking=False):
            raise Throttling(
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
            )
        try:
            future = super().submit(fn, *args, **kwargs)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future
