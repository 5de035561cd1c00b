"""ForAllValues and ForAnyValue."""

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

_PAGE = "IAM User Guide, Single-valued vs. multivalued context keys"
_ALL, _ANY = f"{_PAGE}: ForAllValues", f"{_PAGE}: ForAnyValue"
_ALL_MISSING = f"{_ALL}: also true if there are no context keys in the request"
_ANY_MISSING = f"{_ANY}: false if there are no context keys in the request"
_KEY = "aws:TagKeys"


def _asked(name: str, rule: str, expected: str, operator: str, wanted: Any, *given: str) -> Case:
    values = {_KEY: given} if given else {}
    because = NO_RESOURCE if expected == DENY else ""
    return conditional(
        f"{operator}: {name}", rule, expected, {operator: {_KEY: wanted}}, values=values, because=because
    )


_ALL_EQUAL, _ANY_EQUALS = "ForAllValues:StringEquals", "ForAnyValue:StringEquals"
_WANTED = ["PostDateTime", "Message", "Tags"]

CASES = (
    _asked("all within", _ALL, ALLOW, _ALL_EQUAL, _WANTED, "PostDateTime", "Message"),
    _asked("all of them", _ALL, ALLOW, _ALL_EQUAL, _WANTED, "Tags", "Message", "PostDateTime"),
    _asked("one within", _ALL, ALLOW, _ALL_EQUAL, _WANTED, "Tags"),
    _asked("one outside", _ALL, DENY, _ALL_EQUAL, _WANTED, "PostDateTime", "UserName"),
    _asked("all outside", _ALL, DENY, _ALL_EQUAL, _WANTED, "ID", "UserName"),
    _asked("other case", _ALL, DENY, _ALL_EQUAL, _WANTED, "tags"),
    _asked("missing", _ALL_MISSING, ALLOW, _ALL_EQUAL, _WANTED),
    _asked("all within", _ALL, ALLOW, "ForAllValues:StringLike", ["Post*", "Tag?"], "PostDateTime", "Tags"),
    _asked("one outside", _ALL, DENY, "ForAllValues:StringLike", ["Post*", "Tag?"], "PostDateTime", "Tag"),
    _asked("other case", _ALL, ALLOW, "ForAllValues:StringEqualsIgnoreCase", _WANTED, "tags", "MESSAGE"),
    _asked("none within", _ALL, ALLOW, "ForAllValues:StringNotEquals", _WANTED, "ID", "UserName"),
    _asked("one within", _ALL, DENY, "ForAllValues:StringNotEquals", _WANTED, "ID", "Tags"),
    _asked("one within", _ANY, ALLOW, _ANY_EQUALS, _WANTED, "UserName", "Message", "ID"),
    _asked("all within", _ANY, ALLOW, _ANY_EQUALS, _WANTED, "PostDateTime", "Message"),
    _asked("none within", _ANY, DENY, _ANY_EQUALS, _WANTED, "UserName", "ID"),
    _asked("other case", _ANY, DENY, _ANY_EQUALS, _WANTED, "tags"),
    _asked("missing", _ANY_MISSING, DENY, _ANY_EQUALS, _WANTED),
    _asked("one within", _ANY, ALLOW, "ForAnyValue:StringLike", ["Post*"], "ID", "PostDateTime"),
    _asked("none within", _ANY, DENY, "ForAnyValue:StringLike", ["Post*"], "ID", "Tags"),
    _asked("one outside", _ANY, ALLOW, "ForAnyValue:StringNotEquals", "Tags", "Tags", "ID"),
    _asked("none outside", _ANY, DENY, "ForAnyValue:StringNotEquals", "Tags", "Tags"),
    forbidden("a deny of some values: one of them", _ANY, DENY, {_ANY_EQUALS: {_KEY: ["ID", "PostDateTime"]}},
              values={_KEY: ("UserName", "Message", "PostDateTime")}, because=RESOURCE_DENIES),
    forbidden("a deny of some values: none of them", _ANY, ALLOW, {_ANY_EQUALS: {_KEY: ["ID", "PostDateTime"]}},
              values={_KEY: ("UserName",)}),
    forbidden("a deny of some values: no values", _ANY_MISSING, ALLOW, {_ANY_EQUALS: {_KEY: ["ID", "PostDateTime"]}}),
    forbidden("a deny of all values: no values", _ALL_MISSING, DENY, {_ALL_EQUAL: {_KEY: ["ID"]}},
              because=RESOURCE_DENIES),
    conditional("several values without a set operator: an allow", _PAGE, DENY, {"StringEquals": {_KEY: "Tags"}},
                values={_KEY: ("Tags", "ID")}),
    forbidden("several values without a set operator: a deny", _PAGE, DENY, {"StringEquals": {_KEY: "None"}},
              values={_KEY: ("Tags", "ID")}, because=RESOURCE_DENIES),
    conditional("one value without a set operator", _PAGE, ALLOW, {"StringEquals": {_KEY: "Tags"}},
                values={_KEY: ("Tags",)}),
    conditional("ForAllValues that must also be there: missing", _ALL_MISSING, DENY,
                {_ALL_EQUAL: {_KEY: _WANTED}, "Null": {_KEY: "false"}}),
    conditional("ForAllValues that must also be there: there", _ALL_MISSING, ALLOW,
                {_ALL_EQUAL: {_KEY: _WANTED}, "Null": {_KEY: "false"}}, values={_KEY: ("Tags",)}),
    conditional("ForAllValues and ForAnyValue: both", _PAGE, ALLOW,
                {_ALL_EQUAL: {_KEY: _WANTED}, _ANY_EQUALS: {_KEY: "Tags"}},
                values={_KEY: ("Tags", "Message")}),
    conditional("ForAllValues and ForAnyValue: not the one", _PAGE, DENY,
                {_ALL_EQUAL: {_KEY: _WANTED}, _ANY_EQUALS: {_KEY: "Tags"}},
                values={_KEY: ("Message",)}),
    conditional("ForAllValues and ForAnyValue: one too many", _PAGE, DENY,
                {_ALL_EQUAL: {_KEY: _WANTED}, _ANY_EQUALS: {_KEY: "Tags"}},
                values={_KEY: ("Tags", "ID")}),
)  # fmt: skip
