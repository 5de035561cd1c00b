"""What callers of KMS are told when a proxy fails ("Errors" of the XKS specification; the KMS Developer Guide)."""

import secrets
import time
from typing import Any, NamedTuple

import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.errors import KMSInvalidState, RequestError
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.external import proxy as proxy_module
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from tests.xks.keys import external_key, opened, used_for
from tests.xks.proxy import XksProxy
from tests.xks.rules import STATUSES

REJECTED = "The external key store proxy rejected the request because"


class Row(NamedTuple):
    """What is told: a part of the text, the exceptions of CreateKey and of the operations on key stores, and a code."""

    text: str
    create_key: str
    configure: str
    code: str


UNREACHABLE = Row(
    "AWS KMS cannot communicate with the external key store proxy. ",
    "CustomKeyStoreInvalidStateException", "XksProxyUriUnreachableException", "XKS_PROXY_NOT_REACHABLE",
)  # fmt: skip
ROWS = {
    "ValidationException": Row(
        "cannot interpret the response",
        "CustomKeyStoreInvalidStateException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "InvalidStateException": Row(
        f"{REJECTED} the external key is not enabled in the external key manager.",
        "XksKeyInvalidConfigurationException",
        "XksProxyInvalidConfigurationException", "XKS_PROXY_INVALID_CONFIGURATION",
    ),
    "InvalidCiphertextException": Row(
        f"{REJECTED} the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise "
        "invalid.",
        "CustomKeyStoreInvalidStateException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "InvalidKeyUsageException": Row(
        f"{REJECTED} the external key does not support the requested operation.",
        "XksKeyInvalidConfigurationException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "AuthenticationFailedException": Row(
        f"{REJECTED} it could not authenticate AWS KMS. Verify the credentials for your external key store and update "
        "if necessary.",
        "CustomKeyStoreInvalidStateException",
        "XksProxyIncorrectAuthenticationCredentialException", "INVALID_CREDENTIALS",
    ),
    "AccessDeniedException": Row(
        "The external key store proxy denied access to the operation. Verify that the user and the external key are "
        "both authorized for this operation, and try the request again.",
        "CustomKeyStoreInvalidStateException", "XksProxyInvalidConfigurationException", "XKS_PROXY_ACCESS_DENIED",
    ),
    "KeyNotFoundException": Row(
        f"{REJECTED} it could not find the external key.",
        "XksKeyNotFoundException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "InvalidUriPathException": Row(
        f"{REJECTED} of an invalid URI path. Verify the URI path for your external key store and update if necessary.",
        "CustomKeyStoreInvalidStateException",
        "XksProxyInvalidConfigurationException", "XKS_PROXY_INVALID_CONFIGURATION",
    ),
    "ThrottlingException": Row(
        "very high request rate",
        "CustomKeyStoreInvalidStateException", "XksProxyUriUnreachableException", "XKS_PROXY_TIMED_OUT",
    ),
    "InternalException": Row(
        "internal error",
        "CustomKeyStoreInvalidStateException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "UnsupportedOperationException": Row(
        f"{REJECTED} it does not support the requested cryptographic operation.",
        "UnsupportedOperationException", "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE",
    ),
    "DependencyTimeoutException": Row(
        "The external key store proxy did not respond to the request in the time allotted. Retry the request.",
        "CustomKeyStoreInvalidStateException", "XksProxyUriUnreachableException", "XKS_PROXY_TIMED_OUT",
    ),
}  # fmt: skip
OURS = {
    Kind.UNREACHABLE: UNREACHABLE,
    Kind.TLS: UNREACHABLE._replace(
        text="AWS KMS cannot establish a TLS connection", code="XKS_PROXY_INVALID_TLS_CONFIGURATION"
    ),
    Kind.TIMED_OUT: UNREACHABLE._replace(
        text="AWS KMS rejected the request because the external key store proxy did not respond in time. Retry",
        code="XKS_PROXY_TIMED_OUT",
    ),
    Kind.INVALID_RESPONSE: ROWS["ValidationException"],
    Kind.ALL_UNAVAILABLE: UNREACHABLE._replace(text="every external key manager is unavailable"),
}


