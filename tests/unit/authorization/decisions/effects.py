"""Allow, Deny, and what is neither."""

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    ALLOW,
    BOB,
    BOUNDARY_DENIES,
    DELEGATE,
    DENY,
    IDENTITY_DENIES,
    KEY_ARN,
    MALFORMED,
    NO_IDENTITY,
    NO_RESOURCE,
    RESOURCE_DENIES,
    ROOT,
    SESSION,
    SESSION_DENIES,
    Case,
    allow,
    deny,
    may,
    must_not,
)

_DEFAULT = (
    "IAM User Guide, How AWS enforcement code logic evaluates requests: requests are implicitly denied by default"
)
_EXPLICIT = (
    "IAM User Guide, How AWS enforcement code logic evaluates requests: an explicit deny overrides an explicit allow"
)
_DIFFERENCE = "IAM User Guide, The difference between explicit and implicit denies"
_EFFECT = "IAM User Guide, IAM JSON policy elements: Effect"
_ROOT = "KMS Developer Guide, Default key policy: the root user can access a KMS key only when the key policy allows it"
_NO_ELEMENT = "AWS Health notice, KMS key policies: refused without Action or Resource since 18 August 2025"

_DENY_DECRYPT = deny(ALICE.arn, "kms:Decrypt")

CASES = (
    Case("nothing allows", _DEFAULT, DENY, allow(BOB.arn), because=NO_RESOURCE),
    Case("the account may decide and says nothing", _DEFAULT, DENY, DELEGATE, because=NO_IDENTITY),
    Case("a policy of denials alone", _DEFAULT, DENY, deny(BOB.arn), because=NO_RESOURCE),
    Case("an allow for another action", _DIFFERENCE, DENY, allow(ALICE.arn, "kms:Encrypt"), because=NO_RESOURCE),
    Case("an allow for this action", _EFFECT, ALLOW, allow(ALICE.arn, "kms:Decrypt")),
    Case("the second of two statements allows", _EFFECT, ALLOW, [allow(BOB.arn), allow(ALICE.arn)]),
    Case("a deny after the allow", _EXPLICIT, DENY, [allow(ALICE.arn), _DENY_DECRYPT], because=RESOURCE_DENIES),
    Case("a deny before the allow", _EXPLICIT, DENY, [_DENY_DECRYPT, allow(ALICE.arn)], because=RESOURCE_DENIES),
    Case("a deny between two allows", _EXPLICIT, DENY, [allow("*"), _DENY_DECRYPT, allow(ALICE.arn)]),
    Case("a deny for another action", _EXPLICIT, ALLOW, [allow(ALICE.arn), _DENY_DECRYPT], action="kms:Encrypt"),
    Case(
        "a deny against the account's leave",
        _EXPLICIT,
        DENY,
        [DELEGATE, _DENY_DECRYPT],
        policies=[may()],
        because=RESOURCE_DENIES,
    ),
    Case(
        "a deny against the root user",
        _EXPLICIT,
        DENY,
        [DELEGATE, deny(ACCOUNT, "kms:Decrypt")],
        ROOT,
        because=RESOURCE_DENIES,
    ),
    Case(
        "a deny in an identity policy",
        _EXPLICIT,
        DENY,
        allow(ALICE.arn),
        policies=[must_not()],
        because=IDENTITY_DENIES,
    ),
    Case(
        "a deny in the second identity policy", _EXPLICIT, DENY, policies=[may(), must_not()], because=IDENTITY_DENIES
    ),
    Case(
        "a deny beside an allow in an identity policy",
        _EXPLICIT,
        DENY,
        policies=[[may(), must_not("kms:Decrypt")]],
        because=IDENTITY_DENIES,
    ),
    Case(
        "a deny for another action in an identity policy", _EXPLICIT, ALLOW, policies=[[may(), must_not("kms:Encrypt")]]
    ),
    Case(
        "a deny for another key in an identity policy",
        _EXPLICIT,
        ALLOW,
        policies=[[may(), must_not(Resource=KEY_ARN[:-1] + "f")]],
    ),
    Case(
        "a deny in a boundary",
        _EXPLICIT,
        DENY,
        allow(ALICE.arn),
        boundary=[may(), must_not("kms:Decrypt")],
        because=BOUNDARY_DENIES,
    ),
    Case(
        "a deny for another action in a boundary",
        _EXPLICIT,
        ALLOW,
        allow(ALICE.arn),
        boundary=[may(), must_not("kms:Encrypt")],
    ),
    Case(
        "a deny in a session policy",
        _EXPLICIT,
        DENY,
        allow(SESSION.arn),
        SESSION,
        session=[may(), must_not("kms:Decrypt")],
        because=SESSION_DENIES,
    ),
    Case(
        "a deny for another action in a session policy",
        _EXPLICIT,
        ALLOW,
        allow(SESSION.arn),
        SESSION,
        session=[may(), must_not("kms:Encrypt")],
    ),
    Case(
        "a deny in a session policy against everybody's leave",
        _EXPLICIT,
        DENY,
        allow("*"),
        SESSION,
        session=must_not("kms:Decrypt"),
    ),
    Case(
        "a deny in an identity policy against everybody's leave",
        _EXPLICIT,
        DENY,
        allow("*"),
        policies=[must_not("kms:Dec*")],
    ),
    Case(
        "an identity policy alone, where the key policy does not let it decide",
        _DEFAULT,
        DENY,
        allow(BOB.arn),
        policies=[may()],
        because=NO_RESOURCE,
    ),
    Case("the root user where the policy names the account", _ROOT, ALLOW, DELEGATE, ROOT),
    Case("the root user where the policy names only a user", _ROOT, DENY, allow(ALICE.arn), ROOT, because=NO_RESOURCE),
    Case(
        "the root user for an action that the account is not given",
        _ROOT,
        DENY,
        allow(ACCOUNT, "kms:Encrypt"),
        ROOT,
        because=NO_RESOURCE,
    ),
    Case("an allow without Action", _NO_ELEMENT, MALFORMED, allow(ALICE.arn, Action=None)),
    Case("an allow without Resource", _NO_ELEMENT, MALFORMED, allow(ALICE.arn, Resource=None)),
    Case("a deny without Action", _NO_ELEMENT, MALFORMED, [allow(ALICE.arn), deny(ALICE.arn, Action=None)]),
    Case("a deny without Resource", _NO_ELEMENT, MALFORMED, [allow(ALICE.arn), deny(ALICE.arn, Resource=None)]),
)
