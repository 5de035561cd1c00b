"""Random requests with the policies that decide on them.

The vocabulary is small, so that things meet often: what a policy says is mostly about the request it is made for.
"""

import random
from typing import Any, NamedTuple

from msgspec import Struct

Json = dict[str, Any]
Context = dict[str, str | list[str]]

ACCOUNT, OTHER_ACCOUNT = "111122223333", "444455556666"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_OTHER_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0987dcba-09fe-87dc-65ba-ab0987654321"
_SERVICE = "logs.amazonaws.com"


class Caller(Struct, frozen=True):
    """Who asks. `issuer` is the role of a role's session, and the user of a federated user."""

    kind: str
    arn: str
    account: str
    issuer: str | None = None


class Case(Struct, frozen=True):
    """A request and all that decides on it. A multivalued condition key has a list of values, another a text.

    Without a key policy the action is on no key: on `*`, or on an alias.
    """

    caller: Caller
    action: str
    resource: str
    context: Context
    key_policy: Json | None
    identity_policies: list[Json]
    boundary: Json | None = None
    session_policy: Json | None = None

    @property
    def has_principal(self) -> bool:
        """Whether the caller is an IAM principal, to which a boundary can be attached."""
        return self.caller.kind not in ("Root", "AWSService")


class _Key(NamedTuple):
    """A condition key: the type of its values, some of them, and whether a request can have several."""

    type: str
    values: tuple[str, ...]
    multivalued: bool = False


