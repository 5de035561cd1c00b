"""The grants of a key, what a grant permits, and that a chain of grants permits no more than its first."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from strongroom.authorization.grants import NO_GRANTS, KeyGrants, permits
from strongroom.authorization.request import Undecidable, Values
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.principal import Principal, root_user

ACCOUNT = "111122223333"
SOURCE, OTHER_SOURCE = "arn:aws:rds:us-east-1:111122223333:db:x", "arn:aws:rds:us-east-1:111122223333:db:y"


class Asked(NamedTuple):
    """A request: all that a grant looks at."""

    action: str = "kms:Encrypt"
    encryption_context: Mapping[str, str] | None = None
    sources: Values | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None
    principal: Principal = root_user(ACCOUNT, "AKIA1")
    resource: str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

    def values(self, name: str) -> Values | None:
        assert name == "aws:sourcearn"
        return self.sources


def grant(number: int = 1, *operations: str, to: str = "arn:a", **constraints: Any) -> Grant:
    return Grant(
        ACCOUNT, "us-east-1", "key", f"{number:064x}", 1.0, ACCOUNT, operations or ("Encrypt",), grantee_principal=to,
        constraints=structs.replace(GrantConstraints(), **constraints),
    )  # fmt: skip


def create_grant(*operations: str, **constraints: object) -> Asked:
    """A request to make a grant."""
    made = structs.replace(GrantConstraints(), **constraints)
    return Asked("kms:CreateGrant", proposed=(frozenset(operations), made))


# The grants of a key.


def held(grants: KeyGrants) -> dict[str, int]:
    return {grant_id: number for grant_id, (_, number) in grants.by_id.items()}


def test_grants_are_found_by_grantee_and_operation() -> None:
    first, second = grant(1, "Encrypt", "Decrypt"), grant(2, "Encrypt")
    other, service = grant(3, to="arn:b"), structs.replace(grant(4), grantee_principal=None, grantee_service="a.b.c")
    grants = NO_GRANTS.with_changes([(one, 5) for one in (first, second, other, service)], [])

    assert set(grants.candidates("arn:a", "Encrypt", None)) == {first, second}
    assert grants.candidates("arn:a", "Decrypt", None) == (first,)
    assert grants.candidates("arn:b", "Encrypt", None) == (other,)
    assert grants.candidates("a.b.c", "Encrypt", None) == (service,)
    assert grants.candidates("arn:b", "Decrypt", None) == grants.candidates("arn:c", "Encrypt", None) == ()
    assert grants.get(first.grant_id) == first
    assert grants.get("none") is None
    assert [one for one, _ in grants.by_id.values()] == [first, second, other, service]
    assert bool(grants)
    assert not NO_GRANTS


def test_grants_are_found_by_the_encryption_context_they_ask_for() -> None:
    pairs: list[tuple[str, dict[str, str] | None]] = [
        ("a", None),
        ("b", {}),
        ("c", {"x": "1"}),
        ("d", {"x": "2", "y": "1"}),
    ]
    made = {
        name: structs.replace(
            grant(number, "Encrypt", "CreateGrant"), name=name, constraints=GrantConstraints(subset, None, None)
        )
        for number, (name, subset) in enumerate(pairs)
    }
    grants = NO_GRANTS.with_changes([(one, 5) for one in made.values()], [])

    def found(operation: str, context: dict[str, str] | None) -> list[str | None]:
        return [one.name for one in grants.candidates("arn:a", operation, context)]

    assert found("Encrypt", {}) == ["a", "b"]
    assert found("Encrypt", {"x": "1", "y": "1"}) == ["a", "b", "c"]
    assert found("Encrypt", {"x": "2"}) == ["a", "b", "d"]
    assert found("CreateGrant", None) == ["a", "b", "c", "d"]
    left = grants.with_changes([], [made["c"].grant_id])
    assert [one.name for one in left.candidates("arn:a", "Encrypt", {"x": "1"})] == ["a", "b"]


operations_of_some = st.lists(st.sampled_from(["Encrypt", "Decrypt", "CreateGrant"]), min_size=1, unique=True)
some_grants = st.builds(
    lambda number, operations, to: grant(number, *operations, to=to),
    st.integers(0, 5),
    operations_of_some,
    st.sampled_from(["arn:a", "arn:b"]),
)
changes = st.lists(st.one_of(st.lists(some_grants, max_size=4), st.lists(st.integers(0, 5), max_size=4)), max_size=6)


@given(changes)
def test_changes_lead_to_what_the_grants_that_are_left_make(steps: list[list[Grant] | list[int]]) -> None:
    grants = NO_GRANTS
    expected: dict[str, tuple[Grant, int]] = {}
    for number, step in enumerate(steps):
        before = held(grants)
        written = [one for one in step if isinstance(one, Grant)]
        removed = [f"{one:064x}" for one in step if isinstance(one, int)]
        changed = grants.with_changes([(one, number) for one in written], removed)
        assert held(grants) == before, "a snapshot that others read stays as it is"
        expected |= {one.grant_id: (one, number) for one in written}
        expected = {grant_id: one for grant_id, one in expected.items() if grant_id not in removed}
        grants = changed
    assert grants.by_id == expected
    anew = NO_GRANTS.with_changes(expected.values(), [])
    assert {use: set(found) for use, found in grants.for_use.items()} == {
        use: set(found) for use, found in anew.for_use.items()
    }


# What a grant permits.


@pytest.mark.parametrize(
    ("constraints", "context", "permitted"),
    [
        ({}, {}, True),
        ({}, {"a": "b"}, True),
        ({"encryption_context_subset": {"a": "b"}}, {"a": "b"}, True),
        ({"encryption_context_subset": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"encryption_context_subset": {"a": "b"}}, {}, False),
        ({"encryption_context_subset": {"a": "b"}}, {"a": "B"}, False),
        ({"encryption_context_subset": {"a": "b"}}, {"A": "b"}, False),
        ({"encryption_context_subset": {"a": "b", "c": "d"}}, {"a": "b"}, False),
        ({"encryption_context_subset": {}}, {"a": "b"}, True),
        ({"encryption_context_equals": {"a": "b"}}, {"a": "b"}, True),
        ({"encryption_context_equals": {"a": "b"}}, {"a": "b", "c": "d"}, False),
        ({"encryption_context_equals": {"a": "b"}}, {"A": "b"}, False),
        ({"encryption_context_equals": {"a": "b"}}, {}, False),
        ({"encryption_context_equals": {}}, {}, True),
        ({"encryption_context_equals": {}}, {"a": "b"}, False),
        ({"encryption_context_subset": {"a": "b"}, "encryption_context_equals": {"c": "d"}}, {"c": "d"}, False),
    ],
)
def test_constraints_on_the_encryption_context(
    constraints: dict[str, Any], context: dict[str, str], *, permitted: bool
) -> None:
    assert permits(grant(**constraints), Asked(encryption_context=context)) is permitted
    for action in ("kms:DescribeKey", "kms:RetireGrant"):
        assert permits(grant(**constraints), Asked(action))


@pytest.mark.parametrize(
    ("action", "sources", "permitted"),
    [
        ("kms:Encrypt", (SOURCE,), True),
        ("kms:Encrypt", (OTHER_SOURCE,), False),
        ("kms:Encrypt", (SOURCE, OTHER_SOURCE), False),
        ("kms:Encrypt", (), False),
        ("kms:Encrypt", None, False),
        ("kms:CreateGrant", None, False),
        ("kms:DescribeKey", None, True),
        ("kms:DescribeKey", (SOURCE,), True),
        ("kms:DescribeKey", (OTHER_SOURCE,), False),
    ],
)
def test_the_constraint_on_the_source(action: str, sources: Values | None, *, permitted: bool) -> None:
    assert permits(grant(source_arn=SOURCE), Asked(action, sources=sources)) is permitted
    assert permits(grant(), Asked(action, sources=sources))


def test_a_source_that_cannot_be_told_is_no_source() -> None:
    class Doubtful(Asked):
        def values(self, name: str) -> Values | None:
            raise Undecidable

    assert not permits(grant(source_arn=SOURCE), Doubtful())
    assert not permits(grant(source_arn=SOURCE), Doubtful("kms:DescribeKey"))
    assert permits(grant(), Doubtful())


@pytest.mark.parametrize(
    ("parent", "child", "permitted"),
    [
        ({}, {}, True),
        ({}, {"encryption_context_subset": {"a": "b"}}, True),
        ({"encryption_context_subset": {"a": "b"}}, {}, False),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_subset": {"a": "b"}}, True),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_subset": {"a": "b", "c": "d"}}, True),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_subset": {"a": "c"}}, False),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_subset": {"A": "b"}}, False),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_equals": {"a": "b", "c": "d"}}, True),
        ({"encryption_context_subset": {"a": "b"}}, {"encryption_context_equals": {"c": "d"}}, False),
        ({"encryption_context_equals": {"a": "b"}}, {"encryption_context_equals": {"a": "b"}}, True),
        ({"encryption_context_equals": {"a": "b"}}, {"encryption_context_equals": {"a": "b", "c": "d"}}, False),
        ({"encryption_context_equals": {"a": "b"}}, {"encryption_context_subset": {"a": "b"}}, False),
        ({"encryption_context_equals": {"a": "b"}}, {}, False),
    ],
)
def test_a_grant_lets_make_only_stricter_ones(
    parent: dict[str, Any], child: dict[str, Any], *, permitted: bool
) -> None:
    assert permits(grant(1, "CreateGrant", "Encrypt", **parent), create_grant("Encrypt", **child)) is permitted


def test_a_grant_lets_make_no_grant_for_more() -> None:
    parent = grant(1, "CreateGrant", "Encrypt")
    assert permits(parent, create_grant("Encrypt", "CreateGrant"))
    assert not permits(parent, create_grant("Encrypt", "Decrypt"))


def test_the_source_is_handed_on() -> None:
    parent = grant(1, "CreateGrant", "Encrypt", source_arn=SOURCE)
    for child, permitted in ((SOURCE, True), (OTHER_SOURCE, False), (None, False)):
        asked = create_grant("Encrypt", source_arn=child)._replace(sources=(SOURCE,))
        assert permits(parent, asked) is permitted


contexts = st.dictionaries(st.sampled_from("abA"), st.sampled_from("xy"), max_size=3)
sources = st.sampled_from([SOURCE, OTHER_SOURCE])
constraints = st.builds(GrantConstraints, st.none() | contexts, st.none() | contexts, st.none() | sources)
uses = st.builds(
    Asked,
    st.sampled_from(["kms:Encrypt", "kms:Decrypt"]),
    contexts,
    st.none() | st.tuples(sources) | st.tuples(sources, sources),
)


def stricter(parent: GrantConstraints) -> st.SearchStrategy[GrantConstraints]:
    """Constraints that are often, not always, at least as strict."""
    required = parent.encryption_context_subset or {}
    more = contexts.map(lambda pairs: pairs | required)
    return st.builds(
        GrantConstraints,
        st.none() | contexts | more,
        st.none() | more | st.just(parent.encryption_context_equals),
        st.just(parent.source_arn) | st.none() | sources,
    )


@given(st.data(), uses)
def test_no_chain_of_grants_permits_more_than_its_first(data: st.DataObject, use: Asked) -> None:
    """Each grant is made by virtue of the one before, by whoever asks so that it is permitted."""
    operations = st.sets(st.sampled_from(["Encrypt", "Decrypt", "CreateGrant"]), min_size=1)
    first = last = grant(1, *data.draw(operations), **structs.asdict(data.draw(constraints)))
    for number in range(2, 2 + data.draw(st.integers(0, 3))):
        wanted, under = data.draw(operations), data.draw(stricter(last.constraints))
        source = last.constraints.source_arn
        asked = Asked("kms:CreateGrant", None, None if source is None else (source,), (frozenset(wanted), under))
        if "CreateGrant" in last.operations and permits(last, asked):
            last = grant(number, *wanted, **structs.asdict(under))
    if use.action.removeprefix("kms:") in last.operations and permits(last, use):
        assert use.action.removeprefix("kms:") in first.operations
        assert permits(first, use)
