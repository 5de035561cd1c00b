"""GetKeyLastUsage through boto3: what it tells after each kind of operation, and what does not move it.

How processes learn of each other's uses is in tests/fault/test_key_usage.py and tests/unit/jobs/test_key_usage.py.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.operations.registry import OPERATIONS
from strongroom.testing.server import Server
from tests.e2e.calls import REQUESTS, Key, allow, call, deny, kind_of, make_key, method, policy, refusal, refused
from tests.records import record_of_request

USES = [request for request in REQUESTS if OPERATIONS["kms", request.partition(" ")[0]].uses_material]


@pytest.fixture
def other(kms: Any) -> Key:
    return make_key(kms)


def told(kms: Any, key: Key) -> dict[str, Any]:
    response: dict[str, Any] = kms.get_key_last_usage(KeyId=key.key_id)
    del response["ResponseMetadata"]
    return response


@pytest.mark.parametrize("request_name", USES)
def test_each_use_is_told_at_once(kms: Any, server: Server, other: Key, request_name: str) -> None:
    key = make_key(kms, kind_of(request_name))
    created = kms.describe_key(KeyId=key.key_id)["KeyMetadata"]["CreationDate"]
    response = call(kms, request_name, REQUESTS[request_name](key, key.arn, other))
    record = record_of_request(server.data, response)
    expected = {
        "Operation": request_name.partition(" ")[0],
        "Timestamp": record["eventTime"],
        "CloudTrailEventId": record["eventID"],
        "KmsRequestId": response["ResponseMetadata"]["RequestId"],
    }
    used = [key, other] if request_name.startswith("ReEncrypt") else [key]
    for one in used:
        last = told(kms, one)
        last["KeyLastUsage"]["Timestamp"] = last["KeyLastUsage"]["Timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ")
        assert last["KeyLastUsage"] == expected
        assert last["KeyId"] == one.key_id
    assert told(kms, key)["KeyCreationDate"] == told(kms, key)["TrackingStartDate"] == created


def test_a_key_that_was_never_used(kms: Any) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.describe_key(KeyId=key_id)
    kms.generate_random(NumberOfBytes=8)
    kms.get_key_policy(KeyId=key_id)
    assert kms.get_key_last_usage(KeyId=key_id)["KeyLastUsage"] == {}
    public = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    kms.get_public_key(KeyId=public)
    assert kms.get_key_last_usage(KeyId=public)["KeyLastUsage"] == {}


@pytest.fixture
def unused(kms: Any, request_name: str) -> Iterator[Key]:
    """A key that was used once, for what a request needs. What is told of it is the same afterwards."""
    key = make_key(kms, kind_of(request_name))
    before = told(kms, key)
    yield key
    assert told(kms, key) == before


@pytest.mark.parametrize("request_name", USES)
def test_what_is_refused_or_only_tried_is_no_use(kms: Any, other: Key, unused: Key, request_name: str) -> None:
    operation = method(kms, request_name)
    parameters = REQUESTS[request_name](unused, unused.arn, other)
    assert refusal(operation, **parameters, DryRun=True)[0] == "DryRunOperationException"
    denied = [deny(unused.account, f"kms:{action}") for action in (request_name.partition(" ")[0], "ReEncrypt*")]
    kms.put_key_policy(KeyId=unused.key_id, Policy=policy(allow(unused.account), *denied))
    assert refusal(operation, **parameters)[0] == "AccessDeniedException"
    kms.put_key_policy(KeyId=unused.key_id, Policy=policy(allow(unused.account)))
    kms.disable_key(KeyId=unused.key_id)
    assert refusal(operation, **parameters)[0] == "DisabledException"
    kms.enable_key(KeyId=unused.key_id)


def test_what_fails_is_no_use(kms: Any, other: Key) -> None:
    before = told(kms, other)
    altered = other.blob[:-1] + bytes([other.blob[-1] ^ 1])
    assert refusal(kms.decrypt, CiphertextBlob=altered)[0] == "InvalidCiphertextException"
    context = {"CiphertextBlob": other.blob, "EncryptionContext": {"a": "b"}}
    assert refusal(kms.decrypt, **context)[0] == "InvalidCiphertextException"
    assert refusal(kms.encrypt, KeyId=other.key_id, Plaintext=bytes(4097))[0] == "ValidationException"
    assert refused(kms.sign, KeyId=other.key_id, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")
    assert told(kms, other) == before
    for request_name in ("Verify", "VerifyMac"):
        key = make_key(kms, kind_of(request_name))
        before = told(kms, key)
        parameters = REQUESTS[request_name](key, key.arn, other) | {"Message": b"another"}
        assert refusal(method(kms, request_name), **parameters)[0] in (
            "KMSInvalidSignatureException",
            "KMSInvalidMacException",
        )
        assert told(kms, key) == before
