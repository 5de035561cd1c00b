"""Strongroom's decision on a case. All that these tests know of the engine is here."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from strongroom.authorization.decide import authorize_account, authorize_key
from strongroom.authorization.documents import compile_identity_policy, compile_key_policy
from strongroom.authorization.grants import KeyGrants
from strongroom.authorization.ground import Decision
from strongroom.authorization.identity import Identity
from strongroom.errors import AccessDenied
from strongroom.model.grant import GrantConstraints
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal
from tests.compat.iam_simulate.cases import ACCOUNT, KEY, Case

_KMS_KEY = KmsKey(
    ACCOUNT, "us-east-1", KEY.rpartition("/")[2], "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled", "", "",
    (), 0.0, "ab" * 32,
)  # fmt: skip


class Outcome(NamedTuple):
    """A decision. `explicit` says whether a refusal is an explicit deny; None where a caller is not told."""

    allowed: bool
    explicit: bool | None


class _Request:
    """A case's request. It reads the context as it was given: condition keys have their own tests."""

    encryption_context: Mapping[str, str] | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None

    def __init__(self, case: Case, principal: Principal) -> None:
        self.principal = principal
        self.action = case.action
        self.resource = case.resource
        self._context = case.context

    @cached_property
    def _values(self) -> dict[str, tuple[str, ...]]:
        return {
            name.lower(): (given,) if isinstance(given, str) else tuple(given) for name, given in self._context.items()
        }

    def values(self, name: str) -> tuple[str, ...] | None:
        return self._values.get(name)


def decided(case: Case) -> Outcome:
    """What Strongroom decides."""
    caller = case.caller
    principal = Principal(caller.kind, caller.arn, caller.account, "AIDAEXAMPLE", "AKIAEXAMPLE", caller.issuer)
    identity = Identity(
        principal,
        policies=tuple(compile_identity_policy(json.dumps(policy)) for policy in case.identity_policies),
        boundary=None if case.boundary is None else compile_identity_policy(json.dumps(case.boundary)),
        session_policies=(
            None if case.session_policy is None else (compile_identity_policy(json.dumps(case.session_policy)),)
        ),
    )
    request = _Request(case, principal)
    try:
        if case.key_policy is None:
            authorize_account(request, identity)
        else:
            policy = compile_key_policy(json.dumps(case.key_policy))
            authorize_key(request, identity, _KMS_KEY, policy, KeyGrants())
    except AccessDenied as refusal:
        told = refusal.decision
        return Outcome(allowed=False, explicit=told.grounds[0].effect == "Deny" if isinstance(told, Decision) else None)
    return Outcome(allowed=True, explicit=False)
