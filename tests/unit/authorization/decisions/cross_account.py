"""Callers of another account: both sides must allow."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALLOW,
    DELEGATE,
    DENY,
    HIDDEN,
    KEY_ARN,
    OTHER,
    OTHER_ROLE_ARN,
    OTHER_ROOT,
    OTHER_SESSION,
    OTHER_USER,
    SECOND_OTHER_USER,
    Case,
    allow,
    deny,
    may,
    must_not,
)

_IAM = "IAM User Guide, Cross-account policy evaluation logic"
_KMS = "KMS Developer Guide, Allowing users in other accounts to use a KMS key"
_STEP_1, _STEP_2 = (
    f"{_KMS}: Step 1: Add a key policy statement in the local account",
    f"{_KMS}: Step 2: Add IAM policies in the external account",
)
_ANYBODY = "KMS Developer Guide, Key policies: Principal: * needs only IAM permission in the caller's own account"
_EXPLICIT = (
    "IAM User Guide, How AWS enforcement code logic evaluates requests: an explicit deny overrides an explicit allow"
)
_SESSION = "IAM User Guide, Policies and permissions in IAM: Session policies"
_BOUNDARY = "IAM User Guide, Permissions boundaries for IAM entities: Evaluating effective permissions with boundaries"
_CALLER = "KMS Developer Guide, kms:CallerAccount"
_ROOT = "IAM User Guide, AWS account root user: full access to the account's resources and permissions"

_SHARED = allow(OTHER)
_THIS, _OTHER = may("kms:Decrypt", Resource=KEY_ARN), may("kms:Encrypt", Resource=KEY_ARN)


def _olga(name: str, rule: str, expected: str, key_policy: Any, *policies: Any, **more: Any) -> Case:
    because = HIDDEN if expected == DENY else ""
    return Case(name, rule, expected, key_policy, more.pop("caller", OTHER_USER), policies, because=because, **more)


CASES = (
    _olga("key policy and identity policy allow", _STEP_2, ALLOW, _SHARED, _THIS),
    _olga("only the key policy allows", _STEP_2, DENY, _SHARED),
    _olga("only the key policy allows this action", _STEP_2, DENY, _SHARED, _OTHER),
    _olga("only the identity policy allows", _STEP_1, DENY, DELEGATE, _THIS),
    _olga("neither allows", _IAM, DENY, DELEGATE),
    _olga("the key policy allows another action", _STEP_1, DENY, allow(OTHER, "kms:Encrypt"), _THIS),
    _olga("the identity policy is for another key", _STEP_2, DENY, _SHARED, may(Resource=KEY_ARN[:-1] + "1")),
    _olga("the identity policy is for every key", _STEP_2, ALLOW, _SHARED, may(Resource="arn:aws:kms:*:*:key/*")),
    _olga("the identity policy is for its own account's keys", _STEP_2, DENY, _SHARED,
          may(Resource=f"arn:aws:kms:*:{OTHER}:key/*")),
    _olga("the second identity policy allows", _STEP_2, ALLOW, _SHARED, _OTHER, _THIS),
    _olga("a named user whose identity policy allows", _IAM, ALLOW, allow(OTHER_USER.arn), _THIS),
    _olga("a named user whose identity policy does not", _IAM, DENY, allow(OTHER_USER.arn)),
    _olga("a user beside the named one", _IAM, DENY, allow(OTHER_USER.arn), _THIS, caller=SECOND_OTHER_USER),
    _olga("a named role whose identity policy allows", _IAM, ALLOW, allow(OTHER_ROLE_ARN), _THIS, caller=OTHER_SESSION),
    _olga("a named role whose identity policy does not", _IAM, DENY, allow(OTHER_ROLE_ARN), caller=OTHER_SESSION),
    _olga("a named session whose identity policy allows", _IAM, ALLOW, allow(OTHER_SESSION.arn), _THIS,
          caller=OTHER_SESSION),
    _olga("a named session whose identity policy does not", _IAM, DENY, allow(OTHER_SESSION.arn), caller=OTHER_SESSION),
    _olga("another account is named", _IAM, DENY, allow(["999988887777", ACCOUNT]), _THIS),
    _olga("everybody, with an identity policy", _ANYBODY, ALLOW, allow("*"), _THIS),
    _olga("everybody, without an identity policy", _ANYBODY, DENY, allow("*")),
    _olga("the boundary allows too", _BOUNDARY, ALLOW, _SHARED, _THIS, boundary=may()),
    _olga("the boundary leaves it out", _BOUNDARY, DENY, _SHARED, _THIS, boundary=_OTHER),
    _olga("a named user whose boundary leaves it out", _BOUNDARY, DENY, allow(OTHER_USER.arn), _THIS, boundary=_OTHER),
    _olga("the session policy allows too", _SESSION, ALLOW, _SHARED, _THIS, caller=OTHER_SESSION, session=may()),
    _olga("the session policy leaves it out", _SESSION, DENY, _SHARED, _THIS, caller=OTHER_SESSION, session=_OTHER),
    _olga("a named session whose session policy leaves it out", _SESSION, DENY, allow(OTHER_SESSION.arn), _THIS,
          caller=OTHER_SESSION, session=_OTHER),
    _olga("only boundary and session policy allow", _IAM, DENY, _SHARED, caller=OTHER_SESSION, boundary=may(),
          session=may()),
    _olga("the key policy denies", _EXPLICIT, DENY, [_SHARED, deny(OTHER_USER.arn)], _THIS),
    _olga("the key policy denies another", _EXPLICIT, ALLOW, [_SHARED, deny(SECOND_OTHER_USER.arn)], _THIS),
    _olga("the identity policy denies", _EXPLICIT, DENY, _SHARED, [_THIS, must_not("kms:Decrypt")]),
    _olga("the identity policy denies another action", _EXPLICIT, ALLOW, _SHARED, [_THIS, must_not("kms:Encrypt")]),
    _olga("the boundary denies", _EXPLICIT, DENY, _SHARED, _THIS, boundary=[may(), must_not("kms:Decrypt")]),
    _olga("the session policy denies", _EXPLICIT, DENY, _SHARED, _THIS, caller=OTHER_SESSION,
          session=[may(), must_not("kms:Decrypt")]),
    _olga("everybody of an account: this one", _CALLER, ALLOW,
          allow("*", when={"StringEquals": {"kms:CallerAccount": OTHER}}), _THIS),
    _olga("everybody of an account: another", _CALLER, DENY,
          allow("*", when={"StringEquals": {"kms:CallerAccount": ACCOUNT}}), _THIS),
    _olga("the root user of a named account", _ROOT, ALLOW, _SHARED, caller=OTHER_ROOT),
    _olga("the root user of an account not named", _STEP_1, DENY, DELEGATE, caller=OTHER_ROOT),
    _olga("the root user where a user of its account is named", _IAM, DENY, allow(OTHER_USER.arn), caller=OTHER_ROOT),
    _olga("the root user where everybody is named", _ROOT, ALLOW, allow("*"), caller=OTHER_ROOT),
    _olga("the root user against a deny", _EXPLICIT, DENY, [_SHARED, deny(OTHER)], caller=OTHER_ROOT),
)  # fmt: skip
