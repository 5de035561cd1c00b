"""Policies that cannot exist, beside those nearest to them that can."""

import json
from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    ALLOW,
    DENY,
    MALFORMED,
    ROLE_ARN,
    SESSION,
    Case,
    allow,
    may,
)

_GRAMMAR = "IAM User Guide, Grammar of the IAM JSON policy language"
_ELEMENTS = "IAM User Guide, IAM JSON policy elements"
_PRINCIPAL = "IAM User Guide, AWS JSON policy elements: Principal"
_KEY_POLICY = "KMS Developer Guide, Key policies: Key policy format and elements"
_NOT_PRINCIPAL = "IAM User Guide, AWS JSON policy elements: NotPrincipal: not supported with Allow"
_IDENTITY = f"{_PRINCIPAL}: cannot be used in an identity-based policy"
_SETS = (
    "KMS Developer Guide, AWS KMS condition keys: Using set operators with condition keys: OverlyPermissiveCondition"
)
_OPERATORS = "IAM User Guide, IAM JSON policy elements: Condition operators"

_GOOD = allow(ALICE.arn)


def _key(name: str, rule: str, expected: str, key_policy: Any, because: str = "", **more: Any) -> Case:
    return Case(name, rule, expected, key_policy, because=because, **more)


def _text(**changed: Any) -> str:
    document = {"Version": "2012-10-17", "Statement": [_GOOD], **changed}
    return json.dumps({name: value for name, value in document.items() if value is not None})


def _without(element: str) -> dict[str, Any]:
    return {name: value for name, value in _GOOD.items() if name != element}


_TEAM = {"kms:EncryptionContext:Department": "IT"}