_ACCOUNTS = (ACCOUNT, OTHER_ACCOUNT)
_DATES = ("2026-01-01T00:00:00Z", "2026-06-15T12:30:00Z", "2026-06-15T12:30:00.5Z", "2026-12-31", "1781526600")
_SOURCE_ARNS = (f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:one", f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:two")
_GLOBAL_KEYS = {
    "aws:SourceIp": _Key("ip", ("10.1.2.3", "10.9.0.1", "192.0.2.7", "2001:db8::7")),
    "aws:PrincipalAccount": _Key("string", _ACCOUNTS),
    "aws:PrincipalTag/team": _Key("string", ("red", "Red", "blue", "*")),
    "aws:PrincipalTag/badge": _Key("binary", ("QUJD", "REVG")),
    "aws:SecureTransport": _Key("bool", ("true", "false")),
    "aws:MultiFactorAuthPresent": _Key("bool", ("true", "false")),
    "aws:MultiFactorAuthAge": _Key("numeric", ("30", "300", "3600")),
    "aws:CurrentTime": _Key("date", _DATES),
    "aws:TokenIssueTime": _Key("date", _DATES),
    "aws:SourceArn": _Key("arn", _SOURCE_ARNS),
    "aws:SourceAccount": _Key("string", _ACCOUNTS),
    "aws:RequestedRegion": _Key("string", ("us-east-1", "eu-west-1")),
    "aws:CalledVia": _Key("string", ("athena.amazonaws.com", "cloudformation.amazonaws.com"), multivalued=True),
    "aws:TagKeys": _Key("string", ("team", "stage", "cost"), multivalued=True),
    "aws:RequestTag/stage": _Key("string", ("test", "production")),
}
_OF_KEYS = {
    "kms:CallerAccount": _Key("string", _ACCOUNTS),
    "kms:KeySpec": _Key("string", ("SYMMETRIC_DEFAULT", "RSA_2048", "ECC_NIST_P256")),
    "kms:KeyOrigin": _Key("string", ("AWS_KMS", "EXTERNAL")),
    "kms:MultiRegion": _Key("bool", ("true", "false")),
    "kms:ResourceAliases": _Key("string", ("alias/one", "alias/two"), multivalued=True),
    "kms:ViaService": _Key("string", ("s3.us-east-1.amazonaws.com", "ebs.us-east-1.amazonaws.com")),
    "aws:ResourceTag/team": _Key("string", ("red", "blue")),
}
_FOR_IAM_POLICIES = {"kms:ResourceAliases", "aws:ResourceTag/team"}
"""Refused in a key policy."""
_WITH_CONTEXT = {
    "kms:EncryptionContext:purpose": _Key("string", ("test", "Test", "backup?")),
    "kms:EncryptionContextKeys": _Key("string", ("purpose", "Purpose", "tenant"), multivalued=True),
}
_ENCRYPTING = {
    **_OF_KEYS,
    **_WITH_CONTEXT,
    "kms:EncryptionAlgorithm": _Key("string", ("SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256")),
    "kms:RequestAlias": _Key("string", ("alias/one", "alias/two")),
}
_DAYS = ("7", "30", "90")
_ON_KEYS: dict[str, dict[str, _Key]] = {
    "Encrypt": _ENCRYPTING,
    "Decrypt": _ENCRYPTING,
    "GenerateDataKey": _ENCRYPTING,
    "ReEncryptFrom": {**_ENCRYPTING, "kms:ReEncryptOnSameKey": _Key("bool", ("true", "false"))},
    "CreateGrant": {
        **_OF_KEYS,
        **_WITH_CONTEXT,
        "kms:GrantOperations": _Key("string", ("Encrypt", "Decrypt", "CreateGrant"), multivalued=True),
        "kms:GrantIsForAWSResource": _Key("bool", ("true", "false")),
        "kms:GranteePrincipal": _Key("string", (f"arn:aws:iam::{ACCOUNT}:role/app", f"arn:aws:iam::{ACCOUNT}:user/u")),
    },
    "Sign": {
        **_OF_KEYS,
        "kms:SigningAlgorithm": _Key("string", ("ECDSA_SHA_256", "RSASSA_PSS_SHA_256")),
        "kms:MessageType": _Key("string", ("RAW", "DIGEST")),
    },
    "ImportKeyMaterial": {
        **_OF_KEYS,
        "kms:ValidTo": _Key("date", _DATES),
        "kms:ExpirationModel": _Key("string", ("KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE")),
    },
    "ScheduleKeyDeletion": {**_OF_KEYS, "kms:ScheduleKeyDeletionPendingWindowInDays": _Key("numeric", _DAYS)},
    "EnableKeyRotation": {**_OF_KEYS, "kms:RotationPeriodInDays": _Key("numeric", _DAYS)},
    "PutKeyPolicy": {**_OF_KEYS, "kms:BypassPolicyLockoutSafetyCheck": _Key("bool", ("true", "false"))},
    "DescribeKey": {**_OF_KEYS, "kms:RequestAlias": _Key("string", ("alias/one", "alias/two"))},
    "CreateAlias": _OF_KEYS,
    "TagResource": _OF_KEYS,
}
_ON_NO_KEY: dict[str, dict[str, _Key]] = {
    "ListKeys": {},
    "ListAliases": {},
    "GenerateRandom": {},
    "CreateKey": {
        "kms:CallerAccount": _Key("string", _ACCOUNTS),
        "kms:KeySpec": _Key("string", ("SYMMETRIC_DEFAULT", "RSA_2048")),
        "kms:MultiRegion": _Key("bool", ("true", "false")),
        "kms:BypassPolicyLockoutSafetyCheck": _Key("bool", ("true", "false")),
    },
    "CreateAlias": {"kms:CallerAccount": _Key("string", _ACCOUNTS)},
    "DeleteAlias": {"kms:CallerAccount": _Key("string", _ACCOUNTS)},
}
_OPERATORS = {
    "string": (
        "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike",
        "StringNotLike",
    ),
    "arn": ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "StringEquals", "StringLike", "StringNotLike"),
    "numeric": (
        "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan",
        "NumericGreaterThanEquals",
    ),
    "date": (
        "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
    ),
    "bool": ("Bool", "Bool", "StringEquals"),
    "ip": ("IpAddress", "NotIpAddress"),
    "binary": ("BinaryEquals", "StringEquals"),
}  # fmt: skip
"""Type of a condition key -> the operators for it."""