def test_the_table_has_each_error_of_the_specification() -> None:
    assert set(ROWS) == set(STATUSES)
    assert {str(kind) for kind in Kind} == set(ROWS) | {str(kind) for kind in OURS}


@pytest.mark.parametrize("name", ROWS)
def test_each_error_of_a_proxy_is_told_as_the_table_says(
    xks: XksProxy, proxy: Proxy, store: ExternalKeyStore, name: str
) -> None:
    row = ROWS[name]
    key = opened(store)
    blob = parse(key.encrypt(b"plaintext", {}))
    xks.error = (STATUSES[name], name)
    with pytest.raises(KMSInvalidState) as not_encrypted:
        key.encrypt(b"plaintext", {})
    with pytest.raises(KMSInvalidState) as not_decrypted:
        key.decrypt(blob, {})
    check(not_encrypted.value, row)
    check(not_decrypted.value, row)
    with pytest.raises(RequestError) as refused:
        opened(store)
    assert refused.value.code == row.create_key
    check(refused.value, row)
    with pytest.raises(ProxyError) as unwell:
        proxy.check_health("r", "CreateCustomKeyStore")
    assert unwell.value.of_configuration().code == row.configure
    check(unwell.value.of_configuration(), row)
    assert unwell.value.connection_error_code == row.code


@pytest.mark.parametrize("kind", OURS)
def test_failures_without_a_name_are_told_as_the_table_says(kind: Kind) -> None:
    error, row = ProxyError(kind), OURS[kind]
    told = (error.of_use(), error.of_create_key(), error.of_configuration())
    assert [found.code for found in told] == ["KMSInvalidStateException", row.create_key, row.configure]
    for found in told:
        check(found, row)
    assert error.connection_error_code == row.code


def check(error: RequestError, row: Row) -> None:
    assert error.message is not None
    assert row.text in error.message
    assert "own words" not in error.message


def test_the_name_decides_whatever_the_status_of_an_error(xks: XksProxy, proxy: Proxy) -> None:
    for status in (400, 404, 500, 503):
        xks.error = (status, "KeyNotFoundException")
        with pytest.raises(ProxyError, match="KeyNotFoundException"):
            proxy.health("r", "o")


@pytest.mark.parametrize("error", [(400, "NovelException"), (401, ""), (302, "ThrottlingException"), (201, "x")])
def test_an_unknown_error_or_status_is_no_answer(xks: XksProxy, proxy: Proxy, error: tuple[int, str]) -> None:
    xks.error = error
    with pytest.raises(ProxyError) as failed:
        proxy.health("r", "o")
    assert failed.value.kind is Kind.INVALID_RESPONSE


@pytest.mark.parametrize(
    "body", [b"", b"<html>504</html>", b"[]", b'{"errorName": 5}', b'{"message": "x"}', b'"ThrottlingException"']
)
def test_an_error_without_a_name_is_no_answer(xks: XksProxy, proxy: Proxy, body: bytes) -> None:
    xks.raw = b"HTTP/1.1 500 x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with pytest.raises(ProxyError) as failed:
        proxy.health("r", "o")
    assert failed.value.kind is Kind.INVALID_RESPONSE


def errors_told(xks: XksProxy, proxy: Proxy, *names: str) -> None:
    """Have calls fail."""
    for name in names:
        xks.error = (500, name)
        with pytest.raises(ProxyError):
            proxy.encrypt(used_for("Encrypt"), "key-1", b"plaintext", b"a")
    xks.error = None


