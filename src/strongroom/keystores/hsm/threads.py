"""The threads that calls of an HSM run on. A call can hang for ever and cannot be cancelled: only its caller is let go.

Results are handed to the event loop in groups: at high load a wake-up of the loop serves many of them.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from strongroom.errors import DependencyTimeout
from strongroom.keystores.niceness import be_nice

Result = TypeVar("Result")

_LOOK_SECONDS = 0.25
"""How often calls that take too long are looked for."""


class _Job:
    __slots__ = ("arguments", "error", "expired", "function", "future", "hanging", "queued", "result", "started")

    def __init__(
        self, future: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...], queued: float
    ) -> None:
        self.future = future
        self.function = function
        self.arguments = arguments
        self.queued = queued
        self.started: float | None = None
        self.expired = False
        self.hanging = False
        self.result: Any = None
        self.error: BaseException | None = None


class CallThreads:
    """A few threads, and a limit in seconds for each call. For one event loop.

    `on_overdue` is told of a call that has not come back in time, `on_all_hanging` when no thread is left to do any,
    again and again until one comes back; new calls fail at once until then. `on_ended` is told how many seconds the
    caller of a call waited.
    """

    def __init__(
        self,
        count: int,
        limit: float,
        *,
        name: str,
        nice: bool = False,
        on_overdue: Callable[[str], None],
        on_all_hanging: Callable[[str], None],
        on_ended: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._count = count
        self._limit = limit
        self._name = name
        self._nice = nice
        self._on_overdue = on_overdue
        self._on_all_hanging = on_all_hanging
        self._on_ended = on_ended
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[_Job] = deque()
        self._waiting: dict[_Job, None] = {}
        """Jobs whose callers wait, oldest first."""
        self._hanging = 0
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401 — passed on
        """Call a function on one of the threads. Raises what it raises; DependencyTimeout if it takes too long."""
        if self._loop is None:
            self._begin()
        assert self._loop is not None
        if self._stopped or self._hanging >= self._count:
            raise _timed_out()
        job = _Job(self._loop.create_future(), function, arguments, time.monotonic())
        self._waiting[job] = None
        self._queue.put(job)
        try:
            result: Result = await job.future
            return result
        finally:
            self._waiting.pop(job, None)
            self._on_ended(time.monotonic() - job.queued)

    def soon(self, function: Callable[[], None]) -> None:
        """Call a function on one of the threads some time, if they do anything at all. It fails for nobody."""
        if self._loop is not None and not self._stopped:
            job = _Job(self._loop.create_future(), function, (), time.monotonic())
            self._waiting[job] = None
            job.future.add_done_callback(partial(self._forget, job))
            self._queue.put(job)

    def _forget(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._waiting.pop(job, None)
        done.exception()  # nobody else asks

    def stop(self) -> None:
        """Let threads end that wait for work; later calls fail. One that hangs ends with the process.

        Any thread may call it.
        """
        self._stopped = True
        for _ in range(self._count):
            self._queue.put(None)

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in range(self._count):
            threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()
        self._loop.call_later(_LOOK_SECONDS, self._look)

    def _work(self) -> None:
        if self._nice:
            be_nice()
        while (job := self._queue.get()) is not None:
            if job.expired:
                continue
            job.started = time.monotonic()
            try:
                job.result = job.function(*job.arguments)
            except BaseException as error:  # noqa: BLE001 — it is the caller's
                job.error = error
            self._done.append(job)
            if not self._woken:
                self._woken = True
                assert self._loop is not None, "jobs come from it"
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop has ended, and with it whoever waited

    def _deliver(self) -> None:
        self._woken = False  # first: what is done from here on wakes us again
        while self._done:
            job = self._done.popleft()
            if job.hanging:
                self._hanging -= 1
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _look(self) -> None:
        """Let go the callers of calls that take too long."""
        assert self._loop is not None
        now = time.monotonic()
        for job in list(self._waiting):
            if now - job.queued < self._limit:
                break
            began = job.started
            if job.expired or (began is not None and now - began < self._limit):
                continue
            job.expired = True
            if not job.future.done():
                job.future.set_exception(_timed_out())
            if began is not None:
                job.hanging = True
                self._hanging += 1
                self._on_overdue(f"a call has not come back within {self._limit:g} s")
        if self._hanging >= self._count:
            self._on_all_hanging(f"all {self._count} threads wait for calls that do not come back")
        if self._waiting or not self._stopped:
            self._loop.call_later(_LOOK_SECONDS, self._look)


def _timed_out() -> DependencyTimeout:
    return DependencyTimeout("The system timed out while trying to fulfill the request.")
