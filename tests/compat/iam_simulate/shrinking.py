"""Make a case smaller as long as something stays true of it, so that a failure shows what matters."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tests.compat.iam_simulate.cases import Case, Json

_REQUEST = ("caller", "action", "resource")
_ELEMENTS = (
    "Version",
    "Statement",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
)
"""Without these a policy would mean something else, or nothing."""


def shrunk(case: Case, still_true: Callable[[Case], bool]) -> Case:
    """The smallest case that can be made by taking parts away one at a time."""
    for smaller in _smaller(msgspec.to_builtins(case)):
        candidate = msgspec.convert(smaller, Case)
        if still_true(candidate):
            return shrunk(candidate, still_true)
    return case


def _smaller(case: Json) -> Iterator[Json]:
    for member, value in case.items():
        if member in _REQUEST:
            continue
        if member in ("boundary", "session_policy") and value is not None:
            yield {**case, member: None}
        for less in _less(value):
            yield {**case, member: less}


def _less(value: Any) -> Iterator[Any]:
    """The value with one part of it taken away. A list of one becomes what is in it, if that is a text."""
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            yield value[0]
        for at in range(len(value)):
            if len(value) > 1 or isinstance(value[0], dict):
                yield [*value[:at], *value[at + 1 :]]
            for less in _less(value[at]):
                yield [*value[:at], less, *value[at + 1 :]]
    elif isinstance(value, dict):
        for name in value:
            if name not in _ELEMENTS:
                yield {other: kept for other, kept in value.items() if other != name}
            for less in _less(value[name]):
                yield {**value, name: less}
