"""The string operators, and the rules that all operators share."""

from collections.abc import Mapping
from typing import Any

from tests.unit.authorization.decisions.case import (
    ALICE,
    ALLOW,
    DENY,
    NO_RESOURCE,
    RESOURCE_DENIES,
    Case,
    allow,
    conditional,
    forbidden,
)

_OPERATORS = "IAM User Guide, IAM JSON policy elements: Condition operators"
_STRING = f"{_OPERATORS}: String condition operators"
_MISSING = f"{_OPERATORS}: a key that is not present does not match; a negated operator is then true"
_KEY_NAMES = "IAM User Guide, IAM JSON policy elements: Condition: context key names are not case sensitive"
_LOGIC = "IAM User Guide, Conditions with multiple context keys or values"
_AND, _OR = f"{_LOGIC}: several operators or keys: AND", f"{_LOGIC}: several values of a key: OR"
_NOR = f"{_LOGIC}: several values of a negated operator: NOR"

_TAG = "aws:PrincipalTag/team"
_SECOND = "aws:PrincipalTag/site"


def _asked(name: str, expected: str, operator: str, wanted: Any, given: str | None, rule: str = _STRING) -> Case:
    values = {} if given is None else {_TAG: given}
    because = NO_RESOURCE if expected == DENY else ""
    return conditional(name, rule, expected, {operator: {_TAG: wanted}}, values=values, because=because)


def _two(name: str, rule: str, expected: str, when: Mapping[str, Mapping[str, Any]], team: str, site: str) -> Case:
    return conditional(name, rule, expected, when, values={_TAG: team, _SECOND: site})


_BOTH_KEYS = {"StringEquals": {_TAG: "red", _SECOND: "Rome"}}
_BOTH_OPERATORS = {"StringEquals": {_TAG: "red"}, "StringLike": {_SECOND: "R*"}}

