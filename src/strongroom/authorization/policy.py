"""Key policies: parsed and compiled once, when a key is loaded or written.

What is understood so far: Version 2012-10-17 and 2008-10-17; Principal `*`, accounts and ARNs; Action with wildcards;
Resource `*`, patterns of key ARNs; Effect. A statement that uses anything else (Condition, NotPrincipal, …) is
well formed and stored, but *not understood*: as an Allow it allows nothing, as a Deny it denies everything.

AWS: "Key policies in AWS KMS", "IAM JSON policy element reference".
"""

import json
import re
from functools import lru_cache

from msgspec import Struct

from strongroom.errors import LimitExceeded, MalformedPolicyDocument
from strongroom.model.principal import Principal

MAX_POLICY_BYTES = 32_768

_VERSIONS = ("2012-10-17", "2008-10-17")
_UNDERSTOOD = frozenset({"Sid", "Effect", "Principal", "Action", "Resource"})
_KNOWN = _UNDERSTOOD | {"Condition", "NotPrincipal", "NotAction", "NotResource"}
_ACCOUNT = re.compile(r"([0-9]{12})|arn:aws:iam::([0-9]{12}):root")
_NOBODY = {"Service": "nobody.invalid"}
"""The principals of a statement that has NotPrincipal instead, which is not understood."""
_SHORT = 1_024
"""Characters of a policy whose compiled form is kept for others that are the same."""
_BRACKETS = re.compile(r"[\[\]{}]")
_MAX_DEPTH = 20
_ALLOWED_CHARACTERS = re.compile("[\t\n\r\x20-\xff]*")


class Statement(Struct, frozen=True):
    """One compiled statement. `accounts` are named as a whole; `arns` one by one; `anyone` is Principal `*`.

    `actions` and `resources` are None where every action or every resource is meant.
    """

    allow: bool
    understood: bool
    anyone: bool
    accounts: frozenset[str]
    arns: frozenset[str]
    actions: re.Pattern[str] | None
    resources: re.Pattern[str] | None

    def covers(self, action: str, key_arn: str) -> bool:
        """Whether the statement speaks of this action on this key."""
        return (self.actions is None or self.actions.fullmatch(action) is not None) and (
            self.resources is None or self.resources.fullmatch(key_arn) is not None
        )

    def allows_to(self, principal: Principal) -> bool:
        """Whether an Allow names the principal itself. An account names its root user, not everybody in it."""
        return (
            self.anyone or principal.arn in self.arns or (principal.is_root_user and principal.account in self.accounts)
        )

    def denies_to(self, principal: Principal) -> bool:
        """Whether a Deny names the principal. An account names everybody in it."""
        return self.anyone or principal.arn in self.arns or principal.account in self.accounts


class KeyPolicy(Struct, frozen=True):
    """A compiled key policy: the statements in order, split by effect."""

    denies: tuple[Statement, ...]
    allows: tuple[Statement, ...]


NO_POLICY = KeyPolicy(denies=(), allows=())
"""Lets nobody in."""


def default_key_policy(account: str) -> str:
    """The policy of a key created without one, byte for byte as AWS writes it."""
    return f"""{{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {{
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {{
      "AWS" : "arn:aws:iam::{account}:root"
    }},
    "Action" : "kms:*",
    "Resource" : "*"
  }} ]
}}"""


def check_policy_size(text: str) -> None:
    """Raise LimitExceeded for a policy over 32 KB."""
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise LimitExceeded(f"The key policy exceeds the limit of {MAX_POLICY_BYTES} bytes.")


def compile_policy(text: str) -> KeyPolicy:
    """Parse and compile a key policy. Raises MalformedPolicyDocument.

    Policies repeat (the default one is the same for every key of an account), so short ones are kept; a long one, which
    can compile to a hundred times its length, is not.
    """
    return _compile_short(text) if len(text) <= _SHORT else _compile(text)


@lru_cache(maxsize=1_000)
def _compile_short(text: str) -> KeyPolicy:
    return _compile(text)


