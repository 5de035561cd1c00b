"""Policies: what compiles and what does not. `decisions/` has what they mean."""

import fnmatch
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.authorization.conditions import MAX_CHARACTERS
from strongroom.authorization.decide import AuthorizedKey, authorize_account, authorize_key, hidden
from strongroom.authorization.documents import (
    MAX_POLICY_BYTES,
    check_policy_size,
    compile_identity_policy,
    compile_key_policy,
    default_key_policy,
    repair_policy,
)
from strongroom.authorization.grants import NO_GRANTS
from strongroom.authorization.ground import Decision, Unmet
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import MAX_TOLD, MAX_UNMET
from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.errors import AccessDenied, LimitExceeded, MalformedPolicyDocument
from strongroom.model.principal import Principal, root_user
from tests.unit.authorization.asked import KEY, Asked
from tests.unit.authorization.decisions.case import ACCOUNT, OTHER

ROOT, OTHER_ROOT = root_user(ACCOUNT, "AKIA1"), root_user(OTHER, "AKIA2")
USER = Principal("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/u", ACCOUNT, "AIDA1", "AKIA3")


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(**changed: Any) -> dict[str, Any]:
    base = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    return {name: value for name, value in {**base, **changed}.items() if value is not None}


def asked(principal: Principal, action: str, resource: str = KEY.arn) -> Asked:
    return Asked(principal, action, resource, None, None, {})


def decide(
    text: str, principal: Principal = ROOT, action: str = "kms:Encrypt", blob: CiphertextBlob | None = None
) -> AuthorizedKey:
    policy = compile_key_policy(text)
    return authorize_key(asked(principal, action), Identity(principal), KEY, policy, NO_GRANTS, blob)


def allowed(text: str, principal: Principal = ROOT, action: str = "kms:Encrypt") -> bool:
    try:
        decide(text, principal, action)
    except AccessDenied:
        return False
    return True


def test_the_default_policy_lets_the_root_user_in_and_nobody_else() -> None:
    text = default_key_policy(ACCOUNT)

    assert allowed(text)
    assert not allowed(text, USER)
    assert not allowed(text, OTHER_ROOT)