OPERATORS = frozenset({operator for operators in _OPERATORS.values() for operator in operators} | {"Null"})
ACTIONS = frozenset(f"kms:{name}" for name in (*_ON_KEYS, *_ON_NO_KEY))
_SINGLE_TAG = ("kms:EncryptionContext:", "aws:RequestTag/")
"""Keys that AWS lets nobody use with ForAllValues."""


def random_case(seed: int, number: int) -> Case:
    """The case of this number. It depends on nothing but the seed and the number."""
    return _Maker(random.Random(f"{seed} {number}")).case()


def _callers() -> list[Caller]:
    callers = []
    for account in _ACCOUNTS:
        iam, sts = f"arn:aws:iam::{account}", f"arn:aws:sts::{account}"
        callers += [
            Caller("Root", f"{iam}:root", account),
            Caller("IAMUser", f"{iam}:user/alice", account),
            Caller("AssumedRole", f"{sts}:assumed-role/app/one", account, f"{iam}:role/service/app"),
            Caller("FederatedUser", f"{sts}:federated-user/alice", account, f"{iam}:user/alice"),
        ]
    return [*callers, Caller("AWSService", _SERVICE, "")]


_CALLERS = _callers()
_WEIGHTS = [2, 7, 9, 5, 1, 3, 3, 2, 1]
_STRANGERS = (
    f"arn:aws:iam::{ACCOUNT}:user/bob",
    f"arn:aws:iam::{ACCOUNT}:role/other",
    f"arn:aws:sts::{ACCOUNT}:assumed-role/app/two",
    f"arn:aws:iam::{OTHER_ACCOUNT}:role/other",
)


