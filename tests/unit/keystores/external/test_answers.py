"""What is taken as an answer, and what is not (XKS specification, "External key store proxy APIs")."""

import base64
import json
from typing import Any

import pytest

from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.messages import EncryptResponse
from strongroom.keystores.external.proxy import Proxy
from tests.xks.keys import used_for
from tests.xks.proxy import XksProxy

USE = used_for("Encrypt")


def refused(proxy: Proxy, operation: str = "encrypt") -> None:
    with pytest.raises(ProxyError) as failed:
        ask(proxy, operation)
    assert failed.value.kind is Kind.INVALID_RESPONSE


def ask(proxy: Proxy, operation: str) -> object:
    match operation:
        case "health":
            return proxy.health("r", "o")
        case "metadata":
            return proxy.key_metadata(USE, "key-1")
        case "encrypt":
            return proxy.encrypt(USE, "key-1", b"plaintext", b"a")
        case _:
            encrypted = proxy.encrypt(USE, "key-1", b"plaintext", b"a")
            return proxy.decrypt(USE, "key-1", encrypted, b"a")


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_the_integrity_value_is_that_of_the_specification() -> None:
    aad, metadata, iv, ciphertext, tag = (
        base64.b64decode(text)
        for text in (
            "cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n",
            "a2V5X3ZlcnNpb249MQ==",
            "HMrlRw85cAJUd5Ax",
            "ghxkK1txeDNn3q8Y",
            "vBxN2ncH1oEkR8WVXpmyYQ==",
        )
    )
    known = base64.b64decode("qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=")
    answer = EncryptResponse(ciphertext, iv, tag, metadata, ciphertext_data_integrity_value=known)
    answer.check(bytes(len(ciphertext)), aad)
    with pytest.raises(ProxyError):
        answer.check(bytes(len(ciphertext)), aad + b"x")


@pytest.mark.parametrize("iv_length", [12, 16])
@pytest.mark.parametrize("metadata", [b"", b"m", b"m" * 20], ids=len)
def test_takes_both_lengths_of_vectors_and_up_to_20_bytes_of_metadata(
    xks: XksProxy, proxy: Proxy, iv_length: int, metadata: bytes
) -> None:
    xks.iv_length, xks.metadata = iv_length, metadata
    encrypted = proxy.encrypt(USE, "key-1", b"plaintext", b"a")
    assert (len(encrypted.initialization_vector), encrypted.ciphertext_metadata) == (iv_length, metadata)
    assert proxy.decrypt(USE, "key-1", encrypted, b"a") == b"plaintext"


@pytest.mark.parametrize("iv_length", [0, 11, 13, 15, 17])
def test_refuses_a_vector_of_another_length(xks: XksProxy, proxy: Proxy, iv_length: int) -> None:
    xks.iv_length = iv_length
    refused(proxy)


def test_refuses_metadata_of_21_bytes(xks: XksProxy, proxy: Proxy) -> None:
    xks.metadata = b"m" * 21
    refused(proxy)


def test_takes_no_metadata_said_as_empty(xks: XksProxy, proxy: Proxy) -> None:
    xks.spoiled = {"ciphertextMetadata": ""}
    assert proxy.encrypt(USE, "key-1", b"plaintext", b"a").ciphertext_metadata == b""


