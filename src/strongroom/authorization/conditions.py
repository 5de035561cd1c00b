"""The Condition element (AWS: "IAM JSON policy elements: Condition", "… multiple context keys or values").

A condition is one operator with one condition key. All conditions of a statement must hold; of the values that a
condition lists, one must match, or, if the operator is negated, none.
"""

import json
import re
from collections.abc import Callable

from msgspec import Struct

from strongroom.authorization.operators import OPERATORS, Accepts, null
from strongroom.authorization.request import Request, Undecidable
from strongroom.errors import MalformedPolicyDocument

MAX_VALUES = 100
MAX_CHARACTERS = 2_048
"""Values that a request can have of a condition key, and their length together: with more, nothing can be decided.

A policy can list thousands of patterns; whoever asks is not to choose how long the server compares.
"""


class Condition(Struct, frozen=True):
    """A compiled condition.

    `operator` and `name` are as they are written, `key` is the condition key's lower-case name. Of several values that
    the request has of the key, `combine` makes one verdict; it must come out true, or false if `negated`. Without any
    value the condition is worth `when_absent`.
    """

    operator: str
    name: str
    key: str
    accepts: Accepts
    combine: Callable[[list[bool]], bool]
    negated: bool
    when_absent: bool

    def holds(self, request: Request) -> bool:
        """Whether the condition is met. Raises Undecidable."""
        values = request.values(self.key)
        if not values:
            return self.when_absent
        if len(values) == 1:  # as most have
            (value,) = values
            if len(value) > MAX_CHARACTERS:
                raise Undecidable
            return self.accepts(value, request) is not self.negated
        if len(values) > MAX_VALUES or sum(map(len, values)) > MAX_CHARACTERS:
            raise Undecidable
        return self.combine([self.accepts(value, request) for value in values]) is not self.negated


def compile_conditions(element: object, *, variables: bool) -> tuple[Condition, ...]:
    """Read a Condition element; `variables` says whether policy variables are known. Raises MalformedPolicyDocument."""
    if not isinstance(element, dict):
        raise _syntax()
    compiled = []
    for written, tests in element.items():
        if not isinstance(tests, dict) or not tests:
            raise _syntax()
        for name, listed in tests.items():
            compiled.append(_compile(written, name, listed, variables=variables))
    return tuple(compiled)


def _compile(written: str, name: str, listed: object, *, variables: bool) -> Condition:
    parsed = _OPERATOR.fullmatch(written)
    row = None if parsed is None else OPERATORS.get(parsed["operator"].lower())
    if parsed is None or row is None:
        raise MalformedPolicyDocument(f"Invalid Condition type : {_shown(written)}.")
    if not _KEY.fullmatch(name):
        raise MalformedPolicyDocument(f"Invalid condition key: {_shown(name)}.")
    every, some = parsed["every"] is not None, parsed["some"] is not None
    if every:
        _refuse_overly_permissive(name)
    values = listed if isinstance(listed, list) else [listed]
    if not values:
        raise _syntax()
    try:
        accepts = row.compile([_text(value) for value in values], variables)
    except (ValueError, OverflowError) as error:
        raise MalformedPolicyDocument(f"Invalid value for the condition operator {_shown(written)}.") from error
    if row.compile is null:
        if every or some or parsed["if_exists"]:
            raise MalformedPolicyDocument(f"Invalid Condition type : {_shown(written)}.")
        wanted = {_text(value).lower() for value in values}
        return Condition(written, name, name.lower(), accepts, any, negated=False, when_absent="true" in wanted)
    return Condition(
        written,
        name,
        name.lower(),
        accepts,
        (all if every is not row.negated else any) if every or some else _several,
        negated=row.negated,
        when_absent=bool(parsed["if_exists"]) or every or (row.negated and not some),
    )


def _several(_accepted: list[bool]) -> bool:
    """AWS: "Multivalued context keys require a condition set operator". Without one, several values are undecidable."""
    raise Undecidable


def _refuse_overly_permissive(name: str) -> None:
    """AWS refuses ForAllValues where it would match a request without the encryption context or tag."""
    for prefix, what in (("kms:encryptioncontext:", "encryption context"), ("aws:requesttag/", "tag")):
        if name.lower().startswith(prefix):
            raise MalformedPolicyDocument(
                "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key "
                f"matches requests without the specified {what} or with an unspecified {what}. "
                "To fix, remove ForAllValues."
            )


def _text(value: object) -> str:
    """A value of a condition as text: a JSON string, number, or true and false. Raises MalformedPolicyDocument."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise _syntax()


_OPERATOR = re.compile(
    r"(?:(?P<every>forallvalues):|(?P<some>foranyvalue):)?(?P<operator>[a-z]+?)(?P<if_exists>ifexists)?", re.IGNORECASE
)
_KEY = re.compile(r"[A-Za-z0-9._~/-]+:.+", re.DOTALL)


def _shown(text: str) -> str:
    """The beginning of a name as given: error texts stay short."""
    return text[:_SHOWN]


_SHOWN = 128


def _syntax() -> MalformedPolicyDocument:
    return MalformedPolicyDocument("Syntax errors in policy.")
