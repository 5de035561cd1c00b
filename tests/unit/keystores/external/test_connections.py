"""Connections to a proxy: kept, cut, late, and only to whom they should be (XKS specification, "Transport")."""

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import h11
import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.errors import KMSInvalidState
from strongroom.keystores.external import connections, deadline
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from tests.xks.client import SECONDS, Connect, fails, healthy, late
from tests.xks.keys import opened, used_for
from tests.xks.proxy import XksProxy

# Connections are kept.


def test_calls_after_one_another_share_a_connection(xks: XksProxy, proxy: Proxy) -> None:
    for _ in range(20):
        healthy(proxy)
    assert xks.connections == 1


def test_a_refusal_keeps_the_connection(xks: XksProxy, proxy: Proxy) -> None:
    for _ in range(3):
        with pytest.raises(ProxyError, match="KeyNotFoundException"):
            proxy.key_metadata(used_for("CreateKey"), "key-3")
        healthy(proxy)
    assert xks.connections == 1


def test_calls_beside_one_another_have_a_connection_each_and_each_their_own_answer(
    xks: XksProxy, store: ExternalKeyStore
) -> None:
    key = opened(store)

    def use(number: int) -> None:
        plaintext = number.to_bytes(2)
        blob = key.encrypt(plaintext, {"n": str(number)})
        assert key.decrypt(parse(blob), {"n": str(number)}) == plaintext

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(100)))
    assert xks.connections <= 4