def _compile(text: str) -> KeyPolicy:
    if not _ALLOWED_CHARACTERS.fullmatch(text):
        raise MalformedPolicyDocument("The policy contains characters that are not allowed.")
    if _too_deep(text):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyDocument from error
    if not isinstance(document, dict) or document.keys() - {"Version", "Id", "Statement"}:
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if not isinstance(document.get("Id", ""), str):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if document.get("Version", _VERSIONS[1]) not in _VERSIONS:
        raise MalformedPolicyDocument("The policy must contain a valid version string.")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise MalformedPolicyDocument("Syntax errors in policy.")
    compiled = [_compile_statement(statement) for statement in statements]
    return KeyPolicy(
        denies=tuple(statement for statement in compiled if not statement.allow),
        allows=tuple(statement for statement in compiled if statement.allow),
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a member given twice: two readers of the policy could see two different policies."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    return members


def _compile_statement(statement: object) -> Statement:
    if not isinstance(statement, dict) or statement.keys() - _KNOWN:
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if not isinstance(statement.get("Sid", ""), str):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if "Principal" not in statement and "NotPrincipal" not in statement:
        raise MalformedPolicyDocument("A policy statement must contain principals.")
    # AWS takes a statement without Action or Resource; it has no effect.
    anyone, accounts, arns, principals_understood = _compile_principal(statement.get("Principal", _NOBODY))
    actions = _strings(statement.get("Action", ()))
    resources = _strings(statement.get("Resource", ()))
    text = json.dumps(resources)
    return Statement(
        allow=statement["Effect"] == "Allow",
        understood=statement.keys() <= _UNDERSTOOD and principals_understood and "${" not in text,
        anyone=anyone,
        accounts=accounts,
        arns=arns,
        actions=_wildcards(actions, re.IGNORECASE),
        resources=_wildcards(resources, re.NOFLAG),
    )


def _compile_principal(principal: object) -> tuple[bool, frozenset[str], frozenset[str], bool]:
    """Return (anyone, accounts, ARNs, understood)."""
    if principal == "*":
        return True, frozenset(), frozenset(), True
    kinds = {"AWS", "Service", "Federated", "CanonicalUser"}
    if not isinstance(principal, dict) or not principal or principal.keys() - kinds:
        raise MalformedPolicyDocument("Policy contains a statement with one or more invalid principals.")
    names = _strings(principal.get("AWS", ()))
    accounts, arns = set(), set()
    for name in names:
        account = _ACCOUNT.fullmatch(name)
        if account is not None:
            accounts.add(account[1] or account[2])
        elif name.startswith("arn:aws:") and "*" not in name:
            arns.add(name)
        elif name != "*":
            raise MalformedPolicyDocument("Policy contains a statement with one or more invalid principals.")
    return "*" in names, frozenset(accounts), frozenset(arns), principal.keys() <= {"AWS"}


def _strings(value: object) -> list[str]:
    """Read a text or a list of texts that is not empty; `()` stands for a member that is not there."""
    values = [value] if isinstance(value, str) else value
    if values == ():
        return []
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    return values


def _too_deep(text: str) -> bool:
    """Whether brackets nest deeper than any policy's, so that what one thread can parse every thread can."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


def _wildcards(patterns: list[str], flags: re.RegexFlag) -> re.Pattern[str] | None:
    """Compile one expression for a list of `*` and `?` patterns; an empty list matches nothing, `*` everything."""
    if "*" in patterns:
        return None
    alternatives = [_wildcard(pattern) for pattern in patterns]
    return re.compile("|".join(alternatives) if alternatives else r"(?!)", flags | re.DOTALL)


def _wildcard(pattern: str) -> str:
    """Translate one pattern so that no text can make the match backtrack: each `*` takes the first fit, for good.

    That loses nothing, since what follows a later `*` can only gain from an earlier fit; the last part is anchored.
    """
    first, *rest = [re.escape(part).replace(r"\?", ".") for part in pattern.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last
