"""Behind balancers: who has to send a PROXY header, who is not believed, and what comes of it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.wire.http_protocol import Limits
from strongroom.wire.tls import Certificate
from tests.tls import write_certificate

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve, Served

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n"
BINARY = SIGNATURE + b"\x21\x11\0\x0c" + bytes([203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x67, 0x01, 0xBB])
SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
QUICK = Limits(header=0.3)
Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def behind(serve_module: Serve) -> Served:
    """A server behind a balancer on 127.0.0.1 alone."""
    return serve_module(balancers=["127.0.0.1/32", "::1/128"])


@pytest.fixture(scope="module")
def behind_with_tls(serve_module: Serve, certificate: Path) -> Served:
    return serve_module(
        balancers=["127.0.0.1/32"], certificate=Certificate(certificate, certificate.with_suffix(".key"))
    )


@pytest.fixture
def hello(certificate: Path) -> Iterator[Callable[[socket.socket], ssl.SSLSocket]]:
    """Begin TLS on a connection, as a client that trusts the certificate."""
    context = ssl.create_default_context(cafile=certificate)
    wrapped: list[ssl.SSLSocket] = []

    def hello(plain: socket.socket) -> ssl.SSLSocket:
        wrapped.append(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        return wrapped[-1]

    yield hello
    for one in wrapped:
        one.close()


@pytest.mark.parametrize(
    ("header", "client"),
    [(LINE, ["203.0.113.7", 4711]), (BINARY, ["203.0.113.7", 4711]), (SIX, ["2001:db8::7", 4711])],
    ids=["line", "binary", "IPv6"],
)
def test_the_client_is_whom_the_balancer_names(behind: Served, header: bytes, client: list[object]) -> None:
    with behind.connect() as connection:
        connection.send(header + POST)
        assert connection.response().heard()["client"] == client
        # It holds for the connection, whose bytes are the client's from then on.
        assert connection.send(POST).response().heard()["client"] == client
        assert connection.send(LINE).response().status == 400


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x21\0\0\3abc"])
def test_a_balancer_may_speak_for_itself(behind: Served, header: bytes) -> None:
    with behind.connect() as connection:
        assert connection.send(header, POST).response().heard()["client"] == ["127.0.0.1", connection.port]


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["line", "binary"])
def test_a_header_may_come_in_pieces(behind: Served, header: bytes) -> None:
    with behind.connect() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(header)):
            connection.send(header[at : at + 1])
            time.sleep(0.001)
        assert connection.send(POST).response().heard()["client"] == ["203.0.113.7", 4711]


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["line", "binary"])
@pytest.mark.parametrize("pause", [0, 0.05])
def test_the_header_comes_before_tls(
    behind_with_tls: Served, hello: Callable[[socket.socket], ssl.SSLSocket], header: bytes, pause: float
) -> None:
    connection = behind_with_tls.connect()
    connection.send(header)
    time.sleep(pause)
    connection.socket = hello(connection.socket)

    assert connection.send(POST).response().heard()["client"] == ["203.0.113.7", 4711]


def test_no_header_within_tls_is_read(behind_with_tls: Served, hello: Callable[[socket.socket], ssl.SSLSocket]) -> None:
    connection = behind_with_tls.connect()
    connection.send(LINE)
    connection.socket = hello(connection.socket)

    assert connection.send(BINARY).response().status == 400


@pytest.mark.parametrize(
    "sent", [POST, b"PROXY TCP4 203.0.113.7\r\n" + POST, SIGNATURE + b"\x21\x31\0\xd8", b"\x16\x03\x01"]
)
@pytest.mark.parametrize("before", ["behind", "behind_with_tls"])
def test_a_balancer_without_a_header_is_closed_and_counted(
    request: pytest.FixtureRequest, before: str, sent: bytes
) -> None:
    served: Served = request.getfixturevalue(before)
    counted = served.server.state.not_http
    with served.connect() as connection:
        assert connection.send(sent).rest() == b""

    assert served.server.state.not_http == counted + 1


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 203", SIGNATURE])
def test_a_header_that_does_not_come_has_its_time(serve: Serve, sent: bytes) -> None:
    served = serve(balancers=["127.0.0.1/32"], limits=QUICK)
    began = time.monotonic()
    with served.connect() as connection:
        assert connection.send(sent).rest() == b""

    assert 0.2 < time.monotonic() - began < 5
    assert served.server.state.not_http == 0


def test_a_check_that_only_connects_leaves_nothing(serve: Serve) -> None:
    served = serve(balancers=["127.0.0.1/32"])
    served.server.state.room.capacity = 2
    for _ in range(5):
        served.connect().socket.close()
    with served.connect() as half:
        half.send(b"PROXY").socket.shutdown(socket.SHUT_WR)
        assert half.rest() == b""
    with served.connect() as connection:
        assert connection.send(LINE + POST).response().status == 200
    assert served.server.state.not_http == 0


def test_a_silent_balancer_makes_room(serve: Serve) -> None:
    served = serve(balancers=["127.0.0.1/32"], limits=Limits(header=60))
    served.server.state.room.capacity = 1
    with served.connect() as silent:
        silent.send(b"PROX")
        time.sleep(0.05)
        with served.connect() as connection:
            assert connection.send(LINE + POST).response().status == 200
            assert silent.rest() == b""
    assert served.server.state.room.evicted == 1


def test_a_stop_does_not_wait_for_headers(serve: Serve) -> None:
    served = serve(balancers=["127.0.0.1/32"], limits=Limits(header=60))
    with served.connect() as silent:
        silent.send(b"PROX")
        time.sleep(0.05)
        served.stop()
        assert silent.rest() == b""


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["line", "binary"])
def test_anybody_elses_header_is_not_http(serve: Serve, header: bytes) -> None:
    served = serve(balancers=["10.0.0.0/8", "127.0.0.2/32"])
    with served.connect() as connection:
        assert connection.send(POST).response().heard()["client"] == ["127.0.0.1", connection.port]
    with served.connect() as connection:
        assert connection.send(header + POST).response().status == 400
        assert connection.rest() == b""
    assert served.server.state.not_http == 1


def test_anybody_elses_header_is_not_tls(serve: Serve, certificate: Path) -> None:
    served = serve(balancers=["10.0.0.0/8"], certificate=Certificate(certificate, certificate.with_suffix(".key")))
    with served.connect() as connection:
        connection.send(LINE)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ssl.create_default_context(cafile=certificate).wrap_socket(connection.socket, server_hostname="127.0.0.1")


def test_a_balancer_of_ipv4_is_known_on_a_socket_for_both(serve: Serve) -> None:
    served = serve(host="::", balancers=["127.0.0.0/8"])
    with served.connect() as connection:
        assert connection.send(LINE + POST).response().heard()["client"] == ["203.0.113.7", 4711]