def test_a_connection_is_not_kept_that_the_proxy_closes(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    body = b'{"errorName": "ThrottlingException"}'
    xks.raw = b"HTTP/1.1 429 x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    fails(proxy, Kind.THROTTLING)
    xks.raw = None
    healthy(proxy)
    assert [asked.connection for asked in xks.asked] == [1, 1, 2]


def test_a_connection_is_not_kept_on_which_more_came_than_was_asked_for(xks: XksProxy, proxy: Proxy) -> None:
    """Or the answer to one request would be taken for that to another."""
    one = b'HTTP/1.1 429 x\r\nContent-Length: 36\r\n\r\n{"errorName": "ThrottlingException"}'
    xks.raw = one + b"x" * 20_000
    fails(proxy, Kind.THROTTLING)
    xks.raw = None
    healthy(proxy)
    assert [asked.connection for asked in xks.asked] == [1, 2]


def test_a_connection_is_not_kept_for_long(xks: XksProxy, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(proxy)
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    healthy(proxy)
    assert xks.connections == 2


def test_a_connection_that_was_cut_is_replaced(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    xks.cut()
    healthy(proxy)
    assert len(xks.asked) == 2


def test_a_kept_connection_that_is_closed_in_answer_to_a_request_is_replaced_once(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    xks.hang_up = 1
    healthy(proxy)
    assert [asked.connection for asked in xks.asked] == [1, 1, 2]
    xks.hang_up = 2
    fails(proxy, Kind.UNREACHABLE)
    assert [asked.connection for asked in xks.asked[3:]] == [2, 3]


def test_a_new_connection_that_is_closed_is_not_tried_again(xks: XksProxy, proxy: Proxy) -> None:
    xks.hang_up = 1
    fails(proxy, Kind.UNREACHABLE)
    assert len(xks.asked) == 1


def test_nothing_is_tried_again_once_an_answer_has_begun(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    xks.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"
    threading.Timer(0.02, xks.cut).start()
    fails(proxy, Kind.UNREACHABLE)
    assert len(xks.asked) == 2


def test_closing_closes_what_is_kept_and_what_is_used_later(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    proxy.close()
    proxy.close()
    healthy(proxy)
    healthy(proxy)
    assert xks.connections == 3


# A call ends in time.


@pytest.mark.parametrize("kept", [False, True])
def test_a_late_answer_is_a_timeout_and_nothing_is_asked_again(xks: XksProxy, proxy: Proxy, kept: bool) -> None:  # noqa: FBT001
    if kept:
        healthy(proxy)
    xks.delay = 0.3
    late(lambda: healthy(proxy))
    assert len(xks.asked) == 1 + kept


def test_a_late_answer_is_taken_for_no_other_requests(xks: XksProxy, proxy: Proxy) -> None:
    healthy(proxy)
    xks.delay = 0.3
    late(lambda: healthy(proxy))
    xks.delay = 0.0
    assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_spec == "AES_256"
    assert xks.asked[-1].connection == 2


@pytest.mark.parametrize("pause", [0.02, 0.2])
def test_an_answer_that_comes_byte_by_byte_is_late(xks: XksProxy, proxy: Proxy, pause: float) -> None:
    xks.drip = pause
    late(lambda: healthy(proxy))


def test_what_a_caller_is_told_of_a_late_answer(
    xks: XksProxy, store: ExternalKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = opened(store)
    xks.delay = 0.3
    monkeypatch.setattr(deadline, "SECONDS", SECONDS)
    with pytest.raises(KMSInvalidState, match="did not respond in time"):
        key.encrypt(b"plaintext", {})


def test_a_server_that_says_nothing_of_tls_is_late(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = connect(connect=f"127.0.0.1:{silent.getsockname()[1]}")
        late(lambda: healthy(proxy))


def test_a_server_that_is_gone_before_the_handshake_is_not_reached(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes such a connection for one that is not made yet, and would not begin with TLS."""
    made = connections._connect

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def gone(*place: Any) -> socket.socket:
            raw = made(*place)
            there, _ = listening.accept()
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()
            raw.setblocking(True)
            with suppress(ConnectionResetError):
                raw.recv(1)
            return raw

        monkeypatch.setattr(connections, "_connect", gone)
        proxy = connect(connect=f"127.0.0.1:{listening.getsockname()[1]}")
        fails(proxy, Kind.UNREACHABLE)


def test_a_server_that_says_tls_byte_by_byte_is_late(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dripping:

        def drip() -> None:
            with dripping.accept()[0] as taken:
                taken.recv(10_000)
                for byte in b"\x16\x03\x03\x40\x00\x02" + bytes(100):
                    time.sleep(0.02)
                    try:
                        taken.send(bytes([byte]))
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        proxy = connect(connect=f"127.0.0.1:{dripping.getsockname()[1]}")
        late(lambda: healthy(proxy))
        thread.join()


# What comes is bounded and HTTP.


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RAW = {
    "nothing of HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 x\r\nLocation: /kms/xks/v1/health\r\nContent-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 x\r\n\r\n",
    "a long line": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "a header that is not ended": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 60_000 + b"\r\n",
    "many parameters": b'HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; a="' + b";" * 60_000 + b"\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "an encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "many responses before it": b"HTTP/1.1 100 x\r\n\r\n" * 11,
    "many responses, and no end": b"HTTP/1.1 102 x\r\n\r\n" * 10_000,
    "much white space": b"HTTP/1.1 200 OK\r\nX:" + b" \t" * 8_000 + b"\0\r\n\r\n",
    "much white space in lines": b"HTTP/1.1 200 OK\r\nX:" + b"\r\n " * 5_000 + b"\0\r\n\r\n",
    "a long body": b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_536,
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 15 + b"\r\n\r\n" + b"x" * 70_000,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000,
    "many chunks": CHUNKED + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 17,
    "many small chunks": CHUNKED + b"1\r\nx\r\n" * 10_000,
    "white space behind a length": CHUNKED + b"1;" + b" " * 16_000 + b"\n\r\n",
    "many trailers": CHUNKED + b"0\r\n" + b"X: x\r\n" * 60_000 + b"\r\n",
    "a chunk of length -1": CHUNKED + b"-1\r\n" + b"x" * 70_000,
    "a chunk of length -5": CHUNKED + b"-5\r\n" + b"x" * 100,
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_what_is_no_answer_in_http_fails(xks: XksProxy, proxy: Proxy, raw: bytes) -> None:
    xks.raw = raw
    fails(proxy, Kind.INVALID_RESPONSE)
    assert len(xks.asked) == 1
    xks.raw = None
    healthy(proxy)


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_what_is_no_answer_takes_little_time_of_the_processor(xks: XksProxy, proxy: Proxy, raw: bytes) -> None:
    """It would be time that nobody else has: patterns are matched without letting others run."""
    healthy(proxy)
    xks.raw = raw
    began = time.thread_time()
    fails(proxy, Kind.INVALID_RESPONSE)
    assert time.thread_time() - began < 0.05


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a long line", "it is not HTTP"),
        ("many headers", "it is not HTTP"),
        ("many responses before it", "it has too many responses 1xx"),
        ("many responses, and no end", "it has too many responses 1xx"),
        ("much white space", "it has too much white space"),
        ("much white space in lines", "it has too much white space"),
        ("white space behind a length", "it has too much white space"),
        ("many small chunks", "its body has too many parts"),
        ("many chunks", "it is longer than any answer"),
        ("a long body", "it is longer than any answer"),
        ("a huge length", "it is longer than any answer"),
        ("no length", "it is longer than any answer"),
    ],
)
def test_what_is_too_much_of_what_came(xks: XksProxy, proxy: Proxy, name: str, why: str) -> None:
    xks.raw = RAW[name]
    with pytest.raises(ProxyError) as failed:
        healthy(proxy)
    assert str(failed.value.__cause__) == why


def test_white_space_is_bounded_however_it_comes(xks: XksProxy, proxy: Proxy) -> None:
    xks.raw = b"HTTP/1.1 200 OK\r\nX:" + b" " * 256
    xks.drip = 0.0001
    fails(proxy, Kind.INVALID_RESPONSE)


def test_headers_that_come_byte_by_byte_are_late(xks: XksProxy, proxy: Proxy) -> None:
    xks.raw = b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1_000
    xks.drip = 0.005
    late(lambda: healthy(proxy))


METADATA = b'{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}'
LENGTH = b"Content-Length: %d\r\n" % len(METADATA)
ANSWERS = {
    "parameters of types in parts": (
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary*=us-ascii''x; boundary*0=b\r\n"
        + LENGTH
        + b"\r\n"
    ),
    "many parameters": (
        b'HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; a="' + b";" * 7_000 + b"\r\n" + LENGTH + b"\r\n"
    ),
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1_000 + LENGTH + b"\r\n",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n",
    "responses before it": b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 x\r\nLink: x\r\n\r\n" * 9
    + b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("head", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_taken_whatever_else_its_headers_say(xks: XksProxy, proxy: Proxy, head: bytes) -> None:
    xks.raw = head + METADATA
    for _ in range(2):
        assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_usage == ("ENCRYPT",)
    assert xks.connections == 1


def test_an_answer_ends_with_its_connection_if_it_has_no_length(xks: XksProxy, proxy: Proxy) -> None:
    xks.raw = b"HTTP/1.0 200 OK\r\n\r\n" + METADATA
    xks.last = True
    assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_usage == ("ENCRYPT",)
    xks.raw = b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + METADATA
    xks.last = False
    for _ in range(2):
        assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_usage == ("ENCRYPT",)
    assert [asked.connection for asked in xks.asked] == [1, 2, 3]


@pytest.mark.parametrize(
    "raw", [b"H", b"HTTP/1.1 200 OK\r\nX: x\r\n", CHUNKED + b"5\r\nx", CHUNKED + b"1\r\nx\r\n0\r\n"]
)
def test_an_answer_that_ends_early_is_none(xks: XksProxy, proxy: Proxy, raw: bytes) -> None:
    healthy(proxy)
    xks.raw, xks.last = raw, True
    fails(proxy, Kind.UNREACHABLE)
    assert len(xks.asked) == 2


def test_a_fault_of_the_parser_is_an_answer_that_is_none(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise TypeError("own words")

    monkeypatch.setattr(h11.Connection, "next_event", fail)
    fails(proxy, Kind.INVALID_RESPONSE)


def test_a_request_that_cannot_be_said_is_not_sent(xks: XksProxy, connect: Connect) -> None:
    for path in ("/a b", "/a\r\nX: x", "/\u00e9"):
        fails(connect(uri_path=path), Kind.INVALID_RESPONSE)
    assert not xks.asked


def test_the_operator_is_told_what_is_wrong_without_the_proxys_words(
    xks: XksProxy, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    xks.raw = b"HTTP/1.1 200 OK\r\nown words\r\n\r\n"
    fails(proxy, Kind.INVALID_RESPONSE)
    assert capsys.readouterr().err == (
        "strongroom: the external key store proxy xks.example.test fails: invalid response (it is not HTTP)\n"
    )


def test_an_answer_in_chunks_is_taken(xks: XksProxy, proxy: Proxy) -> None:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (METADATA[:10], METADATA[10:]))
    xks.raw = CHUNKED + parts + b"0\r\n\r\n"
    for _ in range(2):
        assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_usage == ("ENCRYPT",)
    assert xks.connections == 1
