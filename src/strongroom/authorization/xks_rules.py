"""The rules of a key store of the XKS proxy: for whom AWS KMS may use which external keys, by what KMS says of them.

A JSON document:

    {"Version": 1, "Rules": [
      {"Effect": "Allow", "Keys": ["payments-*"], "Principals": ["arn:aws:iam::111122223333:*"]},
      {"Effect": "Deny", "Operations": ["ReEncrypt"]}
    ]}

Calls of a rule says what is called: GetKeyMetadata, Encrypt or Decrypt. Its other members but Effect have patterns, in
which `*` stands for any characters and `?` for any one: Keys of the external key's id; Operations, Principals, KmsKeys,
ViaServices, SourceVpcs and SourceVpces of kmsOperation, awsPrincipalArn, kmsKeyArn, kmsViaService, awsSourceVpc and
awsSourceVpce in the request's metadata. A rule matches if one pattern of each member does. A member that is left out
matches anything; one that is there never matches a request without that metadata. What a Deny matches is refused, and
so is what no Allow matches.
"""

import json
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from strongroom.authorization.patterns import Texts, parse_template, texts
from strongroom.errors import ConfigurationError

MAX_RULES = 32_768
"""Characters of a document, at most: it is compiled in memory, and read for each request."""

_Patterns = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
_Operations = Annotated[tuple[Annotated[str, Meta(pattern="^[A-Za-z*?]+$")], ...], Meta(min_length=1)]
"""Names as `Encrypt`: one as `kms:Encrypt` would never match."""
_Calls = Annotated[tuple[Literal["GetKeyMetadata", "Encrypt", "Decrypt"], ...], Meta(min_length=1)]


class Asked(NamedTuple):
    """What a request asks for: an external key by its id, a call of the proxy; and what its metadata says, or None."""

    key: str
    call: str
    operation: str
    principal: str | None = None
    kms_key: str | None = None
    via_service: str | None = None
    source_vpc: str | None = None
    source_vpce: str | None = None


class Rule(NamedTuple):
    """A rule: whether it denies, and its patterns, each with the place in `Asked` of what they are compared with."""

    denies: bool
    patterns: tuple[tuple[int, Texts], ...]

    def matches(self, asked: Asked) -> bool:
        """Whether one pattern of each member matches."""
        return all(_one_matches(patterns, asked[place]) for place, patterns in self.patterns)


class Rules(NamedTuple):
    """The rules of a key store, compiled."""

    rules: tuple[Rule, ...]


class _Rule(Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """A rule as it is written; the members after the first in the order of `Asked`."""

    effect: Literal["Allow", "Deny"]
    keys: _Patterns | UnsetType = UNSET
    calls: _Calls | UnsetType = UNSET
    operations: _Operations | UnsetType = UNSET
    principals: _Patterns | UnsetType = UNSET
    kms_keys: _Patterns | UnsetType = UNSET
    via_services: _Patterns | UnsetType = UNSET
    source_vpcs: _Patterns | UnsetType = UNSET
    source_vpces: _Patterns | UnsetType = UNSET


class _Document(Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    version: Literal[1]
    rules: tuple[_Rule, ...]


@lru_cache(maxsize=1_000)
def parse_rules(text: str) -> Rules:
    """Read and compile rules. Raises ConfigurationError, one line that names the fault."""
    if len(text) > MAX_RULES:
        raise ConfigurationError(f"the rules have more than {MAX_RULES:,} characters")
    try:
        document = msgspec.convert(json.loads(text, object_pairs_hook=_object), _Document)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"the rules are wrong: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigurationError("the rules are nested too deeply") from None
    except ValueError as error:
        raise ConfigurationError(f"the rules are not JSON: {error}") from None
    return Rules(tuple(_compiled(rule) for rule in document.rules))


def decide(rules: Rules, asked: Asked) -> bool:
    """Whether the rules let a request be answered. In time proportional to the rules and to what is asked."""
    matching = [rule.denies for rule in rules.rules if rule.matches(asked)]
    return bool(matching) and not any(matching)


def _compiled(rule: _Rule) -> Rule:
    effect, *members = msgspec.structs.astuple(rule)
    patterns = tuple((place, _texts(given)) for place, given in enumerate(members) if given is not UNSET)
    return Rule(effect == "Deny", patterns)


def _texts(patterns: tuple[str, ...]) -> Texts:
    return texts(parse_template(pattern, wildcards=True, variables=False) for pattern in patterns)


def _one_matches(patterns: Texts, text: str | None) -> bool:
    if text is None:
        return False
    return patterns.everything or text in patterns.exact or any(one.matches(text) for one in patterns.patterns)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of the document. One with a member twice means two things to two readers: it is refused."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise msgspec.ValidationError("a member is there twice")
    return members
