"""Every operation on a key in every state that the API can bring about (AWS: "Key states of AWS KMS keys")."""

from typing import Any, NamedTuple

import pytest

from strongroom.operations.registry import OPERATIONS
from tests.e2e.calls import REQUESTS, SYMMETRIC, Key, Kind, call, kind_of, make_key, method, refusal


class Refusal(NamedTuple):
    code: str
    text: str

    def of(self, key: Key) -> tuple[str, str]:
        return self.code, self.text.format(arn=key.arn)


DISABLED = Refusal("DisabledException", "{arn} is disabled.")
PENDING_DELETION = Refusal("KMSInvalidStateException", "{arn} is pending deletion.")
NOT_PENDING_DELETION = Refusal("KMSInvalidStateException", "{arn} is not pending deletion.")

PENDING_IMPORT = Refusal("KMSInvalidStateException", "{arn} is pending import.")
ORIGIN = "{arn} origin is EXTERNAL which is not valid for this operation."
WRONG_ORIGIN = Refusal("UnsupportedOperationException", ORIGIN)

STATES = ("Enabled", "Disabled", "PendingDeletion", "PendingImport")
USED = (None, DISABLED, PENDING_DELETION, PENDING_IMPORT)
ALWAYS = (None, None, None, None)
UNLESS_PENDING_DELETION = (None, None, PENDING_DELETION, None)
SWITCHED = (None, None, PENDING_DELETION, PENDING_IMPORT)
ROTATED = (None, DISABLED, PENDING_DELETION, WRONG_ORIGIN)

TABLE: dict[str, tuple[Refusal | None, ...]] = {
    "CancelKeyDeletion": (NOT_PENDING_DELETION, NOT_PENDING_DELETION, None, NOT_PENDING_DELETION),
    "CreateAlias": UNLESS_PENDING_DELETION,
    "CreateGrant": USED,
    "Decapsulate": USED,
    "Decrypt": USED,
    "Decrypt by ciphertext": USED,
    "DeleteAlias": ALWAYS,
    "DeleteImportedKeyMaterial": ALWAYS,
    "DeriveSharedSecret": USED,
    "DescribeKey": ALWAYS,
    "DisableKey": SWITCHED,
    "DisableKeyRotation": ROTATED,
    "EnableKey": SWITCHED,
    "EnableKeyRotation": ROTATED,
    "Encapsulate": USED,
    "Encrypt": USED,
    "GenerateDataKey": USED,
    "GenerateDataKeyPair": USED,
    "GenerateDataKeyPairWithoutPlaintext": USED,
    "GenerateDataKeyWithoutPlaintext": USED,
    "GenerateMac": USED,
    "GetKeyLastUsage": ALWAYS,
    "GetKeyPolicy": ALWAYS,
    "GetKeyRotationStatus": (None, None, None, WRONG_ORIGIN),
    "GetParametersForImport": UNLESS_PENDING_DELETION,
    "GetPublicKey": UNLESS_PENDING_DELETION,
    "ImportKeyMaterial": UNLESS_PENDING_DELETION,
    "ListAliases": ALWAYS,
    "ListGrants": ALWAYS,
    "ListKeyPolicies": ALWAYS,
    "ListKeyRotations": ALWAYS,
    "ListResourceTags": ALWAYS,
    "PutKeyPolicy": ALWAYS,
    "ReEncrypt by ciphertext": USED,
    "ReEncrypt from": USED,
    "ReEncrypt to": USED,
    "ReplicateKey": USED,
    "RetireGrant": ALWAYS,
    "RevokeGrant": ALWAYS,
    "RotateKeyOnDemand": USED,
    "ScheduleKeyDeletion": UNLESS_PENDING_DELETION,
    "Sign": USED,
    "TagResource": UNLESS_PENDING_DELETION,
    "UntagResource": UNLESS_PENDING_DELETION,
    "UpdateAlias": UNLESS_PENDING_DELETION,
    "UpdateAlias away": ALWAYS,
    "UpdateKeyDescription": UNLESS_PENDING_DELETION,
    "Verify": USED,
    "VerifyMac": USED,
}
"""Operation (and the key's part in it) -> for each state the refusal, or None where it is allowed."""

NOT_IMPORTED = ("ML_KEM_768", "PendingImport")
"""There are no such keys."""

WITHOUT_KEY = {"CreateKey", "GenerateRandom", "ListKeys", "ListRetirableGrants"}
ELSEWHERE = {"UpdatePrimaryRegion"}
"""In tests/unit/operations/kms/test_multi_region.py."""