def test_a_failure_is_told_once_and_by_its_name_alone(
    xks: XksProxy, proxy: Proxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "_TELL_SECONDS", 0.0)
    errors_told(
        xks, proxy, "InternalException", "InternalException", "own words of a proxy", "InvalidCiphertextException"
    )
    assert capsys.readouterr().err.splitlines() == [
        "strongroom: the external key store proxy xks.example.test fails: InternalException",
        "strongroom: the external key store proxy xks.example.test fails: invalid response",
    ]


def test_how_each_call_ended_is_told_and_of_one_that_is_not_made_nothing(xks: XksProxy, proxy: Proxy) -> None:
    called: list[Kind | None] = []
    proxy._on_called = called.append
    proxy.health("r", "o")
    errors_told(xks, proxy, "InvalidCiphertextException", "own words of a proxy")
    assert called == [None, Kind.INVALID_CIPHERTEXT, Kind.INVALID_RESPONSE]
    for _ in range(10):  # opens the breaker
        proxy._breaker._failed(Kind.UNREACHABLE, trial=False)
    with pytest.raises(ProxyError):
        proxy.encrypt(used_for("Encrypt"), "key-1", b"plaintext", b"a")
    assert len(called) == 3


def test_failures_in_turn_are_told_from_time_to_time(
    xks: XksProxy, proxy: Proxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        errors_told(xks, proxy, "InternalException", "own words", "KeyNotFoundException")
        proxy.health("r", "o")
    errors_told(xks, proxy, "ThrottlingException")
    assert len(capsys.readouterr().err.splitlines()) == 1
    later = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: later)
    errors_told(xks, proxy, "ThrottlingException", "InternalException")  # as before: it was not told
    assert capsys.readouterr().err.splitlines() == [
        "strongroom: the external key store proxy xks.example.test fails: ThrottlingException"
    ]


def test_a_new_key_needs_an_external_key_that_can_be_one(xks: XksProxy, store: ExternalKeyStore) -> None:
    key = xks.keys["key-1"]
    wrong: list[tuple[dict[str, Any], str]] = [
        (
            {"spec": "RSA_2048"},
            "The key spec of the external key must be AES_256. The key spec of specified external key is RSA_2048.",
        ),
        (
            {"status": "DISABLED"},
            "The status of the external key must be ENABLED. The status of specified external key is DISABLED.",
        ),
        (
            {"usage": ["ENCRYPT", "WRAP"]},
            "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key "
            "is ENCRYPT, WRAP.",
        ),
    ]
    for change, text in wrong:
        right = {name: getattr(key, name) for name in change}
        vars(key).update(change)
        with pytest.raises(RequestError) as refused:
            opened(store)
        assert (refused.value.code, refused.value.message) == ("XksKeyInvalidConfigurationException", text)
        vars(key).update(right)
    key.usage = ["SIGN", "DECRYPT", "UNWRAP", "ENCRYPT", "DERIVE"]
    opened(store)


def test_a_new_key_needs_an_external_key_that_is_there(store: ExternalKeyStore) -> None:
    with pytest.raises(RequestError) as refused:
        opened(store, external_key("key-3"))
    assert refused.value.code == "XksKeyNotFoundException"


def test_new_material_is_the_default_key_stores(store: ExternalKeyStore, default: KeyStore) -> None:
    material_id = secrets.token_hex(32)
    material = store.new_material(used_for("CreateKey"), external_key(), material_id=material_id, created=2.5)
    assert (material.material_id, material.created, material.key_store) == (material_id, 2.5, default.name)
    store.discard(external_key(), material_id)
    store.forget(material.region, material_id)
    store.forget(material.region, material_id)
    store.open_symmetric(used_for("Encrypt"), external_key(), material)
    assert len(store.random_bytes(7)) == 7


def test_a_key_that_may_not_decrypt_encrypts_nothing(xks: XksProxy, store: ExternalKeyStore) -> None:
    key = opened(store)
    xks.keys["key-1"].may_decrypt = False
    with pytest.raises(KMSInvalidState, match="does not support the requested operation"):
        key.encrypt(b"plaintext", {})
