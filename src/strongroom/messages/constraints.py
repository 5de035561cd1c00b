"""The constraints of the model as rules, and AWS's grammar for what breaks them.

An example: `2 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null;
Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from strongroom.messages.declaration import Constraint

MAXIMUM_VIOLATIONS = 10
"""AWS reports no more than these, so that a small body cannot ask for a large answer."""

# Outside a character class: `\x` and classes are passed over, only the lone dot is taken.
_JAVA_PATTERN_PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\.")
_JAVA_DOT = r"[^\n\r\u0085\u2028\u2029]"

# What tags may consist of, as Java spells it in a character class, and as Python does in a Unicode pattern: there `\w` is
# \p{L}\p{N}_ exactly, and the rest is every separator that Unicode has.
_JAVA_LETTERS = r"\p{L}\p{Z}\p{N}_"
_LETTERS = r"\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@dataclass(frozen=True, slots=True)
class Rule:
    """One constraint: whether a value keeps it, and AWS's words for it."""

    holds: Callable[[Any], object]
    text: str


def content_rules(constraint: Constraint) -> tuple[Rule, ...]:
    """Pattern and enumeration."""
    rules = []
    if constraint.pattern is not None:
        text = f"Member must satisfy regular expression pattern: {constraint.pattern}"
        rules.append(Rule(_compile_java_pattern(constraint.pattern).fullmatch, text))
    if constraint.values:
        text = f"Member must satisfy enum value set: [{', '.join(constraint.values)}]"
        rules.append(Rule(frozenset(constraint.values).__contains__, text))
    return tuple(rules)


def value_rules(constraint: Constraint) -> tuple[Rule, ...]:
    """Bounds of an integer's value."""
    return _bounds(constraint, "value", lambda bound: bound.__ge__, lambda bound: bound.__le__)


def length_rules(constraint: Constraint) -> tuple[Rule, ...]:
    """Bounds of a length: code points of text, bytes of a blob, items of a list."""
    return _bounds(
        constraint,
        "length",
        lambda bound: lambda value: len(value) <= bound,
        lambda bound: lambda value: len(value) >= bound,
    )


def _bounds(
    constraint: Constraint,
    measure: str,
    at_most: Callable[[int], Callable[[Any], object]],
    at_least: Callable[[int], Callable[[Any], object]],
) -> tuple[Rule, ...]:
    rules = []
    if constraint.maximum is not None:
        text = f"Member must have {measure} less than or equal to {constraint.maximum}"
        rules.append(Rule(at_most(constraint.maximum), text))
    if constraint.minimum is not None:
        text = f"Member must have {measure} greater than or equal to {constraint.minimum}"
        rules.append(Rule(at_least(constraint.minimum), text))
    return tuple(rules)


def _compile_java_pattern(pattern: str) -> re.Pattern[str]:
    r"""Java's `\d`, `\s` and `\w` are ASCII, and its dot stops at five line terminators where Python's stops at one.

    Of Unicode's categories the models know one combination. Any other does not compile.
    """
    return re.compile(_JAVA_PATTERN_PART.sub(_python_part, pattern), re.ASCII)


def _python_part(part: re.Match[str]) -> str:
    if part[0] == ".":
        return _JAVA_DOT
    before, letters, after = part[0].partition(_JAVA_LETTERS)
    if not letters:
        return part[0]
    if re.search(r"\\[dswDSW]", before + after):
        raise ValueError(f"both ASCII and Unicode classes in {part[0]}")
    return f"(?u:{before}{_LETTERS}{after})"


def violation(shown: str | None, path: str, text: str) -> str:
    """Say what a value breaks. `shown` is the value in print, None if it must not be printed."""
    value = "Value" if shown is None else f"Value '{shown}'"
    return f"{value} at '{path}' failed to satisfy constraint: {text}"


def null_violation(path: str) -> str:
    """Say that a value is missing."""
    return f"Value null at '{path}' failed to satisfy constraint: Member must not be null"


def element_violation(shown: str, path: str, rules: tuple[Rule, ...]) -> str:
    """Say that an element of a list breaks one of the rules. AWS names all rules, and not the element."""
    every = ", ".join(rule.text for rule in rules)
    return violation(shown, path, f"Member must satisfy constraint: [{every}]")


def report(violations: list[str]) -> str:
    """Write the whole text for one violation or more."""
    reported = violations[:MAXIMUM_VIOLATIONS]
    errors = "error" if len(reported) == 1 else "errors"
    return f"{len(reported)} validation {errors} detected: {'; '.join(reported)}"
