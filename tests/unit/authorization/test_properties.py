"""What holds for every policy: a deny more or an allow less never allows more, and order never matters."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from strongroom.authorization.decide import authorize_account, authorize_key, hidden
from strongroom.authorization.documents import compile_identity_policy, compile_key_policy
from strongroom.authorization.grants import NO_GRANTS
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.authorization.request import Undecidable, Values
from strongroom.errors import AccessDenied
from strongroom.model.grant import Grant
from strongroom.model.principal import Principal
from tests.unit.authorization.asked import KEY
from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    FEDERATED,
    OTHER,
    OTHER_ROOT,
    OTHER_SESSION,
    OTHER_USER,
    ROLE_ARN,
    ROOT,
    SESSION,
    WEB_SESSION,
    grant,
    service,
)

CALLERS = (
    ROOT,
    ALICE,
    SESSION,
    WEB_SESSION,
    FEDERATED,
    OTHER_ROOT,
    OTHER_USER,
    OTHER_SESSION,
    service("a.example.com"),
)
NAMES = [ACCOUNT, OTHER, ALICE.arn, SESSION.arn, ROLE_ARN, FEDERATED.arn, OTHER_USER.arn, "*"]
ACTIONS = ["kms:Decrypt", "kms:Encrypt", "kms:CreateGrant", "kms:De*", "kms:?ncrypt", "*", "KMS:decrypt"]
RESOURCES = ["*", KEY.arn, KEY.arn[:-1] + "?", "arn:aws:kms:*:*:${aws:number, 'key'}/*", "arn:aws:kms:*:*:alias/*"]
OPERATORS: dict[str, tuple[list[str], list[Any]]] = {
    "String": (
        ["kms:EncryptionContext:dept", "aws:TagKeys", "aws:absent"],
        ["hr", "h*", "${aws:userid}", "${aws:a, 'hr'}"],
    ),
    "Numeric": (["aws:number", "aws:word"], ["1", "2.5", 3]),
    "Date": (["aws:CurrentTime"], ["2026-01-01T00:00:00Z", "1767225600"]),
    "Bool": (["aws:SecureTransport", "aws:word"], ["true", "false", True]),
    "Ip": (["aws:SourceIp", "aws:word"], ["192.0.2.0/24", "2001:db8::/32"]),
    "Arn": (["aws:PrincipalArn", "aws:word"], [ALICE.arn, "arn:aws:iam::*:user/*"]),
    "Null": (["aws:absent", "aws:TagKeys"], ["true", "false"]),
}
KINDS = {
    "String": ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase"],
    "Numeric": ["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericGreaterThanEquals"],
    "Date": ["DateLessThan", "DateGreaterThan", "DateNotEquals"],
    "Bool": ["Bool"],
    "Ip": ["IpAddress", "NotIpAddress"],
    "Arn": ["ArnLike", "ArnNotEquals"],
    "Null": ["Null"],
}


class Asked:
    """A request; a condition key without a fixed value cannot be decided."""

    def __init__(self, principal: Principal, action: str, supplied: dict[str, Values | None], resource: str) -> None:
        self.principal = principal
        self.action = action
        self.resource = resource
        self.encryption_context = {"dept": "hr"}
        self.proposed = None
        self._supplied = supplied

    def values(self, name: str) -> Values | None:
        values = self._supplied.get(name)
        if name in self._supplied and values is None:
            raise Undecidable
        return values


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    element: dict[str, dict[str, Any]] = {}
    for kind in draw(st.lists(st.sampled_from(sorted(OPERATORS)), max_size=2)):
        keys, values = OPERATORS[kind]
        listed: st.SearchStrategy[Any] = st.sampled_from(values)
        key = draw(st.sampled_from(keys))
        operator = draw(st.sampled_from(KINDS[kind]))
        if kind != "Null":
            several = ["", "ForAnyValue:"] + ([] if ":dept" in key else ["ForAllValues:"])
            operator = draw(st.sampled_from(several)) + operator + draw(st.sampled_from(["", "IfExists"]))
        element.setdefault(operator, {})[key] = draw(st.lists(listed, min_size=1, max_size=2))
    return element


@st.composite
def statements(draw: st.DrawFn, *, attached: bool = False) -> dict[str, Any]:
    effect = draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"]))
    element: dict[str, Any] = {"Effect": effect}
    if not attached:
        named = draw(
            st.one_of(st.just("*"), st.fixed_dictionaries({"AWS": st.lists(st.sampled_from(NAMES), min_size=1)}))
        )
        spares = effect == "Deny" and draw(st.booleans())
        element["NotPrincipal" if spares else "Principal"] = named
    element[draw(st.sampled_from(["Action", "Action", "NotAction"]))] = draw(st.sampled_from(ACTIONS))
    element[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(st.sampled_from(RESOURCES))
    element["Condition"] = draw(conditions())
    return element


Statements = list[dict[str, Any]]
key_policies = st.lists(statements(), min_size=1, max_size=4)
attached_policies = st.lists(statements(attached=True), min_size=1, max_size=3)
grant_lists = st.lists(
    st.builds(
        lambda number, grantee, operation, subset: grant(
            grantee, [operation], grant_id=f"{number:064x}", subset=subset
        ),
        st.integers(0, 3),
        st.sampled_from([ALICE.arn, ROLE_ARN, f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{OTHER}:root"]),
        st.sampled_from(["Decrypt", "Encrypt"]),
        st.sampled_from([None, {"dept": "hr"}, {"dept": "it"}]),
    ),
    max_size=2,
    unique_by=lambda one: one.grant_id,
)


class Situation:
    """Who asks for what, beside the key policy."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.principal: Principal = draw(st.sampled_from(CALLERS))
        self.policies: Sequence[Statements] = draw(st.lists(attached_policies, max_size=2))
        self.boundary: Statements | None = draw(st.none() | attached_policies)
        self.session: Statements | None = draw(st.none() | attached_policies)
        self.grants: Sequence[Grant] = draw(grant_lists)
        self.action: str = draw(st.sampled_from(["kms:Decrypt", "kms:Encrypt"]))
        self.supplied: dict[str, Values | None] = {
            "aws:principalaccount": (self.principal.account,),
            "aws:principalarn": (self.principal.arn,),
            "aws:userid": (self.principal.principal_id,),
            "aws:currenttime": ("2026-06-01T00:00:00Z",),
            "aws:securetransport": (draw(st.sampled_from(["true", "false"])),),
            "aws:sourceip": (draw(st.sampled_from(["192.0.2.7", "198.51.100.1", "2001:db8::1"])),),
            "kms:encryptioncontext:dept": draw(st.sampled_from([("hr",), ("it",), None])),
            "aws:number": (draw(st.sampled_from(["1", "2.50", "7"])),),
            "aws:word": ("word",),
            "aws:tagkeys": draw(st.sampled_from([("hr",), ("hr", "it")])),
        }

    def __repr__(self) -> str:
        return f"Situation({vars(self)})"


