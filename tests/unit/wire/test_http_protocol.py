"""The protocol class, over real sockets and in bytes."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.http_protocol import MAXIMUM_BODY, MAXIMUM_HEAD, MAXIMUM_HEADERS, Limits, Protocol, State
from strongroom.wire.server import Server

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve, Served

HEAD = b"POST / HTTP/1.1\r\nHost: localhost:8400\r\n"
POST = HEAD + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = HEAD + b"Connection: close\r\n\r\n"


async def static(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-amzn-RequestId", b"1")]})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


def test_an_answer_is_these_bytes(serve: Serve) -> None:
    with serve(static).connect() as connection:
        got = connection.send(LAST).rest()

    assert re.fullmatch(
        rb"HTTP/1\.1 200 OK\r\n"
        rb"x-amzn-RequestId: 1\r\n"
        rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"
        rb"Content-Length: 2\r\n"
        rb"Connection: close\r\n"
        rb"\r\n"
        rb"\{\}",
        got,
    )


def test_header_names_keep_the_case_they_are_given(echoing: Served) -> None:
    with echoing.connect() as connection:
        response = connection.send(POST).response()

    assert b"\r\nX-cAsE: kept\r\n" in response.head
    assert b"\r\nContent-Length: " in response.head
    assert b"\r\nDate: " in response.head
    assert b"chunked" not in response.head.lower()
    assert b"server:" not in response.head.lower()


def test_header_names_arrive_in_lower_case_and_values_as_sent(echoing: Served) -> None:
    with echoing.connect() as connection:
        heard = connection.send(HEAD + b"X-Odd: A  b\xe9\r\nX-Odd: second\r\n\r\n").response().heard()

    assert heard["headers"] == [["host", "localhost:8400"], ["x-odd", "A  b\u00e9"], ["x-odd", "second"]]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a%2Fb/../c?x=%20&y", "/a%2Fb/../c", "x=%20&y"),
        (b"/?", "/", ""),
        (b"/?a?b", "/", "a?b"),
        (b"//", "//", ""),
        (b"http://localhost:8400/path?query", "/path", "query"),
        (b"http://localhost:8400", "/", ""),
    ],
)
def test_path_and_query_arrive_raw(echoing: Served, target: bytes, path: str, query: str) -> None:
    with echoing.connect() as connection:
        heard = connection.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n").response().heard()

    assert (heard["path"], heard["query"]) == (path, query)


def test_a_forged_address_changes_nothing(echoing: Served) -> None:
    with echoing.connect() as connection:
        own = connection.socket.getsockname()
        heard = connection.send(HEAD + b"X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n\r\n").response()

    assert heard.heard()["client"] == list(own)


def test_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client(serve: Serve) -> None:
    with serve(host="::").connect() as connection:
        heard = connection.send(POST).response().heard()

    assert heard["client"] == ["127.0.0.1", connection.port]


def test_a_connection_serves_one_request_after_another(echoing: Served) -> None:
    with echoing.connect() as connection:
        bodies = [connection.send(POST).response().heard()["body"] for _ in range(3)]

    assert bodies == ["abc"] * 3


def test_pipelined_requests_are_answered_in_order(echoing: Served) -> None:
    requests = [HEAD + b"Content-Length: 1\r\n\r\n%d" % number for number in range(9)]
    with echoing.connect() as connection:
        connection.send(b"".join(requests))
        bodies = [connection.response().heard()["body"] for _ in requests]

    assert bodies == [str(number) for number in range(9)]


def test_nothing_behind_a_request_that_says_close_is_answered(echoing: Served) -> None:
    with echoing.connect() as connection:
        got = connection.send(POST + LAST + POST + b"\x00").rest()

    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.count(b"\r\nConnection: close\r\n") == 1


def test_a_request_may_come_byte_by_byte(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(*(POST[i : i + 1] for i in range(len(POST))))

        assert connection.response().heard()["body"] == "abc"


def test_a_chunked_body_is_one_body_and_its_trailers_are_no_headers(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(CHUNKED + b"3;extension=1\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\nX-Amz-Target: trailer\r\n\r\n")
        heard = connection.response().heard()
        connection.send(POST)

        assert heard["body"] == "abcde"
        assert heard["headers"] == [["host", "localhost:8400"], ["transfer-encoding", "chunked"]]
        assert connection.response().heard()["body"] == "abc"


def test_head_gets_no_body(echoing: Served) -> None:
    with echoing.connect() as connection:
        head = connection.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response(head_only=True).head
        next_one = connection.send(POST).response()

    assert re.search(rb"\r\nContent-Length: [1-9]", head)
    assert next_one.status == 200


@pytest.mark.parametrize("connection_header", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_is_answered_and_closed(echoing: Served, connection_header: bytes) -> None:
    with echoing.connect() as connection:
        got = connection.send(b"POST / HTTP/1.0\r\n" + connection_header + b"Content-Length: 3\r\n\r\nabc").rest()

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in got


def test_a_client_that_waits_to_continue_is_told_to(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(HEAD + b"Expect: 100-continue\r\n", b"Content-Length: 3\r\n\r\n")
        told = connection.response()
        heard = connection.send(b"a", b"b", b"c").response().heard()

    assert told == (100, b"HTTP/1.1 100 Continue", b"")
    assert heard["body"] == "abc"


def test_a_client_that_does_not_wait_is_not_told_to_continue(echoing: Served) -> None:
    with echoing.connect() as connection:
        response = connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc").response()

    assert response.status == 200


NOT_HTTP = [
    b"\x16\x03\x01\x00\xa5\x01\x00\x00",  # a TLS client
    b"hello\r\n\r\n",
    b"GET /\r\n\r\n",
    b"POST / HTTP/2.0\r\n\r\n",
    b"POST / HTTP/0.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\nHost: a\n\n",
    b"POST /\xff HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHo st: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    HEAD + b"X-Folded: a\r\n b\r\n\r\n",
    b"CONNECT localhost:1 HTTP/1.1\r\n\r\n",
    HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    # What request smuggling lives on.
    HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    HEAD + b"Content-Length: +3\r\n\r\nabc",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    CHUNKED + b"x\r\n",
    CHUNKED + b"ffffffffffffffffff\r\n",
]


@pytest.mark.parametrize("sent", NOT_HTTP)
def test_what_is_not_http_gets_a_plain_400_and_is_counted(echoing: Served, sent: bytes) -> None:
    before = echoing.server.state.not_http
    with echoing.connect() as connection:
        response = connection.send(sent).response()

        assert response.status == 400
        assert response.body == b"400 Bad Request\r\n"
        assert connection.rest() == b""
    assert echoing.server.state.not_http == before + 1


def test_what_is_not_http_is_refused_behind_the_answers_still_owed(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(POST + POST + b"nonsense\r\n\r\n")

        assert [connection.response().status for _ in range(3)] == [200, 200, 400]


def padded(size: int) -> bytes:
    """Make a request with a head of `size` bytes, as they are counted: without version and last empty line."""
    rest = size - len(b"/Host: localhost:8400\r\nX-Pad: \r\n")
    return HEAD + b"X-Pad: " + b"p" * rest + b"\r\n\r\n"


def test_a_head_of_64_kb_is_taken_and_one_byte_more_is_not(echoing: Served) -> None:
    with echoing.connect() as connection:
        assert connection.send(padded(MAXIMUM_HEAD)).response().status == 200
        assert connection.send(padded(MAXIMUM_HEAD + 1)).response().status == 431
        assert connection.rest() == b""


@pytest.mark.parametrize(
    "sent",
    [
        padded(MAXIMUM_HEAD * 2),
        padded(MAXIMUM_HEAD * 2)[:-4],
        HEAD + b"X-Many: 1\r\n" * 9000,
        b"POST /" + b"a" * MAXIMUM_HEAD * 4,
    ],
)
def test_too_large_a_head_is_refused_whole_or_not(echoing: Served, sent: bytes) -> None:
    with echoing.connect() as connection:
        assert connection.send(sent).response().status == 431
        assert connection.rest() == b""


@pytest.mark.parametrize(
    "sent",
    [HEAD + b"%s\r\n", CHUNKED + b"0\r\nHost: a\r\n%s\r\n"],
    ids=["headers", "trailers"],
)
def test_256_headers_are_taken_and_one_more_is_not(echoing: Served, sent: bytes) -> None:
    with echoing.connect() as connection:
        assert connection.send(sent % (b"X:\r\n" * (MAXIMUM_HEADERS - 1))).response().status == 200
        assert connection.send(sent % (b"X:\r\n" * MAXIMUM_HEADERS)).response().status == 431
        assert connection.rest() == b""


def test_a_large_body_in_front_does_not_count_for_the_head_behind_it(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000 + POST[:50], POST[50:])

        assert [connection.response().status for _ in range(2)] == [200, 200]


def test_a_body_of_1_mb_is_taken(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(HEAD + b"Content-Length: %d\r\n\r\n" % MAXIMUM_BODY + b"x" * MAXIMUM_BODY)
        heard = connection.response().heard()

    assert heard["whole"]
    assert heard["body"] == "x" * MAXIMUM_BODY


def test_too_large_a_body_is_refused_by_its_length_before_it_is_read(echoing: Served) -> None:
    with echoing.connect() as connection:
        connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MAXIMUM_BODY + 1))
        response = connection.response()

    assert response.heard()["whole"] is False
    assert b"\r\nConnection: close" in response.head


CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        [HEAD + b"Content-Length: 3000000\r\n\r\n", b"x" * 3_000_000],
        [CHUNKED, *[CHUNK] * 20],
        [CHUNKED, *[b"1;" + b"e" * 100_000 + b"\r\nx\r\n"] * 30],
        [CHUNKED, b"0\r\nX-Trailer: ", *[b"t" * 100_000] * 30],
    ],
    ids=["length", "chunks", "extensions", "trailers"],
)
def test_too_large_a_body_is_refused_and_the_client_hears_of_it(echoing: Served, sent: list[bytes]) -> None:
    with echoing.connect() as connection:
        connection.send(*sent)
        response = connection.response()

        assert response.heard()["whole"] is False
        assert connection.rest() == b""


class Transport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def in_memory() -> tuple[Protocol, Transport]:
    """Make a connection without a network, in the running event loop."""
    protocol, transport = Protocol(Server(static).config, State(Limits()), socket.socket()), Transport()
    protocol.accepted.close()
    protocol.connection_made(transport)
    return protocol, transport


def test_an_answer_is_one_write() -> None:
    async def run() -> list[bytes]:
        protocol, transport = in_memory()
        protocol.data_received(POST)
        await asyncio.gather(*protocol.state.tasks)
        return transport.written

    written = uvloop.run(run())

    assert len(written) == 1
    assert written[0].endswith(b"\r\n\r\n{}")


def test_headers_do_not_make_each_further_byte_of_a_body_dear() -> None:
    """Counted in calls, not seconds: what is looked at for one byte does not depend on the headers."""

    class Headers(list[tuple[bytes, bytes]]):
        walks = 0

        def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
            Headers.walks += 1
            return super().__iter__()

    async def run() -> int:
        protocol, _ = in_memory()
        protocol.data_received(HEAD + b"Content-Length: 1000\r\n\r\n")
        protocol.scope["headers"] = Headers(protocol.scope["headers"])
        for _ in range(900):
            protocol.data_received(b"x")
        return Headers.walks

    assert uvloop.run(run()) == 0


# Fuzz.

PIECES = st.one_of(
    st.sampled_from(
        [
            *NOT_HTTP,
            POST,
            LAST,
            HEAD,
            CHUNKED,
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"\r\n",
            b"Content-Length: 5\r\n",
            b"Expect: 100-continue\r\n",
            b"Connection: close\r\n",
            b"x" * 70_000,
        ]
    ),
    st.binary(max_size=40),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=6), at_once=st.booleans())
def test_whatever_is_sent_the_server_goes_on(echoing: Served, pieces: list[bytes], *, at_once: bool) -> None:
    with echoing.connect() as connection:
        try:
            connection.send(*([b"".join(pieces)] if at_once else pieces))
            connection.socket.shutdown(1)
        except OSError:
            pass  # it has already hung up
        got = connection.rest()
    with echoing.connect() as connection:
        after = connection.send(POST).response()

    assert re.fullmatch(rb"(HTTP/1\.1 (100|200|400|431) .*)?", got, re.DOTALL)
    assert after.status == 200
    assert echoing.failures == []