@pytest.fixture(scope="module")
def other(kms: Any) -> Key:
    return make_key(kms)


def key_in(kms: Any, state: str, kind: Kind = SYMMETRIC) -> Key:
    if state == "PendingImport":
        key = make_key(kms, kind._replace(origin="EXTERNAL"))
        kms.delete_imported_key_material(KeyId=key.key_id)
        return key
    key = make_key(kms, kind)
    if state == "Disabled":
        kms.disable_key(KeyId=key.key_id)
    elif state == "PendingDeletion":
        kms.schedule_key_deletion(KeyId=key.key_id)
    return key


def parameters_of(request: str, key: Key, other: Key) -> dict[str, Any]:
    match request:
        case "Decrypt by ciphertext":
            return {"CiphertextBlob": key.blob}
        case "ReEncrypt by ciphertext":
            return {"CiphertextBlob": key.blob, "DestinationKeyId": other.key_id}
        case "DeleteAlias":
            return {"AliasName": key.alias}
        case "UpdateAlias away":
            return {"AliasName": key.alias, "TargetKeyId": other.key_id}
        case _:
            return REQUESTS[request](key, key.arn, other)


@pytest.mark.parametrize(
    ("request_name", "state"),
    [(name, state) for name in TABLE for state in STATES if (kind_of(name).key_spec, state) != NOT_IMPORTED],
)
def test_what_a_key_in_each_state_answers(kms: Any, other: Key, request_name: str, state: str) -> None:
    key = key_in(kms, state, kind_of(request_name))
    before = kms.describe_key(KeyId=key.key_id)["KeyMetadata"]
    assert before["KeyState"] == state
    assert before["Enabled"] is (state == "Enabled")
    assert ("DeletionDate" in before) is (state == "PendingDeletion")
    parameters = parameters_of(request_name, key, other)
    expected = TABLE[request_name][STATES.index(state)]

    if expected is None:
        call(kms, request_name, parameters)
    else:
        assert refusal(method(kms, request_name), **parameters) == expected.of(key)
        assert kms.describe_key(KeyId=key.key_id)["KeyMetadata"] == before


def test_the_table_has_every_operation_on_a_key() -> None:
    built = {name for service, name in OPERATIONS if service == "kms" and "CustomKeyStore" not in name}

    assert {request.split()[0] for request in TABLE} == built - WITHOUT_KEY - ELSEWHERE
    assert REQUESTS.keys() <= TABLE.keys()


def test_a_disabled_key_that_is_to_be_deleted_is_pending_deletion(kms: Any) -> None:
    key = key_in(kms, "Disabled")
    kms.schedule_key_deletion(KeyId=key.key_id)

    assert refusal(kms.encrypt, KeyId=key.key_id, Plaintext=b"x") == PENDING_DELETION.of(key)


@pytest.mark.parametrize(("state", "expected"), [("Disabled", DISABLED), ("PendingDeletion", PENDING_DELETION)])
def test_the_state_is_looked_at_before_the_ciphertext_and_the_algorithm(
    kms: Any, other: Key, state: str, expected: Refusal
) -> None:
    key = key_in(kms, state)
    algorithm = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}

    assert refusal(kms.decrypt, KeyId=key.key_id, CiphertextBlob=other.blob) == expected.of(key)
    assert refusal(kms.decrypt, KeyId=key.key_id, CiphertextBlob=b"garbage") == expected.of(key)
    assert refusal(kms.decrypt, CiphertextBlob=key.blob, EncryptionContext={"a": "b"}) == expected.of(key)
    assert refusal(kms.encrypt, KeyId=key.key_id, Plaintext=b"x", **algorithm) == expected.of(key)


def test_a_dry_run_answers_for_the_state_as_the_call_itself_would(kms: Any) -> None:
    key = key_in(kms, "Disabled")

    assert refusal(kms.encrypt, KeyId=key.key_id, Plaintext=b"x", DryRun=True) == DISABLED.of(key)
    assert refusal(kms.decrypt, KeyId=key.key_id, DryRun=True, DryRunModifiers=["IGNORE_CIPHERTEXT"]) == DISABLED.of(
        key
    )


def test_where_both_keys_of_a_request_cannot_be_used_the_source_is_told(kms: Any) -> None:
    source, destination = key_in(kms, "Disabled"), key_in(kms, "PendingDeletion")

    assert refusal(kms.re_encrypt, CiphertextBlob=source.blob, DestinationKeyId=destination.key_id) == DISABLED.of(
        source
    )
