"""Each call leaves one record: what KMS said of it, and none of what was encrypted."""

from base64 import b64encode
from typing import Any

import pytest

from tests.unit.operations.xks.proxy import (
    METADATA,
    ONE,
    RATE,
    RULED,
    SLOW,
    Proxy,
    Reply,
    Signer,
    decrypting,
    encrypting,
)

PLAINTEXT = b"a secret that nobody may read"
ALL_METADATA = METADATA | {"awsSourceVpc": "vpc-1", "awsSourceVpce": "vpce-1", "kmsViaService": "ebs", "more": "x"}
TOLD = {name: value for name, value in ALL_METADATA.items() if name != "more"}
ENCRYPT = encrypting(PLAINTEXT) | {"requestMetadata": ALL_METADATA, "additionalAuthenticatedData": b"authenticated"}


def record_of(proxy: Proxy, reply: Reply) -> dict[str, Any]:
    """The one record of a call."""
    request_id = reply.headers[b"x-amzn-RequestId"].decode()
    (record,) = [record for record in proxy.records() + proxy.strangers() if record["requestID"] == request_id]
    return record


@pytest.mark.parametrize("operation", ["GetHealthStatus", "GetKeyMetadata", "Encrypt", "Decrypt"])
def test_what_is_answered_is_recorded_with_its_metadata(proxy: Proxy, operation: str) -> None:
    encrypted = proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT)
    name = {"GetHealthStatus": "health", "GetKeyMetadata": "keys/key-1/metadata"}.get(
        operation, f"keys/key-1/{operation.lower()}"
    )
    decrypt = decrypting(encrypted, requestMetadata=ALL_METADATA, additionalAuthenticatedData=b"authenticated")
    reply = proxy.call(ONE, name, decrypt if operation == "Decrypt" else ENCRYPT)
    assert reply.status == 200
    record = record_of(proxy, reply)
    key = {} if operation == "GetHealthStatus" else {"externalKeyId": "key-1"}
    assert (record["eventSource"], record["eventName"]) == ("kms-xks-proxy.amazonaws.com", operation)
    assert record["requestParameters"] == {"uriPathPrefix": ONE, **key, "requestMetadata": TOLD}
    access_key_id = proxy.signers[ONE].access_key_id
    assert record["userIdentity"] == {"type": "XksClient", "principalId": ONE, "accessKeyId": access_key_id}
    assert (record["awsRegion"], record["sourceIPAddress"]) == ("us-east-1", "192.0.2.1")
    assert record["responseElements"] is None
    assert "errorCode" not in record


@pytest.mark.parametrize(
    ("prefix", "key", "more", "code"),
    [
        (ONE, "unknown", {}, "KeyNotFoundException"),
        (ONE, "off", {}, "InvalidStateException"),
        (ONE, "key-1", {"plaintext": bytes(8193)}, "UnsupportedOperationException"),
        (RULED, "forbidden", {}, "AccessDenied"),
    ],
)
def test_what_is_refused_is_recorded_with_its_metadata(
    proxy: Proxy, prefix: str, key: str, more: dict[str, Any], code: str
) -> None:
    record = record_of(proxy, proxy.call(prefix, f"keys/{key}/encrypt", ENCRYPT | more))
    assert (record["errorCode"], record["eventName"]) == (code, "Encrypt")
    assert record["requestParameters"] == {"uriPathPrefix": prefix, "externalKeyId": key, "requestMetadata": TOLD}
    assert record["userIdentity"]["accessKeyId"] == proxy.signers[prefix].access_key_id


def test_what_cannot_be_read_is_recorded_without(proxy: Proxy) -> None:
    record = record_of(proxy, proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT | {"plaintext": 1}))
    assert (record["errorCode"], record["eventName"]) == ("ValidationException", "Encrypt")
    assert record["requestParameters"] is None
    assert record["userIdentity"]["principalId"] == ONE


def test_who_is_not_known_is_recorded_as_a_stranger(proxy: Proxy) -> None:
    chained = len(proxy.records())
    path = f"{ONE}/kms/xks/v1/keys/key-1/encrypt"
    forged = proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT, Signer(proxy.signers[ONE].access_key_id, "wrong"))
    lost = proxy.call(ONE, "nowhere", ENCRYPT)
    large = proxy.send("POST", path.encode(), [], whole=False)
    refused = [(forged, "AuthenticationFailedException", "Encrypt")]
    refused += [(lost, "InvalidUriPathException", ""), (large, "UnsupportedOperationException", "")]
    for reply, code, name in refused:
        record = record_of(proxy, reply)
        assert (record["errorCode"], record["eventName"]) == (code, name)
        assert record["eventSource"] == "kms-xks-proxy.amazonaws.com"
        assert record["userIdentity"].keys().isdisjoint({"accessKeyId", "principalId"})
        assert record["requestParameters"] is None
    assert len(proxy.records()) == chained


def test_what_is_throttled_is_recorded(proxy: Proxy) -> None:
    replies = [proxy.call(SLOW, "keys/key-1/encrypt", ENCRYPT) for _ in range(RATE + 1)]
    assert [reply.status for reply in replies] == [200] * RATE + [429]
    record = record_of(proxy, replies[-1])
    assert (record["errorCode"], record["eventName"]) == ("ThrottlingException", "Encrypt")
    assert record["requestParameters"]["requestMetadata"] == TOLD
    assert record["userIdentity"]["principalId"] == SLOW


def test_no_log_has_what_was_encrypted_or_a_secret(proxy: Proxy) -> None:
    encrypted = proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT)
    decrypt = decrypting(encrypted, additionalAuthenticatedData=b"authenticated")
    replies = [
        encrypted,
        proxy.call(ONE, "keys/key-1/decrypt", decrypt),
        proxy.call(ONE, "keys/key-1/decrypt", decrypt | {"additionalAuthenticatedData": b""}),
        proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT | {"encryptionAlgorithm": "x"}),
        proxy.call(ONE, "keys/key-1/encrypt", ENCRYPT, Signer("A" * 20, "wrong")),
    ]
    assert [reply.status for reply in replies] == [200, 200, 400, 400, 401]
    for reply in replies:
        record_of(proxy, reply)
    logs = b"".join(
        path.read_bytes()
        for directory in (proxy.config.audit_directory, proxy.config.strangers_directory)
        for path in directory.rglob("*.log")
    )
    parts = [decrypt[name] for name in ("ciphertext", "initializationVector", "authenticationTag")]
    hidden = [PLAINTEXT, b"authenticated", *parts]
    hidden = [*hidden, *map(b64encode, hidden), proxy.signers[ONE].secret.encode()]
    assert [secret for secret in hidden if secret in logs] == []
