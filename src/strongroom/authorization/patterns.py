"""Texts of a policy that are compared with texts of a request: wildcards and policy variables.

`*` stands for any characters, `?` for any one (AWS: "IAM JSON policy elements: Resource"). `${key}` and
`${key, 'default'}` stand for the value of a condition key, `${*}`, `${?}` and `${$}` for those characters themselves
(AWS: "IAM policy elements: Variables and tags"). The value of a variable is taken as it is: a wildcard in it is none.

No pattern can make a comparison slow: it takes time in proportion to the text.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from strongroom.authorization.request import Request, Undecidable
from strongroom.errors import MalformedPolicyDocument


class Wildcard(Enum):
    """A part of a pattern that stands for characters it does not name."""

    ANY = "*"
    ONE = "?"


class Variable(NamedTuple):
    """The value of a condition key, by its lower-case name; `default` if the request has none."""

    name: str
    default: str | None


Template = tuple[str | Wildcard | Variable, ...]
"""What a text of a policy is made of."""

MULTIVALUED = frozenset(
    {
        "aws:calledvia", "aws:principalservicenameslist", "aws:tagkeys", "kms:encryptioncontextkeys",
        "kms:grantoperations", "kms:resourcealiases", "sts:transitivetagkeys",
    }
)  # fmt: skip
"""Condition keys that are no variables (AWS: "Where you can use policy variables": single-valued keys only)."""

_MAX_RESOLVED = 32_768
"""Characters of the templates of one condition with their values: whoever asks chooses the values."""

_SPECIAL = re.compile(r"(\$\{|\*|\?)")
_VARIABLE = re.compile(r"\$\{(?:([*?$])|([A-Za-z0-9./_-]+:[^\s,{}'*?$]+)(?:\s*,\s*'([^'{}]*)')?)\}")


def parse_template(text: str, *, wildcards: bool, variables: bool) -> Template:
    """Take a text of a policy apart. Raises MalformedPolicyDocument for a variable that is not one."""
    parts: list[str | Wildcard | Variable] = []
    at = 0
    while (special := _SPECIAL.search(text, at)) is not None:
        parts.append(text[at : special.start()])
        at = special.end()
        if special[0] == "${" and variables:
            variable = _VARIABLE.match(text, special.start())
            if variable is None:
                raise MalformedPolicyDocument("Syntax errors in policy.")
            escaped, name, default = variable.groups()
            parts.append(escaped or Variable(name.lower(), default))
            at = variable.end()
        elif special[0] != "${" and wildcards:
            parts.append(Wildcard(special[0]))
        else:
            parts.append(special[0])
    parts.append(text[at:])
    return _joined(parts)


def _joined(parts: Iterable[str | Wildcard | Variable]) -> Template:
    """The parts with neighbouring texts as one, and no empty ones."""
    joined: list[str | Wildcard | Variable] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


def has_variables(template: Template) -> bool:
    """Whether what the template means depends on the request."""
    return any(isinstance(part, Variable) for part in template)


def resolve(template: Template, request: Request) -> Template | None:
    """The template with values for its variables; None if the request has no value, or several, for one of them."""
    resolved: list[str | Wildcard | Variable] = []
    for part in template:
        if isinstance(part, Variable):
            values = () if part.name in MULTIVALUED else request.values(part.name)
            if values is None and part.default is not None:
                resolved.append(part.default)
            elif values is not None and len(values) == 1:
                resolved.append(values[0])
            else:
                return None
        else:
            resolved.append(part)
    return _joined(resolved)


def resolve_all(templates: Iterable[Template], request: Request) -> list[Template]:
    """The templates that have values for their variables, with them. Raises Undecidable if they are too long then.

    All are looked at: whether one cannot be decided must not depend on their order.
    """
    resolved = [known for template in templates if (known := resolve(template, request)) is not None]
    if sum(len(part) for template in resolved for part in template if isinstance(part, str)) > _MAX_RESOLVED:
        raise Undecidable
    return resolved


class _Pieces(Struct, frozen=True):
    """A pattern with `*` and without `?`: the texts before, between and after its stars."""

    first: str
    middle: tuple[str, ...]
    last: str
    shortest: int

    def matches(self, text: str) -> bool:
        """Each piece takes the first place where it fits: a later one can only gain from that."""
        if len(text) < self.shortest or not text.startswith(self.first) or not text.endswith(self.last):
            return False
        at, end = len(self.first), len(text) - len(self.last)
        for piece in self.middle:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True


class _Automaton(Struct, frozen=True):
    """Patterns with `?`, as bits: bit n is set while the patterns' first n characters fit what was read so far.

    Baeza-Yates and Gonnet, "A new approach to text searching" (1992). The patterns stand behind one another, so that
    many take the time of one long one: `begins` and `ends` have the bits where each begins and ends. `takes` has the
    bits that a character moves on, `any_takes` those that every character does, `stays` the bits at a star.
    """

    begins: int
    takes: dict[str, int]
    any_takes: int
    stays: int
    ends: int

    def matches(self, text: str) -> bool:
        """Read the text once."""
        bits = self.begins
        for character in text:
            bits = ((bits & (self.takes.get(character, 0) | self.any_takes)) << 1) | (bits & self.stays)
            if not bits:
                return False
        return bits & self.ends != 0


def _automaton(templates: Iterable[Template]) -> _Automaton:
    takes: dict[str, int] = {}
    begins, any_takes, stays, ends, bit = 0, 0, 0, 0, 1
    for template in templates:
        begins |= bit
        for part in template:
            if part is Wildcard.ANY:
                stays |= bit
            elif part is Wildcard.ONE:
                any_takes |= bit
                bit <<= 1
            elif isinstance(part, str):
                for character in part:
                    takes[character] = takes.get(character, 0) | bit
                    bit <<= 1
        ends |= bit
        bit <<= 1  # no character moves on from an end
    return _Automaton(begins, takes, any_takes, stays, ends)


def _pieces(template: Template) -> _Pieces:
    pieces = [""]
    for part in template:
        if part is Wildcard.ANY:
            pieces.append("")
        elif isinstance(part, str):
            pieces[-1] += part
    first, *middle, last = pieces
    return _Pieces(first, tuple(piece for piece in middle if piece), last, sum(map(len, pieces)))


class Texts(Struct, frozen=True):
    """Texts of a policy of which one is to match. `everything` says that one is `*`.

    `exact` are whole texts, `patterns` have wildcards, `templates` variables, to be resolved for each request.
    """

    everything: bool
    exact: frozenset[str]
    patterns: tuple[_Pieces | _Automaton, ...]
    templates: tuple[Template, ...]

    @property
    def varied(self) -> bool:
        """Whether more than the exact texts can match."""
        return self.everything or self.patterns != () or self.templates != ()

    def match(self, text: str, request: Request) -> bool:
        """Whether one matches the text. A variable without a value makes its text match nothing. Raises Undecidable."""
        if self.everything or text in self.exact:
            return True
        for pattern in self.patterns:
            if pattern.matches(text):
                return True
        return self.templates != () and texts(resolve_all(self.templates, request)).match(text, request)


def texts(templates: Iterable[Template]) -> Texts:
    """Compile templates of which one is to match."""
    everything = False
    exact: set[str] = set()
    patterns: list[_Pieces | _Automaton] = []
    with_question_marks: list[Template] = []
    with_variables: list[Template] = []
    for template in templates:
        if template == (Wildcard.ANY,):
            everything = True
        elif has_variables(template):
            with_variables.append(template)
        elif not template:
            exact.add("")
        elif len(template) == 1 and isinstance(template[0], str):
            exact.add(template[0])
        elif Wildcard.ONE in template:
            with_question_marks.append(template)
        else:
            patterns.append(_pieces(template))
    if with_question_marks:
        patterns.append(_automaton(with_question_marks))
    return Texts(everything, frozenset(exact), tuple(patterns), tuple(with_variables))