SPOILED: dict[str, tuple[str, dict[str, Any]]] = {
    "no ciphertext": ("encrypt", {"ciphertext": None}),
    "a shorter ciphertext": ("encrypt", {"ciphertext": encoded(bytes(8))}),
    "a longer ciphertext": ("encrypt", {"ciphertext": encoded(bytes(25))}),
    "no vector": ("encrypt", {"initializationVector": None}),
    "another vector": ("encrypt", {"initializationVector": encoded(bytes(12))}),
    "no tag": ("encrypt", {"authenticationTag": None}),
    "another tag": ("encrypt", {"authenticationTag": encoded(bytes(16))}),
    "a tag of 15 bytes": ("encrypt", {"authenticationTag": encoded(bytes(15))}),
    "a tag of 17 bytes": ("encrypt", {"authenticationTag": encoded(bytes(17))}),
    "no integrity value": ("encrypt", {"ciphertextDataIntegrityValue": None}),
    "an empty integrity value": ("encrypt", {"ciphertextDataIntegrityValue": ""}),
    "another integrity value": ("encrypt", {"ciphertextDataIntegrityValue": encoded(bytes(32))}),
    "metadata that were not there": ("encrypt", {"ciphertextMetadata": encoded(b"m")}),
    "a number for bytes": ("encrypt", {"ciphertext": 5}),
    "no padding": ("encrypt", {"authenticationTag": encoded(bytes(16)).rstrip("=")}),
    "space in base64": ("encrypt", {"authenticationTag": " " + encoded(bytes(16))}),
    "no plaintext": ("decrypt", {"plaintext": None}),
    "a shorter plaintext": ("decrypt", {"plaintext": encoded(b"plaintex")}),
    "a longer plaintext": ("decrypt", {"plaintext": encoded(b"plaintext.")}),
    "no key spec": ("metadata", {"keySpec": None}),
    "a number as key spec": ("metadata", {"keySpec": 256}),
    "a line as key spec": ("metadata", {"keySpec": "AES_256\n"}),
    "lines as key usage": ("metadata", {"keyUsage": ["ENCRYPT\n", "DECRYPT"]}),
    "a text as key usage": ("metadata", {"keyUsage": "ENCRYPT"}),
    "11 key usages": ("metadata", {"keyUsage": ["ENCRYPT"] * 11}),
    "an unknown key status": ("metadata", {"keyStatus": "enabled"}),
    "no fleet size": ("health", {"xksProxyFleetSize": None}),
    "a fleet of 0": ("health", {"xksProxyFleetSize": 0}),
    "no vendor": ("health", {"xksProxyVendor": None}),
    "no model": ("health", {"xksProxyModel": None}),
    "no vendor of managers": ("health", {"ekmVendor": None}),
    "no managers": ("health", {"ekmFleetDetails": []}),
    "11 managers": ("health", {"ekmFleetDetails": [{"id": "1", "model": "m", "healthStatus": "ACTIVE"}] * 11}),
    "an unknown health": ("health", {"ekmFleetDetails": [{"id": "1", "model": "m", "healthStatus": "WELL"}]}),
    "a manager without id": ("health", {"ekmFleetDetails": [{"model": "m", "healthStatus": "ACTIVE"}]}),
    "a manager without model": ("health", {"ekmFleetDetails": [{"id": "1", "healthStatus": "ACTIVE"}]}),
}


@pytest.mark.parametrize(("operation", "spoiled"), SPOILED.values(), ids=SPOILED)
def test_refuses_members_that_are_missing_or_not_as_they_must_be(
    xks: XksProxy, proxy: Proxy, operation: str, spoiled: dict[str, Any]
) -> None:
    ask(proxy, operation)
    xks.spoiled = spoiled
    refused(proxy, operation)


def test_refuses_base64_of_the_alphabet_for_urls(xks: XksProxy, proxy: Proxy) -> None:
    xks.url_alphabet = True
    with pytest.raises(ProxyError) as failed:
        proxy.encrypt(USE, "key-1", bytes(4096), b"")  # so long that its letters are in it
    assert failed.value.kind is Kind.INVALID_RESPONSE


@pytest.mark.parametrize("operation", ["health", "metadata", "encrypt"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"ciphertext": "',
        b'{"xksProxyVendor": "\xff"}',
        b'{"unheardOf": ' + b"[" * 60_000,
        json.dumps({"errorName": "ThrottlingException"}).encode(),
    ],
    ids=["nothing", "HTML", "a list", "null", "no members", "cut", "not UTF-8", "deep", "an error with status 200"],
)
def test_refuses_bodies_that_are_no_answer(xks: XksProxy, proxy: Proxy, operation: str, body: bytes) -> None:
    xks.body = body
    refused(proxy, operation)


@pytest.mark.parametrize("statuses", [["ACTIVE"], ["DEGRADED"], ["UNAVAILABLE", "DEGRADED"], ["ACTIVE"] * 10])
def test_a_proxy_is_well_if_one_manager_serves(xks: XksProxy, proxy: Proxy, statuses: list[str]) -> None:
    xks.fleet = [{"id": str(n), "model": "m", "healthStatus": status} for n, status in enumerate(statuses)]
    health = proxy.check_health("r", "CreateCustomKeyStore")
    assert [manager.health_status for manager in health.ekm_fleet_details] == statuses
    assert (health.xks_proxy_vendor, health.xks_proxy_model, health.ekm_vendor) == ("v", "m", "e")


def test_a_proxy_is_not_well_if_no_manager_serves(xks: XksProxy, proxy: Proxy) -> None:
    xks.fleet = [{"id": str(n), "model": "m", "healthStatus": "UNAVAILABLE"} for n in range(2)]
    with pytest.raises(ProxyError) as failed:
        proxy.check_health("r", "CreateCustomKeyStore")
    assert failed.value.kind is Kind.ALL_UNAVAILABLE
    assert len(proxy.health("r", "KmsHealthCheck").ekm_fleet_details) == 2
