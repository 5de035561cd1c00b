"""Grants and their constraints."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT_ARN,
    ALICE,
    ALLOW,
    BOB,
    BOUNDARY_DENIES,
    DELEGATE,
    DENY,
    FEDERATED,
    HIDDEN,
    IDENTITY_DENIES,
    NO_BOUNDARY,
    NO_IDENTITY,
    NO_RESOURCE,
    NO_SESSION,
    OTHER_ACCOUNT_ARN,
    OTHER_ROLE_ARN,
    OTHER_ROLE_SESSION,
    OTHER_SESSION,
    OTHER_USER,
    RESOURCE_DENIES,
    ROLE_ARN,
    ROOT,
    SECOND_OTHER_USER,
    SECOND_SESSION,
    SESSION,
    SESSION_DENIES,
    Case,
    allow,
    deny,
    grant,
    may,
    must_not,
    service,
)

_PAGE = "KMS Developer Guide, Grants in AWS KMS"
_GRANT = f"{_PAGE}: a grant allows its grantee the operations on the key"
_CONCEPTS, _OPERATIONS = f"{_PAGE}: Grant concepts: Grantee principal", f"{_PAGE}: Grant concepts: Grant operations"
_ONLY_ALLOW = f"{_PAGE}: grants allow access, they cannot deny it; an explicit deny overrides them"
_CONSTRAINTS = "KMS Developer Guide, Creating grants: Using grant constraints"
_EQUALS, _SUBSET = f"{_CONSTRAINTS}: EncryptionContextEquals", f"{_CONSTRAINTS}: EncryptionContextSubset"
_NOT_APPLIED = "KMS API Reference, GrantConstraints: not applied to operations without an encryption context"
_SOURCE = "KMS API Reference, GrantConstraints: SourceArn"
_LIMITED = (
    f"{_PAGE}: a resource-based mechanism; IAM User Guide, How AWS enforcement code logic evaluates "
    "requests: Resource-based policies"
)
_EXTERNAL = (
    f"{_PAGE}: grants to principals of other accounts; Allowing users in other accounts: both accounts' permission"
)
_ACCOUNT = "KMS API Reference, CreateGrant: GranteePrincipal: an AWS account"

_ONLY_BOB = allow(BOB.arn)


def _granted(name: str, rule: str, expected: str, *grants: Any, because: str = "", **more: Any) -> Case:
    """Alice, whom the key policy leaves out."""
    return Case(name, rule, expected, more.pop("key_policy", _ONLY_BOB), grants=grants, because=because, **more)


_ALICES = grant(ALICE.arn)
_IT = {"Department": "IT"}
_FINANCE = {"Department": "Finance", "Classification": "Public"}


def _context(kind: str, name: str, expected: str, pairs: dict[str, str], context: dict[str, str] | None) -> Case:
    rule = {"equals": _EQUALS, "subset": _SUBSET}[kind]
    because = NO_RESOURCE if expected == DENY else ""
    constrained = grant(ALICE.arn, equals=pairs) if kind == "equals" else grant(ALICE.arn, subset=pairs)
    return _granted(f"{kind}: {name}", rule, expected, constrained, context=context, because=because)


_TOPIC = "arn:aws:sns:us-west-2:111122223333:topic"
_TABLE = {"aws:dynamodb:tableName": "Services", "aws:dynamodb:subscriberId": "111122223333"}
_DYNAMODB = "dynamodb.us-west-2.amazonaws.com"

CASES = (
    _granted("the grantee", _GRANT, ALLOW, _ALICES),
    _granted("nobody without a grant", _GRANT, DENY, because=NO_RESOURCE),
    _granted("another user", _GRANT, DENY, grant(SESSION.arn), because=NO_RESOURCE),
    _granted("an operation that is not granted", _OPERATIONS, DENY, _ALICES, action="kms:Encrypt", because=NO_RESOURCE),
    _granted("one of several operations", _OPERATIONS, ALLOW, grant(ALICE.arn, ["Encrypt", "Decrypt"])),
    _granted("an operation that begins like the granted one", _OPERATIONS, DENY, grant(ALICE.arn, ["GenerateDataKey"]),
             action="kms:GenerateDataKeyPair"),
    _granted("ReEncryptFrom", _OPERATIONS, ALLOW, grant(ALICE.arn, ["ReEncryptFrom"]), action="kms:ReEncryptFrom"),
    _granted("ReEncryptTo where only ReEncryptFrom is granted", _OPERATIONS, DENY, grant(ALICE.arn, ["ReEncryptFrom"]),
             action="kms:ReEncryptTo"),
    _granted("the second of two grants", _GRANT, ALLOW, grant(ALICE.arn, ["Encrypt"]),
             grant(ALICE.arn, grant_id="cd" * 32)),
    _granted("neither of two grants", _GRANT, DENY, grant(ALICE.arn, ["Encrypt"]), grant(BOB.arn, grant_id="cd" * 32)),
    _granted("a grant beside a key policy that allows", _GRANT, ALLOW, grant(ALICE.arn, ["Encrypt"]),
             key_policy=allow(ALICE.arn)),
    _granted("a user who may by policy needs no grant", _GRANT, ALLOW, key_policy=DELEGATE, policies=[may()]),
    _granted("a grant needs no identity policy", _GRANT, ALLOW, _ALICES, key_policy=DELEGATE),
    # Who is meant
    _granted("a granted role's session", _CONCEPTS, ALLOW, grant(ROLE_ARN), caller=SESSION),
    _granted("a granted role's other session", _CONCEPTS, ALLOW, grant(ROLE_ARN), caller=SECOND_SESSION),
    _granted("another role's session", _CONCEPTS, DENY, grant(ROLE_ARN), caller=OTHER_ROLE_SESSION,
             because=NO_RESOURCE),
    _granted("a granted session", _CONCEPTS, ALLOW, grant(SESSION.arn), caller=SESSION),
    _granted("a granted session's neighbor", _CONCEPTS, DENY, grant(SESSION.arn), caller=SECOND_SESSION,
             because=NO_RESOURCE),
    _granted("a granted federated user", _CONCEPTS, ALLOW, grant(FEDERATED.arn), caller=FEDERATED, session=may()),
    _granted("a granted account: its user by identity policy", _ACCOUNT, ALLOW, grant(ACCOUNT_ARN), policies=[may()]),
    _granted("a granted account: its user without identity policy", _ACCOUNT, DENY, grant(ACCOUNT_ARN),
             because=NO_IDENTITY),
    _granted("a granted account: its root user", _ACCOUNT, ALLOW, grant(ACCOUNT_ARN), caller=ROOT),
    _granted("a granted role's session within its boundary", _LIMITED, ALLOW, grant(ROLE_ARN), caller=SESSION,
             boundary=may("kms:Decrypt")),
    _granted("a granted role's session beyond its boundary", _LIMITED, DENY, grant(ROLE_ARN), caller=SESSION,
             boundary=may("kms:Encrypt"),
             because=NO_BOUNDARY),
    _granted("a granted role's session beyond its session policy", _LIMITED, DENY, grant(ROLE_ARN), caller=SESSION,
             session=may("kms:Encrypt"),
             because=NO_SESSION),
    _granted("a granted session beyond its boundary", _LIMITED, ALLOW, grant(SESSION.arn), caller=SESSION,
             boundary=may("kms:Encrypt")),
    _granted("a granted user beyond its boundary", _LIMITED, ALLOW, _ALICES, boundary=may("kms:Encrypt")),
    _granted("the root user is not a user of its account", _CONCEPTS, DENY, _ALICES, caller=ROOT, because=NO_RESOURCE),
    # Denials
    _granted("a deny in the key policy", _ONLY_ALLOW, DENY, _ALICES, key_policy=deny(ALICE.arn),
             because=RESOURCE_DENIES),
    _granted("a deny for another in the key policy", _ONLY_ALLOW, ALLOW, _ALICES, key_policy=deny(BOB.arn)),
    _granted("a deny of another action in the key policy", _ONLY_ALLOW, ALLOW, _ALICES,
             key_policy=deny(ALICE.arn, "kms:Encrypt")),
    _granted("a deny in an identity policy", _ONLY_ALLOW, DENY, _ALICES, policies=[must_not("kms:Decrypt")],
             because=IDENTITY_DENIES),
    _granted("a deny in a boundary", _ONLY_ALLOW, DENY, _ALICES, boundary=[may(), must_not("kms:Decrypt")],
             because=BOUNDARY_DENIES),
    _granted("a deny in a session policy", _ONLY_ALLOW, DENY, grant(SESSION.arn), caller=SESSION,
             session=[may(), must_not("kms:Decrypt")],
             because=SESSION_DENIES),
    # Encryption contexts
    _context("equals", "the same pair", ALLOW, _IT, {"Department": "IT"}),
    _context("equals", "one pair more", DENY, _IT, {"Department": "IT", "Purpose": "Test"}),
    _context("equals", "another value", DENY, _IT, {"Department": "HR"}),
    _context("equals", "the value in another case", DENY, _IT, {"Department": "it"}),
    _context("equals", "no pairs", DENY, _IT, {}),
    _context("equals", "two pairs in another order", ALLOW, _FINANCE,
             {"Classification": "Public", "Department": "Finance"}),
    _context("equals", "one of two pairs", DENY, _FINANCE, {"Department": "Finance"}),
    _context("subset", "the same pair", ALLOW, _IT, {"Department": "IT"}),
    _context("subset", "one pair more", ALLOW, _IT, {"Department": "IT", "Purpose": "Test"}),
    _context("subset", "another value", DENY, _IT, {"Department": "HR", "Purpose": "Test"}),
    _context("subset", "no pairs", DENY, _IT, {}),
    _context("subset", "both pairs", ALLOW, _FINANCE, {"Department": "Finance", "Classification": "Public"}),
    _context("subset", "both pairs in another order", ALLOW, _FINANCE,
             {"Classification": "Public", "Department": "Finance"}),
    _context("subset", "both pairs and two more", ALLOW, _FINANCE,
             {"Customer": "12345", "Department": "Finance", "Classification": "Public", "Purpose": "Test"}),
    _context("subset", "one of two pairs", DENY, _FINANCE, {"Department": "Finance"}),
    _context("subset", "everything in another case", DENY, _FINANCE,
             {"department": "finance", "classification": "public"}),
    _context("subset", "one of two pairs and another", DENY, _FINANCE,
             {"Classification": "Public", "Customer": "12345"}),
    _granted("constraints of one grant do not bind another", _CONSTRAINTS, ALLOW, grant(ALICE.arn, subset=_IT),
             grant(ALICE.arn, grant_id="cd" * 32), context={}),
    _granted("a constraint does not bind DescribeKey", _NOT_APPLIED, ALLOW,
             grant(ALICE.arn, ["DescribeKey"], subset=_IT), action="kms:DescribeKey"),
    _granted("an exact constraint does not bind DescribeKey", _NOT_APPLIED, ALLOW,
             grant(ALICE.arn, ["DescribeKey"], equals=_IT),
             action="kms:DescribeKey"),
    # Source ARNs
    _granted("a source ARN: the same", _SOURCE, ALLOW, grant(ALICE.arn, source_arn=_TOPIC),
             values={"aws:SourceArn": _TOPIC}),
    _granted("a source ARN: another", _SOURCE, DENY, grant(ALICE.arn, source_arn=_TOPIC),
             values={"aws:SourceArn": _TOPIC + "s"}),
    _granted("a source ARN: none", _SOURCE, DENY, grant(ALICE.arn, source_arn=_TOPIC), because=NO_RESOURCE),
    # Services
    _granted("a granted service with its constraint", _SUBSET, ALLOW, grant(_DYNAMODB, subset=_TABLE),
             caller=service(_DYNAMODB),
             context={**_TABLE, "more": "x"}),
    _granted("a granted service for another table", _SUBSET, DENY, grant(_DYNAMODB, subset=_TABLE),
             caller=service(_DYNAMODB),
             context={**_TABLE, "aws:dynamodb:tableName": "Books"}),
    _granted("another service than the granted one", _CONCEPTS, DENY, grant(_DYNAMODB),
             caller=service("sns.amazonaws.com")),
    _granted("a granted service with its source ARN", _SOURCE, ALLOW, grant("rds.amazonaws.com", source_arn=_TOPIC),
             caller=service("rds.amazonaws.com"), values={"aws:SourceArn": _TOPIC}),
    _granted("a granted service with another source ARN", _SOURCE, DENY, grant("rds.amazonaws.com", source_arn=_TOPIC),
             caller=service("rds.amazonaws.com"), values={"aws:SourceArn": _TOPIC + "s"}),
    # Other accounts
    _granted("a foreign grantee by identity policy", _EXTERNAL, ALLOW, grant(OTHER_USER.arn), caller=OTHER_USER,
             policies=[may()]),
    _granted("a foreign grantee without identity policy", _EXTERNAL, DENY, grant(OTHER_USER.arn), caller=OTHER_USER,
             because=HIDDEN),
    _granted("a foreign user beside the grantee", _EXTERNAL, DENY, grant(OTHER_USER.arn), caller=SECOND_OTHER_USER,
             policies=[may()], because=HIDDEN),
    _granted("a foreign grantee whose boundary leaves it out", _EXTERNAL, DENY, grant(OTHER_USER.arn),
             caller=OTHER_USER, policies=[may()],
             boundary=may("s3:*"), because=HIDDEN),
    _granted("a foreign granted role by identity policy", _EXTERNAL, ALLOW, grant(OTHER_ROLE_ARN), caller=OTHER_SESSION,
             policies=[may()]),
    _granted("a foreign granted role whose session policy leaves it out", _EXTERNAL, DENY, grant(OTHER_ROLE_ARN),
             caller=OTHER_SESSION,
             policies=[may()], session=may("s3:*"), because=HIDDEN),
    _granted("a foreign granted account by identity policy", _ACCOUNT, ALLOW, grant(OTHER_ACCOUNT_ARN),
             caller=OTHER_USER, policies=[may()]),
    _granted("a foreign granted account without identity policy", _ACCOUNT, DENY, grant(OTHER_ACCOUNT_ARN),
             caller=OTHER_USER, because=HIDDEN),
    _granted("a foreign granted account: another account", _ACCOUNT, DENY, grant(ACCOUNT_ARN), caller=OTHER_USER,
             policies=[may()], because=HIDDEN),
)  # fmt: skip
