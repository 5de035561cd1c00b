"""Where a proxy is connected to, and where not."""

import socket
import threading
from typing import Any

import pytest

from strongroom.keystores.external import connections
from strongroom.keystores.external.addresses import Addresses
from strongroom.keystores.external.deadline import new_deadline
from strongroom.keystores.external.failures import Kind
from tests.xks.client import Connect, fails, healthy, late
from tests.xks.proxy import XksProxy


def test_nobody_listens(connect: Connect, xks: XksProxy) -> None:
    proxy = connect()
    healthy(proxy)
    xks.stop()
    try:
        fails(proxy, Kind.UNREACHABLE)
    finally:
        xks.start()
    healthy(proxy)


def resolving(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[tuple[object, ...]]:
    """Have each name looked up as these addresses; return what is looked up."""
    looked: list[tuple[object, ...]] = []

    def look(host: str, port: int, **_: object) -> list[Any]:
        looked.append((host, port))
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return looked


THIS_MACHINE = [
    "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "169.254.169.254",
    "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1",
    "239.255.255.250", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", THIS_MACHINE)
def test_an_endpoint_is_not_this_machine(connect: Connect, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    looked = resolving(monkeypatch, address)
    monkeypatch.setattr(connections, "_connect", lambda *_: pytest.fail("connected"))
    fails(connect(connect=None), Kind.UNREACHABLE)
    assert looked == [("xks.example.test", 443)]


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.1", "8.8.8.8", "fd00::5", "2001:4860:4860::8888"])
def test_an_endpoint_may_be_any_other_machine(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolving(monkeypatch, "127.0.0.1", address, "::1")
    found = Addresses("xks.example.test", None).find(new_deadline())
    assert [one.place[:2] for one in found] == [(address, 443)]


@pytest.mark.parametrize(
    ("connect_to", "looked_up"),
    [("127.0.0.1:8443", ("127.0.0.1", 8443)), ("[::1]:1", ("::1", 1)), ("proxy.internal:443", ("proxy.internal", 443))],
)
def test_the_operator_may_name_any_machine(
    monkeypatch: pytest.MonkeyPatch, connect_to: str, looked_up: tuple[str, int]
) -> None:
    looked = resolving(monkeypatch, "127.0.0.1", "::1", "169.254.0.1")
    assert len(Addresses("xks.example.test", connect_to).find(new_deadline())) == 3
    assert looked == [looked_up]


def test_the_next_address_is_tried_if_one_refuses(
    connect: Connect, xks: XksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, "::1", "127.0.0.1")
    healthy(connect())


def test_addresses_are_kept_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    looked = resolving(monkeypatch, "10.0.0.5")
    found = Addresses("xks.example.test", None, clock=lambda: now[0])
    for second in (0, 30, 59.9):
        now[0] = second
        found.find(new_deadline())
    assert len(looked) == 1
    now[0] = 60.0
    found.find(new_deadline())
    assert len(looked) == 2


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long"), OverflowError("port")]
)
def test_a_name_that_is_not_found_is_looked_up_again(
    connect: Connect, xks: XksProxy, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    proxy = connect()

    def look(*_: object, **__: object) -> list[Any]:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", look)
        fails(proxy, Kind.UNREACHABLE)
    healthy(proxy)


def test_proxies_of_the_environment_are_not_used(
    connect: Connect, xks: XksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    healthy(connect())


def test_a_name_that_is_looked_up_for_long_is_late_and_looked_up_once(
    connect: Connect, xks: XksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, looked = threading.Event(), []

    def look(*_: object, **__: object) -> list[Any]:
        looked.append(1)
        go.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", xks.port))]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    proxy = connect(connect=f"proxy.internal:{xks.port}")
    late(lambda: healthy(proxy))
    late(lambda: healthy(proxy))
    assert len(looked) == 1
    go.set()
    healthy(proxy)
    assert len(looked) == 1
