"""A server in a thread, and a client that speaks in bytes."""

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import pytest
import uvloop
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.http_protocol import Limits
from strongroom.wire.server import Server, bind
from strongroom.wire.tls import Certificate

_LIMITS = Limits()


class Response(NamedTuple):
    """One response, its head as it came."""

    status: int
    head: bytes
    body: bytes

    def heard(self) -> dict[str, object]:
        """What the echoing application was given."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


class Connection:
    """A client's socket. Every read ends within ten seconds or fails the test."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        plain = socket.create_connection((host, port), timeout=10)
        self.socket = plain if context is None else context.wrap_socket(plain)
        self.port: int = self.socket.getsockname()[1]
        self._read = b""

    def send(self, *pieces: bytes) -> "Connection":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def response(self, *, head_only: bool = False) -> Response:
        """Read one response, to its Content-Length."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status = int(head[9:12])
        length = re.search(rb"Content-Length: (\d+)", head)
        if length is None or head_only:
            return Response(status, head, b"")
        while len(self._read) < int(length[1]):
            self._more()
        body, self._read = self._read[: int(length[1])], self._read[int(length[1]) :]
        return Response(status, head, body)

    def rest(self) -> bytes:
        """Read all that comes until the server closes."""
        with contextlib.suppress(ConnectionResetError):
            while received := self.socket.recv(65536):
                self._read += received
        return self._read

    def _more(self) -> None:
        received = self.socket.recv(65536)
        if not received:
            raise EOFError(self._read)
        self._read += received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@dataclass
class Served:
    """A server that runs, with what went wrong in its event loop."""

    server: Server
    port: int
    thread: threading.Thread
    failures: list[str] = field(default_factory=list)

    def connect(self, context: ssl.SSLContext | None = None) -> Connection:
        return Connection(self.port, context)

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()


class Serve(Protocol):
    def __call__(
        self,
        app: ASGI3Application = ...,
        *,
        certificate: Certificate | None = None,
        limits: Limits = ...,
        host: str = "127.0.0.1",
        balancers: Sequence[str] = (),
    ) -> Served: ...


async def echo(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer with what was asked."""
    assert scope["type"] == "http"
    message = await receive()
    assert message["type"] == "http.request"
    heard = {
        "method": scope["method"],
        "version": scope["http_version"],
        "path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": message["body"].decode("latin-1"),
        "whole": not message["more_body"],
        "client": scope["client"],
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-cAsE", b"kept")]})
    await send({"type": "http.response.body", "body": json.dumps(heard).encode(), "more_body": False})


def _start(host: str, make: Callable[[Callable[[], None]], Server]) -> Served:
    listener = bind(host, 0)
    port = listener.getsockname()[1]
    ready = threading.Event()
    server = make(ready.set)
    failures: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
        await server.serve([listener])

    thread = threading.Thread(target=lambda: uvloop.run(run()))
    thread.start()
    assert ready.wait(10)
    return Served(server, port, thread, failures)


@contextlib.contextmanager
def _serving() -> Iterator[Serve]:
    running: list[Served] = []

    def serve(
        app: ASGI3Application = echo,
        *,
        certificate: Certificate | None = None,
        limits: Limits = _LIMITS,
        host: str = "127.0.0.1",
        balancers: Sequence[str] = (),
    ) -> Served:
        networks = [ipaddress.ip_network(network) for network in balancers]

        def make(ready: Callable[[], None]) -> Server:
            return Server(app, certificate=certificate, balancers=networks, ready=ready, limits=limits)

        running.append(_start(host, make))
        return running[-1]

    yield serve
    for served in running:
        served.stop()
        assert served.failures == []


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers for one test. It fails if an exception was left to an event loop."""
    with _serving() as serve:
        yield serve


@pytest.fixture(scope="module")
def serve_module() -> Iterator[Serve]:
    """Start servers for all tests of a module."""
    with _serving() as serve:
        yield serve


@pytest.fixture(scope="module")
def echoing(serve_module: Serve) -> Served:
    """A server of the echoing application, for all tests of a module."""
    return serve_module()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait up to ten seconds for something to become true."""

    def eventually(condition: Callable[[], bool]) -> None:
        waiting = threading.Event()
        for _ in range(1000):
            if condition():
                return
            waiting.wait(0.01)
        raise AssertionError("it did not come true")

    return eventually
