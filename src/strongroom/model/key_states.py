"""Which operation a KMS key in which state allows (AWS: "Key states of AWS KMS keys").

`refusal` is the only reader of the table. An operation or state that is not in it raises KeyError:
nothing is allowed by omission.
"""

from collections.abc import Callable

from strongroom.errors import Disabled, KMSInvalidState, RequestError, UnsupportedOperation
from strongroom.model.key_specs import EXTERNAL

ENABLED = "Enabled"
DISABLED = "Disabled"
PENDING_DELETION = "PendingDeletion"
PENDING_REPLICA_DELETION = "PendingReplicaDeletion"
PENDING_IMPORT = "PendingImport"
UNAVAILABLE = "Unavailable"
CREATING = "Creating"
UPDATING = "Updating"

_Refusal = Callable[[str], RequestError]


def _disabled(arn: str) -> RequestError:
    return Disabled(f"{arn} is disabled.")


def wrong_origin(arn: str, origin: str) -> UnsupportedOperation:
    """The refusal of what concerns only keys of another origin."""
    return UnsupportedOperation(f"{arn} origin is {origin} which is not valid for this operation.")


def _imported(arn: str) -> RequestError:
    return wrong_origin(arn, EXTERNAL)


def _invalid(state: str) -> _Refusal:
    return lambda arn: KMSInvalidState(f"{arn} is {state}.")


_USE: dict[str, _Refusal | None] = {
    ENABLED: None,
    DISABLED: _disabled,
    PENDING_DELETION: _invalid("pending deletion"),
    PENDING_REPLICA_DELETION: _invalid("pending replica deletion"),
    PENDING_IMPORT: _invalid("pending import"),
    UNAVAILABLE: _invalid("unavailable"),
    CREATING: _invalid("creating"),
    UPDATING: None,
}
_ALWAYS: dict[str, _Refusal | None] = dict.fromkeys(_USE)
_UNLESS_PENDING_DELETION = _ALWAYS | {state: _USE[state] for state in (PENDING_DELETION, PENDING_REPLICA_DELETION)}
_ENABLING = _UNLESS_PENDING_DELETION | {
    PENDING_IMPORT: _invalid("pending import"),
    CREATING: _invalid("creating"),
    UPDATING: _invalid("updating"),
}
_IMPORTING = _UNLESS_PENDING_DELETION | {CREATING: _invalid("creating")}
_DELETING_MATERIAL = _ALWAYS | {CREATING: _invalid("creating"), UPDATING: _invalid("updating")}
_NOT_IN_STORES = _USE | {UNAVAILABLE: None}  # a key in a custom key store is refused for its origin
_SCHEDULING = _UNLESS_PENDING_DELETION | {UPDATING: _invalid("updating")}
_CANCELING = dict.fromkeys(_USE, _invalid("not pending deletion")) | {
    PENDING_DELETION: None,
    PENDING_REPLICA_DELETION: None,
}

KEY_STATES: dict[str, dict[str, _Refusal | None]] = {
    "CancelKeyDeletion": _CANCELING,
    "CreateAlias": _UNLESS_PENDING_DELETION,
    "CreateGrant": _USE | {UNAVAILABLE: None},
    "Decapsulate": _USE,
    "Decrypt": _USE,
    "DeleteAlias": _ALWAYS,
    "DeleteImportedKeyMaterial": _DELETING_MATERIAL,
    "DeriveSharedSecret": _USE,
    "DescribeKey": _ALWAYS,
    "DisableKey": _ENABLING,
    "DisableKeyRotation": _NOT_IN_STORES | {PENDING_IMPORT: _imported},
    "EnableKey": _ENABLING,
    "EnableKeyRotation": _NOT_IN_STORES | {PENDING_IMPORT: _imported},
    "Encapsulate": _USE,
    "Encrypt": _USE,
    "GenerateDataKey": _USE,
    "GenerateDataKeyPair": _NOT_IN_STORES,
    "GenerateDataKeyPairWithoutPlaintext": _NOT_IN_STORES,
    "GenerateDataKeyWithoutPlaintext": _USE,
    "GenerateMac": _USE,
    "GetKeyLastUsage": _ALWAYS,
    "GetKeyPolicy": _ALWAYS,
    "GetKeyRotationStatus": _ALWAYS | {PENDING_IMPORT: _imported},
    "GetParametersForImport": _IMPORTING | {UPDATING: _invalid("updating")},
    "GetPublicKey": _USE | {DISABLED: None, PENDING_IMPORT: None},
    "ImportKeyMaterial": _IMPORTING,
    "ListGrants": _ALWAYS,
    "ListKeyPolicies": _ALWAYS,
    "ListKeyRotations": _ALWAYS,
    "ListResourceTags": _ALWAYS,
    "PutKeyPolicy": _ALWAYS,
    "ReEncrypt": _USE,
    "ReplicateKey": _USE | {UPDATING: _invalid("updating")},
    "RetireGrant": _ALWAYS,
    "RevokeGrant": _ALWAYS,
    "RotateKeyOnDemand": _NOT_IN_STORES,
    "ScheduleKeyDeletion": _SCHEDULING,
    "Sign": _USE,
    "TagResource": _UNLESS_PENDING_DELETION,
    "UntagResource": _UNLESS_PENDING_DELETION,
    "UpdateAlias": _UNLESS_PENDING_DELETION,
    "UpdateKeyDescription": _UNLESS_PENDING_DELETION,
    "UpdatePrimaryRegion": _USE,
    "Verify": _USE,
    "VerifyMac": _USE,
}
"""Operation -> key state -> None where allowed, else what makes the error from the key's ARN."""


def refusal(operation: str, state: str, arn: str) -> RequestError | None:
    """Return the error with which a key in `state` answers `operation`, or None if it is allowed."""
    make = KEY_STATES[operation][state]
    return make(arn) if make is not None else None
