"""Policy documents: read and compiled once, when they are loaded or written.

AWS: "IAM JSON policy element reference", "Key policies in AWS KMS".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from strongroom.authorization.conditions import compile_conditions
from strongroom.authorization.ground import IDENTITY_POLICY, KEY_POLICY, TRUST_POLICY, Ground
from strongroom.authorization.patterns import Template, Variable, parse_template, texts
from strongroom.authorization.policy import MAX_TOLD, Policy, Statement
from strongroom.authorization.principals import ANYONE, compile_principals
from strongroom.errors import LimitExceeded, MalformedPolicyDocument

MAX_POLICY_BYTES = 32_768

Pairs = tuple[tuple[str, str], ...]

_WITH_VARIABLES = "2012-10-17"
_VERSIONS = (_WITH_VARIABLES, "2008-10-17")
_ELEMENTS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_PRINCIPALS = frozenset({"Principal", "NotPrincipal"})
_SHORT = 1_024
"""Characters of a policy whose compiled form is kept for others that are the same."""
_BRACKETS = re.compile(r"[\[\]{}]")
_MAX_DEPTH = 20
_ALLOWED_CHARACTERS = re.compile("[\t\n\r\x20-\xff]*")
_REPAIRS = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"]
NOT_IN_KEY_POLICIES = ("aws:ResourceTag", "kms:ResourceTag", "kms:ResourceAliases")
"""Condition keys for IAM policies only (AWS: "ABAC for AWS KMS")."""
_VARIABLE = re.compile(r"\$\{\s*([^\s,}]+)")
_COLONS = 5
"""Of an ARN, before the name of the resource."""
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")


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


def repair_policy(account: str) -> Policy:
    """What holds for a key whose stored policy cannot be read: an older version took it.

    Nobody uses the key; its account can look at the policy and put another in its place.
    """
    statement = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": _REPAIRS, "Resource": "*"}
    return compile_key_policy(json.dumps({"Version": _WITH_VARIABLES, "Statement": statement}))


def check_policy_size(text: str) -> None:
    """Raise LimitExceeded for a key policy over 32 KB."""
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise LimitExceeded(f"The key policy exceeds the limit of {MAX_POLICY_BYTES} bytes.")


def compile_key_policy(text: str, remembered: Pairs = ()) -> Policy:
    """Parse and compile a key policy. Raises MalformedPolicyDocument.

    `remembered` are (ARN, unique id) of principals that the policy means by their unique ids. Policies repeat (the
    default one is the same for every key of an account), so short ones are kept.
    """
    if len(text) <= _SHORT:
        return _compile_short(text, remembered)
    return _compile(text, _Form(KEY_POLICY, dict(remembered)))


def compile_trust_policy(text: str, remembered: Pairs = ()) -> Policy:
    """Parse and compile the policy that says who may assume a role (AWS: "trust policy"): it names no resource.

    Raises MalformedPolicyDocument.
    """
    return _compile(text, _Form(TRUST_POLICY, dict(remembered)))


def compile_identity_policy(text: str) -> Policy:
    """Parse and compile a policy attached to its principal: identity-based, a boundary or a session policy.

    Raises MalformedPolicyDocument.
    """
    return _compile(text, _Form(IDENTITY_POLICY, {}))


@lru_cache(maxsize=1_000)
def _compile_short(text: str, remembered: Pairs) -> Policy:
    return _compile(text, _Form(KEY_POLICY, dict(remembered)))


class _Form(NamedTuple):
    """What kind of policy a document is, and the unique ids of the principals that it remembers, by ARN."""

    policy_type: str
    remembered: Mapping[str, str]

    @property
    def with_principals(self) -> bool:
        return self.policy_type != IDENTITY_POLICY


def _compile(text: str, form: _Form) -> Policy:
    document = _read(text, form)
    variables = document.get("Version") == _WITH_VARIABLES
    statements = document["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _syntax()
    digest = policy_digest(text)
    compiled = []
    for number, statement in enumerate(statements, 1):
        _check_elements(statement, form)
        ground = Ground(form.policy_type, statement["Effect"], number, statement.get("Sid", "")[:MAX_TOLD], digest)
        compiled.append(_compile_statement(statement, ground, form, variables=variables))
    if form.policy_type == KEY_POLICY:
        _check_condition_keys(document, compiled)
    return Policy(
        denies=tuple(statement for statement in compiled if not statement.allow),
        allows=tuple(statement for statement in compiled if statement.allow),
    )


def _check_condition_keys(document: dict[str, object], statements: Iterable[Statement]) -> None:
    """Who may tag a key or give it aliases is not to open it: in its policy they are neither keys nor variables."""
    names = [condition.key for statement in statements for condition in statement.conditions]
    names += [name.lower() for name in _VARIABLE.findall(json.dumps(document))]
    refused = [
        name
        for name in NOT_IN_KEY_POLICIES
        if any(used == name.lower() or used.startswith(f"{name.lower()}/") for used in names)
    ]
    if refused:
        raise MalformedPolicyDocument(f"These condition keys are not permitted in a key policy: {', '.join(refused)}")


def policy_digest(text: str) -> str:
    """What identifies a policy text in an audit record: 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(text: str, form: _Form) -> dict[str, object]:
    if not _ALLOWED_CHARACTERS.fullmatch(text):
        raise MalformedPolicyDocument("The policy contains characters that are not allowed.")
    if _too_deep(text):
        raise _syntax()
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # half of a character, as `\ud800`, is none: nothing tells it
    except (ValueError, RecursionError) as error:
        # KMS says nothing here, IAM does
        told = None if form.policy_type == KEY_POLICY else "This policy contains invalid Json"
        raise MalformedPolicyDocument(told) from error
    if not isinstance(document, dict) or document.keys() - {"Version", "Id", "Statement"}:
        raise _syntax()
    if "Statement" not in document or not isinstance(document.get("Id", ""), str):
        raise _syntax()
    if document.get("Version", _VERSIONS[1]) not in _VERSIONS:
        raise MalformedPolicyDocument("The policy must contain a valid version string.")
    return document


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a member given twice: two readers of the policy could see two different policies."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _syntax()
    return members


