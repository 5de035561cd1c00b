"""…IfExists and Null: whether the request has a condition key."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ALLOW,
    DENY,
    NO_RESOURCE,
    RESOURCE_DENIES,
    Case,
    conditional,
    forbidden,
)

_PAGE = "IAM User Guide, IAM JSON policy elements: Condition operators"
_IF_EXISTS, _NULL = (
    f"{_PAGE}: ...IfExists condition operators",
    f"{_PAGE}: Condition operator to check existence of condition keys",
)
_NEGATED = f"{_IF_EXISTS}: Deny with a negated operator still denies when the key is missing"


def _asked(
    name: str, expected: str, operator: str, key: str, wanted: Any, given: str | None, rule: str = _IF_EXISTS
) -> Case:
    values = {} if given is None else {key: given}
    because = NO_RESOURCE if expected == DENY else ""
    return conditional(f"{operator}: {name}", rule, expected, {operator: {key: wanted}}, values=values, because=because)


_TAG, _ISSUED = "aws:PrincipalTag/team", "aws:TokenIssueTime"
_TYPE = {"StringNotEqualsIfExists": {_TAG: "red"}}
_TWO = {"StringLikeIfExists": {_TAG: "r*"}, "StringEquals": {"aws:PrincipalTag/site": "Rome"}}

CASES = (
    _asked("there, holds", ALLOW, "StringEqualsIfExists", _TAG, "red", "red"),
    _asked("there, does not hold", DENY, "StringEqualsIfExists", _TAG, "red", "blue"),
    _asked("not there", ALLOW, "StringEqualsIfExists", _TAG, "red", None),
    _asked("there, holds", ALLOW, "StringLikeIfExists", _TAG, ["t1.*", "m3.*"], "m3.large"),
    _asked("there, does not hold", DENY, "StringLikeIfExists", _TAG, ["t1.*", "m3.*"], "c5.large"),
    _asked("not there", ALLOW, "StringLikeIfExists", _TAG, ["t1.*", "m3.*"], None),
    _asked("there, holds", DENY, "StringNotEqualsIfExists", _TAG, "red", "red"),
    _asked("not there", ALLOW, "StringNotEqualsIfExists", _TAG, "red", None),
    _asked("there, does not hold", DENY, "NumericLessThanIfExists", "kms:RotationPeriodInDays", "180", "365"),
    _asked("not there", ALLOW, "NumericLessThanIfExists", "kms:RotationPeriodInDays", "180", None),
    _asked("there, does not hold", DENY, "DateGreaterThanIfExists", _ISSUED, "2020-01-01T00:00:01Z",
           "2019-01-01T00:00:01Z"),
    _asked("not there", ALLOW, "DateGreaterThanIfExists", _ISSUED, "2020-01-01T00:00:01Z", None),
    _asked("there, does not hold", DENY, "BoolIfExists", "aws:SecureTransport", "true", "false"),
    _asked("not there", ALLOW, "BoolIfExists", "aws:SecureTransport", "true", None),
    _asked("there, does not hold", DENY, "IpAddressIfExists", "aws:SourceIp", "203.0.113.0/24", "198.51.100.1"),
    _asked("not there", ALLOW, "IpAddressIfExists", "aws:SourceIp", "203.0.113.0/24", None),
    _asked("there, does not hold", DENY, "ArnLikeIfExists", "aws:SourceArn", "arn:aws:sns:*:*:a", "arn:aws:sns:x:1:b"),
    _asked("not there", ALLOW, "ArnLikeIfExists", "aws:SourceArn", "arn:aws:sns:*:*:a", None),
    conditional("IfExists does not excuse another condition", _IF_EXISTS, DENY, _TWO,
                values={"aws:PrincipalTag/site": "Riga"}),
    conditional("IfExists beside another condition that holds", _IF_EXISTS, ALLOW, _TWO,
                values={"aws:PrincipalTag/site": "Rome"}),
    forbidden("a negated IfExists in a deny, the key missing", _NEGATED, DENY, _TYPE, because=RESOURCE_DENIES),
    forbidden("a negated IfExists in a deny, equal", _NEGATED, ALLOW, _TYPE, values={_TAG: "red"}),
    forbidden("an IfExists in a deny, the key missing", _IF_EXISTS, DENY, {"StringEqualsIfExists": {_TAG: "red"}}),
    # Null
    _asked("true, not there: long-term keys", ALLOW, "Null", _ISSUED, "true", None, _NULL),
    _asked("true, there: temporary credentials", DENY, "Null", _ISSUED, "true", "2020-01-01T00:00:01Z", _NULL),
    _asked("false, there", ALLOW, "Null", _ISSUED, "false", "2020-01-01T00:00:01Z", _NULL),
    _asked("false, not there", DENY, "Null", _ISSUED, "false", None, _NULL),
    _asked("true, not quoted, not there", ALLOW, "Null", _ISSUED, True, None, _NULL),
    _asked("false, not quoted, not there", DENY, "Null", _ISSUED, False, None, _NULL),
    forbidden("a deny of what has no tag: without", _NULL, DENY, {"Null": {_TAG: "true"}}, because=RESOURCE_DENIES),
    forbidden("a deny of what has no tag: with", _NULL, ALLOW, {"Null": {_TAG: "true"}}, values={_TAG: "red"}),
)  # fmt: skip
