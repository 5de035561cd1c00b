"""iam-simulate decides random requests by random policies, without the server, and Strongroom decides as it does."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from msgspec import structs

from strongroom.errors import MalformedPolicyDocument
from tests.compat.clients import Driver, RefusedError
from tests.compat.iam_simulate.cases import ACCOUNT, ACTIONS, KEY, OPERATORS, Caller, Case, Json, random_case
from tests.compat.iam_simulate.differences import readings
from tests.compat.iam_simulate.engine import Outcome, decided
from tests.compat.iam_simulate.shrinking import shrunk
from tests.compat.iam_simulate.simulation import simulation
from tests.sizes import Size

BATCH = 500
USER = Caller("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/alice", ACCOUNT)
SESSION = Caller(
    "AssumedRole", f"arn:aws:sts::{ACCOUNT}:assumed-role/app/one", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/app"
)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    """iam-simulate at work. It needs no server."""
    with Driver("iam_simulate", {"PATH": os.environ["PATH"]}) as driver:
        yield driver


def simulated(driver: Driver, cases: list[Case]) -> list[str]:
    """What iam-simulate decides: Allowed, ExplicitlyDenied or ImplicitlyDenied."""
    decisions: list[str] = driver.ask("decide", simulations=[simulation(case) for case in cases])
    return decisions


def same(outcome: Outcome, decision: str) -> bool:
    if outcome.explicit is None:
        return decision != "Allowed"
    return outcome == (decision == "Allowed", decision == "ExplicitlyDenied")


def explained(driver: Driver, case: Case, outcome: Outcome) -> bool:
    """Whether AWS's rules, as `differences` has them, explain that iam-simulate decides otherwise."""
    as_ruled = readings(case)
    decisions = simulated(driver, as_ruled)
    decision = "Allowed" if "Allowed" in decisions else decisions[0]
    return same(outcome, decision) and decided(as_ruled[0]) == outcome


def differs(driver: Driver, case: Case) -> bool:
    """Whether a case is valid to both, and the decisions on it differ without an explanation."""
    try:
        outcome = decided(case)
        return not same(outcome, simulated(driver, [case])[0]) and not explained(driver, case, outcome)
    except (MalformedPolicyDocument, RefusedError):
        return False


@pytest.mark.soak
def test_the_decision_is_iam_simulates(driver: Driver, size: Size) -> None:
    seed = random.getrandbits(32)
    decisions: Counter[str] = Counter()
    differences = 0
    beside = ThreadPoolExecutor(1)
    for first in range(0, size.simulated_policies, BATCH):
        cases = [random_case(seed, number) for number in range(first, min(first + BATCH, size.simulated_policies))]
        asked = beside.submit(simulated, driver, cases)
        outcomes = [decided(case) for case in cases]
        simulations = asked.result()
        decisions.update(simulations)
        for case, outcome, decision in zip(cases, outcomes, simulations, strict=True):
            if same(outcome, decision):
                continue
            differences += 1
            if not explained(driver, case, outcome):
                minimal = shrunk(case, lambda smaller: differs(driver, smaller))
                pytest.fail(
                    f"Strongroom: {decided(minimal)}, iam-simulate: {simulated(driver, [minimal])[0]}; seed {seed}\n"
                    + msgspec.json.encode(minimal).decode()
                )
    print(f"{size.simulated_policies} cases, {dict(decisions)}, {differences} known differences")
    assert 0.35 < decisions["Allowed"] / size.simulated_policies < 0.6
    assert differences < size.simulated_policies / 10


def without_conditions(case: Case) -> Case:
    return msgspec.convert(_without("Condition", msgspec.to_builtins(case)), Case)


def _without(name: str, value: object) -> object:
    if isinstance(value, dict):
        return {key: _without(name, kept) for key, kept in value.items() if key != name}
    return [_without(name, item) for item in value] if isinstance(value, list) else value