class _Maker:
    """Makes one case: first the request, then policies with the request in view."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self._caller = source.choices(_CALLERS, _WEIGHTS)[0]
        on_key = self._caller.kind == "AWSService" or source.random() < 0.85
        name = source.choice(list(_ON_KEYS if on_key else _ON_NO_KEY))
        self._on_key = on_key
        self._action = f"kms:{name}"
        self._resource = KEY if on_key else "*"
        if not on_key and name.endswith("Alias"):
            self._resource = f"arn:aws:kms:us-east-1:{self._caller.account}:alias/one"
        self._keys = self._keys_of(name)
        self._context = self._made_context()

    def case(self) -> Case:
        key_policy = self._policy(with_principals=True) if self._on_key else None
        if self._caller.kind in ("Root", "AWSService"):
            return Case(self._caller, self._action, self._resource, self._context, key_policy, [])
        some = self._random.choices((0, 1, 2), (1, 8, 3))[0]
        return Case(
            self._caller,
            self._action,
            self._resource,
            self._context,
            key_policy,
            [self._policy() for _ in range(some)],
            boundary=self._policy() if self._chance(0.4) else None,
            session_policy=self._policy() if self._has_session_policy() else None,
        )

    def _has_session_policy(self) -> bool:
        # A federated user without one can do nothing: AWS requires one to be of use.
        return self._caller.kind == "FederatedUser" or (self._caller.kind == "AssumedRole" and self._chance(0.5))

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    # The request.

    def _keys_of(self, name: str) -> dict[str, _Key]:
        keys = {**_GLOBAL_KEYS, **(_ON_KEYS if self._on_key else _ON_NO_KEY)[name]}
        if self._caller.kind != "AWSService":
            # AWS: for a session this is the ARN of its role, or of its federated user.
            arn = self._caller.issuer if self._caller.kind == "AssumedRole" else self._caller.arn
            keys["aws:PrincipalArn"] = _Key("arn", (arn or "", _STRANGERS[0]))
        if self._caller.kind == "IAMUser":
            keys["aws:username"] = _Key("string", ("alice", "bob"))
        return keys

    def _made_context(self) -> Context:
        context: Context = {}
        for name, key in self._keys.items():
            if not self._chance(0.7):
                continue
            if key.multivalued:
                context[name] = self._random.sample(key.values, self._random.randint(1, len(key.values)))
            elif name in ("aws:PrincipalArn", "aws:username"):
                context[name] = key.values[0]
            else:
                context[name] = self._random.choice(key.values)
        return context

    # Policies.

    def _policy(self, *, with_principals: bool = False) -> Json:
        count = self._random.choices((1, 2, 3), (4, 4, 3))[0]
        statements = [self._statement(with_principals=with_principals) for _ in range(count)]
        version = "2008-10-17" if self._chance(0.06) else "2012-10-17"
        return {"Version": version, "Statement": statements}

    def _statement(self, *, with_principals: bool) -> Json:
        statement: Json = {"Effect": "Deny" if self._chance(0.12) else "Allow"}
        denies = statement["Effect"] == "Deny"
        if with_principals:
            statement["NotPrincipal" if denies and self._chance(0.4) else "Principal"] = self._principals()
        if self._chance(0.1):
            statement["NotAction"] = self._some([self._action_pattern(mine=self._chance(0.3)) for _ in range(3)])
        else:
            # A Deny is mostly about something else, lest nothing be left to decide.
            mine = self._chance(0.55 if denies else 0.95)
            statement["Action"] = self._some([self._action_pattern(mine=mine), self._action_pattern(mine=mine)])
        if self._chance(0.08):
            statement["NotResource"] = self._some([self._resource_pattern(mine=self._chance(0.3)) for _ in range(2)])
        else:
            mine = self._chance(0.95)
            statement["Resource"] = self._some([self._resource_pattern(mine=mine), self._resource_pattern(mine=mine)])
        for _ in range(self._random.choices((0, 1, 2), (7, 4, 1))[0]):
            operator, name, values = self._condition(of_key=with_principals)
            statement.setdefault("Condition", {}).setdefault(operator, {})[name] = values
        return statement

    def _some(self, values: list[str]) -> str | list[str]:
        """The first of the values, bare or in a list, or all of them."""
        return self._random.choices((values[0], values[:1], values), (4, 1, 2))[0]

    def _principals(self) -> str | Json:
        caller = self._caller
        mine = [caller.arn, f"arn:aws:iam::{caller.account}:root", caller.account, "*"]
        weights = [3.0, 3.0, 2.0, 0.7]
        if caller.issuer is not None:
            mine, weights = [*mine, caller.issuer], [*weights, 3.0]
        if caller.kind == "AWSService":
            service: list[str | Json] = ["*", {"AWS": ACCOUNT}, {"Service": _SERVICE}, {"Service": [_SERVICE]}]
            return self._random.choice(service)
        if self._chance(0.03):
            return {"Service": _SERVICE}
        names = self._random.choices(mine, weights, k=self._random.randint(1, 3))
        if self._chance(0.07):
            names = [self._random.choice((*_STRANGERS, _ACCOUNTS[caller.account == ACCOUNT]))]
        elif self._chance(0.2):
            names.append(self._random.choice(_STRANGERS))
        if "*" in names:
            anyone: list[str | Json] = ["*", {"AWS": "*"}, {"AWS": ["*"]}]
            return self._random.choice(anyone)
        names = list(dict.fromkeys(names))
        principals: Json = {"AWS": names[0] if len(names) == 1 else names}
        if self._chance(0.05):
            principals["Service"] = _SERVICE
        return principals

    def _action_pattern(self, *, mine: bool) -> str:
        if not mine:
            return self._random.choice(
                ["kms:List*", "kms:Untag*", "kms:Verify", "s3:*", "kms:?Create*", "kms:Encrypt", "kms:Get*"]
            )
        name = self._action.partition(":")[2]
        return self._random.choice(
            [
                self._action, self._action, "kms:*", "kms:*", "*", self._action.lower(), self._action.upper(),
                f"kms:{name[:4]}*", f"kms:*{name[-5:]}", f"kms:?{name[1:]}", f"kms:{name[:2]}*{name[-3:]}",
                f"KMS:{name}",
            ]
        )  # fmt: skip

    def _resource_pattern(self, *, mine: bool) -> str:
        if not mine or self._resource == "*":
            others = [_OTHER_KEY, f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*", "arn:aws:s3:::bucket/*"]
            return "*" if mine else self._random.choice(others)
        arn, account = self._resource, self._resource.split(":")[4]
        head, kind = arn.rpartition("/")[0], arn.split(":")[5].partition("/")[0]
        return self._random.choice(
            [
                "*", "*", "*", "*", arn, arn, f"{head}/*", f"arn:aws:kms:*:{account}:{kind}/*", f"{arn[:-3]}???",
                f"{head}/{arn[len(head) + 1]}*{arn[-1]}", "arn:aws:kms:*:*:*", "arn:aws:kms:us-east-1:*",
                f"arn:aws:kms:us-*:{account}:*", f"arn:aws:kms:*:{kind}/*", f"{head}/${{aws:username}}*",
                f"{head}/${{aws:username, '{arn[len(head) + 1 :]}'}}",
            ]
        )  # fmt: skip

    # Conditions.

    def _condition(self, *, of_key: bool) -> tuple[str, str, Any]:
        name = self._random.choice([name for name in self._keys if not (of_key and name in _FOR_IAM_POLICIES)])
        key = self._keys[name]
        written = self._random.choice([name, name, name.lower(), name.swapcase() if ":" not in name[4:] else name])
        if self._chance(0.08):
            return "Null", written, self._random.choice(["true", "false", ["true", "false"], ["false"]])
        operator = self._random.choice(_OPERATORS[key.type])
        # AWS: a multivalued key requires a set operator. What one does without is not documented.
        if key.multivalued or self._chance(0.03):
            sets = ["ForAnyValue:"] if name.startswith(_SINGLE_TAG) else ["ForAnyValue:", "ForAllValues:"]
            operator = self._random.choice(sets) + operator
        if self._chance(0.15):
            operator += "IfExists"
        values = [self._value(name, key, operator) for _ in range(self._random.choices((1, 2, 3), (5, 3, 1))[0])]
        return operator, written, values if len(values) > 1 or self._chance(0.2) else values[0]

    def _value(self, name: str, key: _Key, operator: str) -> str:
        given = self._context.get(name)
        if isinstance(given, list):
            given = self._random.choice(given)
        value = given if given is not None and self._chance(0.6) else self._random.choice(key.values)
        if key.type == "ip":
            return self._random.choice([value, "10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32"])
        if key.type in ("string", "arn") and self._chance(0.12):
            return self._with_variable(value, key, operator)
        if key.type == "arn":
            start, middle, end = value.rpartition(":")
            region = value.split(":")[3]
            return self._random.choice(
                [value, f"{start}:*", f"{start}{middle}{end[:3]}*", value.replace(region, "*", 1) if region else value]
            )
        if key.type == "string" and ("Like" in operator or self._chance(0.1)):
            return self._random.choice([f"{value[:2]}*", f"*{value[1:]}", f"?{value[1:]}", f"{value[:-1]}?", value])
        return self._random.choice([value, value.upper()]) if "IgnoreCase" in operator else value

    def _with_variable(self, value: str, key: _Key, operator: str) -> str:
        variable = self._random.choice(
            [
                "kms:CallerAccount",
                "aws:PrincipalAccount",
                "aws:username",
                "aws:PrincipalTag/team",
                "AWS:requestedregion",
            ]
        )
        if key.type == "arn":
            first, _, last = value.rpartition(":")
            return self._random.choice([f"{first}:${{{variable}, '{last}'}}", f"{first}:${{{variable}}}*"])
        escaped = "${*}" if "Like" in operator else "*"
        return self._random.choice(
            [f"${{{variable}}}", f"${{{variable}}}", f"${{{variable}, '{value}'}}", f"{escaped}", "${$}", "a${?}b"]
        )
