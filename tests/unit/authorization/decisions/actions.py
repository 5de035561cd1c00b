"""Action and NotAction."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ALICE,
    ALLOW,
    DENY,
    NO_RESOURCE,
    RESOURCE_DENIES,
    Case,
    allow,
    deny,
    may,
)

_ACTION = "IAM User Guide, IAM JSON policy elements: Action"
_WILDCARDS = f"{_ACTION}: wildcards"
_CASE = f"{_ACTION}: the prefix and the action name are not case sensitive"
_NOT = "IAM User Guide, IAM JSON policy elements: NotAction"
_NOT_ALLOW, _NOT_DENY = f"{_NOT}: NotAction with Allow", f"{_NOT}: NotAction with Deny"
_REENCRYPT = "KMS Developer Guide, AWS KMS permissions: ReEncrypt needs kms:ReEncryptFrom and kms:ReEncryptTo"
_USERS = "KMS Developer Guide, Default key policy: Allows key users to use the KMS key"
_ADMINISTRATORS = "KMS Developer Guide, Default key policy: Allows key administrators to administer the KMS key"


def _asked(name: str, rule: str, expected: str, allowed: str | list[str], action: str, because: str = "") -> Case:
    return Case(name, rule, expected, allow(ALICE.arn, allowed), action=action, because=because)


_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
_ADMINISTER = [
    *(f"kms:{verb}*" for verb in ("Create", "Describe", "Enable", "List", "Put", "Update", "Revoke", "Disable", "Get",
                                  "Delete")),
    "kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
]  # fmt: skip
_BUT_DECRYPT: dict[str, Any] = {"Action": None, "NotAction": "kms:Decrypt"}
_BUT_READING: dict[str, Any] = {"Action": None, "NotAction": ["kms:Describe*", "kms:Get*"]}

CASES = (
    _asked("the action itself", _ACTION, ALLOW, "kms:Decrypt", "kms:Decrypt"),
    _asked("another action", _ACTION, DENY, "kms:Decrypt", "kms:Encrypt", NO_RESOURCE),
    _asked("one of a list", _ACTION, ALLOW, ["kms:Encrypt", "kms:Decrypt"], "kms:Decrypt"),
    _asked("none of a list", _ACTION, DENY, ["kms:Encrypt", "kms:Decrypt"], "kms:DescribeKey", NO_RESOURCE),
    _asked("an action that begins like the allowed one", _ACTION, DENY, "kms:GenerateDataKey",
           "kms:GenerateDataKeyPair"),
    _asked("an action of which the allowed one is the end", _ACTION, DENY, "kms:Key", "kms:DescribeKey"),
    _asked("every action of the service", _WILDCARDS, ALLOW, "kms:*", "kms:PutKeyPolicy"),
    _asked("every action of another service", _WILDCARDS, DENY, "s3:*", "kms:Decrypt"),
    _asked("every action of every service", _WILDCARDS, ALLOW, "*", "kms:Decrypt"),
    _asked("a star at the end", _WILDCARDS, ALLOW, "kms:GenerateDataKey*", "kms:GenerateDataKeyPairWithoutPlaintext"),
    _asked("a star that matches nothing", _WILDCARDS, ALLOW, "kms:GenerateDataKey*", "kms:GenerateDataKey"),
    _asked("a star at the end, other beginning", _WILDCARDS, DENY, "kms:GenerateDataKey*", "kms:GenerateMac"),
    _asked("a star at the beginning of the name", _WILDCARDS, ALLOW, "kms:*WithoutPlaintext",
           "kms:GenerateDataKeyWithoutPlaintext"),
    _asked("a star at the beginning of the name, other end", _WILDCARDS, DENY, "kms:*WithoutPlaintext",
           "kms:GenerateDataKey"),
    _asked("a star within the name", _WILDCARDS, ALLOW, "kms:Generate*Pair", "kms:GenerateDataKeyPair"),
    _asked("two stars", _WILDCARDS, ALLOW, "kms:*Data*", "kms:GenerateDataKeyPair"),
    _asked("two stars, nothing between", _WILDCARDS, DENY, "kms:*Data*", "kms:GenerateMac"),
    _asked("a question mark for one character", _WILDCARDS, ALLOW, "kms:?ncrypt", "kms:Encrypt"),
    _asked("a question mark for no character", _WILDCARDS, DENY, "kms:Encrypt?", "kms:Encrypt"),
    _asked("a question mark for two characters", _WILDCARDS, DENY, "kms:?crypt", "kms:Encrypt"),
    _asked("the action in lower case", _CASE, ALLOW, "kms:decrypt", "kms:Decrypt"),
    _asked("the prefix in upper case", _CASE, ALLOW, "KMS:Decrypt", "kms:Decrypt"),
    _asked("a wildcard in another case", _CASE, ALLOW, "kms:dec*", "kms:Decrypt"),
    Case("a deny in another case", _CASE, DENY, [allow(ALICE.arn), deny(ALICE.arn, "KMS:DECRYPT")],
         because=RESOURCE_DENIES),
    Case("the action in another case in an identity policy", _CASE, ALLOW, policies=[may("kMs:dEcRyPt")]),
    # NotAction
    Case("all but this action", _NOT_ALLOW, DENY, allow(ALICE.arn, **_BUT_DECRYPT), because=NO_RESOURCE),
    Case("all but another action", _NOT_ALLOW, ALLOW, allow(ALICE.arn, **_BUT_DECRYPT), action="kms:Encrypt"),
    Case("all but a pattern, within", _NOT_ALLOW, DENY, allow(ALICE.arn, **_BUT_READING), action="kms:DescribeKey"),
    Case("all but a pattern, outside", _NOT_ALLOW, ALLOW, allow(ALICE.arn, **_BUT_READING)),
    Case("all but this action in an identity policy", _NOT_ALLOW, DENY, policies=[may(**_BUT_DECRYPT)]),
    Case("all but another action in an identity policy", _NOT_ALLOW, ALLOW, policies=[may(**_BUT_DECRYPT)],
         action="kms:Encrypt"),
    Case("a deny of all but this action", _NOT_DENY, ALLOW, [allow(ALICE.arn), deny(ALICE.arn, **_BUT_DECRYPT)]),
    Case("a deny of all but another action", _NOT_DENY, DENY, [allow(ALICE.arn), deny(ALICE.arn, **_BUT_DECRYPT)],
         action="kms:Encrypt", because=RESOURCE_DENIES),
    Case("what a deny leaves out is not allowed by that", _NOT_DENY, DENY, deny(ALICE.arn, **_BUT_DECRYPT),
         because=NO_RESOURCE),
    # ReEncrypt
    _asked("ReEncryptFrom by the common pattern", _REENCRYPT, ALLOW, "kms:ReEncrypt*", "kms:ReEncryptFrom"),
    _asked("ReEncryptTo by the common pattern", _REENCRYPT, ALLOW, "kms:ReEncrypt*", "kms:ReEncryptTo"),
    _asked("ReEncryptTo where only ReEncryptFrom is allowed", _REENCRYPT, DENY, "kms:ReEncryptFrom", "kms:ReEncryptTo"),
    _asked("ReEncryptFrom where only Decrypt and Encrypt are", _REENCRYPT, DENY, ["kms:Decrypt", "kms:Encrypt"],
           "kms:ReEncryptFrom"),
    # The statements of the console's default policy
    *(_asked(f"a key user: {action}", _USERS, ALLOW, _USE, f"kms:{action}")
      for action in ("Encrypt", "Decrypt", "ReEncryptFrom", "GenerateDataKeyWithoutPlaintext", "DescribeKey")),
    *(_asked(f"a key user: {action}", _USERS, DENY, _USE, f"kms:{action}", NO_RESOURCE)
      for action in ("PutKeyPolicy", "ScheduleKeyDeletion", "CreateGrant", "GetKeyPolicy", "DisableKey")),
    *(_asked(f"a key administrator: {action}", _ADMINISTRATORS, ALLOW, _ADMINISTER, f"kms:{action}")
      for action in ("PutKeyPolicy", "DisableKey", "CreateGrant", "DeleteAlias", "ScheduleKeyDeletion",
                     "GetKeyRotationStatus")),
    *(_asked(f"a key administrator: {action}", _ADMINISTRATORS, DENY, _ADMINISTER, f"kms:{action}", NO_RESOURCE)
      for action in ("Encrypt", "Decrypt", "GenerateDataKey", "ReEncryptFrom", "ImportKeyMaterial")),
)  # fmt: skip
