"""N server processes behind one listening socket, and the process that watches over them.

Server processes are spawned, never forked: nothing that one process holds open (a database, a key store, a lock in the
middle of something) exists in another. One server process needs none of this.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

StartWorker = Callable[[int, Sequence[socket.socket], Callable[[], None]], None]
"""What a server process runs: serve the sockets, call the last argument once that is so, return upon SIGTERM.

The number is that of its place, from 0: whoever replaces it gets the same.

It is pickled: a function of a module, or a `functools.partial` of one. If it cannot serve it says why on standard error
and raises `SystemExit` with a code above 0.
"""

TRY_AGAIN = 75
"""The exit code of a server process that could not begin for want of something that may come back (EX_TEMPFAIL)."""

GAVE_UP = 2
"""The exit code of a server that could not begin."""

_SPAWN = multiprocessing.get_context("spawn")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Pace:
    """How patient the supervisor is, in seconds.

    A server process that dies after having served for `settled` is replaced at once. If it dies sooner, the next waits
    for `first_delay`, then for twice that, up to `longest_delay`. One that is told to end has `patience` to do so.
    """

    settled: float = 10
    first_delay: float = 0.5
    longest_delay: float = 30
    patience: float = 40


@dataclass
class _Place:
    """The place of one server process. `due` is when to fill it if it is vacant; `deaths` counts those in a row."""

    number: int
    process: SpawnProcess | None = None
    messages: Connection | None = None
    serving: bool = False
    began: float = 0.0
    due: float = 0.0
    deaths: int = 0

    def fill(self, start: StartWorker, sockets: Sequence[socket.socket]) -> None:
        self.messages, sender = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=_work, args=(start, self.number, tuple(sockets), sender))
        self.process.start()
        sender.close()
        self.serving = False
        self.began = time.monotonic()

    def tend(self, start: StartWorker, sockets: Sequence[socket.socket], pace: Pace) -> int | None:
        """See to the place. An exit code is that of a process that gave up before it served."""
        if self.process is None:
            if time.monotonic() >= self.due:
                self.fill(start, sockets)
            return None
        self.hear()
        code = self.process.exitcode
        if code is None:
            return None
        if code > 0 and not self.serving:
            return code
        self.vacate(pace)
        return None

    def hear(self) -> None:
        """Take notice of a process that has begun to serve."""
        assert self.messages is not None
        if not self.serving and self.messages.poll():
            with contextlib.suppress(EOFError):
                self.messages.recv_bytes()
                self.serving = True

    def vacate(self, pace: Pace) -> None:
        """Note a death, and when to fill the place again."""
        assert self.process is not None
        assert self.messages is not None
        now = time.monotonic()
        self.deaths = 0 if now - self.began > pace.settled else self.deaths + 1
        delay = min(pace.first_delay * 2 ** (self.deaths - 1), pace.longest_delay) if self.deaths else 0
        _report(f"server process {self.process.pid} {_cause(self.process)}; starting another in {delay:g} s")
        self.due = now + delay
        self.messages.close()
        self.process.close()
        self.process = None


def supervise(
    count: int,
    start: StartWorker,
    sockets: Sequence[socket.socket],
    *,
    ready: Callable[[], None] = lambda: None,
    pace: Pace = Pace(),
) -> int:
    """Keep `count` server processes running until SIGTERM or SIGINT, then end them; return the exit code.

    The first is started alone: if it gives up before it serves, with an exit code of its own, so do we, with that code.
    `ready` is called when it serves, and the others follow. Whoever dies is replaced, unless its replacement gives up
    in that way with another code than TRY_AGAIN. Should the supervisor itself be killed, its processes end as if told.
    """
    places = [_Place(number) for number in range(count)]
    stopped = threading.Event()
    code: int | None = None
    served = False
    with _stop_signals(stopped):
        while code is None and not stopped.is_set():
            for place in places if served else places[:1]:
                code = place.tend(start, sockets, pace)
                if code == TRY_AGAIN and served:
                    place.vacate(pace)
                    code = None
                if code is not None:
                    break
            if not served and places[0].serving:
                served = True
                ready()
            wait([place.process.sentinel for place in places if place.process is not None], _POLL_SECONDS)
        failed = _end([place.process for place in places if place.process is not None], pace.patience)
    return failed if code is None else GAVE_UP if code == TRY_AGAIN else code


def _end(processes: Sequence[SpawnProcess], patience: float) -> int:
    """End all processes; return 0, or 1 if one of them ended badly or had to be killed."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + patience
    failed = 0
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        if process.exitcode is None:
            _report(f"server process {process.pid} did not end within {patience:g} s and was killed")
            process.kill()
            process.join()
        if process.exitcode not in (0, -signal.SIGTERM, TRY_AGAIN):  # the second: before it could take the signal
            failed = 1
    return failed


def _work(start: StartWorker, number: int, sockets: Sequence[socket.socket], sender: Connection) -> None:
    """Be a server process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of us; the supervisor's word counts
    threading.Thread(target=_follow, daemon=True).start()
    start(number, sockets, partial(_say_ready, sender))


def _say_ready(sender: Connection) -> None:
    with contextlib.suppress(OSError):  # the supervisor has just died
        sender.send_bytes(b"ready")


def _follow() -> None:
    """End with the supervisor."""
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _stop_signals(stopped: threading.Event) -> Iterator[None]:
    previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cause(process: SpawnProcess) -> str:
    code = process.exitcode
    assert code is not None
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _report(text: str) -> None:
    print(f"strongroom: {text}", file=sys.stderr, flush=True)  # noqa: T201 - for the operator
