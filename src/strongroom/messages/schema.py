"""What a message must be, compiled once from its declaration. Knows no bytes; `codec` does.

Each kind of shape does two things. `convert` takes a parsed JSON value to what the message holds, or raises
Serialization in the words of AWS's JSON front end; it runs only for bodies that the fast decoder refused. `check` adds a
text to `found` for each constraint that a value breaks; it runs for every request.

AWS judges the scalars of a list together and reports the list ('operations'); it reports structures in a list one by one
('tags.1.member.tagKey').
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, get_args, get_origin

import msgspec

from strongroom.errors import Serialization
from strongroom.messages.constraints import (
    MAXIMUM_VIOLATIONS,
    Rule,
    content_rules,
    element_violation,
    length_rules,
    null_violation,
    value_rules,
    violation,
)
from strongroom.messages.declaration import Structure, declared, member_type

LIST_FOUND = "Start of list found where not expected"
OBJECT_FOUND = "Start of structure or map found where not expected."

_JSON_TYPES: dict[type, tuple[type, ...]] = {
    str: (str,),
    bytes: (str,),
    int: (int, float),
    float: (int, float),
    bool: (bool,),
}
_TYPE_NAMES: dict[type, str] = {
    str: "a String",
    bytes: "a Blob",
    int: "an Integer",
    float: "milliseconds since epoch",
    bool: "a Boolean",
}


Check = Callable[[Any, str, list[str]], None]
"""Given a value that is not None and its path, add a text for each violation."""


class Shape(Protocol):
    """What one value in a message must be."""

    def convert(self, value: object) -> object:
        """Take a parsed JSON value to what the message holds. Raises Serialization."""

    def check(self, value: Any, path: str, found: list[str]) -> None:  # noqa: ANN401 - each shape knows its type
        """Add a text for each violation in the value, which is not None."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, blob, integer, timestamp or boolean. A `hidden` one is not printed."""

    kind: type
    rules: tuple[Rule, ...]
    hidden: bool

    def convert(self, value: object) -> object:
        """Read as `kind`: a decimal loses its fraction where an integer is wanted, a blob is base64."""
        if isinstance(value, list):
            raise Serialization(LIST_FOUND)
        if isinstance(value, dict):
            raise Serialization(OBJECT_FOUND)
        if type(value) not in _JSON_TYPES[self.kind]:
            raise Serialization(f"{_token(value)} can not be converted to {_TYPE_NAMES[self.kind]}")
        try:
            # msgspec reads base64 here exactly as its JSON decoder does.
            return msgspec.convert(value, bytes) if self.kind is bytes else self.kind(value)
        except (msgspec.ValidationError, OverflowError) as error:
            raise Serialization from error

    def check(self, value: object, path: str, found: list[str]) -> None:
        """Add each rule that the value breaks."""
        for rule in self.rules:
            if not rule.holds(value):
                found.append(violation(None if self.hidden else str(value), path, rule.text))  # noqa: PERF401 - hot


def _token(value: object) -> str:
    """Name a scalar JSON value as AWS's texts do."""
    if isinstance(value, bool):
        return f"{value}_VALUE".upper()
    return "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. `element_rules` are those of scalar elements; structures check themselves."""

    element: Shape
    rules: tuple[Rule, ...]
    element_rules: tuple[Rule, ...]

    def convert(self, value: object) -> object:
        """Convert each element. A null stays None, for `check` to report."""
        if isinstance(value, dict):
            raise Serialization(OBJECT_FOUND)
        if not isinstance(value, list):
            raise Serialization("Expected list or null")
        return tuple(None if item is None else self.element.convert(item) for item in value)

    def check(self, value: tuple[object, ...], path: str, found: list[str]) -> None:
        """Add each rule that the list breaks, and then what is wrong in its elements."""
        for rule in self.rules:
            if not rule.holds(value):
                found.append(violation(_print_list(value), path, rule.text))  # noqa: PERF401 - hot
        if None in value:
            found.append(null_violation(f"{path}.{value.index(None) + 1}.member"))
        elif self.element_rules:
            if not self._elements_hold(value):
                found.append(element_violation(_print_list(value), path, self.element_rules))
        else:
            for number, item in enumerate(value, 1):
                self.element.check(item, f"{path}.{number}.member", found)
                if len(found) >= MAXIMUM_VIOLATIONS:
                    return

    def _elements_hold(self, value: tuple[object, ...]) -> bool:
        for rule in self.element_rules:
            for item in value:
                if not rule.holds(item):
                    return False
        return True


