"""Issuers are asked over real TLS, and believe nothing that is not theirs to say."""

import asyncio
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import IDPCommunicationError, InvalidIdentityToken
from strongroom.web_identity.issuers import Issuers
from strongroom.web_identity.tokens import Key
from tests.issuer import Issuer, running_issuer

DISCOVERY, KEYS = "/a/.well-known/openid-configuration", "/a/keys"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with running_issuer(tmp_path_factory.mktemp("issuer")) as made:
        yield made


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    running.asked.clear()
    running.spoiled.clear()
    return running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def issuers(pool: ThreadPoolExecutor, issuer: Issuer, clock: Clock) -> Issuers:
    return Issuers(pool, allow=(issuer.host,), ca=issuer.certificate, clock=clock)


def ask(issuers: Issuers, url: str, thumbprints: tuple[str, ...] = (), *, unknown: bool = False) -> Sequence[Key]:
    return asyncio.run(issuers.keys(url, thumbprints, unknown=unknown))


def refused(issuers: Issuers, url: str, thumbprints: tuple[str, ...] = ()) -> None:
    with pytest.raises(InvalidIdentityToken) as caught:
        ask(issuers, url, thumbprints)
    assert str(caught.value) == (
        "Couldn't retrieve verification key from your identity provider,  please reference "
        "AssumeRoleWithWebIdentity documentation for requirements"
    )


def test_the_keys_of_an_issuer(issuer: Issuer, issuers: Issuers) -> None:
    assert {key.id for key in ask(issuers, issuer.url)} == {"rsa", "ec"}
    assert issuer.asked == [DISCOVERY, KEYS]


def test_keys_are_kept_for_an_hour(issuer: Issuer, issuers: Issuers, clock: Clock) -> None:
    for now in (0, 1800, 3599):
        clock.now = now
        ask(issuers, issuer.url)
    assert len(issuer.asked) == 2
    clock.now = 3600
    ask(issuers, issuer.url)
    assert len(issuer.asked) == 4


def test_a_key_that_is_not_known_is_asked_for_once_a_minute(issuer: Issuer, issuers: Issuers, clock: Clock) -> None:
    ask(issuers, issuer.url)
    for now in (1, 59):
        clock.now = now
        ask(issuers, issuer.url, unknown=True)
    assert len(issuer.asked) == 2
    clock.now = 60
    ask(issuers, issuer.url, unknown=True)
    assert len(issuer.asked) == 4


def test_after_a_failure_an_issuer_is_left_alone_for_a_minute(issuer: Issuer, issuers: Issuers, clock: Clock) -> None:
    issuer.spoiled[DISCOVERY] = (500, {})
    refused(issuers, issuer.url)
    issuer.spoiled.clear()
    clock.now = 59
    refused(issuers, issuer.url)
    assert issuer.asked == [DISCOVERY]
    clock.now = 60
    assert ask(issuers, issuer.url)


@pytest.mark.parametrize(
    "spoiled",
    [
        {DISCOVERY: b"no json"},
        {DISCOVERY: b"[]"},
        {DISCOVERY: b'{"issuer": "https://other", "jwks_uri": "https://other"}'},
        {DISCOVERY: (302, {"Location": "/a/elsewhere"})},
        {DISCOVERY: b" " * (2 << 20)},
        {DISCOVERY: b"[" * 100_000},
        {KEYS: b'{"keys": 1}'},
        {KEYS: b"{}"},
        {KEYS: json.dumps({"keys": [{}] * 101}).encode()},
        {KEYS: (404, {})},
    ],
)
def test_what_is_no_answer_is_refused(issuer: Issuer, issuers: Issuers, spoiled: dict[str, Any]) -> None:
    issuer.spoiled |= spoiled
    refused(issuers, issuer.url)
    assert "/a/elsewhere" not in issuer.asked


def test_keys_that_cannot_be_used_are_passed_over(issuer: Issuer, issuers: Issuers) -> None:
    found = json.loads(issuer.documents()[KEYS])["keys"]
    odd = [1, {}, {"kty": "oct", "k": "AAAA", "kid": "s"}, {"kty": "RSA", "n": "?", "e": "AQAB"}, *found]
    issuer.spoiled[KEYS] = json.dumps({"keys": odd}).encode()
    assert {"rsa", "ec"} <= {key.id for key in ask(issuers, issuer.url)}


