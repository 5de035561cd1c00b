"""RetireGrant: the grant says who may retire it."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT_ARN,
    ALICE,
    ALLOW,
    BOB,
    DELEGATE,
    DENY,
    FEDERATED,
    IDENTITY_DENIES,
    OTHER_ROLE_SESSION,
    RESOURCE_DENIES,
    ROLE_ARN,
    ROOT,
    SECOND_SESSION,
    SESSION,
    Case,
    allow,
    deny,
    grant,
    may,
    must_not,
)

_PAGE = "KMS Developer Guide, Retiring and revoking grants"
_RETIRING = f"{_PAGE}: the retiring principal of the grant"
_GRANTEE = f"{_PAGE}: the grantee principal, if the grant includes RetireGrant"
_ISSUER = f"{_PAGE}: the AWS account in which the grant was created, and whom it delegates to"
_POLICY = f"{_PAGE}: kms:RetireGrant in a key policy is not effective"
_EXPLICIT = (
    "IAM User Guide, How AWS enforcement code logic evaluates requests: an explicit deny overrides an explicit allow"
)

_TO_BOB = {"retiring_principal": BOB.arn, "issuing_account": "999988887777"}
_BY_ANOTHER = {"issuing_account": "999988887777"}
_THIS = may("kms:RetireGrant")


def _asked(name: str, rule: str, expected: str, retired: Any, **more: Any) -> Case:
    return Case(name, rule, expected, grants=[retired], action="kms:RetireGrant", **more)


CASES = (
    _asked("the retiring principal", _RETIRING, ALLOW, grant(ALICE.arn, **_TO_BOB), caller=BOB),
    _asked("another user than the retiring principal", _RETIRING, DENY, grant(SESSION.arn, **_TO_BOB)),
    _asked("the retiring role's session", _RETIRING, ALLOW,
           grant(ALICE.arn, retiring_principal=ROLE_ARN, **_BY_ANOTHER), caller=SESSION),
    _asked("another role's session", _RETIRING, DENY,
           grant(ALICE.arn, retiring_principal=ROLE_ARN, **_BY_ANOTHER), caller=OTHER_ROLE_SESSION),
    _asked("the retiring session", _RETIRING, ALLOW,
           grant(ALICE.arn, retiring_principal=SESSION.arn, **_BY_ANOTHER), caller=SESSION),
    _asked("the retiring session's neighbor", _RETIRING, DENY,
           grant(ALICE.arn, retiring_principal=SESSION.arn, **_BY_ANOTHER), caller=SECOND_SESSION),
    _asked("the grantee of a grant to retire", _GRANTEE, ALLOW,
           grant(ALICE.arn, ["Decrypt", "RetireGrant"], **_TO_BOB)),
    _asked("the grantee of another grant", _GRANTEE, DENY, grant(ALICE.arn, ["Decrypt"], **_TO_BOB)),
    _asked("the retiring principal need not be the grantee", _GRANTEE, ALLOW,
           grant(ALICE.arn, ["Decrypt", "RetireGrant"], **_TO_BOB), caller=BOB),
    _asked("the root user of the grant's account", _ISSUER, ALLOW, grant(ALICE.arn), caller=ROOT),
    _asked("the root user of another account's grant", _ISSUER, DENY, grant(ALICE.arn, **_BY_ANOTHER), caller=ROOT),
    _asked("a user to whom the grant's account delegates", _ISSUER, ALLOW, grant(ALICE.arn), caller=BOB,
           policies=[_THIS]),
    _asked("a user to whom the grant's account does not delegate", _ISSUER, DENY, grant(ALICE.arn), caller=BOB),
    _asked("a user with the permission for another account's grant", _ISSUER, DENY, grant(ALICE.arn, **_BY_ANOTHER),
           caller=BOB, policies=[_THIS]),
    _asked("a user to whom the retiring account delegates", _RETIRING, ALLOW,
           grant(ALICE.arn, retiring_principal=ACCOUNT_ARN, **_BY_ANOTHER), caller=BOB, policies=[_THIS]),
    _asked("a user to whom the retiring account does not delegate", _RETIRING, DENY,
           grant(ALICE.arn, retiring_principal=ACCOUNT_ARN, **_BY_ANOTHER), caller=BOB),
    _asked("a permission in the key policy", _POLICY, DENY, grant(SESSION.arn, **_TO_BOB),
           key_policy=allow(ALICE.arn, "kms:RetireGrant")),
    _asked("a permission by identity policy alone", _POLICY, DENY, grant(SESSION.arn, **_TO_BOB), policies=[_THIS]),
    _asked("a deny in the key policy", _EXPLICIT, DENY, grant(ALICE.arn, **_TO_BOB), caller=BOB,
           key_policy=[DELEGATE, deny(BOB.arn, "kms:RetireGrant")], because=RESOURCE_DENIES),
    _asked("a deny of RevokeGrant in the key policy", _EXPLICIT, ALLOW, grant(ALICE.arn, **_TO_BOB), caller=BOB,
           key_policy=[DELEGATE, deny(BOB.arn, "kms:RevokeGrant")]),
    _asked("a deny in an identity policy", _EXPLICIT, DENY, grant(ALICE.arn, **_TO_BOB), caller=BOB,
           policies=[must_not("kms:RetireGrant")], because=IDENTITY_DENIES),
    _asked("a federated user who is not the retiring user", _RETIRING, DENY, grant(ALICE.arn, **_TO_BOB),
           caller=FEDERATED, session=_THIS),
)  # fmt: skip
