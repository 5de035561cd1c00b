"""Calls through boto3: refusals, and for each operation on a key a request that can succeed."""

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

_numbers = itertools.count()


class Key(NamedTuple):
    """An enabled key, its one alias, a ciphertext made under it, and its one grant."""

    key_id: str
    arn: str
    alias: str
    alias_arn: str
    blob: bytes
    grant_id: str

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


def new_name() -> str:
    """An alias name that no test has used."""
    return f"alias/test/{next(_numbers)}"


def make_key(kms: Any) -> Key:
    metadata = kms.create_key()["KeyMetadata"]
    key_id, arn, alias = metadata["KeyId"], metadata["Arn"], new_name()
    kms.create_alias(AliasName=alias, TargetKeyId=key_id)
    blob = kms.encrypt(KeyId=key_id, Plaintext=b"secret")["CiphertextBlob"]
    grant = kms.create_grant(
        KeyId=key_id, GranteePrincipal=f"arn:aws:iam::{metadata['AWSAccountId']}:root", Operations=["RetireGrant"]
    )
    return Key(key_id, arn, alias, arn.replace(f"key/{key_id}", alias), blob, grant["GrantId"])


REQUESTS: dict[str, Callable[[Key, str, Key], dict[str, Any]]] = {
    "CancelKeyDeletion": lambda _key, named, _other: {"KeyId": named},
    "CreateAlias": lambda _key, named, _other: {"AliasName": new_name(), "TargetKeyId": named},
    "CreateGrant": lambda key, named, _other: {
        "KeyId": named,
        "GranteePrincipal": f"arn:aws:iam::{key.account}:root",
        "Operations": ["Encrypt"],
    },
    "Decrypt": lambda key, named, _other: {"CiphertextBlob": key.blob, "KeyId": named},
    "DescribeKey": lambda _key, named, _other: {"KeyId": named},
    "DisableKey": lambda _key, named, _other: {"KeyId": named},
    "EnableKey": lambda _key, named, _other: {"KeyId": named},
    "Encrypt": lambda _key, named, _other: {"KeyId": named, "Plaintext": b"x"},
    "GenerateDataKey": lambda _key, named, _other: {"KeyId": named, "KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": lambda _key, named, _other: {"KeyId": named, "KeySpec": "AES_256"},
    "GetKeyPolicy": lambda _key, named, _other: {"KeyId": named},
    "ListAliases": lambda _key, named, _other: {"KeyId": named},
    "ListGrants": lambda _key, named, _other: {"KeyId": named},
    "ListKeyPolicies": lambda _key, named, _other: {"KeyId": named},
    "ListResourceTags": lambda _key, named, _other: {"KeyId": named},
    "PutKeyPolicy": lambda key, named, _other: {"KeyId": named, "Policy": policy(allow(key.account))},
    "ReEncrypt from": lambda key, named, other: {
        "CiphertextBlob": key.blob,
        "SourceKeyId": named,
        "DestinationKeyId": other.key_id,
    },
    "ReEncrypt to": lambda _key, named, other: {"CiphertextBlob": other.blob, "DestinationKeyId": named},
    "RetireGrant": lambda key, named, _other: {"KeyId": named, "GrantId": key.grant_id},
    "RevokeGrant": lambda key, named, _other: {"KeyId": named, "GrantId": key.grant_id},
    "ScheduleKeyDeletion": lambda _key, named, _other: {"KeyId": named},
    "TagResource": lambda _key, named, _other: {"KeyId": named, "Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": lambda _key, named, _other: {"KeyId": named, "TagKeys": ["a"]},
    "UpdateAlias": lambda _key, named, other: {"AliasName": other.alias, "TargetKeyId": named},
    "UpdateKeyDescription": lambda _key, named, _other: {"KeyId": named, "Description": "d"},
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
