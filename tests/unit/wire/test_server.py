"""Listening, starting and stopping."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.errors import ConfigurationError
from strongroom.wire.http_protocol import Limits
from strongroom.wire.server import Server, bind, require_tls_off_loopback

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve, Served

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
QUICK = Limits(grace=0.3)


class Slow:
    """An application that answers when it is let, and knows how many wait for it."""

    def __init__(self) -> None:
        self.begun = 0
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.begun += 1
        await asyncio.to_thread(self.release.wait, 10)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_certificate(host: str) -> None:
    require_tls_off_loopback(host, tls=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1", "kms.example.com", "", "localhost.evil"])
def test_any_other_address_does(host: str) -> None:
    with pytest.raises(ConfigurationError, match="not a loopback address"):
        require_tls_off_loopback(host, tls=False)
    require_tls_off_loopback(host, tls=True)


def test_a_port_in_use_is_named() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError) as caught:
            bind("127.0.0.1", port)
    assert str(caught.value) == f"port {port} on 127.0.0.1 is in use"


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "192.0.2.1 is not an address of this machine"),
        ("no-such-name.invalid", "no-such-name.invalid is neither an address nor a name that resolves to one"),
        ("a" * 70, f"{'a' * 70} is neither an address nor a name that resolves to one"),
    ],
)
def test_an_address_that_cannot_be_bound_is_named(host: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bind(host, 0)
    assert str(caught.value) == text


def test_a_port_can_be_bound_again_at_once() -> None:
    with bind("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as client:
            listener.accept()[0].close()  # whoever closes first is left with the connection in TIME_WAIT
            assert client.recv(1) == b""

    bind(*address).close()


def test_stop_answers_what_is_under_way_and_takes_nothing_new(
    serve: Serve, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    slow = Slow()
    served = serve(slow)
    with served.connect() as busy, served.connect() as idle:
        busy.send(POST)
        eventually(lambda: slow.begun == 1)
        served.server.stop()
        assert idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            served.connect()
        slow.release.set()
        response = busy.response()

        assert response.body == b"done"
        assert b"\r\nConnection: close" in response.head
        assert busy.rest() == b""
    served.stop()


def half_here(served: Served) -> int:
    """How many connections are in the middle of a request; one that was just made has no word of it yet."""
    return sum(getattr(one, "receiving", False) for one in tuple(served.server.state.connections))


def test_a_request_that_was_half_here_is_answered_if_the_rest_comes_soon(
    serve: Serve, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    served = serve(limits=QUICK)
    with served.connect() as quick, served.connect() as never:
        quick.send(POST[:-2])
        never.send(POST[:-2])
        eventually(lambda: half_here(served) == 2)
        served.server.stop()
        eventually(lambda: served.server.state.stopping)
        response = quick.send(POST[-2:]).response()

        assert response.status == 200
        assert b"\r\nConnection: close" in response.head
        assert never.rest() == b""
    served.stop()


def test_a_request_that_takes_too_long_is_given_up(
    serve: Serve, eventually: Callable[[Callable[[], bool]], None], caplog: pytest.LogCaptureFixture
) -> None:
    canceled: list[bool] = []

    async def endless(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            canceled.append(True)
            raise

    served = serve(endless)
    served.server.config.timeout_graceful_shutdown = 1
    with served.connect() as connection:
        connection.send(POST)
        eventually(lambda: bool(served.server.state.tasks))
        served.stop()
        got = connection.rest()

    assert canceled == [True]
    assert got.startswith(b"HTTP/1.1 500 ")


def test_the_date_moves_on(serve: Serve, eventually: Callable[[Callable[[], bool]], None]) -> None:
    with serve().connect() as connection:

        def date() -> bytes:
            return connection.send(POST).response().head.partition(b"Date:")[2]

        first = date()
        eventually(lambda: date() != first)


def test_a_second_server_of_a_process_has_less_room_and_leaves_signals_alone() -> None:
    async def run() -> None:
        ready = asyncio.Event()
        before = signal.getsignal(signal.SIGTERM)
        server = Server(Slow(), ready=ready.set, capacity=3, signals=False)
        serving = asyncio.create_task(server.serve([]))
        await ready.wait()
        assert (signal.getsignal(signal.SIGTERM), server.stopping) == (before, False)
        assert server.state.room.capacity == 3
        server.stop()
        assert server.stopping
        await serving

    asyncio.run(run())


PROCESS = """
import asyncio, sys, time, uvloop
from strongroom.wire.server import Server, bind

async def app(scope, receive, send):
    print("begun", flush=True)
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"done"})

listener = bind("127.0.0.1", 0)
port = listener.getsockname()[1]

async def run():
    await Server(app, ready=lambda: print(port, flush=True)).serve([listener])
    print("closing", flush=True)
    sys.stdin.readline()

uvloop.run(run())
print("closed", flush=True)
sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_as_stop_does_and_another_does_not_disturb_what_follows(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(POST)
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
            got = b"".join(iter(lambda: connection.recv(4096), b""))
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        remaining, errors = process.communicate("\n", timeout=10)

    assert got.endswith(b"\r\n\r\ndone")
    assert (remaining, errors, process.returncode) == ("closed\n", "", 7)