def _check_elements(statement: object, form: _Form) -> None:
    """Check which elements a statement has. What they contain is checked as it is compiled."""
    if not isinstance(statement, dict) or statement.keys() - _ELEMENTS - _PRINCIPALS:
        raise _syntax()
    if statement.get("Effect") not in ("Allow", "Deny") or not isinstance(statement.get("Sid", ""), str):
        raise _syntax()
    for element in ("Action", "Resource", "Principal"):
        if element in statement and f"Not{element}" in statement:
            raise _syntax()
    if form.with_principals and not statement.keys() & _PRINCIPALS:
        raise MalformedPolicyDocument("Policy contains a statement with no principal.")
    if statement["Effect"] == "Allow" and "NotPrincipal" in statement:
        raise MalformedPolicyDocument("Allow with NotPrincipal is not allowed.")
    if not form.with_principals and statement.keys() & _PRINCIPALS:
        raise MalformedPolicyDocument("Policy document should not specify a principal.")
    if not statement.keys() & {"Action", "NotAction"}:
        raise MalformedPolicyDocument("Policy statement must contain actions.")
    _check_resources(statement, form)


def _check_resources(statement: dict[str, object], form: _Form) -> None:
    if form.policy_type == TRUST_POLICY:
        if statement.keys() & {"Resource", "NotResource"}:
            raise MalformedPolicyDocument("Has prohibited field Resource")
    elif not statement.keys() & {"Resource", "NotResource"}:
        raise MalformedPolicyDocument("Policy statement must contain resources.")


def _compile_statement(statement: dict[str, object], ground: Ground, form: _Form, *, variables: bool) -> Statement:
    named = statement.get("Principal", statement.get("NotPrincipal"))
    actions = _strings(statement.get("Action", statement.get("NotAction")))
    if not all(map(_ACTION.fullmatch, actions)):
        raise MalformedPolicyDocument("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if form.policy_type == TRUST_POLICY and not all(action.lower().startswith("sts:") for action in actions):
        raise MalformedPolicyDocument("AssumeRole policy may only specify STS AssumeRole actions.")
    resources = _strings(statement.get("Resource", statement.get("NotResource", "*")))
    for resource in resources:
        if resource != "*" and not resource.startswith("arn:"):
            raise MalformedPolicyDocument(f'Resource {resource[:MAX_TOLD]} must be in ARN format or "*".')
    covered = texts(_resource(resource, variables=variables) for resource in resources)
    return Statement(
        ground=ground,
        allow=statement["Effect"] == "Allow",
        principals=compile_principals(named, form.remembered) if statement.keys() & _PRINCIPALS else ANYONE,
        not_principals="NotPrincipal" in statement,
        actions=texts(parse_template(action.lower(), wildcards=True, variables=False) for action in actions),
        not_actions="NotAction" in statement,
        resources=covered,
        not_resources="NotResource" in statement,
        anywhere=covered.everything and "NotResource" not in statement,
        conditions=compile_conditions(statement.get("Condition", {}), variables=variables),
        answers={},
    )


def _resource(text: str, *, variables: bool) -> Template:
    """AWS: a policy variable is known behind the fifth colon of an ARN only, not in its account or Region."""
    template = parse_template(text, wildcards=True, variables=variables)
    first = next((place for place, part in enumerate(template) if isinstance(part, Variable)), len(template))
    before = "".join(part for part in template[:first] if isinstance(part, str))
    if first < len(template) and before.count(":") < _COLONS:
        raise _syntax()
    return template


def _no_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which are no JSON."""
    raise ValueError(name)


def _strings(value: object) -> list[str]:
    """Read a text or a list of texts that is not empty."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise _syntax()
    return values


def _too_deep(text: str) -> bool:
    """Whether brackets nest deeper than any policy's, so that what one thread can parse every thread can."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


def _syntax() -> MalformedPolicyDocument:
    return MalformedPolicyDocument("Syntax errors in policy.")