CASES = (
    _asked("StringEquals: equal", ALLOW, "StringEquals", "red", "red"),
    _asked("StringEquals: other", DENY, "StringEquals", "red", "blue"),
    _asked("StringEquals: other case", DENY, "StringEquals", "red", "Red"),
    _asked("StringEquals: longer", DENY, "StringEquals", "red", "reddish"),
    _asked("StringEquals: a star is a star", DENY, "StringEquals", "r*", "red"),
    _asked("StringEquals: a question mark is a question mark", DENY, "StringEquals", "r?d", "red"),
    _asked("StringNotEquals: equal", DENY, "StringNotEquals", "red", "red"),
    _asked("StringNotEquals: other", ALLOW, "StringNotEquals", "red", "blue"),
    _asked("StringNotEquals: other case", ALLOW, "StringNotEquals", "red", "Red"),
    _asked("StringEqualsIgnoreCase: equal", ALLOW, "StringEqualsIgnoreCase", "red", "red"),
    _asked("StringEqualsIgnoreCase: other case", ALLOW, "StringEqualsIgnoreCase", "red", "RED"),
    _asked("StringEqualsIgnoreCase: other", DENY, "StringEqualsIgnoreCase", "red", "blue"),
    _asked("StringNotEqualsIgnoreCase: other case", DENY, "StringNotEqualsIgnoreCase", "red", "RED"),
    _asked("StringNotEqualsIgnoreCase: other", ALLOW, "StringNotEqualsIgnoreCase", "red", "blue"),
    _asked("StringLike: no wildcard, equal", ALLOW, "StringLike", "red", "red"),
    _asked("StringLike: no wildcard, longer", DENY, "StringLike", "red", "reddish"),
    _asked("StringLike: a star at the end", ALLOW, "StringLike", "red*", "reddish"),
    _asked("StringLike: a star for nothing", ALLOW, "StringLike", "red*", "red"),
    _asked("StringLike: a star at the end, other", DENY, "StringLike", "red*", "dark red"),
    _asked("StringLike: a star at the beginning", ALLOW, "StringLike", "*red", "dark red"),
    _asked("StringLike: a star at the beginning, other", DENY, "StringLike", "*red", "dark reddish"),
    _asked("StringLike: stars on both sides", ALLOW, "StringLike", "*red*", "dark reddish"),
    _asked("StringLike: a question mark for one", ALLOW, "StringLike", "r?d", "rod"),
    _asked("StringLike: a question mark for two", DENY, "StringLike", "r?d", "reed"),
    _asked("StringLike: a question mark for none", DENY, "StringLike", "red?", "red"),
    _asked("StringLike: other case", DENY, "StringLike", "Red*", "reddish"),
    _asked("StringLike: a dot is a dot", DENY, "StringLike", "r.d", "red"),
    _asked("StringNotLike: within the pattern", DENY, "StringNotLike", "red*", "reddish"),
    _asked("StringNotLike: outside the pattern", ALLOW, "StringNotLike", "red*", "blue"),
    _asked("StringNotLike: other case", ALLOW, "StringNotLike", "Red*", "reddish"),
    # Missing keys
    *(_asked(f"{operator}: no such key", DENY, operator, "red", None, _MISSING)
      for operator in ("StringEquals", "StringEqualsIgnoreCase", "StringLike")),
    *(_asked(f"{operator}: no such key", ALLOW, operator, "red", None, _MISSING)
      for operator in ("StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike")),
    _asked("StringLike: no such key, whatever value", DENY, "StringLike", "*", None, _MISSING),
    forbidden("a deny whose key is missing", _MISSING, ALLOW, {"StringEquals": {_TAG: "red"}}),
    forbidden("a deny whose key is there", _MISSING, DENY, {"StringEquals": {_TAG: "red"}}, values={_TAG: "red"},
              because=RESOURCE_DENIES),
    forbidden("a negated deny whose key is missing", _MISSING, DENY, {"StringNotEquals": {_TAG: "red"}},
              because=RESOURCE_DENIES),
    forbidden("a negated deny whose key is there", _MISSING, ALLOW, {"StringNotEquals": {_TAG: "red"}},
              values={_TAG: "red"}),
    # Names of keys
    conditional("a key in another case", _KEY_NAMES, ALLOW, {"StringEquals": {"AWS:principaltag/TEAM": "red"}},
                values={_TAG: "red"}),
    conditional("another key", _KEY_NAMES, DENY, {"StringEquals": {"aws:PrincipalTag/teams": "red"}},
                values={_TAG: "red"}),
    # Several values, keys, operators
    _asked("one of two values", ALLOW, "StringEquals", ["red", "blue"], "blue", _OR),
    _asked("neither of two values", DENY, "StringEquals", ["red", "blue"], "green", _OR),
    _asked("one of two patterns", ALLOW, "StringLike", ["r*", "b*"], "blue", _OR),
    _asked("not one of two values", DENY, "StringNotEquals", ["red", "blue"], "blue", _NOR),
    _asked("not the first of two values", DENY, "StringNotEquals", ["red", "blue"], "red", _NOR),
    _asked("not either of two values", ALLOW, "StringNotEquals", ["red", "blue"], "green", _NOR),
    _asked("not one of two patterns", DENY, "StringNotLike", ["r*", "b*"], "blue", _NOR),
    _asked("not either of two patterns", ALLOW, "StringNotLike", ["r*", "b*"], "green", _NOR),
    _two("two keys, both", _AND, ALLOW, _BOTH_KEYS, "red", "Rome"),
    _two("two keys, only the first", _AND, DENY, _BOTH_KEYS, "red", "Riga"),
    _two("two keys, only the second", _AND, DENY, _BOTH_KEYS, "blue", "Rome"),
    _two("two operators, both", _AND, ALLOW, _BOTH_OPERATORS, "red", "Riga"),
    _two("two operators, only the first", _AND, DENY, _BOTH_OPERATORS, "red", "Oslo"),
    _two("two operators, only the second", _AND, DENY, _BOTH_OPERATORS, "blue", "Riga"),
    forbidden("a deny of two keys, both", _AND, DENY, _BOTH_KEYS, values={_TAG: "red", _SECOND: "Rome"}),
    forbidden("a deny of two keys, one", _AND, ALLOW, _BOTH_KEYS, values={_TAG: "red", _SECOND: "Riga"}),
    Case("two statements, either condition", _LOGIC, ALLOW,
         [allow(ALICE.arn, when={"StringEquals": {_TAG: team}}) for team in ("red", "blue")], values={_TAG: "blue"}),
    Case("two statements, neither condition", _LOGIC, DENY,
         [allow(ALICE.arn, when={"StringEquals": {_TAG: team}}) for team in ("red", "blue")], values={_TAG: "green"}),
)  # fmt: skip
