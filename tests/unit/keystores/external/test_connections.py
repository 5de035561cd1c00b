"""Connections to a proxy: kept, cut, late, and only to whom they should be (XKS specification, "Transport")."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

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
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n",
    "a long body": b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + b" " * 65_536,
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 15 + b"\r\n\r\n" + b" " * 70_000,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 70_000,
    "many chunks": CHUNKED + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 17,
    "a chunk of length -1": CHUNKED + b"-1\r\n" + b" " * 70_000,
    "a chunk of length -5": CHUNKED + b"-5\r\n" + b" " * 100,
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_what_is_no_answer_in_http_fails(xks: XksProxy, proxy: Proxy, raw: bytes) -> None:
    xks.raw = raw
    fails(proxy, Kind.INVALID_RESPONSE)
    assert len(xks.asked) == 1
    xks.raw = None
    healthy(proxy)


def test_an_answer_in_chunks_is_taken(xks: XksProxy, proxy: Proxy) -> None:
    body = b'{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}'
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:]))
    xks.raw = CHUNKED + parts + b"0\r\n\r\n"
    for _ in range(2):
        assert proxy.key_metadata(used_for("CreateKey"), "key-1").key_usage == ("ENCRYPT",)
    assert xks.connections == 1