@pytest.mark.parametrize("scheme", ["http", "file", "ftp"])
def test_keys_are_fetched_over_tls_only(issuer: Issuer, issuers: Issuers, scheme: str) -> None:
    elsewhere = {"issuer": issuer.url, "jwks_uri": issuer.url.replace("https", scheme) + "/keys"}
    issuer.spoiled[DISCOVERY] = json.dumps(elsewhere).encode()
    refused(issuers, issuer.url)
    assert KEYS not in issuer.asked


def test_a_certificate_that_nobody_trusts_is_refused(pool: ThreadPoolExecutor, issuer: Issuer) -> None:
    refused(Issuers(pool, allow=(issuer.host,)), issuer.url)
    assert issuer.asked == []


def test_a_certificate_is_trusted_by_its_thumbprint(pool: ThreadPoolExecutor, issuer: Issuer) -> None:
    der = ssl.PEM_cert_to_DER_cert(issuer.certificate.read_text())
    thumbprint = hashlib.sha1(der).hexdigest()
    issuers = Issuers(pool, allow=(issuer.host,))
    assert ask(issuers, issuer.url, ("ab" * 20, thumbprint))
    refused(issuers, issuer.url, ("ab" * 20,))
    refused(issuers, issuer.url)  # what one account trusts is nothing to another


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1",
        "fd00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:7f00:1::", "2001::1",
    ],
)  # fmt: skip
def test_private_addresses_are_asked_only_if_they_are_named(
    pool: ThreadPoolExecutor, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = looked_up(monkeypatch, address)
    refused(Issuers(pool, allow=("other.example",)), "https://issuer.example/a")
    assert asked == []
    refused(Issuers(pool, allow=("issuer.example",)), "https://issuer.example/a")
    assert asked == [address]


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"])
def test_public_addresses_are_asked(pool: ThreadPoolExecutor, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looked_up(monkeypatch, "10.0.0.1", address)
    refused(Issuers(pool), "https://issuer.example/a")
    assert asked == [address]


def looked_up(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses, and nobody be there; return those that are connected to."""
    asked: list[str] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        asked.append(address[0])
        raise ConnectionRefusedError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
    monkeypatch.setattr("strongroom.web_identity.issuers.socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    return asked


def test_the_keys_may_not_be_elsewhere_on_a_private_address(
    pool: ThreadPoolExecutor, issuer: Issuer, tmp_path: Path
) -> None:
    with running_issuer(tmp_path) as other:
        issuer.spoiled[DISCOVERY] = json.dumps({"issuer": issuer.url, "jwks_uri": f"{other.url}/keys"}).encode()
        refused(Issuers(pool, allow=(issuer.host,), ca=issuer.certificate), issuer.url)
        assert other.asked == []


def test_keys_that_are_known_outlive_a_failure_but_not_their_hour(
    issuer: Issuer, issuers: Issuers, clock: Clock
) -> None:
    ask(issuers, issuer.url)
    issuer.spoiled[KEYS] = (500, {})
    clock.now = 3590
    assert ask(issuers, issuer.url, unknown=True)
    clock.now = 3599
    assert ask(issuers, issuer.url)
    clock.now = 3600
    refused(issuers, issuer.url)
    assert issuer.asked == [DISCOVERY, KEYS] * 3


def test_an_issuer_is_asked_once_for_all_who_wait(issuer: Issuer, issuers: Issuers) -> None:
    async def all_at_once() -> list[Sequence[Key]]:
        return await asyncio.gather(*(issuers.keys(issuer.url, ()) for _ in range(50)))

    issuer.spoiled[DISCOVERY] = 0.1
    assert all(asyncio.run(all_at_once()))
    assert issuer.asked == [DISCOVERY, KEYS]


def test_who_waits_too_long_may_try_again(issuer: Issuer, issuers: Issuers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.web_identity.issuers._PATIENCE_SECONDS", 0.05)
    issuer.spoiled[DISCOVERY] = 0.2
    with pytest.raises(IDPCommunicationError):
        ask(issuers, issuer.url)
    monkeypatch.undo()
    issuer.spoiled.clear()
    assert ask(issuers, issuer.url)


@pytest.mark.parametrize("slow", ["waits", "sends its head in drops", "sends its body in drops"])
def test_an_issuer_that_is_slow_is_given_up(
    issuer: Issuer, issuers: Issuers, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr("strongroom.web_identity.issuers._SECONDS", 0.2)
    head = "" if slow == "sends its head in drops" else "Content-Length: 60\r\n\r\n"
    issuer.spoiled[DISCOVERY] = 1.0 if slow == "waits" else f"HTTP/1.1 200 OK\r\n{head}"
    began = time.monotonic()
    refused(issuers, issuer.url)
    assert time.monotonic() - began < 0.8
