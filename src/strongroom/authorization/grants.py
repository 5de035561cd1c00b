"""The grants of a key, and what a grant permits (AWS: "Grants in AWS KMS", "Grant constraints")."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from strongroom.authorization.request import Request, Undecidable
from strongroom.model.grant import Grant, GrantConstraints

_Use = tuple[str, str, tuple[str, str] | None]
_WITHOUT_CONTEXT = frozenset({"CreateGrant", "DescribeKey", "RetireGrant"})
"""Operations that have no encryption context, so that constraints on it do not matter."""


class KeyGrants(Struct, frozen=True):
    """The grants of one key, each with the number of the change that wrote it.

    A key can have 50,000, and all of them one grantee, a service that makes one for each thing it keeps: `for_use`
    finds those of a grantee, for an operation, whose constraint on the encryption context begins with a pair (None:
    that have no such constraint, or an empty one).
    """

    by_id: Mapping[str, tuple[Grant, int]] = {}
    for_use: Mapping[_Use, tuple[Grant, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.by_id)

    def get(self, grant_id: str) -> Grant | None:
        """The grant of this id, or None."""
        found = self.by_id.get(grant_id)
        return None if found is None else found[0]

    def candidates(self, grantee: str, operation: str, context: Mapping[str, str] | None) -> tuple[Grant, ...]:
        """The grants of one grantee (unique id, ARN or service) that may permit one operation, such as `Decrypt`."""
        found = self.for_use.get((grantee, operation, None), ())
        for pair in (context or {}).items():
            found += self.for_use.get((grantee, operation, pair), ())
        return found

    def with_changes(self, written: Iterable[tuple[Grant, int]], removed: Iterable[str]) -> "KeyGrants":
        """The grants with others put in, and those of these ids taken out."""
        by_id = dict(self.by_id)
        changed: dict[_Use, dict[str, Grant]] = {}

        def of(use: _Use) -> dict[str, Grant]:
            if use not in changed:
                changed[use] = {grant.grant_id: grant for grant in self.for_use.get(use, ())}
            return changed[use]

        def take(grant_id: str) -> None:
            found = by_id.pop(grant_id, None)
            for use in () if found is None else _uses(found[0]):
                of(use).pop(grant_id)

        for grant_id in removed:
            take(grant_id)
        for grant, number in written:
            take(grant.grant_id)
            by_id[grant.grant_id] = (grant, number)
            for use in _uses(grant):
                of(use)[grant.grant_id] = grant
        for_use = {**self.for_use, **{use: tuple(grants.values()) for use, grants in changed.items()}}
        for use in changed:
            if not for_use[use]:
                del for_use[use]
        return KeyGrants(by_id, for_use)


NO_GRANTS = KeyGrants()
"""Those of a key that has none."""


def _uses(grant: Grant) -> list[_Use]:
    grantee = grant.grantee_id or grant.grantee_principal or grant.grantee_service
    assert grantee is not None, "a grant has a grantee"
    constraints = grant.constraints
    required = constraints.encryption_context_equals or constraints.encryption_context_subset or {}
    pair = next(iter(required.items()), None)
    return [(grantee, operation, None if operation in _WITHOUT_CONTEXT else pair) for operation in grant.operations]


def permits(grant: Grant, request: Request) -> bool:
    """Whether a grant that is the caller's, and for this operation, holds for this request.

    Constraints on the encryption context are for cryptographic operations with a symmetric key, compared exactly; that
    on the source ARN is for DescribeKey only where the request has one. A grant for CreateGrant lets make only grants
    that allow no more than itself.
    """
    constraints = grant.constraints
    context = request.encryption_context
    if context is not None:
        equals, subset = constraints.encryption_context_equals, constraints.encryption_context_subset
        if equals is not None and equals != context:
            return False
        if subset is not None and not subset.items() <= context.items():
            return False
    if constraints.source_arn is not None and not _from_source(constraints.source_arn, request):
        return False
    return request.proposed is None or _within(grant, *request.proposed)


def _from_source(source_arn: str, request: Request) -> bool:
    try:
        given = request.values("aws:sourcearn")
    except Undecidable:
        return False
    return given == (source_arn,) or (given is None and request.action == "kms:DescribeKey")


def _within(grant: Grant, operations: frozenset[str], constraints: GrantConstraints) -> bool:
    """Whether a grant of these operations and constraints allows no more than `grant`."""
    mine = grant.constraints
    equals, subset = constraints.encryption_context_equals, constraints.encryption_context_subset
    if not operations <= set(grant.operations):
        return False
    if mine.encryption_context_equals is not None and equals != mine.encryption_context_equals:
        return False
    if mine.encryption_context_subset is not None:
        required = mine.encryption_context_subset.items()
        if not any(given is not None and required <= given.items() for given in (equals, subset)):
            return False
    return mine.source_arn is None or constraints.source_arn == mine.source_arn
