"""The life of a connection over real sockets: time, clients that go away, and applications that fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.http_protocol import Limits

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve

HEAD = b"POST / HTTP/1.1\r\nHost: localhost:8400\r\n"
POST = HEAD + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = HEAD + b"Connection: close\r\n\r\n"

Eventually = Callable[[Callable[[], bool]], None]


async def static(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-amzn-RequestId", b"1")]})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


# Time.

QUICK = Limits(request=0.4, idle=0.8, linger=0.2, grace=0.2)


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n", b"POST / HT", HEAD, HEAD + b"Content-Length: 3\r\n\r\nab", CHUNKED + b"3\r\nab"],
)
def test_a_request_that_does_not_come_to_an_end_is_closed(serve: Serve, sent: bytes) -> None:
    with serve(limits=QUICK).connect() as connection:
        assert connection.send(sent).rest() == b""


def test_bytes_that_trickle_in_do_not_buy_time(serve: Serve, eventually: Eventually) -> None:
    served = serve(limits=QUICK)
    with served.connect() as connection:
        connection.send(HEAD + b"X: ")
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - whichever byte it is
            for _ in range(20):
                threading.Event().wait(0.05)
                connection.send(b"x")
        eventually(lambda: not served.server.state.connections)


def test_an_idle_connection_is_closed(serve: Serve) -> None:
    with serve(limits=QUICK).connect() as connection:
        assert connection.send(POST).response().status == 200
        assert connection.rest() == b""


def test_a_refused_client_that_does_not_close_is_closed(serve: Serve, eventually: Eventually) -> None:
    served = serve(limits=QUICK)
    with served.connect() as connection:
        assert connection.send(b"nonsense\r\n\r\n").response().status == 400
        eventually(lambda: not served.server.state.connections)


def test_the_time_of_the_application_is_not_held_against_the_client(serve: Serve) -> None:
    release = threading.Event()
    with serve(waiting_for(release), limits=QUICK).connect() as connection:
        connection.send(POST)
        threading.Timer(1, release.set).start()

        assert connection.response().status == 200


def test_a_client_that_does_not_read_is_closed(serve: Serve, eventually: Eventually) -> None:
    async def much(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": bytes(4_000_000), "more_body": False})

    served = serve(much, limits=QUICK)
    with served.connect() as connection:
        connection.send(POST * 10)
        eventually(lambda: bool(served.server.state.connections))
        eventually(lambda: not served.server.state.connections)


# The application's side.


def waiting_for(event: threading.Event) -> ASGI3Application:
    """Make an application that answers once an event is set."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await asyncio.to_thread(event.wait, 10)
        await static(scope, receive, send)

    return app


def counting(calls: list[str]) -> ASGI3Application:
    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        calls.append(scope["method"])
        await static(scope, receive, send)

    return app


@pytest.mark.parametrize("sent", [HEAD, HEAD + b"Content-Length: 3\r\n\r\nab", CHUNKED + b"3\r\nabc\r\n0\r\n"])
def test_a_client_that_goes_away_in_the_middle_has_asked_for_nothing(
    serve: Serve, eventually: Eventually, sent: bytes
) -> None:
    calls: list[str] = []
    served = serve(counting(calls))
    with served.connect() as connection:
        connection.send(sent)
        eventually(lambda: bool(served.server.state.connections))
    eventually(lambda: not served.server.state.connections)

    assert calls == []


def test_a_client_that_goes_away_before_its_answer_hurts_nobody(serve: Serve, eventually: Eventually) -> None:
    release = threading.Event()
    served = serve(waiting_for(release))
    with served.connect() as connection:
        connection.send(POST)
        eventually(lambda: bool(served.server.state.tasks))
    release.set()
    eventually(lambda: not served.server.state.tasks and not served.server.state.connections)

    with served.connect() as connection:
        assert connection.send(POST).response().status == 200


async def failing(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    raise ZeroDivisionError


async def silent(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()


@pytest.mark.parametrize("app", [failing, silent])
def test_an_application_that_does_not_answer_gets_its_client_a_plain_500(serve: Serve, app: ASGI3Application) -> None:
    with serve(app).connect() as connection:
        got = connection.send(POST + POST).rest()

    assert got.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert got.count(b"HTTP/1.1") == 1


def test_an_application_is_told_that_nothing_more_comes(serve: Serve) -> None:
    heard: list[str] = []

    async def asks_again(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await static(scope, receive, send)
        heard.append((await receive())["type"])

    with serve(asks_again).connect() as connection:
        connection.send(LAST).rest()

    assert heard == ["http.disconnect"]


def test_an_answer_in_pieces_is_a_mistake(serve: Serve) -> None:
    async def in_pieces(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    with serve(in_pieces).connect() as connection:
        assert connection.send(POST).response().status == 500


def test_a_client_that_has_closed_its_own_side_is_answered(serve: Serve) -> None:
    release = threading.Event()
    with serve(waiting_for(release)).connect() as connection:
        connection.send(POST).socket.shutdown(1)
        threading.Timer(0.2, release.set).start()
        got = connection.rest()

    assert got.count(b"HTTP/1.1 200 OK") == 1
    assert got.count(b"Connection: close") == 1
