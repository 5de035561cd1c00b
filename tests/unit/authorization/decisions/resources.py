"""Resource and NotResource."""

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALIAS_ARN,
    ALICE,
    ALLOW,
    DENY,
    IDENTITY_DENIES,
    KEY_ARN,
    KEY_ID,
    MALFORMED,
    NO_IDENTITY,
    OTHER,
    Case,
    allow,
    may,
    must_not,
)

_KEY_POLICY = "KMS Developer Guide, Key policies: Resource: in a key policy * means this KMS key"
_IAM_POLICY = "KMS Developer Guide, Specifying KMS keys in IAM policy statements"
_BEST = "KMS Developer Guide, Best practices for IAM policies: wildcards in key ARNs"
_RESOURCE = "IAM User Guide, IAM JSON policy elements: Resource: wildcards"
_NOT = "IAM User Guide, IAM JSON policy elements: NotResource"

_ANOTHER_KEY = KEY_ARN.replace("1234abcd", "0987dcba")


def _may(name: str, rule: str, expected: str, resource: str | list[str]) -> Case:
    because = NO_IDENTITY if expected == DENY else ""
    return Case(name, rule, expected, policies=[may("kms:Decrypt", Resource=resource)], because=because)


CASES = (
    Case("this key in its policy", _KEY_POLICY, ALLOW, allow(ALICE.arn, Resource="*")),
    Case("the key's ARN in its policy", _KEY_POLICY, ALLOW, allow(ALICE.arn, Resource=KEY_ARN)),
    Case("another key's ARN in a key policy", _KEY_POLICY, DENY, allow(ALICE.arn, Resource=_ANOTHER_KEY)),
    _may("the key's ARN", _IAM_POLICY, ALLOW, KEY_ARN),
    _may("another key's ARN", _IAM_POLICY, DENY, _ANOTHER_KEY),
    _may("the key's ARN in another account", _IAM_POLICY, DENY, KEY_ARN.replace(ACCOUNT, OTHER)),
    _may("the key's ARN in another Region", _IAM_POLICY, DENY, KEY_ARN.replace("us-west-2", "us-east-1")),
    _may("one of two keys", _IAM_POLICY, ALLOW, [_ANOTHER_KEY, KEY_ARN]),
    _may("neither of two keys", _IAM_POLICY, DENY, [_ANOTHER_KEY, _ANOTHER_KEY[:-1] + "1"]),
    Case("a key id cannot stand for the key", _IAM_POLICY, MALFORMED, policies=[may(Resource=KEY_ID)]),
    _may("an alias cannot stand for the key", _IAM_POLICY, DENY, ALIAS_ARN),
    _may("every alias does not mean every key", _IAM_POLICY, DENY, f"arn:aws:kms:us-west-2:{ACCOUNT}:alias/*"),
    _may("everything", _IAM_POLICY, ALLOW, "*"),
    _may("every key of the account and Region", _BEST, ALLOW, f"arn:aws:kms:us-west-2:{ACCOUNT}:key/*"),
    _may("every key of another Region", _BEST, DENY, f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*"),
    _may("every key of the account", _BEST, ALLOW, f"arn:aws:kms:*:{ACCOUNT}:key/*"),
    _may("every key of another account", _BEST, DENY, f"arn:aws:kms:*:{OTHER}:key/*"),
    _may("every key anywhere", _BEST, ALLOW, "arn:aws:kms:*:*:key/*"),
    _may("every object of another service", _BEST, DENY, "arn:aws:s3:::*"),
    _may("a star within the id", _RESOURCE, ALLOW, KEY_ARN[:-12] + "*"),
    _may("a star within the id, another beginning", _RESOURCE, DENY, _ANOTHER_KEY[:-12] + "*"),
    _may("a question mark for one character", _RESOURCE, ALLOW, KEY_ARN[:-1] + "?"),
    _may("a question mark for no character", _RESOURCE, DENY, KEY_ARN + "?"),
    _may("the ARN without its end", _RESOURCE, DENY, KEY_ARN[:-1]),
    Case("a deny of this key", _IAM_POLICY, DENY, policies=[[may(), must_not(Resource=KEY_ARN)]],
         because=IDENTITY_DENIES),
    Case("a deny of another key", _IAM_POLICY, ALLOW, policies=[[may(), must_not(Resource=_ANOTHER_KEY)]]),
    Case("all but this key", _NOT, DENY, policies=[may(Resource=None, NotResource=KEY_ARN)], because=NO_IDENTITY),
    Case("all but another key", _NOT, ALLOW, policies=[may(Resource=None, NotResource=_ANOTHER_KEY)]),
    Case("a deny of all but this key", _NOT, ALLOW, policies=[[may(), must_not(Resource=None, NotResource=KEY_ARN)]]),
    Case("a deny of all but another key", _NOT, DENY,
         policies=[[may(), must_not(Resource=None, NotResource=_ANOTHER_KEY)]],
         because=IDENTITY_DENIES),
    Case("a boundary for this key", _IAM_POLICY, ALLOW, policies=[may()], boundary=may(Resource=KEY_ARN)),
    Case("a boundary for another key", _IAM_POLICY, DENY, policies=[may()], boundary=may(Resource=_ANOTHER_KEY)),
)  # fmt: skip
