"""The operators of conditions: how each reads the values that a policy lists, and compares a request's value with them.

AWS: "IAM JSON policy elements: Condition operators".
"""

import base64
import ipaddress
import math
import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

from strongroom.authorization.patterns import Template, Texts, has_variables, parse_template, resolve_all, texts
from strongroom.authorization.request import Request, Undecidable

T = TypeVar("T")

Accepts = Callable[[str, Request], bool]
"""Whether a value of the request matches one of the values that the policy lists. Raises Undecidable."""


class Operator(NamedTuple):
    """A row. `compile` is given the listed values and whether policy variables are known; it raises ValueError.

    If `negated`, the request's value must match none of those listed.
    """

    compile: Callable[[list[str], bool], Accepts]
    negated: bool = False


def _string(*, like: bool, fold: bool = False) -> Callable[[list[str], bool], Accepts]:
    def compile_string(values: list[str], variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
        templates = [parse_template(value, wildcards=like, variables=variables) for value in values]
        if fold:
            return _folded(templates)
        compiled = texts(templates)
        if not compiled.varied:
            exact = compiled.exact
            return lambda value, _request: value in exact
        return compiled.match

    return compile_string


def _folded(templates: list[Template]) -> Accepts:
    static = texts(_fold(template) for template in templates if not has_variables(template))
    dynamic = [template for template in templates if has_variables(template)]

    def accepts(value: str, request: Request) -> bool:
        resolved = [_fold(known) for known in resolve_all(dynamic, request)]
        folded = value.lower()
        return static.match(folded, request) or texts(resolved).match(folded, request)

    return accepts


def _fold(template: Template) -> Template:
    return tuple(part.lower() if isinstance(part, str) else part for part in template)


_ARN_PARTS = 6


def _arn(values: list[str], variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
    """Compare the six parts of an ARN one by one: a wildcard does not reach over a colon, except in the last part."""
    listed: list[list[Texts]] = []
    for value in values:
        parts = _split_arn(parse_template(value, wildcards=True, variables=variables))
        if len(parts) != _ARN_PARTS:
            raise ValueError(value)
        listed.append([texts([part]) for part in parts])

    def accepts(value: str, request: Request) -> bool:
        parts = value.split(":", _ARN_PARTS - 1)
        if len(parts) != _ARN_PARTS:
            return False
        verdicts = [  # all of them: whether one cannot be decided must not depend on their order
            [pattern.match(part, request) for pattern, part in zip(patterns, parts, strict=True)] for patterns in listed
        ]
        return any(all(verdict) for verdict in verdicts)

    return accepts


def _split_arn(template: Template) -> list[Template]:
    parts: list[Template] = [()]
    for item in template:
        if not isinstance(item, str):
            parts[-1] += (item,)
            continue
        first, *rest = item.split(":", _ARN_PARTS - len(parts))
        parts[-1] += (first,) if first else ()
        parts += [(text,) if text else () for text in rest]
    return parts


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[list[str], bool], Accepts]:
    return _compared(_number, compare)


def _date(compare: Callable[[float, float], bool]) -> Callable[[list[str], bool], Accepts]:
    return _compared(_seconds, compare)


def _compared(
    read: Callable[[str], float], compare: Callable[[float, float], bool]
) -> Callable[[list[str], bool], Accepts]:
    def compile_compared(values: list[str], _variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
        wanted = [read(value) for value in values]

        def accepts(value: str, _request: Request) -> bool:
            given = _read(read, value)
            return any(compare(given, one) for one in wanted)

        return accepts

    return compile_compared


def _bool(values: list[str], _variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
    wanted = frozenset(_truth(value) for value in values)
    return lambda value, _request: _read(_truth, value) in wanted


def null(values: list[str], _variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
    """With "false" the key must be there, whatever its values."""
    there = False in [_truth(value) for value in values]
    return lambda _value, _request: there


def _binary(values: list[str], _variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
    wanted = frozenset(_bytes(value) for value in values)
    return lambda value, _request: _read(_bytes, value) in wanted


def _ip_address(values: list[str], _variables: bool) -> Accepts:  # noqa: FBT001 — a table's column
    if not all(map(_NETWORK.fullmatch, values)):
        raise ValueError(values)
    networks = [ipaddress.ip_network(value, strict=False) for value in values]
    numbers = [(network.version, int(network.netmask), int(network.network_address)) for network in networks]

    def accepts(value: str, _request: Request) -> bool:
        version, address = _read(_address, value)
        for kind, mask, network in numbers:  # noqa: SIM110 — a generator takes longer than the comparison
            if version == kind and address & mask == network:
                return True
        return False

    return accepts


def _read(read: Callable[[str], T], value: str) -> T:
    """A request's value as the operator needs it. Raises Undecidable if it is something else."""
    try:
        return read(value)
    except (ValueError, OverflowError):
        raise Undecidable from None


_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_W3C_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = re.compile(r"(?![0-9]{4}\Z)[0-9]{1,12}(\.[0-9]+)?")
"""Four digits could be meant as a year."""
_NETWORK = re.compile(r"[^/]*(/[0-9]+)?")
"""An address, or one with the length of its prefix: in `/0.0.0.255` two readers could see two masks."""


def _number(text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


@lru_cache(maxsize=256)
def _seconds(text: str) -> float:
    """A date in seconds since the epoch: given so, or in one of the W3C's forms of ISO 8601, in UTC unless it says."""
    if _EPOCH.fullmatch(text):
        return float(text)
    if not _W3C_DATE.fullmatch(text):
        raise ValueError(text)
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _truth(text: str) -> bool:
    folded = text.lower()
    if folded not in ("true", "false"):
        raise ValueError(text)
    return folded == "true"


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@lru_cache(maxsize=1024)
def _address(text: str) -> tuple[int, int]:
    """Version and number of an IP address; kept, because reading one takes longer than comparing it."""
    address = ipaddress.ip_address(text)
    return address.version, int(address)


OPERATORS: dict[str, Operator] = {
    "stringequals": Operator(_string(like=False)),
    "stringnotequals": Operator(_string(like=False), negated=True),
    "stringequalsignorecase": Operator(_string(like=False, fold=True)),
    "stringnotequalsignorecase": Operator(_string(like=False, fold=True), negated=True),
    "stringlike": Operator(_string(like=True)),
    "stringnotlike": Operator(_string(like=True), negated=True),
    "numericequals": Operator(_numeric(operator.eq)),
    "numericnotequals": Operator(_numeric(operator.eq), negated=True),
    "numericlessthan": Operator(_numeric(operator.lt)),
    "numericlessthanequals": Operator(_numeric(operator.le)),
    "numericgreaterthan": Operator(_numeric(operator.gt)),
    "numericgreaterthanequals": Operator(_numeric(operator.ge)),
    "dateequals": Operator(_date(operator.eq)),
    "datenotequals": Operator(_date(operator.eq), negated=True),
    "datelessthan": Operator(_date(operator.lt)),
    "datelessthanequals": Operator(_date(operator.le)),
    "dategreaterthan": Operator(_date(operator.gt)),
    "dategreaterthanequals": Operator(_date(operator.ge)),
    "bool": Operator(_bool),
    "binaryequals": Operator(_binary),
    "ipaddress": Operator(_ip_address),
    "notipaddress": Operator(_ip_address, negated=True),
    "arnequals": Operator(_arn),
    "arnlike": Operator(_arn),
    "arnnotequals": Operator(_arn, negated=True),
    "arnnotlike": Operator(_arn, negated=True),
    "null": Operator(null),
}
"""By their names in lower case."""
