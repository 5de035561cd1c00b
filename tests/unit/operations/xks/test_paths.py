"""Which URIs the proxy has, and what is said of others (XKS specification, "URI path")."""

from dataclasses import dataclass

import pytest

from tests.unit.operations.xks.proxy import METADATA, ONE, ROOT, TWO, Proxy, Signer, encoded, encrypting

BASE = f"{ONE}/kms/xks/v1"
METADATA_BODY = encoded({"requestMetadata": METADATA})


@pytest.mark.parametrize("prefix", [ROOT, ONE, TWO])
@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("health", {"xksProxyFleetSize", "xksProxyVendor", "xksProxyModel", "ekmVendor", "ekmFleetDetails"}),
        ("keys/key-1/metadata", {"keySpec", "keyUsage", "keyStatus"}),
        ("keys/key-1/encrypt", {"ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"}),
    ],
)
def test_each_operation_is_at_its_path(proxy: Proxy, prefix: str, name: str, answered: set[str]) -> None:
    reply = proxy.call(prefix, name, encrypting(b"x"))
    assert reply.status == 200
    assert reply.members.keys() == answered


def test_a_key_id_of_128_characters_and_of_dots_is_one(proxy: Proxy) -> None:
    assert proxy.encrypt(ONE, "." * 128, b"x").status == 200


@dataclass(frozen=True)
class Wrong:
    """A path that is none, and why."""

    why: str
    path: str


WRONG_PATHS = [
    Wrong("no path at all", "/"),
    Wrong("an unknown prefix", "/nobody/kms/xks/v1/health"),
    Wrong("a longer prefix", "/tenant-one/x/kms/xks/v1/health"),
    Wrong("a shorter prefix", "/tenant/kms/xks/v1/health"),
    Wrong("another case of the prefix", "/Tenant-One/kms/xks/v1/health"),
    Wrong("an encoded prefix", "/tenant%2Done/kms/xks/v1/health"),
    Wrong("an empty segment", "//tenant-one/kms/xks/v1/health"),
    Wrong("a dot segment", "/./tenant-one/kms/xks/v1/health"),
    Wrong("a way up to a prefix", "/tenant-two/../tenant-one/kms/xks/v1/health"),
    Wrong("another version", f"{ONE}/kms/xks/v2/health"),
    Wrong("a longer version", f"{ONE}/kms/xks/v11/health"),
    Wrong("another base", f"{ONE}/kms/health"),
    Wrong("the base alone", BASE),
    Wrong("the base and a slash", f"{BASE}/"),
    Wrong("an unknown operation", f"{BASE}/status"),
    Wrong("another case of an operation", f"{BASE}/Health"),
    Wrong("a slash at the end", f"{BASE}/health/"),
    Wrong("health of a key", f"{BASE}/keys/key-1/health"),
    Wrong("keys alone", f"{BASE}/keys"),
    Wrong("a key alone", f"{BASE}/keys/key-1"),
    Wrong("a key and a slash", f"{BASE}/keys/key-1/"),
    Wrong("no key", f"{BASE}/keys//metadata"),
    Wrong("metadata of nothing", f"{BASE}/metadata"),
    Wrong("an unknown operation of a key", f"{BASE}/keys/key-1/sign"),
    Wrong("more behind an operation", f"{BASE}/keys/key-1/encrypt/x"),
    Wrong("a key id of 129 characters", f"{BASE}/keys/{'k' * 129}/metadata"),
    Wrong("a key id with a slash", f"{BASE}/keys/a/b/metadata"),
]
NOBODY = Signer("A" * 20, "wrong")


@pytest.mark.parametrize("wrong", WRONG_PATHS, ids=lambda wrong: wrong.why)
def test_another_path_is_told_before_the_signature_is_looked_at(proxy: Proxy, wrong: Wrong) -> None:
    for signer in (proxy.signers[ONE], NOBODY):
        assert proxy.post(wrong.path, METADATA_BODY, signer).outcome == (404, "InvalidUriPathException")
    assert proxy.send("POST", wrong.path.encode(), []).outcome == (404, "InvalidUriPathException")


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "post"])
@pytest.mark.parametrize("name", ["health", "keys/key-1/metadata", "keys/key-1/encrypt", "keys/key-1/decrypt"])
def test_only_post_is_allowed(proxy: Proxy, method: str, name: str) -> None:
    path = f"{BASE}/{name}".encode()
    headers = proxy.signers[ONE].headers(path, b"", METADATA_BODY, proxy.parts.clock.now)
    reply = proxy.send(method, path, headers, METADATA_BODY)
    assert (reply.status, reply.headers[b"Allow"], reply.body) == (405, b"POST", b"")


def test_anybody_may_ping(proxy: Proxy) -> None:
    reply = proxy.send("GET", b"/ping", [])
    assert (reply.status, reply.headers, reply.body) == (200, {b"Content-Type": b"text/plain"}, b"pong")
    assert proxy.send("POST", b"/ping", []).outcome == (404, "InvalidUriPathException")
