"""Where a proxy is connected to: its name looked up on a thread of its own, since that cannot be cut short.

An endpoint is what a caller of KMS names. It must not make the service talk to the machine that it runs on, or to what
only that machine sees; where the operator says what is connected to, that is where it is.
"""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from strongroom.keystores.external.deadline import left
from strongroom.model.addresses import meant

_KEEP_SECONDS = 60.0
_PORT = 443


class Address(NamedTuple):
    """An address as sockets take it."""

    family: int
    place: tuple[Any, ...]


class Addresses:
    """The addresses of one proxy, kept for a minute. Safe to share between threads."""

    def __init__(self, name: str, connect: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is that of the endpoint. `connect` is the `host:port` to connect to instead, wherever it is."""
        host, _, port = (connect or f"{name}:{_PORT}").rpartition(":")
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = int(port)
        self._anywhere = connect is not None
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[tuple[Address, ...], float] | None = None
        self._looking: Future[tuple[Address, ...]] | None = None

    def find(self, deadline: float) -> tuple[Address, ...]:
        """One or more addresses, the best first. Raises OSError: TimeoutError if that takes too long."""
        with self._lock:
            if self._kept is not None and self._clock() < self._kept[1]:
                return self._kept[0]
            looking = self._looking
            if looking is None:
                looking = self._looking = Future()
                threading.Thread(target=self._look, args=(looking,), name="xks-lookup", daemon=True).start()
        return looking.result(left(deadline))

    def _look(self, looking: Future[tuple[Address, ...]]) -> None:
        try:
            found = self._looked_up()
        except Exception as error:  # noqa: BLE001 — of names that are none too, and somebody waits
            with self._lock:
                self._looking = None
            looking.set_exception(OSError(f"no address: {error}"))
            return
        with self._lock:
            self._looking = None
            self._kept = (found, self._clock() + _KEEP_SECONDS)
        looking.set_result(found)

    def _looked_up(self) -> tuple[Address, ...]:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        allowed = tuple(
            Address(family, place)
            for family, _, _, _, place in found
            if self._anywhere or not _is_this_machine(str(place[0]))
        )
        if not allowed:
            raise OSError("it leads to this machine, where only `connect` may lead")
        return allowed


def _is_this_machine(address: str) -> bool:
    """Whether an address is of this machine or of its own network alone, or of many. Of one that stands for another."""
    parsed = meant(address)
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