def test_every_kind_of_policy_decides_some_of_the_cases() -> None:
    cases = [random_case(0, number) for number in range(2_000)]
    everyone: Json = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    decided_by: Counter[str] = Counter()
    for case in cases:
        changed = {
            "conditions": without_conditions(case),
            "key policy": structs.replace(case, key_policy=case.key_policy and {"Statement": [everyone]}),
            "identity policies": structs.replace(case, identity_policies=[]),
            "boundary": structs.replace(case, boundary=None),
            "session policy": structs.replace(case, session_policy=None),
        }
        allowed = decided(case).allowed
        decided_by.update(kind for kind, other in changed.items() if decided(other).allowed is not allowed)
        decided_by[case.caller.kind] += allowed
        decided_by["other account"] += allowed and case.key_policy is not None and case.caller.account != ACCOUNT
        decided_by["no key"] += allowed and case.key_policy is None

    assert decided_by["conditions"] > 180
    assert decided_by["key policy"] > 400
    assert decided_by["identity policies"] > 280
    assert decided_by["boundary"] > 45
    assert decided_by["session policy"] > 65
    assert all(decided_by[kind] > 25 for kind in ("Root", "IAMUser", "AssumedRole", "FederatedUser", "AWSService"))
    assert decided_by["other account"] > 120
    assert decided_by["no key"] > 100
    assert {case.action for case in cases} == ACTIONS
    assert {prefix + operator + suffix for prefix, operator, suffix in FORMS} <= {
        operator for case in cases for operator in operators(case)
    }


FORMS = [
    *(("", operator, "") for operator in OPERATORS),
    *(("", operator, "IfExists") for operator in ("StringEquals", "StringNotLike", "NumericLessThan", "Bool")),
    *((each, "StringLike", suffix) for each in ("ForAllValues:", "ForAnyValue:") for suffix in ("", "IfExists")),
]
"""Set operator, operator, suffix."""


def operators(case: Case) -> Iterator[str]:
    policies = [case.key_policy, *case.identity_policies, case.boundary, case.session_policy]
    for policy in policies:
        for statement in policy["Statement"] if policy is not None else []:
            yield from statement.get("Condition", ())


def case(statement: Json, caller: Caller = USER, version: str = "2012-10-17", **given: object) -> Case:
    """A case with one statement in the key policy."""
    everything = {"Principal": {"AWS": caller.arn}, "Effect": "Allow", "Action": "*", "Resource": "*"}
    statements = [{**everything, **statement}]
    if statement.get("Effect") == "Deny":
        statements = [{name: value for name, value in statements[0].items() if name != "Principal"}, everything]
    made = Case(caller, "kms:Encrypt", KEY, {}, {"Version": version, "Statement": statements}, [])
    return structs.replace(made, **given)


NOTHING: Json = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
TIME, TEAM, IP = "aws:CurrentTime", "aws:PrincipalTag/team", "aws:SourceIp"
TAGS = "aws:TagKeys"


@pytest.mark.parametrize(
    ("known", "allowed"),
    [
        (case({"Condition": {"StringEquals": {TEAM: "${aws:userid}"}}}, version="2008-10-17",
              context={TEAM: "red", "aws:userid": "red"}), False),
        (case({"Condition": {"DateGreaterThan": {TIME: "1781526600"}}}, context={TIME: "2026-01-01T00:00:00Z"}), False),
        (case({"Condition": {"StringNotEquals": {TEAM: "${aws:username}"}}}, context={TEAM: "red"}), True),
        (case({"Condition": {"NotIpAddress": {IP: "2001:db8::7"}}}, context={IP: "10.0.0.1"}), True),
        (case({"Resource": "arn:aws:kms:*:key/*"}), True),
        (case({"Condition": {"ForAnyValue:StringEqualsIfExists": {TAGS: "red"}}}), True),
        (case({"Effect": "Deny", "NotPrincipal": {"AWS": USER.arn}}), False),
        (case({}, SESSION, session_policy=NOTHING), True),
    ],
    ids=["version", "epoch", "no value", "one address", "star over colon", "IfExists of ForAnyValue",
         "NotPrincipal", "session named"],
)  # fmt: skip
def test_a_known_difference_is_one(driver: Driver, known: Case, allowed: bool) -> None:  # noqa: FBT001
    outcome = decided(known)

    assert outcome.allowed is allowed
    assert not same(outcome, simulated(driver, [known])[0])
    assert explained(driver, known, outcome)