@pytest.mark.parametrize(
    ("changed", "principal", "expected"),
    [
        ({"Principal": "*"}, OTHER_ROOT, True),
        ({"Principal": {"AWS": "*"}}, USER, True),
        ({"Principal": {"AWS": [OTHER, USER.arn]}}, USER, True),
        ({"Principal": {"AWS": USER.arn}}, ROOT, False),
        ({"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}, OTHER_ROOT, True),
        ({"Principal": {"AWS": OTHER}}, ROOT, False),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, ROOT, False),
        ({"Action": "kms:Enc*"}, ROOT, True),
        ({"Action": "KMS:encrypt"}, ROOT, True),
        ({"Action": ["kms:Decrypt", "kms:?ncrypt"]}, ROOT, True),
        ({"Action": "kms:Decrypt"}, ROOT, False),
        ({"Action": "kms:EncryptX"}, ROOT, False),
        ({"Resource": KEY.arn}, ROOT, True),
        ({"Resource": KEY.arn[:-1] + "?"}, ROOT, True),
        ({"Resource": "arn:" + KEY.arn[4:].upper()}, ROOT, False),
    ],
)
def test_what_an_allow_covers(changed: dict[str, Any], principal: Principal, expected: bool) -> None:  # noqa: FBT001
    assert allowed(policy(statement(**changed)), principal) is expected


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    deny = statement(Effect="Deny", Action="kms:Encrypt")

    for text in (policy(deny, statement()), policy(statement(), deny)):
        assert not allowed(text)
        assert allowed(text, action="kms:Decrypt")
    with pytest.raises(AccessDenied, match=r"with an explicit deny in a resource-based policy$"):
        decide(policy(statement(), deny))


def test_a_foreign_principal_is_not_told_whether_the_key_exists() -> None:
    with pytest.raises(AccessDenied) as denied:
        decide(default_key_policy(ACCOUNT), OTHER_ROOT)

    assert KEY.key_id not in str(denied.value)
    assert "because the resource does not exist in this Region" in str(denied.value)


def test_only_root_users_act_on_the_account() -> None:
    authorize_account(asked(ROOT, "kms:CreateKey", "*"), Identity(ROOT))
    with pytest.raises(AccessDenied, match="because no identity-based policy allows the kms:CreateKey action"):
        authorize_account(asked(USER, "kms:CreateKey", "*"), Identity(USER))


def test_nobody_else_makes_an_authorized_key() -> None:
    with pytest.raises(TypeError):
        AuthorizedKey(object(), KEY, ROOT, Decision("kms:Decrypt", "Allow", ()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "{}",
        "[" * 100_000,
        '{"Version": "2012-10-17", "Statement": []}',
        '{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": [{}]}',
        policy(statement(Effect="Maybe")),
        policy(statement(Effect=None)),
        policy(statement(Principal=None)),
        policy(statement(Principal={"AWS": "nobody"})),
        policy(statement(Principal={"Dog": "x"})),
        policy(statement(Principal=[1])),
        policy(statement(Action=1)),
        policy(statement(Sid2="x")),
        json.dumps({"Version": "2020-01-01", "Statement": [statement()]}),
        json.dumps({"Statement": [statement()], "Extra": 1}),
        policy(statement()) + "\0",
        policy(statement()) + "→",
        policy(statement(NotAction="kms:Decrypt")),
        policy(statement(NotResource="*")),
        policy(statement(NotPrincipal="*")),
        policy(statement(Principal=None, NotPrincipal={"AWS": OTHER})),
        policy(statement(Principal={"CanonicalUser": "ab" * 32})),
        policy(statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"})),
        policy(statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:group/g"})),
        policy(statement(Principal={"Service": "*"})),
        json.dumps({"Statement": {**statement(), "Principal": None}}),
        policy(statement(Action="Encrypt")),
        policy(statement(Action="k*:Encrypt")),
        policy(statement(Resource="arn:aws:kms:*:${aws:PrincipalAccount:key/*")),
        policy(statement(Condition={"StringEquals": {"aws:x": float("nan")}})),
        policy(statement(Action=None)),
        policy(statement(Resource=None)),
        policy(statement(Resource=KEY.key_id)),
        policy(statement(Condition=[])),
        policy(statement(Condition={"StringEquals": []})),
        policy(statement(Condition={"StringEquals": {}})),
        policy(statement(Condition={"StringEquals": {"aws:userid": []}})),
        policy(statement(Condition={"StringEquals": {"aws:userid": None}})),
        policy(statement(Condition={"StringEquals": {"userid": "x"}})),
        policy(statement(Condition={"StringIs": {"aws:userid": "x"}})),
        policy(statement(Condition={"ForSomeValues:StringEquals": {"aws:userid": "x"}})),
        policy(statement(Condition={"NullIfExists": {"aws:userid": "true"}})),
        policy(statement(Condition={"Null": {"aws:userid": "maybe"}})),
        policy(statement(Condition={"Bool": {"aws:SecureTransport": "yes"}})),
        policy(statement(Condition={"NumericEquals": {"aws:x": "1x"}})),
        policy(statement(Condition={"NumericEquals": {"aws:x": "1e999"}})),
        policy(statement(Condition={"DateLessThan": {"aws:CurrentTime": "tomorrow"}})),
        policy(statement(Condition={"DateLessThan": {"aws:CurrentTime": "2026-13-01"}})),
        policy(statement(Condition={"BinaryEquals": {"aws:x": "?"}})),
        policy(statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}})),
        policy(statement(Condition={"IpAddress": {"aws:SourceIp": "${aws:x}"}})),
        policy(statement(Condition={"ArnLike": {"aws:PrincipalArn": "user/x"}})),
    ],
)
def test_malformed_documents(text: str) -> None:
    with pytest.raises(MalformedPolicyDocument):
        compile_key_policy(text)


HALF = "\ud800"
"""Half of a character: JSON can escape it, and nothing that is told or recorded can have it."""


@pytest.mark.parametrize(
    "changed",
    [
        {"Sid": HALF},
        {"Action": f"kms:{HALF}"},
        {"Resource": HALF},
        {"Principal": {"AWS": HALF}},
        {"Condition": {HALF: {"aws:username": "a"}}},
        {"Condition": {"StringEquals": {HALF: "a"}}},
        {"Condition": {"StringEquals": {"aws:username": HALF}}},
    ],
)
def test_half_a_character_is_in_no_policy(changed: dict[str, Any]) -> None:
    text = policy(statement(**changed))
    with pytest.raises(MalformedPolicyDocument) as refused:
        compile_key_policy(text)
    assert HALF not in (refused.value.message or "")
    with pytest.raises(MalformedPolicyDocument):
        compile_identity_policy(policy(statement(**{"Principal": None, **changed})))


