"""The key-state table against AWS's, the states that no operation brings about yet included."""

import re

import pytest

from strongroom.errors import Disabled, KMSInvalidState, UnsupportedOperation
from strongroom.model.key_states import KEY_STATES, refusal
from strongroom.operations.registry import OPERATIONS

ON_KEYS = re.compile("KeyTarget|GrantTarget")
ARN = "arn:aws:kms:us-east-1:111122223333:key/x"

STATES = ("Enabled", "Disabled", "PendingDeletion", "PendingImport", "Unavailable", "Creating", "Updating")
OK = ""
USED = (OK, "disabled", "pending deletion", "pending import", "unavailable", "creating", OK)
ALWAYS = (OK,) * 7
UNLESS_PENDING_DELETION = (OK, OK, "pending deletion", OK, OK, OK, OK)
SWITCHED = (OK, OK, "pending deletion", "pending import", OK, "creating", "updating")
ORIGIN = "origin"
ROTATED = (OK, "disabled", "pending deletion", ORIGIN, OK, "creating", OK)
NOT_PENDING = "not pending deletion"

EXPECTED = {
    "CancelKeyDeletion": (NOT_PENDING, NOT_PENDING, OK, NOT_PENDING, NOT_PENDING, NOT_PENDING, NOT_PENDING),
    "CreateAlias": UNLESS_PENDING_DELETION,
    "CreateGrant": (OK, "disabled", "pending deletion", "pending import", OK, "creating", OK),
    "Decapsulate": USED,
    "Decrypt": USED,
    "DeleteAlias": ALWAYS,
    "DeleteImportedKeyMaterial": (OK, OK, OK, OK, OK, "creating", "updating"),
    "DeriveSharedSecret": USED,
    "DescribeKey": ALWAYS,
    "DisableKey": SWITCHED,
    "DisableKeyRotation": ROTATED,
    "EnableKey": SWITCHED,
    "EnableKeyRotation": ROTATED,
    "Encapsulate": USED,
    "Encrypt": USED,
    "GenerateDataKey": USED,
    "GenerateDataKeyPair": (OK, "disabled", "pending deletion", "pending import", OK, "creating", OK),
    "GenerateDataKeyPairWithoutPlaintext": (OK, "disabled", "pending deletion", "pending import", OK, "creating", OK),
    "GenerateDataKeyWithoutPlaintext": USED,
    "GenerateMac": USED,
    "GetKeyLastUsage": ALWAYS,
    "GetKeyPolicy": ALWAYS,
    "GetKeyRotationStatus": (OK, OK, OK, ORIGIN, OK, OK, OK),
    "GetParametersForImport": (OK, OK, "pending deletion", OK, OK, "creating", "updating"),
    "GetPublicKey": (OK, OK, "pending deletion", OK, "unavailable", "creating", OK),
    "ImportKeyMaterial": (OK, OK, "pending deletion", OK, OK, "creating", OK),
    "ListGrants": ALWAYS,
    "ListKeyPolicies": ALWAYS,
    "ListKeyRotations": ALWAYS,
    "ListResourceTags": ALWAYS,
    "PutKeyPolicy": ALWAYS,
    "ReEncrypt": USED,
    "ReplicateKey": (*USED[:6], "updating"),
    "RetireGrant": ALWAYS,
    "RevokeGrant": ALWAYS,
    "RotateKeyOnDemand": (OK, "disabled", "pending deletion", "pending import", OK, "creating", OK),
    "ScheduleKeyDeletion": (OK, OK, "pending deletion", OK, OK, OK, "updating"),
    "Sign": USED,
    "TagResource": UNLESS_PENDING_DELETION,
    "UntagResource": UNLESS_PENDING_DELETION,
    "UpdateAlias": UNLESS_PENDING_DELETION,
    "UpdateKeyDescription": UNLESS_PENDING_DELETION,
    "UpdatePrimaryRegion": USED,
    "Verify": USED,
    "VerifyMac": USED,
}
"""Operation -> for each state what the key is said to be, or OK."""


@pytest.mark.parametrize("operation", EXPECTED)
def test_what_a_key_in_each_state_answers(operation: str) -> None:
    for state, said in zip(STATES, EXPECTED[operation], strict=True):
        refused = refusal(operation, state, ARN)
        if said == OK:
            assert refused is None, state
        elif said == ORIGIN:  # it is an imported key's state
            assert type(refused) is UnsupportedOperation
            assert refused.message == f"{ARN} origin is EXTERNAL which is not valid for this operation."
        else:
            assert type(refused) is (Disabled if said == "disabled" else KMSInvalidState), state
            assert refused.message == f"{ARN} is {said}."


def test_nothing_is_allowed_by_omission() -> None:
    with pytest.raises(KeyError):
        refusal("SynchronizeMultiRegionKey", "Enabled", ARN)
    with pytest.raises(KeyError):
        refusal("Encrypt", "Asleep", ARN)


def test_every_built_operation_on_a_key_is_in_the_table() -> None:
    on_keys = {
        name
        for (service, name), operation in OPERATIONS.items()
        if service == "kms" and ON_KEYS.search(str(operation.targets.__annotations__["return"]))
    }

    assert on_keys == set(KEY_STATES) == set(EXPECTED)
    assert all(set(row) == {*STATES, "PendingReplicaDeletion"} for row in KEY_STATES.values())


@pytest.mark.parametrize("operation", KEY_STATES)
def test_a_primary_key_that_waits_for_its_replicas_allows_what_one_pending_deletion_does(operation: str) -> None:
    there, here = (refusal(operation, state, ARN) for state in ("PendingDeletion", "PendingReplicaDeletion"))
    assert type(there) is type(here)
    if there is not None and here is not None:
        assert here.message == f"{ARN} is pending replica deletion."