CASES = (
    _key("a whole document", _KEY_POLICY, ALLOW, _text()),
    _key("a document with an Id", f"{_ELEMENTS}: Id", ALLOW, _text(Id="key-default-1")),
    _key("the older version", f"{_ELEMENTS}: Version", ALLOW, _text(Version="2008-10-17")),
    _key("an unknown version", f"{_ELEMENTS}: Version", MALFORMED, _text(Version="2012-10-18")),
    _key("an element of the document that is none", _GRAMMAR, MALFORMED, _text(Statements=[])),
    _key("no Statement", _KEY_POLICY, MALFORMED, _text(Statement=None)),
    _key("no statements", _KEY_POLICY, MALFORMED, _text(Statement=[])),
    _key("one statement, not in a list", f"{_ELEMENTS}: Statement", ALLOW, _text(Statement=_GOOD)),
    _key("a statement that is a text", _GRAMMAR, MALFORMED, _text(Statement=["Allow"])),
    _key("what is no JSON", _GRAMMAR, MALFORMED, _text()[:-1]),
    _key("a JSON list", _GRAMMAR, MALFORMED, f"[{_text()}]"),
    _key("an empty text", _GRAMMAR, MALFORMED, ""),
    _key("a Sid with spaces", _KEY_POLICY, ALLOW, {**_GOOD, "Sid": "Allow use of the key"}),
    _key("no Effect", f"{_ELEMENTS}: Effect", MALFORMED, _without("Effect")),
    _key("an Effect in another case", f"{_ELEMENTS}: Effect", MALFORMED, {**_GOOD, "Effect": "allow"}),
    _key("another Effect", f"{_ELEMENTS}: Effect", MALFORMED, {**_GOOD, "Effect": "Permit"}),
    _key("an element of a statement that is none", _GRAMMAR, MALFORMED, {**_GOOD, "Conditions": {}}),
    _key("Action and NotAction", _GRAMMAR, MALFORMED, {**_GOOD, "NotAction": "kms:Decrypt"}),
    _key("Resource and NotResource", _GRAMMAR, MALFORMED, {**_GOOD, "NotResource": "*"}),
    _key("Principal and NotPrincipal", _GRAMMAR, MALFORMED, {**_GOOD, "NotPrincipal": {"AWS": ACCOUNT}}),
    _key("an Action without a service", f"{_ELEMENTS}: Action", MALFORMED, allow(ALICE.arn, "Decrypt")),
    _key("an Action that is a number", _GRAMMAR, MALFORMED, {**_GOOD, "Action": 1}),
    # Principals
    _key("no Principal in a key policy", _KEY_POLICY, MALFORMED, _without("Principal")),
    _key("a Principal of an unknown kind", _PRINCIPAL, MALFORMED, allow({"Group": "Admins"})),
    _key("a group as Principal", _PRINCIPAL, MALFORMED, allow(f"arn:aws:iam::{ACCOUNT}:group/Admins")),
    _key("a role as Principal", _PRINCIPAL, ALLOW, allow(ROLE_ARN), caller=SESSION),
    _key("a user with a wildcard as Principal", _PRINCIPAL, MALFORMED, allow(f"arn:aws:iam::{ACCOUNT}:user/*")),
    _key("a session with a wildcard as Principal", _PRINCIPAL, MALFORMED,
         allow(f"arn:aws:sts::{ACCOUNT}:assumed-role/ExampleRole/*")),
    _key("a wildcard as account", _PRINCIPAL, MALFORMED, allow("arn:aws:iam::*:root")),
    _key("an account of 11 digits", _PRINCIPAL, MALFORMED, allow(ACCOUNT[:-1])),
    _key("NotPrincipal with Allow", _NOT_PRINCIPAL, MALFORMED, allow(None, NotPrincipal={"AWS": ACCOUNT})),
    Case("a Principal in an identity policy", _IDENTITY, MALFORMED, policies=[allow(ALICE.arn)]),
    Case("a NotPrincipal in an identity policy", _IDENTITY, MALFORMED,
         policies=[allow(None, NotPrincipal={"AWS": ACCOUNT})]),
    Case("a Principal in a boundary", _IDENTITY, MALFORMED, policies=[may()], boundary=allow(ALICE.arn)),
    Case("a Principal in a session policy", _IDENTITY, MALFORMED, caller=SESSION, policies=[may()],
         session=allow(ALICE.arn)),
    Case("an identity policy without Action", f"{_ELEMENTS}: Action: required", MALFORMED, policies=[may(Action=None)]),
    Case("an identity policy without Resource", f"{_ELEMENTS}: Resource: required", MALFORMED,
         policies=[may(Resource=None)]),
    # Conditions
    _key("an operator that is none", _OPERATORS, MALFORMED,
         allow(ALICE.arn, when={"StringMatches": {"aws:username": "Alice"}})),
    _key("a set operator that is none", _OPERATORS, MALFORMED,
         allow(ALICE.arn, when={"ForEachValue:StringEquals": {"aws:TagKeys": "a"}})),
    _key("NullIfExists", f"{_OPERATORS}: ...IfExists condition operators", MALFORMED,
         allow(ALICE.arn, when={"NullIfExists": {"aws:username": "true"}})),
    _key("a number that is none", f"{_OPERATORS}: Numeric condition operators", MALFORMED,
         allow(ALICE.arn, when={"NumericEquals": {"kms:RotationPeriodInDays": "ninety"}})),
    _key("a date with a wildcard", f"{_OPERATORS}: Date condition operators", MALFORMED,
         allow(ALICE.arn, when={"DateLessThan": {"aws:CurrentTime": "2020-*"}})),
    _key("a year alone", f"{_OPERATORS}: Date condition operators: ISO 8601 or epoch time", MALFORMED,
         allow(ALICE.arn, when={"DateLessThan": {"aws:CurrentTime": "2036"}})),
    _key("a day and a time", f"{_OPERATORS}: Date condition operators: ISO 8601 or epoch time", ALLOW,
         allow(ALICE.arn, when={"DateLessThanIfExists": {"aws:CurrentTime": "2036-01-01T00:00Z"}})),
    _key("a mask", f"{_OPERATORS}: IP address condition operators: CIDR", MALFORMED,
         allow(ALICE.arn, when={"IpAddress": {"aws:SourceIp": "203.0.113.0/255.255.255.0"}})),
    _key("a mask of the host", f"{_OPERATORS}: IP address condition operators: CIDR", MALFORMED,
         allow(ALICE.arn, when={"IpAddress": {"aws:SourceIp": "203.0.113.0/0.0.0.255"}})),
    _key("an address that is none", f"{_OPERATORS}: IP address condition operators", MALFORMED,
         allow(ALICE.arn, when={"IpAddress": {"aws:SourceIp": "203.0.113.0/33"}})),
    _key("ForAllValues with an encryption context", _SETS, MALFORMED,
         allow(ALICE.arn, when={"ForAllValues:StringEquals": _TEAM}),
         "OverlyPermissiveCondition"),
    _key("ForAllValues with a request tag", _SETS, MALFORMED,
         allow(ALICE.arn, when={"ForAllValues:StringEquals": {"aws:RequestTag/a": "b"}}),
         "OverlyPermissiveCondition"),
    _key("ForAllValues with context keys", _SETS, ALLOW,
         allow(ALICE.arn, when={"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": "a"}})),
    _key("an encryption context without ForAllValues", _SETS, DENY, allow(ALICE.arn, when={"StringEquals": _TEAM})),
)  # fmt: skip
