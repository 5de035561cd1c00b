"""Policies made well and then bent: the parser refuses or compiles, and what compiled decides, without another word."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from strongroom.authorization.decide import authorize_key
from strongroom.authorization.documents import compile_identity_policy, compile_key_policy
from strongroom.authorization.grants import NO_GRANTS
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.authorization.request import Values
from strongroom.errors import AccessDenied, MalformedPolicyDocument
from tests.sizes import Size
from tests.unit.authorization.asked import KEY, Asked
from tests.unit.authorization.decisions.case import ALICE, OTHER_USER, ROOT, SESSION, Case
from tests.unit.authorization.decisions.table import TABLE

pytestmark = pytest.mark.soak

CALLERS = [ROOT, ALICE, SESSION, OTHER_USER]
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**63, 1e308, float("nan"), "", " ", "\0", "*", "?", "a" * 300, "é💥", "${", "${}",
    "${aws:userid", "${aws:userid, 'x}", "${*}${?}${$}", "arn:aws:kms:::", "arn:aws:iam::*:root", "kms:", ":",
    "0" * 400,
    "1e999", "2026-02-30", "-0001-01-01", "999.0.0.1", "::ffff:1.2.3.4/129", "fe80::1%eth0", "====", [], {}, [[]],
    [None], {"": ""}, {"AWS": []}, {"AWS": {}}, {"StringEquals": 1}, {"StringEquals": {"a": "b"}},
    {"Null": {"a:b": "x"}},
    ["*"] * 50, {"ForAnyValue:ForAllValues:Bool": {"aws:x": "true"}}, {"BoolIfExistsIfExists": {"aws:x": "true"}},
]  # fmt: skip


class Bender:
    """Bends documents in places. The same seed bends the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def bent(self, document: Any) -> Any:
        """The document with another value, another name, or a member less, somewhere in it."""
        if not document or not isinstance(document, dict | list) or self.random.random() < 0.05:
            return self.random.choice(ODD)
        if isinstance(document, list):
            place = self.random.randrange(len(document))
            return [self.bent(item) if number == place else item for number, item in enumerate(document)]
        name = self.random.choice(list(document))
        if self.random.random() < 0.1:
            return {other: value for other, value in document.items() if other != name}
        if self.random.random() < 0.15:
            renamed = self.random.choice(["Not" + name, name.lower(), name + "IfExists", "ForAllValues:" + name, "x"])
            return {renamed if other == name else other: value for other, value in document.items()}
        return {other: self.bent(value) if other == name else value for other, value in document.items()}

    def values(self, case: Case) -> dict[str, Values]:
        texts = [value for value in ODD if isinstance(value, str)] + ["true", "5", "2026-01-01T00:00:00Z", "192.0.2.1"]
        return {
            name.lower(): tuple(self.random.choices(texts, k=self.random.choice([0, 1, 1, 1, 3])))
            for name in [*case.values, "aws:username", "kms:encryptioncontext:appname"]
        }


def test_bent_policies_are_refused_or_decide(size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    bender = Bender(seed)
    documents = [case for case in TABLE.values() if not isinstance(case.key_policy, str)]
    outcomes: Counter[str] = Counter()
    for _ in range(size.fuzz_requests * 5):
        case = bender.random.choice(documents)
        attached = bool(case.policies) and bender.random.random() < 0.5
        statements: Any = case.policies[0] if attached else case.key_policy
        document: Any = {"Version": "2012-10-17", "Statement": statements}
        document = bender.bent(document) if bender.random.random() < 0.7 else document
        outcomes[outcome(bender, case, json.dumps(document), attached=attached)] += 1
    print(dict(outcomes))
    assert outcomes.keys() == {"malformed", "allowed", "denied"}
    assert min(outcomes.values()) > size.fuzz_requests // 20


def outcome(bender: Bender, case: Case, text: str, *, attached: bool) -> str:
    caller = bender.random.choice(CALLERS)
    try:
        policy: Policy = (compile_identity_policy if attached else compile_key_policy)(text)
    except MalformedPolicyDocument:
        return "malformed"
    request = Asked(caller, case.action, KEY.arn, case.context, None, bender.values(case))
    identity = Identity(caller, (policy,) if attached else ())
    everyone = compile_key_policy(
        json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}})
    )
    try:
        authorize_key(request, identity, KEY, everyone if attached else policy, NO_GRANTS)
    except AccessDenied:
        return "denied"
    return "allowed"


def test_what_is_no_json_is_refused() -> None:
    rng = random.Random(4)
    whole = json.dumps({"Version": "2012-10-17", "Statement": [next(iter(TABLE.values())).key_policy]})
    for _ in range(2_000):
        at = rng.randrange(len(whole))
        broken = whole[:at] + rng.choice(["", "{", "}", '"', "[", ",", "\\", "\ud800", "\0"]) + whole[at + 1 :]
        try:
            compile_key_policy(broken)
        except MalformedPolicyDocument:
            continue
        json.loads(broken)