situations = st.composite(Situation)()


def compiled(statements: Statements) -> Policy:
    return compile_identity_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}))


def message(key_policy: Statements, situation: Situation, **changed: Any) -> str | None:
    """The refusal's message, or None if the request is allowed."""
    with_changes = {**vars(situation), **changed}
    asked = Asked(situation.principal, situation.action, situation.supplied, KEY.arn)
    none_or = {
        name: None if with_changes[name] is None else compiled(with_changes[name]) for name in ("boundary", "session")
    }
    identity = Identity(
        situation.principal,
        tuple(compiled(one) for one in with_changes["policies"]),
        none_or["boundary"],
        None if none_or["session"] is None else (none_or["session"],),
    )
    policy = compile_key_policy(json.dumps({"Version": "2012-10-17", "Statement": key_policy}))
    grants = NO_GRANTS.with_changes([(one, 1) for one in with_changes["grants"]], [])
    try:
        authorize_key(asked, identity, KEY, policy, grants)
    except AccessDenied as error:
        return error.message
    return None


def allowed(key_policy: Statements, situation: Situation, **changed: Any) -> bool:
    return message(key_policy, situation, **changed) is None


@given(key_policies, situations, statements())
def test_a_deny_more_never_allows_more(key_policy: Statements, situation: Situation, more: dict[str, Any]) -> None:
    more = {**more, "Effect": "Deny"}

    assert allowed(key_policy, situation) or not allowed([*key_policy, more], situation)


