"""Actions that concern no key, and those on aliases: the caller's own policies alone decide."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALIAS_ARN,
    ALLOW,
    BOUNDARY_DENIES,
    DENY,
    FEDERATED,
    IDENTITY_DENIES,
    KEY_ARN,
    NO_BOUNDARY,
    NO_IDENTITY,
    NO_SESSION,
    ROOT,
    SESSION,
    SESSION_DENIES,
    Case,
    may,
    must_not,
)

_PERMISSIONS = "KMS Developer Guide, AWS KMS permissions: operations without a key resource need IAM policies"
_RESOURCE = "KMS Developer Guide, Specifying KMS keys in IAM policy statements: operations that need * as the resource"
_ALIASES = "KMS Developer Guide, Controlling access to aliases: an IAM policy for the alias"
_EXPLICIT = (
    "IAM User Guide, How AWS enforcement code logic evaluates requests: an explicit deny overrides an explicit allow"
)
_BOUNDARY = "IAM User Guide, Permissions boundaries for IAM entities"
_SESSION = "IAM User Guide, Policies and permissions in IAM: Session policies"
_KEY_SPEC = "KMS Developer Guide, kms:KeySpec: CreateKey"


def _asked(
    name: str, rule: str, expected: str, *policies: Any, action: str = "CreateKey", resource: str = "*", **more: Any
) -> Case:
    return Case(name, rule, expected, policies=policies, action=f"kms:{action}", resource=resource, **more)


_RSA = may("kms:CreateKey", {"StringEquals": {"kms:KeySpec": "RSA_4096"}})
_ALIAS = may("kms:*Alias", Resource=ALIAS_ARN)

CASES = (
    _asked("the root user", _PERMISSIONS, ALLOW, caller=ROOT),
    _asked("a user without policies", _PERMISSIONS, DENY, because=NO_IDENTITY),
    _asked("a user by policy", _PERMISSIONS, ALLOW, may("kms:CreateKey")),
    _asked("a user by a policy for another action", _PERMISSIONS, DENY, may("kms:ListKeys"), because=NO_IDENTITY),
    _asked("a session by policy", _PERMISSIONS, ALLOW, may("kms:CreateKey"), caller=SESSION),
    _asked("ListKeys by policy", _PERMISSIONS, ALLOW, may("kms:List*"), action="ListKeys"),
    _asked("ListKeys by a policy for keys", _RESOURCE, DENY, may(Resource=KEY_ARN), action="ListKeys",
           because=NO_IDENTITY),
    _asked("CreateKey by a policy for keys", _RESOURCE, DENY, may(Resource=f"arn:aws:kms:us-west-2:{ACCOUNT}:key/*"),
           because=NO_IDENTITY),
    _asked("GenerateRandom by policy", _PERMISSIONS, ALLOW, may("kms:GenerateRandom"), action="GenerateRandom"),
    _asked("GenerateRandom without policies", _PERMISSIONS, DENY, action="GenerateRandom", because=NO_IDENTITY),
    _asked("a deny", _EXPLICIT, DENY, [may(), must_not("kms:CreateKey")], because=IDENTITY_DENIES),
    _asked("a deny of another action", _EXPLICIT, ALLOW, [may(), must_not("kms:ListKeys")]),
    _asked("within the boundary", _BOUNDARY, ALLOW, may(), boundary=may("kms:Create*")),
    _asked("beyond the boundary", _BOUNDARY, DENY, may(), boundary=may("kms:List*"), because=NO_BOUNDARY),
    _asked("a boundary that denies", _BOUNDARY, DENY, may(), boundary=[may(), must_not("kms:CreateKey")],
           because=BOUNDARY_DENIES),
    _asked("within the session policy", _SESSION, ALLOW, may(), caller=SESSION, session=may("kms:Create*")),
    _asked("beyond the session policy", _SESSION, DENY, may(), caller=SESSION, session=may("kms:List*"),
           because=NO_SESSION),
    _asked("a session policy that denies", _SESSION, DENY, may(), caller=SESSION, session=[may(), must_not()],
           because=SESSION_DENIES),
    _asked("a federated user within both", _SESSION, ALLOW, may(), caller=FEDERATED, session=may()),
    _asked("a session policy alone", _SESSION, DENY, caller=SESSION, session=may(), because=NO_IDENTITY),
    _asked("a key spec: as wanted", _KEY_SPEC, ALLOW, _RSA, values={"kms:KeySpec": "RSA_4096"}),
    _asked("a key spec: the default", _KEY_SPEC, DENY, _RSA, values={"kms:KeySpec": "SYMMETRIC_DEFAULT"},
           because=NO_IDENTITY),
    # Aliases
    _asked("an alias: the root user", _ALIASES, ALLOW, action="CreateAlias", resource=ALIAS_ARN, caller=ROOT),
    _asked("an alias by policy", _ALIASES, ALLOW, _ALIAS, action="CreateAlias", resource=ALIAS_ARN),
    _asked("another alias", _ALIASES, DENY, _ALIAS, action="CreateAlias", resource=ALIAS_ARN + "2",
           because=NO_IDENTITY),
    _asked("an alias for another action", _ALIASES, DENY, may("kms:CreateAlias", Resource=ALIAS_ARN),
           action="DeleteAlias", resource=ALIAS_ARN,
           because=NO_IDENTITY),
    _asked("every alias", _ALIASES, ALLOW, may("kms:DeleteAlias", Resource=f"arn:aws:kms:*:{ACCOUNT}:alias/*"),
           action="DeleteAlias", resource=ALIAS_ARN),
    _asked("every alias of another Region", _ALIASES, DENY,
           may("kms:*", Resource=f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/*"), action="DeleteAlias",
           resource=ALIAS_ARN),
    _asked("a policy for the key alone", _ALIASES, DENY, may("kms:CreateAlias", Resource=KEY_ARN), action="CreateAlias",
           resource=ALIAS_ARN,
           because=NO_IDENTITY),
    _asked("a policy for key and alias", _ALIASES, ALLOW, may("kms:CreateAlias", Resource=[KEY_ARN, ALIAS_ARN]),
           action="CreateAlias", resource=ALIAS_ARN),
    _asked("an alias that is denied", _ALIASES, DENY, [may(), must_not(Resource=ALIAS_ARN)], action="UpdateAlias",
           resource=ALIAS_ARN,
           because=IDENTITY_DENIES),
)  # fmt: skip
