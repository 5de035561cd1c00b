"""The condition keys of AWS KMS, and the key policies that its documentation shows for them."""

from collections.abc import Mapping
from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    ALLOW,
    BOB,
    DELEGATE,
    DENY,
    IDENTITY_DENIES,
    MALFORMED,
    NO_IDENTITY,
    NO_RESOURCE,
    OTHER_USER,
    RESOURCE_DENIES,
    ROLE_ARN,
    SESSION,
    Case,
    Condition,
    allow,
    conditional,
    deny,
    may,
    must_not,
)

_PAGE = "KMS Developer Guide, AWS KMS condition keys"
_CONTEXT, _KEYS = f"{_PAGE}: kms:EncryptionContext:context-key", f"{_PAGE}: kms:EncryptionContextKeys"
_MANY, _CASE = (
    f"{_CONTEXT}: Using multiple encryption context pairs",
    f"{_CONTEXT}: Case sensitivity of the encryption context condition",
)
_BYPASS, _CALLER = f"{_PAGE}: kms:BypassPolicyLockoutSafetyCheck", f"{_PAGE}: kms:CallerAccount"
_ABAC = "KMS Developer Guide, ABAC for AWS KMS: ABAC condition keys for AWS KMS"
_VIA = f"{_PAGE}: kms:ViaService"

