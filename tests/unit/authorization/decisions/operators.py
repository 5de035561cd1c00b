"""The operators for numbers, dates, truth values, binary values, addresses and ARNs."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALLOW,
    DENY,
    NO_RESOURCE,
    OTHER,
    RESOURCE_DENIES,
    Case,
    conditional,
    forbidden,
)

_PAGE = "IAM User Guide, IAM JSON policy elements: Condition operators"
_NUMERIC, _DATE = f"{_PAGE}: Numeric condition operators", f"{_PAGE}: Date condition operators"
_BOOL, _BINARY = f"{_PAGE}: Boolean condition operators", f"{_PAGE}: Binary condition operators"
_IP, _ARN = f"{_PAGE}: IP address condition operators", f"{_PAGE}: Amazon Resource Name (ARN) condition operators"
_MISSING = f"{_PAGE}: a key that is not present does not match; a negated operator is then true"
_OR = "IAM User Guide, Conditions with multiple context keys or values: several values of a key: OR"
_NOR = "IAM User Guide, Conditions with multiple context keys or values: several values of a negated operator: NOR"
_EPOCH = "IAM User Guide, AWS global condition context keys: aws:EpochTime: date or numeric operators"
_MFA = "IAM User Guide, AWS global condition context keys: aws:MultiFactorAuthPresent"
_DENY_IP = "IAM User Guide, AWS: Denies access to AWS based on the source IP"


def _asked(name: str, rule: str, expected: str, operator: str, key: str, wanted: Any, given: str | None) -> Case:
    values = {} if given is None else {key: given}
    because = NO_RESOURCE if expected == DENY else ""
    return conditional(f"{operator}: {name}", rule, expected, {operator: {key: wanted}}, values=values, because=because)


def _number(name: str, expected: str, operator: str, wanted: Any, given: str | None, rule: str = _NUMERIC) -> Case:
    return _asked(name, rule, expected, operator, "kms:RotationPeriodInDays", wanted, given)


def _date(name: str, expected: str, operator: str, wanted: Any, given: str | None, rule: str = _DATE) -> Case:
    return _asked(name, rule, expected, operator, "aws:TokenIssueTime", wanted, given)


def _address(name: str, expected: str, operator: str, wanted: Any, given: str | None, rule: str = _IP) -> Case:
    return _asked(name, rule, expected, operator, "aws:SourceIp", wanted, given)


def _arn(name: str, expected: str, operator: str, wanted: Any, given: str | None, rule: str = _ARN) -> Case:
    return _asked(name, rule, expected, operator, "aws:SourceArn", wanted, given)


_DAY, _NEXT = "2020-01-01T00:00:01Z", "2020-01-02T00:00:01Z"
_V4, _V6 = "203.0.113.0/24", "2001:DB8:1234:5678::/64"
_TOPIC = f"arn:aws:sns:us-west-2:{ACCOUNT}:topic"
_LOG_GROUP = f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:example:*"
_FINANCE = f"arn:aws:sns:*:{ACCOUNT}:finance/*"
_TRICK = f"arn:aws:sns:us-east-2:{OTHER}:store/abc:{ACCOUNT}:finance/document.txt"
_NO_MFA = {"aws:MultiFactorAuthPresent": "false"}

CASES = (
    _number("equal", ALLOW, "NumericEquals", "90", "90"),
    _number("other", DENY, "NumericEquals", "90", "91"),
    _number("equal, a number in the policy", ALLOW, "NumericEquals", 90, "90"),
    _number("equal as numbers, not as texts", ALLOW, "NumericEquals", "90.0", "90"),
    _number("one of two", ALLOW, "NumericEquals", ["90", "180"], "180", _OR),
    _number("missing", DENY, "NumericEquals", "90", None, _MISSING),
    _number("equal", DENY, "NumericNotEquals", "90", "90"),
    _number("other", ALLOW, "NumericNotEquals", "90", "91"),
    _number("one of two", DENY, "NumericNotEquals", ["90", "180"], "180", _NOR),
    _number("missing", ALLOW, "NumericNotEquals", "90", None, _MISSING),
    _number("less", ALLOW, "NumericLessThan", "180", "90"),
    _number("equal", DENY, "NumericLessThan", "180", "180"),
    _number("less as a number, more as a text", ALLOW, "NumericLessThan", "1000", "90"),
    _number("missing", DENY, "NumericLessThan", "180", None, _MISSING),
    _number("equal", ALLOW, "NumericLessThanEquals", "180", "180"),
    _number("more", DENY, "NumericLessThanEquals", "180", "181"),
    _number("more", ALLOW, "NumericGreaterThan", "180", "365"),
    _number("equal", DENY, "NumericGreaterThan", "180", "180"),
    _number("equal", ALLOW, "NumericGreaterThanEquals", "180", "180"),
    _number("less", DENY, "NumericGreaterThanEquals", "180", "179"),
    _number("decimals", ALLOW, "NumericGreaterThan", "89.5", "90"),
    _number("negative", ALLOW, "NumericGreaterThan", "-1", "0"),
    # Dates
    _date("equal", ALLOW, "DateEquals", _DAY, _DAY),
    _date("other", DENY, "DateEquals", _DAY, _NEXT),
    _date("equal, epoch in the policy", ALLOW, "DateEquals", "1577836801", _DAY),
    _date("equal, in another time zone", ALLOW, "DateEquals", "2020-01-01T01:00:01+01:00", _DAY),
    _date("missing", DENY, "DateEquals", _DAY, None, _MISSING),
    _date("equal", DENY, "DateNotEquals", _DAY, _DAY),
    _date("other", ALLOW, "DateNotEquals", _DAY, _NEXT),
    _date("missing", ALLOW, "DateNotEquals", _DAY, None, _MISSING),
    _date("before", ALLOW, "DateLessThan", _NEXT, _DAY),
    _date("at", DENY, "DateLessThan", _DAY, _DAY),
    _date("at", ALLOW, "DateLessThanEquals", _DAY, _DAY),
    _date("after", DENY, "DateLessThanEquals", _DAY, _NEXT),
    _date("after", ALLOW, "DateGreaterThan", _DAY, _NEXT),
    _date("at", DENY, "DateGreaterThan", _DAY, _DAY),
    _date("missing, as with long-term keys", DENY, "DateGreaterThan", _DAY, None),
    _date("after a day without time", ALLOW, "DateGreaterThan", "2020-01-01", _DAY),
    _date("at", ALLOW, "DateGreaterThanEquals", _DAY, _DAY),
    _date("before", DENY, "DateGreaterThanEquals", _NEXT, _DAY),
    _asked("epoch, before", _EPOCH, ALLOW, "DateLessThan", "aws:EpochTime", _NEXT, "1577836801"),
    _asked("epoch, after", _EPOCH, DENY, "DateLessThan", "aws:EpochTime", _DAY, "1577923201"),
    _asked("epoch as a number, less", _EPOCH, ALLOW, "NumericLessThan", "aws:EpochTime", "1577923201", "1577836801"),
    _asked("epoch as a number, equal", _EPOCH, DENY, "NumericLessThan", "aws:EpochTime", "1577836801", "1577836801"),
    # Truth values
    _asked("true", _BOOL, ALLOW, "Bool", "aws:SecureTransport", "true", "true"),
    _asked("false", _BOOL, DENY, "Bool", "aws:SecureTransport", "true", "false"),
    _asked("wanted false", _BOOL, ALLOW, "Bool", "aws:SecureTransport", "false", "false"),
    _asked("true, not quoted in the policy", _BOOL, ALLOW, "Bool", "aws:SecureTransport", True, "true"),
    _asked("false, not quoted in the policy", _BOOL, DENY, "Bool", "aws:SecureTransport", False, "true"),
    _asked("missing", _MISSING, DENY, "Bool", "aws:SecureTransport", "true", None),
    _asked("missing where false is wanted", _MISSING, DENY, "Bool", "aws:SecureTransport", "false", None),
    forbidden("a deny without TLS: without", _BOOL, DENY, {"Bool": {"aws:SecureTransport": "false"}},
              values={"aws:SecureTransport": "false"}, because=RESOURCE_DENIES),
    forbidden("a deny without TLS: with", _BOOL, ALLOW, {"Bool": {"aws:SecureTransport": "false"}},
              values={"aws:SecureTransport": "true"}),
    forbidden("a deny without MFA: a session without", _MFA, DENY, {"BoolIfExists": _NO_MFA}, values=_NO_MFA),
    forbidden("a deny without MFA: a session with", _MFA, ALLOW, {"BoolIfExists": _NO_MFA},
              values={"aws:MultiFactorAuthPresent": "true"}),
    forbidden("a deny without MFA: long-term keys", _MFA, DENY, {"BoolIfExists": _NO_MFA}),
    forbidden("a deny without MFA, by Bool: long-term keys", _MFA, ALLOW, {"Bool": _NO_MFA}),
    # Binary values
    _asked("equal", _BINARY, ALLOW, "BinaryEquals", "aws:PrincipalTag/key", "QmluYXJ5VmFsdWVJbkJhc2U2NA==",
           "QmluYXJ5VmFsdWVJbkJhc2U2NA=="),
    _asked("other", _BINARY, DENY, "BinaryEquals", "aws:PrincipalTag/key", "QmluYXJ5VmFsdWVJbkJhc2U2NA==",
           "QmluYXJ5VmFsdWVJbkJhc2U2NQ=="),
    _asked("missing", _MISSING, DENY, "BinaryEquals", "aws:PrincipalTag/key", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", None),
    # Addresses
    _address("within a range", ALLOW, "IpAddress", _V4, "203.0.113.7"),
    _address("the first of a range", ALLOW, "IpAddress", _V4, "203.0.113.0"),
    _address("the last of a range", ALLOW, "IpAddress", _V4, "203.0.113.255"),
    _address("after a range", DENY, "IpAddress", _V4, "203.0.114.0"),
    _address("before a range", DENY, "IpAddress", _V4, "203.0.112.255"),
    _address("one address", ALLOW, "IpAddress", "203.0.113.7", "203.0.113.7"),
    _address("beside one address", DENY, "IpAddress", "203.0.113.7", "203.0.113.8"),
    _address("within a range of version 6", ALLOW, "IpAddress", _V6, "2001:db8:1234:5678::1"),
    _address("outside a range of version 6", DENY, "IpAddress", _V6, "2001:db8:1234:5679::1"),
    _address("one of two ranges, version 4", ALLOW, "IpAddress", [_V4, _V6], "203.0.113.7"),
    _address("one of two ranges, version 6", ALLOW, "IpAddress", [_V4, _V6], "2001:db8:1234:5678::1"),
    _address("neither of two ranges", DENY, "IpAddress", [_V4, _V6], "198.51.100.1"),
    _address("missing, as through a VPC endpoint", DENY, "IpAddress", _V4, None),
    _address("within a range", DENY, "NotIpAddress", _V4, "203.0.113.7"),
    _address("outside a range", ALLOW, "NotIpAddress", _V4, "198.51.100.1"),
    _address("in the second of two ranges", DENY, "NotIpAddress", ["192.0.2.0/24", _V4], "203.0.113.7", _NOR),
    _address("missing", ALLOW, "NotIpAddress", _V4, None, _MISSING),
    forbidden("a deny from elsewhere: at home", _DENY_IP, ALLOW,
              {"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", _V4]}},
              values={"aws:SourceIp": "192.0.2.9"}),
    forbidden("a deny from elsewhere: elsewhere", _DENY_IP, DENY,
              {"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", _V4]}},
              values={"aws:SourceIp": "198.51.100.1"}, because=RESOURCE_DENIES),
    # ARNs
    *(row for operator in ("ArnEquals", "ArnLike") for row in (
        _arn("equal", ALLOW, operator, _TOPIC, _TOPIC),
        _arn("other", DENY, operator, _TOPIC, f"{_TOPIC}s"),
        _arn("other case", DENY, operator, _TOPIC, _TOPIC.replace("topic", "Topic")),
        _arn("equal, with a colon in its resource", ALLOW, operator, _LOG_GROUP, _LOG_GROUP),
        _arn("a star in a component", ALLOW, operator, f"arn:aws:sns:*:{ACCOUNT}:*", _TOPIC),
        _arn("a star in a component, other account", DENY, operator, f"arn:aws:sns:*:{OTHER}:*", _TOPIC),
        _arn("a question mark", ALLOW, operator, f"arn:aws:sns:us-west-?:{ACCOUNT}:topic", _TOPIC),
        _arn("a question mark for two", DENY, operator, f"arn:aws:sns:us-west?:{ACCOUNT}:topic", _TOPIC),
        _arn("a star does not cross a colon", DENY, operator, _FINANCE, _TRICK),
        _arn("a star within its component", ALLOW, operator, _FINANCE, f"arn:aws:sns:us-east-2:{ACCOUNT}:finance/a/b"),
        _arn("missing", DENY, operator, _TOPIC, None),
    )),
    _asked("a star crosses colons", _ARN, ALLOW, "StringLike", "aws:SourceArn", _FINANCE, _TRICK),
    *(row for operator in ("ArnNotEquals", "ArnNotLike") for row in (
        _arn("equal", DENY, operator, _TOPIC, _TOPIC),
        _arn("other", ALLOW, operator, _TOPIC, f"{_TOPIC}s"),
        _arn("within the pattern", DENY, operator, f"arn:aws:sns:*:{ACCOUNT}:*", _TOPIC),
        _arn("a star does not cross a colon", ALLOW, operator, _FINANCE, _TRICK),
        _arn("missing", ALLOW, operator, _TOPIC, None, _MISSING),
    )),
)  # fmt: skip
