"""Calls through boto3: refusals, and for each operation on a key a request that can succeed."""

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from strongroom.crypto.key_pairs import generate_key_pair
from tests.importing import parameters_to_import

_numbers = itertools.count()


NO_IMPORT = {
    "ImportToken": b"token",
    "EncryptedKeyMaterial": b"material",
    "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
}
"""A request that only the front end takes for one of ImportKeyMaterial."""


class Key(NamedTuple):
    """An enabled key, its one alias, what was made with it, and its one grant.

    `blob` is a ciphertext; of a signing key a signature of b"x", of an HMAC key its MAC; or a public key for agreement.
    """

    key_id: str
    arn: str
    alias: str
    alias_arn: str
    blob: bytes
    grant_id: str
    to_import: dict[str, Any] = NO_IMPORT
    """What ImportKeyMaterial needs besides the key; it can be sent again."""

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


def new_name() -> str:
    """An alias name that no test has used."""
    return f"alias/test/{next(_numbers)}"


class Kind(NamedTuple):
    """What a key is made as."""

    key_spec: str
    key_usage: str
    origin: str = "AWS_KMS"
    multi_region: bool = False


SYMMETRIC = Kind("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
_SIGNING = Kind("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
_MAC = Kind("HMAC_256", "GENERATE_VERIFY_MAC")
_AGREEMENT = Kind("ECC_NIST_P256", "KEY_AGREEMENT")
_ENCAPSULATION = Kind("ML_KEM_768", "ENCAPSULATE_DECAPSULATE")
_IMPORTED = SYMMETRIC._replace(origin="EXTERNAL")
_KINDS = {
    "Decapsulate": _ENCAPSULATION,
    "DeleteImportedKeyMaterial": _IMPORTED,
    "DeriveSharedSecret": _AGREEMENT,
    "Encapsulate": _ENCAPSULATION,
    "GenerateMac": _MAC,
    "GetParametersForImport": _IMPORTED,
    "GetPublicKey": _AGREEMENT,
    "ImportKeyMaterial": _IMPORTED,
    "ReplicateKey": SYMMETRIC._replace(multi_region=True),
    "Sign": _SIGNING,
    "Verify": _SIGNING,
    "VerifyMac": _MAC,
}
"""Operation -> the kind of a key for which it can succeed, if that is not a symmetric encryption key made here."""

ED25519 = {"Message": b"x", "SigningAlgorithm": "ED25519_SHA_512"}
HMAC = {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
ML_KEM = {"EncapsulationAlgorithm": "ML_KEM"}


MATERIALS = {
    "SYMMETRIC_DEFAULT": bytes(range(32)),
    "HMAC_256": bytes(range(64)),
    "ECC_NIST_P256": generate_key_pair("ECC_NIST_P256").private,
    "ECC_NIST_EDWARDS25519": generate_key_pair("ECC_NIST_EDWARDS25519").private,
}
"""Key spec -> the material of keys that import it."""


def kind_of(request: str) -> Kind:
    """The kind of a key for which the operation that the first word of `request` names can succeed."""
    return _KINDS.get(request.split(maxsplit=1)[0], SYMMETRIC)


def make_key(kms: Any, kind: Kind = SYMMETRIC) -> Key:
    metadata = kms.create_key(
        KeySpec=kind.key_spec, KeyUsage=kind.key_usage, Origin=kind.origin, MultiRegion=kind.multi_region
    )["KeyMetadata"]
    key_id, arn, alias = metadata["KeyId"], metadata["Arn"], new_name()
    to_import = NO_IMPORT
    if kind.origin == "EXTERNAL":
        to_import = parameters_to_import(kms, key_id, MATERIALS[kind.key_spec])
        kms.import_key_material(KeyId=key_id, **to_import)
    kms.create_alias(AliasName=alias, TargetKeyId=key_id)
    grant = kms.create_grant(
        KeyId=key_id, GranteePrincipal=f"arn:aws:iam::{metadata['AWSAccountId']}:root", Operations=["RetireGrant"]
    )
    return Key(
        key_id, arn, alias, arn.replace(f"key/{key_id}", alias), _made(kms, key_id, kind), grant["GrantId"], to_import
    )


def _made(kms: Any, key_id: str, kind: Kind) -> bytes:
    made: bytes
    match kind.key_spec:
        case "ECC_NIST_EDWARDS25519":
            made = kms.sign(KeyId=key_id, **ED25519)["Signature"]
        case "HMAC_256":
            made = kms.generate_mac(KeyId=key_id, **HMAC)["Mac"]
        case "ECC_NIST_P256":
            made = kms.get_public_key(KeyId=key_id)["PublicKey"]
        case "ML_KEM_768":
            made = kms.encapsulate(KeyId=key_id, **ML_KEM)["SharedSecretCiphertextBlob"]
        case _:
            made = kms.encrypt(KeyId=key_id, Plaintext=b"secret")["CiphertextBlob"]
    return made


class Keys:
    """A key of each kind, made when it is first needed."""

    def __init__(self, kms: Any) -> None:
        self._kms = kms
        self._made: dict[Kind, Key] = {}

    def fit_for(self, request: str) -> Key:
        """The key for which the operation that the first word of `request` names can succeed."""
        kind = kind_of(request)
        if kind not in self._made:
            self._made[kind] = make_key(self._kms, kind)
        return self._made[kind]


REQUESTS: dict[str, Callable[[Key, str, Key], dict[str, Any]]] = {
    "CancelKeyDeletion": lambda _key, named, _other: {"KeyId": named},
    "CreateAlias": lambda _key, named, _other: {"AliasName": new_name(), "TargetKeyId": named},
    "CreateGrant": lambda key, named, _other: {
        "KeyId": named,
        "GranteePrincipal": f"arn:aws:iam::{key.account}:root",
        "Operations": ["Encrypt"],
    },
    "Decapsulate": lambda key, named, _other: {"KeyId": named, "SharedSecretCiphertextBlob": key.blob, **ML_KEM},
    "Decrypt": lambda key, named, _other: {"CiphertextBlob": key.blob, "KeyId": named},
    "DeleteImportedKeyMaterial": lambda _key, named, _other: {"KeyId": named},
    "DeriveSharedSecret": lambda key, named, _other: {
        "KeyId": named,
        "PublicKey": key.blob,
        "KeyAgreementAlgorithm": "ECDH",
    },
    "DescribeKey": lambda _key, named, _other: {"KeyId": named},
    "DisableKey": lambda _key, named, _other: {"KeyId": named},
    "DisableKeyRotation": lambda _key, named, _other: {"KeyId": named},
    "EnableKey": lambda _key, named, _other: {"KeyId": named},
    "EnableKeyRotation": lambda _key, named, _other: {"KeyId": named},
    "Encapsulate": lambda _key, named, _other: {"KeyId": named, **ML_KEM},
    "Encrypt": lambda _key, named, _other: {"KeyId": named, "Plaintext": b"x"},
    "GenerateDataKey": lambda _key, named, _other: {"KeyId": named, "KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": lambda _key, named, _other: {"KeyId": named, "KeySpec": "AES_256"},
    "GenerateDataKeyPair": lambda _key, named, _other: {"KeyId": named, "KeyPairSpec": "ECC_NIST_P256"},
    "GenerateDataKeyPairWithoutPlaintext": lambda _key, named, _other: {"KeyId": named, "KeyPairSpec": "ECC_NIST_P256"},
    "GenerateMac": lambda _key, named, _other: {"KeyId": named, **HMAC},
    "GetKeyLastUsage": lambda _key, named, _other: {"KeyId": named},
    "GetKeyPolicy": lambda _key, named, _other: {"KeyId": named},
    "GetKeyRotationStatus": lambda _key, named, _other: {"KeyId": named},
    "GetParametersForImport": lambda _key, named, _other: {
        "KeyId": named,
        "WrappingAlgorithm": "RSAES_OAEP_SHA_1",
        "WrappingKeySpec": "RSA_2048",
    },
    "GetPublicKey": lambda _key, named, _other: {"KeyId": named},
    "ImportKeyMaterial": lambda key, named, _other: {"KeyId": named, **key.to_import},
    "ListAliases": lambda _key, named, _other: {"KeyId": named},
    "ListGrants": lambda _key, named, _other: {"KeyId": named},
    "ListKeyPolicies": lambda _key, named, _other: {"KeyId": named},
    "ListKeyRotations": lambda _key, named, _other: {"KeyId": named},
    "ListResourceTags": lambda _key, named, _other: {"KeyId": named},
    "PutKeyPolicy": lambda key, named, _other: {"KeyId": named, "Policy": policy(allow(key.account))},
    "ReEncrypt from": lambda key, named, other: {
        "CiphertextBlob": key.blob,
        "SourceKeyId": named,
        "DestinationKeyId": other.key_id,
    },
    "ReEncrypt to": lambda _key, named, other: {"CiphertextBlob": other.blob, "DestinationKeyId": named},
    "ReplicateKey": lambda _key, named, _other: {"KeyId": named, "ReplicaRegion": "us-west-2"},
    "RetireGrant": lambda key, named, _other: {"KeyId": named, "GrantId": key.grant_id},
    "RevokeGrant": lambda key, named, _other: {"KeyId": named, "GrantId": key.grant_id},
    "RotateKeyOnDemand": lambda _key, named, _other: {"KeyId": named},
    "ScheduleKeyDeletion": lambda _key, named, _other: {"KeyId": named},
    "Sign": lambda _key, named, _other: {"KeyId": named, **ED25519},
    "TagResource": lambda _key, named, _other: {"KeyId": named, "Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": lambda _key, named, _other: {"KeyId": named, "TagKeys": ["a"]},
    "UpdateAlias": lambda _key, named, other: {"AliasName": other.alias, "TargetKeyId": named},
    "UpdateKeyDescription": lambda _key, named, _other: {"KeyId": named, "Description": "d"},
    "Verify": lambda key, named, _other: {"KeyId": named, "Signature": key.blob, **ED25519},
    "VerifyMac": lambda key, named, _other: {"KeyId": named, "Mac": key.blob, **HMAC},
}
"""Operation (and the key's part in it) -> its parameters, from the key, how to name it, and another, enabled key."""


def call(kms: Any, request: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Call the operation that the first word of `request` names."""
    response: dict[str, Any] = method(kms, request)(**parameters)
    return response


def method(kms: Any, request: str) -> Any:
    """The method of the client for the operation that the first word of `request` names."""
    return getattr(kms, xform_name(request.split(maxsplit=1)[0]))


def refused(operation: Any, **parameters: Any) -> dict[str, Any]:
    """Call an operation that must be refused as the caller's fault; return the response."""
    with pytest.raises(ClientError) as caught:
        operation(**parameters)
    response: dict[str, Any] = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response


def refusal(operation: Any, **parameters: Any) -> tuple[str, str]:
    """Call an operation that must be refused; return AWS's code and text (empty if there is none)."""
    error = refused(operation, **parameters)["Error"]
    return error["Code"], error.get("Message", "")


def violation(value: str | None, path: str, rule: str) -> tuple[str, str]:
    """The refusal of one value that breaks a constraint of the model; `value` is None if there is none."""
    shown = "Value null" if value is None else f"Value '{value}'"
    return (
        "ValidationException",
        f"1 validation error detected: {shown} at '{path}' failed to satisfy constraint: Member must {rule}",
    )


def hidden(account: str, action: str, what: str = "on this resource") -> tuple[str, str]:
    """The refusal that does not tell whether there is such a key."""
    return (
        "AccessDeniedException",
        f"User: arn:aws:iam::{account}:root is not authorized to perform: {action} {what} because the resource does "
        "not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly "
        "denies access",
    )


def denied(key: Key, action: str) -> tuple[str, str]:
    """The refusal by an explicit deny in the policy of a key."""
    return (
        "AccessDeniedException",
        f"User: arn:aws:iam::{key.account}:root is not authorized to perform: {action} on resource: {key.arn} "
        "with an explicit deny in a resource-based policy",
    )


Statement = dict[str, Any]


def allow(account: str, action: str = "kms:*") -> Statement:
    """A statement that allows an account something."""
    return {"Effect": "Allow", "Principal": {"AWS": account}, "Action": action, "Resource": "*"}


def deny(account: str, action: str) -> Statement:
    """A statement that denies an account something."""
    return allow(account, action) | {"Effect": "Deny"}


def policy(*statements: Statement) -> str:
    """A key policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