def _print_list(value: tuple[object, ...]) -> str:
    return f"[{', '.join('null' if item is None else str(item) for item in value)}]"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from text to scalars. The model constrains neither, in any request."""

    element: Shape

    def convert(self, value: object) -> object:
        """Convert each value. A null stays None, for `check` to report."""
        if isinstance(value, list):
            raise Serialization(LIST_FOUND)
        if not isinstance(value, dict):
            raise Serialization("Expected map or null")
        return {key: None if item is None else self.element.convert(item) for key, item in value.items()}

    def check(self, value: dict[str, object], path: str, found: list[str]) -> None:
        """Add the first value that is null."""
        if None in value.values():
            key = next(key for key, item in value.items() if item is None)
            found.append(null_violation(f"{path}.{key}.member"))


@dataclass(frozen=True, slots=True)
class StructureOf:
    """A structure.

    `members` are (attribute, shape) by wire name. `checks` are (attribute, name in AWS's texts, whether required, check
    of the shape) in the model's order, without the members of which nothing is demanded.
    """

    kind: type[Structure]
    members: dict[str, tuple[str, Shape]]
    checks: tuple[tuple[str, str, bool, Check], ...]

    def convert(self, value: object) -> Structure:
        """Convert the members in order of arrival. Unknown members are ignored, null ones are absent."""
        if isinstance(value, list):
            raise Serialization(LIST_FOUND)
        if not isinstance(value, dict):
            raise Serialization("Expected null")
        given: dict[str, object] = {}
        for name, item in value.items():
            if item is not None and name in self.members:
                attribute, shape = self.members[name]
                given[attribute] = shape.convert(item)
        return self.kind(**given)

    def check(self, value: Structure, path: str, found: list[str]) -> None:
        """Add what is missing and what is wrong in the members. `path` is empty for a whole request."""
        prefix = f"{path}." if path else ""
        for attribute, name, required, check in self.checks:
            item = getattr(value, attribute)
            if item is not None:
                check(item, prefix + name, found)
            elif required:
                found.append(null_violation(prefix + name))


@cache
def schema_of(kind: type[Structure]) -> StructureOf:
    """Compile the declaration of a structure."""
    members: dict[str, tuple[str, Shape]] = {}
    checks: list[tuple[str, str, bool, Check]] = []
    for field in msgspec.structs.fields(kind):
        shape = _compile(member_type(field.type))
        members[field.encode_name] = (field.name, shape)
        required = field.name in kind.required
        if required or not isinstance(shape, Scalar) or shape.rules:
            name = field.encode_name[0].lower() + field.encode_name[1:]
            checks.append((field.name, name, required, shape.check))
    return StructureOf(kind, members, tuple(checks))


def _compile(annotation: object) -> Shape:
    kind, constraint = declared(annotation)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        _, element_constraint = declared(element)
        element_rules = length_rules(element_constraint) + content_rules(element_constraint)
        return ListOf(_compile(element), length_rules(constraint), element_rules)
    if get_origin(kind) is dict:
        return MapOf(_compile(get_args(kind)[1]))
    assert isinstance(kind, type)
    if issubclass(kind, Structure):
        return schema_of(kind)
    bounds = value_rules(constraint) if kind is int else length_rules(constraint)
    return Scalar(kind, content_rules(constraint) + bounds, constraint.sensitive or kind is bytes)