_IS_APP = {"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}}
_IT_ALPHA = {"kms:EncryptionContext:Department": "IT", "kms:EncryptionContext:Project": "Alpha"}
_HAS_ALIAS = {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/ExampleAlias*"}}
_HAS_KEY = {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "AppName"}}


def _context(
    name: str,
    rule: str,
    expected: str,
    when: Condition,
    context: Mapping[str, str] | None,
    **more: Any,
) -> Case:
    """A session of the role that the documentation's statements name."""
    because = NO_RESOURCE if expected == DENY else ""
    return Case(name, rule, expected, allow(ROLE_ARN, when=when), SESSION, context=context, because=because, **more)


def _context_denied(name: str, rule: str, expected: str, when: Condition, context: Mapping[str, str]) -> Case:
    because = RESOURCE_DENIES if expected == DENY else ""
    return Case(
        name, rule, expected, [allow(ROLE_ARN), deny(ROLE_ARN, when=when)], SESSION, context=context, because=because
    )


def _either(name: str, expected: str, context: Mapping[str, str]) -> Case:
    statements = [allow(ROLE_ARN, when={"StringEquals": {key: value}}) for key, value in _IT_ALPHA.items()]
    return Case(name, _MANY, expected, statements, SESSION, context=context)


def _pair(
    key: str,
    action: str,
    when: Condition,
    good: str | tuple[str, ...],
    bad: str | tuple[str, ...],
) -> list[Case]:
    """What the documentation's statement for a condition key allows, what it does not, and the key missing."""
    rule, action = f"{_PAGE}: {key}", f"kms:{action}"
    return [
        conditional(f"{key} in {action}: as wanted", rule, ALLOW, when, action=action, values={key: good}),
        conditional(
            f"{key} in {action}: otherwise", rule, DENY, when, action=action, values={key: bad}, because=NO_RESOURCE
        ),
        conditional(f"{key} in {action}: not in the request", rule, DENY, when, action=action, because=NO_RESOURCE),
    ]


_EXACT: Condition = {**_IS_APP, "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["AppName"]}}
_EXACT_TWO: Condition = {
    "StringEquals": _IT_ALPHA,
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Department", "Project"]},
}
_RESTRICTED = {"StringEquals": {"kms:EncryptionContext:Stage": "Restricted"}}
_TWO_STAGES = {"StringEquals": {"kms:EncryptionContext:Stage": ["Restricted", "Production"]}}
_ANY_CONTEXT = {"Null": {"kms:EncryptionContextKeys": False}}
_NO_BYPASS = {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": True}}
_NOT_ASKED = {"Null": {"kms:BypassPolicyLockoutSafetyCheck": True}}
_EBS = allow(
    "*",
    ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"],
    {"StringEquals": {"kms:CallerAccount": ACCOUNT, "kms:ViaService": "ec2.us-west-2.amazonaws.com"}},
)
_THROUGH_EBS = {"kms:ViaService": "ec2.us-west-2.amazonaws.com"}
_NOT_THESE = {
    "ForAnyValue:StringEquals": {"kms:ViaService": ["ec2.us-west-2.amazonaws.com", "rds.us-west-2.amazonaws.com"]}
}
_SYMMETRIC = must_not(
    ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"],
    {"StringNotEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}},
    Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/*",
)
_GRANT_OPERATIONS = {"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]}}
_FOR_RESOURCE = {"Bool": {"kms:GrantIsForAWSResource": "true"}}

CASES = (
    # Pairs of the encryption context
    _context("a pair that is wanted", _CONTEXT, ALLOW, _IS_APP, {"AppName": "ExampleApp"}),
    _context("a pair that is wanted, and another", _CONTEXT, ALLOW, _IS_APP,
             {"AppName": "ExampleApp", "FilePath": "/var"}),
    _context("a pair with another value", _CONTEXT, DENY, _IS_APP, {"AppName": "Other"}),
    _context("a pair with another key", _CONTEXT, DENY, _IS_APP, {"Application": "ExampleApp"}),
    _context("no pair", _CONTEXT, DENY, _IS_APP, {}),
    _context("no other pair: the pair", _CONTEXT, ALLOW, _EXACT, {"AppName": "ExampleApp"}),
    _context("no other pair: another besides", _CONTEXT, DENY, _EXACT, {"AppName": "ExampleApp", "FilePath": "/var"}),
    _context("no other pair: none", _CONTEXT, DENY, _EXACT, {}),
    _context_denied("a pair that is forbidden", _CONTEXT, DENY, _RESTRICTED, {"Stage": "Restricted"}),
    _context_denied("a pair that is forbidden, and another", _CONTEXT, DENY, _RESTRICTED,
                    {"Stage": "Restricted", "AppName": "x"}),
    _context_denied("a forbidden pair's key with another value", _CONTEXT, ALLOW, _RESTRICTED, {"Stage": "Test"}),
    _context_denied("no forbidden pair", _CONTEXT, ALLOW, _RESTRICTED, {}),
    _context("two pairs: both", _MANY, ALLOW, {"StringEquals": _IT_ALPHA}, {"Project": "Alpha", "Department": "IT"}),
    _context("two pairs: both and another", _MANY, ALLOW, {"StringEquals": _IT_ALPHA},
             {"Project": "Alpha", "Department": "IT", "Stage": "x"}),
    _context("two pairs: one", _MANY, DENY, {"StringEquals": _IT_ALPHA}, {"Department": "IT"}),
    _either("either pair: the first", ALLOW, {"Department": "IT"}),
    _either("either pair: the second", ALLOW, {"Project": "Alpha"}),
    _either("either pair: both", ALLOW, {"Department": "IT", "Project": "Alpha"}),
    _either("either pair: neither", DENY, {"Department": "HR", "Project": "Beta"}),
    _context("two pairs and no other: both", _MANY, ALLOW, _EXACT_TWO, {"Department": "IT", "Project": "Alpha"}),
    _context("two pairs and no other: one", _MANY, DENY, _EXACT_TWO, {"Department": "IT"}),
    _context("two pairs and no other: another besides", _MANY, DENY, _EXACT_TWO,
             {"Department": "IT", "Project": "Alpha", "Stage": "x"}),
    _context_denied("two forbidden values: the second", _MANY, DENY, _TWO_STAGES, {"Stage": "Production"}),
    _context_denied("two forbidden values: another", _MANY, ALLOW, _TWO_STAGES, {"Stage": "Test"}),
    _context("the key in another case", _CASE, ALLOW, _IS_APP, {"APPNAME": "ExampleApp"}),
    _context("the value in another case", _CASE, DENY, _IS_APP, {"AppName": "exampleapp"}),
    _context("the value in another case, ignored", _CASE, ALLOW,
             {"StringEqualsIgnoreCase": {"kms:EncryptionContext:AppName": "ExampleApp"}},
             {"AppName": "exampleapp"}),
    _context("the key in its own case", _CASE, ALLOW, _HAS_KEY, {"AppName": "x"}),
    _context("the key in another case, as a value", _CASE, DENY, _HAS_KEY, {"appname": "x"}),
    _context("key and value in their own case", _CASE, ALLOW, {**_HAS_KEY, **_IS_APP}, {"AppName": "ExampleApp"}),
    _context("the value as wanted, the key in another case", _CASE, DENY, {**_HAS_KEY, **_IS_APP},
             {"appname": "ExampleApp"}),
    # The keys of the encryption context
    _context("a key that is wanted, and another", _KEYS, ALLOW, _HAS_KEY, {"AppName": "Helper", "Project": "Alpha"}),
    _context("only another key", _KEYS, DENY, _HAS_KEY, {"Project": "Alpha"}),
    _context("no keys", _KEYS, DENY, _HAS_KEY, {}),
    _context("a key in another case, ignored", _KEYS, ALLOW,
             {"ForAnyValue:StringEqualsIgnoreCase": {"kms:EncryptionContextKeys": "AppName"}},
             {"appname": "x"}),
    _context("only certain keys: no keys", _KEYS, ALLOW,
             {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "AppName"}}, {}),
    _context("only certain keys: another", _KEYS, DENY,
             {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "AppName"}},
             {"AppName": "x", "Project": "Alpha"}),
    _context("any context: one", _KEYS, ALLOW, _ANY_CONTEXT, {"Whatever": "x"}),
    _context("any context: none", _KEYS, DENY, _ANY_CONTEXT, {}),
    # Bypassing the lockout check
    Case("bypassing is denied: bypassed", _BYPASS, DENY, DELEGATE,
         policies=[[may(), must_not("kms:PutKeyPolicy", _NO_BYPASS)]],
         action="kms:PutKeyPolicy", values={"kms:BypassPolicyLockoutSafetyCheck": "true"}, because=IDENTITY_DENIES),
    Case("bypassing is denied: asked not to", _BYPASS, ALLOW, DELEGATE,
         policies=[[may(), must_not("kms:PutKeyPolicy", _NO_BYPASS)]],
         action="kms:PutKeyPolicy", values={"kms:BypassPolicyLockoutSafetyCheck": "false"}),
    Case("bypassing is denied: not mentioned", _BYPASS, ALLOW, DELEGATE,
         policies=[[may(), must_not("kms:PutKeyPolicy", _NO_BYPASS)]],
         action="kms:PutKeyPolicy"),
    conditional("bypassing is not mentioned", _BYPASS, ALLOW, _NOT_ASKED, action="kms:PutKeyPolicy"),
    conditional("bypassing is mentioned", _BYPASS, DENY, _NOT_ASKED, action="kms:PutKeyPolicy",
                values={"kms:BypassPolicyLockoutSafetyCheck": "true"}),
    # Callers of an account, through a service
    Case("through EBS in the account", _CALLER, ALLOW, _EBS, values=_THROUGH_EBS),
    Case("through EBS in the account, any user", _CALLER, ALLOW, _EBS, BOB, values=_THROUGH_EBS),
    Case("through EBS in another account", _CALLER, DENY, _EBS, OTHER_USER, [may()], values=_THROUGH_EBS),
    Case("through EBS elsewhere", _CALLER, DENY, _EBS, values={"kms:ViaService": "ec2.us-east-1.amazonaws.com"},
         because=NO_RESOURCE),
    Case("through another service", _CALLER, DENY, _EBS, values={"kms:ViaService": "rds.us-west-2.amazonaws.com"},
         because=NO_RESOURCE),
    Case("not through EBS", _CALLER, DENY, _EBS, because=NO_RESOURCE),
    Case("through EBS, an action that is not for it", _CALLER, DENY, _EBS, values=_THROUGH_EBS,
         action="kms:PutKeyPolicy", because=NO_RESOURCE),
    Case("a deny through a service", _VIA, DENY, [allow(ALICE.arn), deny(ALICE.arn, when=_NOT_THESE)],
         values=_THROUGH_EBS, because=RESOURCE_DENIES),
    Case("a deny through a service, directly", _VIA, ALLOW, [allow(ALICE.arn), deny(ALICE.arn, when=_NOT_THESE)]),
    *_pair("kms:ViaService", "Decrypt",
           {"StringLike": {"kms:ViaService": ["ec2.*.amazonaws.com", "rds.*.amazonaws.com"]}},
           "rds.eu-west-1.amazonaws.com", "lambda.eu-west-1.amazonaws.com"),
    # kms:EncryptionAlgorithm: a deny, since whoever asks without it asks for another kind of operation
    Case("only symmetric: symmetric", f"{_PAGE}: kms:EncryptionAlgorithm", ALLOW, DELEGATE,
         policies=[[may(), _SYMMETRIC]],
         values={"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
    Case("only symmetric: RSA", f"{_PAGE}: kms:EncryptionAlgorithm", DENY, DELEGATE, policies=[[may(), _SYMMETRIC]],
         values={"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, because=IDENTITY_DENIES),
    Case("only symmetric: another operation", f"{_PAGE}: kms:EncryptionAlgorithm", ALLOW, DELEGATE,
         policies=[[may(), _SYMMETRIC]],
         action="kms:DescribeKey"),
    # The others
    *_pair("kms:DataKeyPairSpec", "GenerateDataKeyPair", {"StringLike": {"kms:DataKeyPairSpec": "RSA*"}}, "RSA_3072",
           "ECC_NIST_P256"),
    *_pair("kms:ExpirationModel", "ImportKeyMaterial",
           {"StringEquals": {"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}},
           "KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES"),
    conditional("kms:ExpirationModel: only what expires by default, not mentioned", f"{_PAGE}: kms:ExpirationModel",
                ALLOW,
                {"Null": {"kms:ExpirationModel": True}}, action="kms:ImportKeyMaterial"),
    conditional("kms:ExpirationModel: only what expires by default, mentioned", f"{_PAGE}: kms:ExpirationModel", DENY,
                {"Null": {"kms:ExpirationModel": True}}, action="kms:ImportKeyMaterial",
                values={"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}),
    *_pair("kms:GrantConstraintType", "CreateGrant",
           {"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}},
           "EncryptionContextEquals", "EncryptionContextSubset"),
    *_pair("kms:GrantIsForAWSResource", "CreateGrant", _FOR_RESOURCE, "true", "false"),
    conditional("kms:GrantOperations: all of them", f"{_PAGE}: kms:GrantOperations", ALLOW, _GRANT_OPERATIONS,
                action="kms:CreateGrant",
                values={"kms:GrantOperations": ("Encrypt", "Decrypt")}),
    conditional("kms:GrantOperations: one of them", f"{_PAGE}: kms:GrantOperations", ALLOW, _GRANT_OPERATIONS,
                action="kms:CreateGrant",
                values={"kms:GrantOperations": ("Decrypt",)}),
    conditional("kms:GrantOperations: one too many", f"{_PAGE}: kms:GrantOperations", DENY, _GRANT_OPERATIONS,
                action="kms:CreateGrant",
                values={"kms:GrantOperations": ("Encrypt", "Decrypt", "ReEncryptTo")}),
    *_pair("kms:GranteePrincipal", "CreateGrant",
           {"StringEquals": {"kms:GranteePrincipal": [f"arn:aws:iam::{ACCOUNT}:role/LimitedAdminRole"]}},
           f"arn:aws:iam::{ACCOUNT}:role/LimitedAdminRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
    *_pair("kms:RetiringPrincipal", "CreateGrant",
           {"StringEquals": {"kms:RetiringPrincipal": f"arn:aws:iam::{ACCOUNT}:role/LimitedAdminRole"}},
           f"arn:aws:iam::{ACCOUNT}:role/LimitedAdminRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
    *_pair("kms:KeyOrigin", "Encrypt", {"StringEquals": {"kms:KeyOrigin": "AWS_KMS"}}, "AWS_KMS", "EXTERNAL"),
    *_pair("kms:KeySpec", "Encrypt", {"StringLike": {"kms:KeySpec": ["RSA_*"]}}, "RSA_4096", "SYMMETRIC_DEFAULT"),
    *_pair("kms:KeyUsage", "Sign", {"StringEquals": {"kms:KeyUsage": "SIGN_VERIFY"}}, "SIGN_VERIFY", "ENCRYPT_DECRYPT"),
    *_pair("kms:MacAlgorithm", "GenerateMac", {"StringEquals": {"kms:MacAlgorithm": ["HMAC_SHA_384", "HMAC_SHA_512"]}},
           "HMAC_SHA_512", "HMAC_SHA_256"),
    *_pair("kms:MessageType", "Sign", {"StringEquals": {"kms:MessageType": "RAW"}}, "RAW", "DIGEST"),
    *_pair("kms:MultiRegion", "Encrypt", {"Bool": {"kms:MultiRegion": True}}, "true", "false"),
    *_pair("kms:MultiRegionKeyType", "Encrypt", {"StringEquals": {"kms:MultiRegionKeyType": "REPLICA"}}, "REPLICA",
           "PRIMARY"),
    *_pair("kms:PrimaryRegion", "UpdatePrimaryRegion",
           {"StringEquals": {"kms:PrimaryRegion": ["us-west-2", "eu-central-1"]}}, "eu-central-1", "us-east-1"),
    *_pair("kms:ReEncryptOnSameKey", "ReEncryptTo", {"Bool": {"kms:ReEncryptOnSameKey": True}}, "true", "false"),
    *_pair("kms:ReplicaRegion", "ReplicateKey", {"StringEquals": {"kms:ReplicaRegion": ["us-east-1", "eu-west-1"]}},
           "eu-west-1", "us-west-1"),
    *_pair("kms:RequestAlias", "Encrypt", {"StringLike": {"kms:RequestAlias": "alias/ExampleAlias*"}},
           "alias/ExampleAlias-1", "alias/Other"),
    Case("an identity policy sees the aliases of the key", f"{_PAGE}: kms:ResourceAliases", ALLOW,
         policies=[may(when=_HAS_ALIAS)], values={"kms:ResourceAliases": ("alias/Other", "alias/ExampleAlias-1")}),
    Case("an identity policy sees that the key has other aliases", f"{_PAGE}: kms:ResourceAliases", DENY,
         policies=[may(when=_HAS_ALIAS)], values={"kms:ResourceAliases": ("alias/Other",)}, because=NO_IDENTITY),
    *(Case(f"{name} in a key policy", _ABAC, MALFORMED, allow(ALICE.arn, when={"StringEquals": {name: "x"}}),
           because=f"These condition keys are not permitted in a key policy: {name.partition('/')[0]}")
      for name in ("aws:ResourceTag/Project", "kms:ResourceTag/Project", "kms:ResourceAliases")),
    Case("a tag of the key as a variable in a key policy", _ABAC, MALFORMED,
         allow(ALICE.arn, when={"StringEquals": {"aws:userid": "${aws:ResourceTag/Owner}"}}),
         because="These condition keys are not permitted in a key policy: aws:ResourceTag"),
    Case("a tag of the key in an identity policy: as wanted", _ABAC, ALLOW,
         policies=[may(when={"StringEquals": {"aws:ResourceTag/Project": "Alpha"}})],
         values={"aws:ResourceTag/Project": "Alpha"}),
    Case("a tag of the key in an identity policy: another", _ABAC, DENY,
         policies=[may(when={"StringEquals": {"aws:ResourceTag/Project": "Alpha"}})],
         values={"aws:ResourceTag/Project": "Beta"}, because=NO_IDENTITY),
    *_pair("kms:RotationPeriodInDays", "EnableKeyRotation",
           {"NumericLessThanEquals": {"kms:RotationPeriodInDays": "180"}}, "180", "181"),
    *_pair("kms:ScheduleKeyDeletionPendingWindowInDays", "ScheduleKeyDeletion",
           {"NumericGreaterThanEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": "21"}}, "30", "7"),
    *_pair("kms:SigningAlgorithm", "Sign", {"StringLike": {"kms:SigningAlgorithm": "RSASSA_PSS_SHA_*"}},
           "RSASSA_PSS_SHA_512", "RSASSA_PKCS1_V1_5_SHA_256"),
    *_pair("kms:ValidTo", "ImportKeyMaterial", {"NumericLessThanEquals": {"kms:ValidTo": "1546257599.0"}}, "1546257599",
           "1546257600"),
    *_pair("kms:WrappingAlgorithm", "GetParametersForImport",
           {"StringEquals": {"kms:WrappingAlgorithm": "RSAES_OAEP_SHA_256"}},
           "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"),
    *_pair("kms:WrappingKeySpec", "GetParametersForImport", {"StringEquals": {"kms:WrappingKeySpec": "RSA_4096"}},
           "RSA_4096", "RSA_2048"),
)  # fmt: skip
