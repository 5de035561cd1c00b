"""What a case of the decision table supposes of a request, and how a real request comes to have it.

A condition key has the value that the case gives it because it always has it, because the caller or the key is tagged,
because the request has a parameter, or because a service asks in the caller's name. A value that no client can cause (a
time, an address, a tag with other characters) stands in the encryption context instead, which a client chooses: there
the policies name `kms:EncryptionContext:…`, or for several values `kms:EncryptionContextKeys`, in the key's place.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tests.unit.authorization.decisions.case import MALFORMED, Case, Policy

REGION = "us-west-2"
"""Where the table's key is."""


class Supposed(Struct):
    """What a request must have. `renamed` are condition keys, in lower case, and what the policies name instead."""

    context: dict[str, str]
    renamed: dict[str, str] = {}
    tags: dict[str, str] = {}
    """Tags of the caller."""
    key_tags: dict[str, str] = {}
    aliases: list[str] = []
    by_alias: str | None = None
    """The alias that the request names the key by."""
    same_key: bool = False
    """Whether ReEncrypt's other key is this one too."""
    service: str | None = None
    """The service that asks in the caller's name."""
    region: str = REGION
    parameters: dict[str, Any] = {}
    """Of the request, beside the usual ones."""


_OF_THE_CASE = re.compile(
    r"aws:(principalarn|principalaccount|userid|username|principalisawsservice)"
    r"|kms:(calleraccount|encryptioncontext:.*|encryptioncontextkeys)"
)
"""Condition keys that a real request of the case's caller, with the case's context, has as the case has them."""
_ANYHOW = {
    "aws:securetransport": "false",
    "kms:encryptionalgorithm": "SYMMETRIC_DEFAULT",
    "kms:grantisforawsresource": "false",
    "kms:keyorigin": "AWS_KMS",
    "kms:keyspec": "SYMMETRIC_DEFAULT",
    "kms:multiregion": "false",
    "kms:reencryptonsamekey": "false",
}
"""Condition key -> the value that it has unless something is done."""
_ALWAYS_THERE = {
    "aws:currenttime",
    "aws:epochtime",
    "aws:securetransport",
    "aws:sourceip",
    "kms:granteeprincipal",
    "kms:grantisforawsresource",
    "kms:grantoperations",
    "kms:keyorigin",
    "kms:keyspec",
    "kms:multiregion",
    "kms:reencryptonsamekey",
    "kms:schedulekeydeletionpendingwindowindays",
}
_BY_PARAMETER: dict[tuple[str, str], Callable[[Any], dict[str, Any]]] = {
    ("kms:CreateGrant", "kms:grantconstrainttype"): lambda kind: {"Constraints": {kind: {"a": "b"}}},
    ("kms:CreateGrant", "kms:granteeprincipal"): lambda arn: {"GranteePrincipal": arn},
    ("kms:CreateGrant", "kms:grantoperations"): lambda names: {"Operations": names},
    ("kms:CreateGrant", "kms:retiringprincipal"): lambda arn: {"RetiringPrincipal": arn},
    ("kms:PutKeyPolicy", "kms:bypasspolicylockoutsafetycheck"): lambda flag: {
        "BypassPolicyLockoutSafetyCheck": flag == "true"
    },
    ("kms:ScheduleKeyDeletion", "kms:schedulekeydeletionpendingwindowindays"): lambda days: {
        "PendingWindowInDays": int(days)
    },
}
"""Action and condition key -> the parameters that give it a value."""
_WITH_CONTEXT = {
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}
"""Actions of which a client chooses the encryption context, in CreateGrant that of the constraint."""
_TAG_VALUE = re.compile(r"[\w\s.:/=+@-]*")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z0-9.-]+:[^\s,{}'*?$]+)")


def supposed(case: Case) -> Supposed | None:
    """What a real request must have, or None if no client can make one of this action that has it."""
    found = Supposed(dict(case.context or {}))
    if case.expected == MALFORMED:
        return found
    values = {name.lower(): value for name, value in case.values.items()}
    others = {
        name
        for name in _named_keys(case) | values.keys()
        if not _has(case, name, values.get(name)) and not _cause(found, case.action, name, values.get(name))
    }
    if not others:
        return found
    if case.action not in _WITH_CONTEXT or case.proposed is not None:
        return None
    several = {name for name in others if isinstance(values.get(name), tuple)} | (others & _named_keys(case, sets=True))
    assert not several or (several == others and len(several) == 1 and not found.context), "one context has one meaning"
    assert several or "kms:encryptioncontextkeys" not in _named_keys(case), "the case counts the pairs of the context"
    for name in others:
        given = values.get(name, ())
        if name in several:
            found.renamed[name] = "kms:EncryptionContextKeys"
            found.context |= dict.fromkeys((given,) if isinstance(given, str) else given, "x")
        else:
            pair = re.sub("[^a-z0-9]", "-", name)
            found.renamed[name] = f"kms:EncryptionContext:{pair}"
            if name in values:
                found.context[pair] = str(given)
    return found


def _has(case: Case, name: str, value: str | tuple[str, ...] | None) -> bool:
    """Whether a request of this case has this value of a condition key, or has none, without more ado."""
    if _OF_THE_CASE.fullmatch(name):
        return True
    if value is not None:
        return _ANYHOW.get(name) == value
    if name == "aws:tokenissuetime":
        return case.caller.kind == "IAMUser"
    if name == "kms:encryptionalgorithm":
        return case.action not in _WITH_CONTEXT
    return name not in _ALWAYS_THERE


def _cause(found: Supposed, action: str, name: str, value: Any) -> bool:
    """Say in `found` how a request gets this value of a condition key; whether it can."""
    key, _, rest = name.partition("/")
    if value is None:
        return False
    if key == "aws:principaltag" and _TAG_VALUE.fullmatch(value):
        found.tags[rest] = value
    elif key == "aws:resourcetag":
        found.key_tags[rest] = value
    elif name == "kms:resourcealiases":
        found.aliases += value
    elif name == "kms:requestalias":
        found.aliases.append(value)
        found.by_alias = value
    elif name == "kms:viaservice":
        found.service, found.region = value.split(".")[:2]
    elif name == "kms:grantisforawsresource":
        found.service = "rds"
    elif name == "kms:reencryptonsamekey":
        found.same_key = True
    elif (action, name) in _BY_PARAMETER:
        found.parameters |= _BY_PARAMETER[action, name](value)
    else:
        return False
    return True


def _named_keys(case: Case, *, sets: bool = False) -> set[str]:
    """The condition keys, in lower case, that policies of a case name; or only those with a set operator."""
    policies = (case.key_policy, *case.policies, case.boundary, case.session)
    return {name.lower() for policy in policies if policy is not None for name in _named(policy, sets=sets)}


def _named(policy: Policy, *, sets: bool) -> Iterator[str]:
    if isinstance(policy, str):
        return
    for statement in [policy] if isinstance(policy, Mapping) else policy:
        for operator, pairs in (statement.get("Condition") or {}).items():
            if operator.startswith("For") or not sets:
                yield from pairs
        if not sets:
            yield from _VARIABLE.findall(json.dumps(statement))


def with_names(policy: Any, renamed: Mapping[str, str], *, variables: bool) -> Any:
    """A policy with other condition keys, in its conditions and, where the version has them, as variables."""
    if isinstance(policy, Mapping):
        return {
            renamed.get(name.lower(), name): with_names(value, renamed, variables=variables)
            for name, value in policy.items()
        }
    if isinstance(policy, str):
        return _VARIABLE.sub(lambda one: "${" + renamed.get(one[1].lower(), one[1]), policy) if variables else policy
    if isinstance(policy, Sequence):
        return [with_names(one, renamed, variables=variables) for one in policy]
    return policy