@given(key_policies, situations, statements(attached=True))
def test_a_deny_more_in_the_callers_own_policies_never_allows_more(
    key_policy: Statements, situation: Situation, more: dict[str, Any]
) -> None:
    more = {**more, "Effect": "Deny"}

    for changed in (
        {"policies": [*situation.policies, [more]]},
        {"boundary": [*(situation.boundary or [{**more, "Effect": "Allow"}]), more]},
        {"session": [*(situation.session or [{**more, "Effect": "Allow"}]), more]},
    ):
        assert allowed(key_policy, situation) or not allowed(key_policy, situation, **changed)


@given(key_policies, situations, st.integers(0, 3))
def test_an_allow_less_never_allows_more(key_policy: Statements, situation: Situation, place: int) -> None:
    assume(len(key_policy) > 1)
    place %= len(key_policy)
    assume(key_policy[place]["Effect"] == "Allow")
    less = key_policy[:place] + key_policy[place + 1 :]

    assert allowed(key_policy, situation) or not allowed(less, situation)


@given(key_policies, situations)
def test_a_policy_or_a_grant_less_never_allows_more(key_policy: Statements, situation: Situation) -> None:
    if allowed(key_policy, situation):
        return
    only_allows = [[one for one in policy if one["Effect"] == "Deny"] for policy in situation.policies]
    assert not allowed(key_policy, situation, policies=[policy for policy in only_allows if policy])
    assert not allowed(key_policy, situation, grants=[])


@given(key_policies, situations, st.randoms(use_true_random=False))
def test_order_never_matters(key_policy: Statements, situation: Situation, random: Any) -> None:
    expected = message(key_policy, situation)

    def shuffled(items: Sequence[Any]) -> list[Any]:
        order: list[Any] = random.sample(items, len(items))
        return order

    changed = {
        "policies": shuffled([shuffled(policy) for policy in situation.policies]),
        "boundary": None if situation.boundary is None else shuffled(situation.boundary),
        "session": None if situation.session is None else shuffled(situation.session),
        "grants": shuffled(situation.grants),
    }
    assert message(shuffled(key_policy), situation, **changed) == expected


@given(key_policies, situations)
def test_a_foreign_caller_who_is_refused_hears_what_they_hear_of_a_key_that_is_not_there(
    key_policy: Statements, situation: Situation
) -> None:
    assume(situation.principal.account != ACCOUNT)
    heard = message(key_policy, situation)

    assert heard in (None, hidden(situation.principal, situation.action).message)


@given(key_policies, situations)
def test_who_has_no_allow_anywhere_gets_nothing(key_policy: Statements, situation: Situation) -> None:
    denies = [{**one, "Effect": "Deny"} for one in key_policy]

    assert not allowed(denies, situation, grants=[])


@given(situations, attached_policies)
@settings(max_examples=200)
def test_what_has_no_key_is_the_accounts_own_to_allow(situation: Situation, policy: Statements) -> None:
    asked = Asked(situation.principal, "kms:Encrypt", situation.supplied, "*")
    one = [{**statement, "Effect": "Deny"} for statement in policy]
    try:
        authorize_account(asked, Identity(situation.principal, (compiled(one),)))
    except AccessDenied:
        return
    assert situation.principal.is_root_user
