"""CreateGrant with a permission that comes from a grant: the child can only be narrower."""

from collections.abc import Mapping
from typing import Any

from strongroom.model.grant import GrantConstraints
from tests.unit.authorization.decisions.case import (
    ALICE,
    ALLOW,
    BOB,
    DELEGATE,
    DENY,
    NO_RESOURCE,
    Case,
    allow,
    grant,
    may,
)

_RULE = "KMS Developer Guide, Creating grants: Granting CreateGrant permission"
_OPERATIONS = f"{_RULE}: only operations of the parent grant"
_CONSTRAINTS = f"{_RULE}: constraints at least as strict as the parent's"
_POLICY = f"{_RULE}: the limits do not apply to a permission from a policy"

_PARENT = ("GenerateDataKey", "Decrypt", "CreateGrant")
_TOPIC = "arn:aws:sns:us-west-2:111122223333:topic"
_FROM_TOPIC = {"aws:SourceArn": _TOPIC}
_IT, _IT_TEST = {"Department": "IT"}, {"Department": "IT", "Purpose": "Test"}


def _child(
    name: str,
    rule: str,
    expected: str,
    parent: Mapping[str, Any],
    operations: tuple[str, ...] = ("Decrypt",),
    constraints: GrantConstraints = GrantConstraints(),  # noqa: B008 — immutable
    **more: Any,
) -> Case:
    """Alice has `CreateGrant` from a grant alone, and asks for a grant to somebody else."""
    grants = [grant(ALICE.arn, **{"operations": _PARENT, **parent})]
    because = NO_RESOURCE if expected == DENY else ""
    key_policy, proposed = more.pop("key_policy", allow(BOB.arn)), (frozenset(operations), constraints)
    return Case(
        name, rule, expected, key_policy, grants=grants, action="kms:CreateGrant", proposed=proposed, because=because,
        **more,
    )  # fmt: skip


def _subset(pairs: dict[str, str]) -> GrantConstraints:
    return GrantConstraints(encryption_context_subset=pairs)


def _equals(pairs: dict[str, str]) -> GrantConstraints:
    return GrantConstraints(encryption_context_equals=pairs)


CASES = (
    _child("one operation of the parent", _OPERATIONS, ALLOW, {}),
    _child("all operations of the parent", _OPERATIONS, ALLOW, {}, _PARENT),
    _child("CreateGrant and Decrypt", _OPERATIONS, ALLOW, {}, ("CreateGrant", "Decrypt")),
    _child("an operation that the parent lacks", _OPERATIONS, DENY, {}, ("ReEncryptFrom",)),
    _child("one operation more than the parent", _OPERATIONS, DENY, {}, (*_PARENT, "Encrypt")),
    _child("a parent without CreateGrant", _OPERATIONS, DENY, {"operations": ("GenerateDataKey", "Decrypt")}),
    _child("a constraint where the parent has none", _CONSTRAINTS, ALLOW, {}, constraints=_subset(_IT)),
    _child("an exact constraint where the parent has none", _CONSTRAINTS, ALLOW, {}, constraints=_equals(_IT)),
    _child("no constraint where the parent has one", _CONSTRAINTS, DENY, {"subset": _IT}),
    _child("no constraint where the parent has an exact one", _CONSTRAINTS, DENY, {"equals": _IT}),
    _child("the parent's subset", _CONSTRAINTS, ALLOW, {"subset": _IT}, constraints=_subset(_IT)),
    _child("a pair more in the subset", _CONSTRAINTS, ALLOW, {"subset": _IT}, constraints=_subset(_IT_TEST)),
    _child("a pair less in the subset", _CONSTRAINTS, DENY, {"subset": _IT_TEST}, constraints=_subset(_IT)),
    _child("another value in the subset", _CONSTRAINTS, DENY, {"subset": _IT},
           constraints=_subset({"Department": "HR"})),
    _child("other pairs in the subset", _CONSTRAINTS, DENY, {"subset": _IT}, constraints=_subset({"Purpose": "Test"})),
    _child("a subset made exact", _CONSTRAINTS, ALLOW, {"subset": _IT}, constraints=_equals(_IT)),
    _child("a subset made exact with a pair more", _CONSTRAINTS, ALLOW, {"subset": _IT}, constraints=_equals(_IT_TEST)),
    _child("a subset made exact with a pair less", _CONSTRAINTS, DENY, {"subset": _IT_TEST}, constraints=_equals(_IT)),
    _child("the parent's exact pairs", _CONSTRAINTS, ALLOW, {"equals": _IT}, constraints=_equals(_IT)),
    _child("exact pairs made a subset", _CONSTRAINTS, DENY, {"equals": _IT}, constraints=_subset(_IT)),
    _child("exact pairs with a pair more", _CONSTRAINTS, DENY, {"equals": _IT}, constraints=_equals(_IT_TEST)),
    _child("the parent's source ARN", _CONSTRAINTS, ALLOW, {"source_arn": _TOPIC},
           constraints=GrantConstraints(source_arn=_TOPIC), values=_FROM_TOPIC),
    _child("no source ARN where the parent has one", _CONSTRAINTS, DENY, {"source_arn": _TOPIC}, values=_FROM_TOPIC),
    _child("another source ARN", _CONSTRAINTS, DENY, {"source_arn": _TOPIC},
           constraints=GrantConstraints(source_arn=_TOPIC + "s"), values=_FROM_TOPIC),
    _child("stricter constraints and an operation too many", _RULE, DENY, {"subset": _IT}, ("Encrypt",), _equals(_IT)),
    _child("the documentation's child", _RULE, ALLOW, {"subset": _IT}, ("CreateGrant", "Decrypt"), _equals(_IT)),
    _child("by name in the key policy", _POLICY, ALLOW, {"subset": _IT}, ("Encrypt",),
           key_policy=allow(ALICE.arn, "kms:CreateGrant")),
    _child("by identity policy", _POLICY, ALLOW, {"subset": _IT}, ("Encrypt",), key_policy=DELEGATE,
           policies=[may("kms:CreateGrant")]),
)  # fmt: skip