def test_the_size_limit_is_in_bytes() -> None:
    check_policy_size("x" * MAX_POLICY_BYTES)
    with pytest.raises(LimitExceeded):
        check_policy_size("é" * (MAX_POLICY_BYTES // 2 + 1))


def test_a_pattern_with_many_wildcards_costs_little() -> None:
    text = policy(statement(Action="kms:" + "*a" * 60 + "b", Resource="arn:" + "*" * 200 + "x"))

    assert not allowed(text, action="kms:" + "a" * 200)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_match_as_fnmatch_does(pattern: str, text: str) -> None:
    expected = fnmatch.fnmatchcase(f"kms:a{text}", f"kms:a{pattern}")

    assert allowed(policy(statement(Action=f"kms:a{pattern}")), action=f"kms:a{text}") is expected


@given(st.lists(st.text("ab*?", max_size=5), min_size=1, max_size=4), st.text("ab", max_size=6))
def test_patterns_do_not_disturb_one_another(patterns: list[str], text: str) -> None:
    compiled = policy(statement(Action=[f"kms:{pattern}*?" for pattern in patterns]))

    expected = any(fnmatch.fnmatchcase(f"kms:{text}", f"kms:{pattern}*?") for pattern in patterns)
    assert allowed(compiled, action=f"kms:{text}") is expected


def asked_with(value: str) -> Asked:
    return Asked(ROOT, "kms:Encrypt", KEY.arn, None, None, {"kms:encryptioncontext:a": (value,)})


@pytest.mark.parametrize("pattern", ["*?{:03x}", "*{:03x}*", "${{kms:EncryptionContext:a}}?{:x}"])
def test_who_asks_does_not_choose_how_long_thousands_of_patterns_are_compared(pattern: str) -> None:
    listed = [pattern.format(number) for number in range(24_000 // len(pattern))]
    compiled = compile_key_policy(policy(statement(Condition={"StringLike": {"kms:EncryptionContext:a": listed}})))

    began = time.process_time()
    with pytest.raises(AccessDenied):
        authorize_key(asked_with("z" * MAX_CHARACTERS), Identity(ROOT), KEY, compiled, NO_GRANTS)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
@pytest.mark.parametrize("operator", ["StringLike", "StringNotLike"])
def test_what_is_too_long_to_compare_is_allowed_nothing(effect: str, operator: str) -> None:
    condition = {operator: {"kms:EncryptionContext:a": "b*" if operator == "StringNotLike" else "a*"}}
    when = statement(Effect=effect, Condition=condition)
    compiled = compile_key_policy(policy(when) if effect == "Allow" else policy(statement(), when))

    with pytest.raises(AccessDenied):
        authorize_key(asked_with("a" * (MAX_CHARACTERS + 1)), Identity(ROOT), KEY, compiled, NO_GRANTS)
    if effect == "Allow":
        authorize_key(asked_with("a" * MAX_CHARACTERS), Identity(ROOT), KEY, compiled, NO_GRANTS)


def test_another_accounts_user_needs_that_accounts_leave_too() -> None:
    foreign = Principal("IAMUser", f"arn:aws:iam::{OTHER}:user/u", OTHER, "AIDA2", "AKIA4")

    for principals in ("*", {"AWS": foreign.arn}):
        assert not allowed(policy(statement(Principal=principals)), foreign)


def test_a_deny_to_an_account_covers_everybody_in_it() -> None:
    everybody = statement(Principal="*")
    deny = statement(Effect="Deny", Principal={"AWS": ACCOUNT})

    assert allowed(policy(everybody), USER)
    assert not allowed(policy(everybody, deny), USER)
    assert not allowed(policy(everybody, deny), ROOT)
    assert allowed(policy(everybody, deny), OTHER_ROOT)


@pytest.mark.parametrize("empty", [{"Action": []}, {"Resource": []}, {"Principal": {}}, {"Principal": {"AWS": []}}])
def test_a_deny_cannot_be_made_empty(empty: dict[str, Any]) -> None:
    with pytest.raises(MalformedPolicyDocument):
        compile_key_policy(policy(statement(Effect="Deny", **empty)))


@pytest.mark.parametrize("member", ["Id", "Sid"])
def test_names_are_text_and_nothing_nests_deep(member: str) -> None:
    for odd in (1, ["x"], {"a": "b"}, json.loads("[" * 900 + "]" * 900)):
        document: dict[str, Any] = {"Version": "2012-10-17", "Statement": [statement()]}
        if member == "Id":
            document["Id"] = odd
        else:
            document["Statement"] = [statement(Sid=odd)]
        with pytest.raises(MalformedPolicyDocument):
            compile_key_policy(json.dumps(document))


def test_what_is_recorded_of_a_decision_does_not_grow_with_the_policy() -> None:
    condition = {"StringEquals": {"aws:" + "x" * 5_000: "y"}}
    (ground,) = decide(policy(statement(Sid="s" * 20_000))).decision.grounds
    with pytest.raises(AccessDenied) as refused:
        decide(policy(*[statement(Condition=condition)] * 100))

    assert ground.sid == "s" * MAX_TOLD
    assert isinstance(refused.value.decision, Decision)
    (missing,) = refused.value.decision.grounds
    assert len(missing.nearest) == MAX_UNMET
    assert missing.nearest[0] == Unmet(1, "", (f"StringEquals aws:{'x' * 5_000}"[:MAX_TOLD],))


def test_a_policy_that_cannot_be_read_can_be_replaced_by_the_account_of_the_key() -> None:
    repair = repair_policy(ACCOUNT)

    def permitted(principal: Principal, action: str) -> bool:
        try:
            authorize_key(asked(principal, action), Identity(principal), KEY, repair, NO_GRANTS)
        except AccessDenied:
            return False
        return True

    assert permitted(ROOT, "kms:PutKeyPolicy")
    assert permitted(ROOT, "kms:GetKeyPolicy")
    for principal, action in ((ROOT, "kms:Decrypt"), (OTHER_ROOT, "kms:PutKeyPolicy"), (USER, "kms:PutKeyPolicy")):
        assert not permitted(principal, action)


def test_what_hides_a_key_says_the_same_of_a_ciphertext_of_no_key() -> None:
    blob = CiphertextBlob(1, "ab" * 32, bytes(24), bytes(16), b"")
    with pytest.raises(AccessDenied) as denied:
        decide(default_key_policy(ACCOUNT), OTHER_ROOT, "kms:Decrypt", blob)

    assert str(denied.value) == str(hidden(OTHER_ROOT, "kms:Decrypt", by_ciphertext=True))


@pytest.mark.parametrize(
    ("kind", "what"), [("kms:EncryptionContext:a", "encryption context"), ("aws:RequestTag/a", "tag")]
)
def test_for_all_values_of_a_key_with_one_value_is_refused_with_the_words_of_aws(kind: str, what: str) -> None:
    text = policy(statement(Condition={"ForAllValues:StringEquals": {kind: "x"}}))

    with pytest.raises(MalformedPolicyDocument) as refused:
        compile_key_policy(text)
    assert refused.value.message == (
        "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches "
        f"requests without the specified {what} or with an unspecified {what}. To fix, remove ForAllValues."
    )


@pytest.mark.parametrize(
    "changed", [{"Principal": "*"}, {"Action": None}, {"Resource": None}, {"NotPrincipal": "*", "Effect": "Deny"}]
)
def test_a_policy_attached_to_its_principal_has_other_elements(changed: dict[str, Any]) -> None:
    attached = {"Principal": None}

    compile_identity_policy(policy(statement(**attached)))
    with pytest.raises(MalformedPolicyDocument):
        compile_identity_policy(policy(statement(**{**attached, **changed})))


@pytest.mark.parametrize("pattern", ["kms:*a{}*", "kms:?a{}*"])
def test_a_policy_full_of_wildcards_is_compiled_and_decided(pattern: str) -> None:
    text = policy(statement(Action=[pattern.format(number) for number in range(2_000)]))

    assert not allowed(text)
    assert allowed(text, action="kms:xa77x")


def test_a_long_pattern_of_single_wildcards_is_matched_in_time_with_the_text() -> None:
    condition = {"StringLike": {"kms:EncryptionContext:a": "*" + "?a" * 4_000 + "b"}}
    request = Asked(ROOT, "kms:Encrypt", KEY.arn, None, None, {"kms:encryptioncontext:a": ("a" * 8_000,)})

    with pytest.raises(AccessDenied):
        authorize_key(
            request, Identity(ROOT), KEY, compile_key_policy(policy(statement(Condition=condition))), NO_GRANTS
        )


@pytest.mark.parametrize(
    "issuer", ["token.actions.githubusercontent.com", "oidc.eks.us-east-1.amazonaws.com/id/A1", "host:8443/a-b_c/~d"]
)
def test_what_an_issuer_says_is_a_condition_key(issuer: str) -> None:
    compile_key_policy(policy(statement(Condition={"StringEquals": {f"{issuer}:aud": "app"}})))


@pytest.mark.parametrize("name", ["", "aud", ":aud", "a b:aud", "aws:"])
def test_a_condition_key_has_a_prefix_and_a_name(name: str) -> None:
    with pytest.raises(MalformedPolicyDocument, match="Invalid condition key: "):
        compile_key_policy(policy(statement(Condition={"StringEquals": {name: "x"}})))
