"""Key policies: what compiles, what it means, and that what is not understood denies."""

import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.authorization.decide import AuthorizedKey, authorize_account, authorize_key, hidden
from strongroom.authorization.policy import (
    MAX_POLICY_BYTES,
    check_policy_size,
    compile_policy,
    default_key_policy,
)
from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.errors import AccessDenied, LimitExceeded, MalformedPolicyDocument
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal, root_user

ACCOUNT, OTHER = "111122223333", "444455556666"
ROOT, OTHER_ROOT = root_user(ACCOUNT, "AKIA1"), root_user(OTHER, "AKIA2")
USER = Principal("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/u", ACCOUNT, "AIDA1", "AKIA3")
KEY = KmsKey(
    ACCOUNT, "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS",
    "Enabled", "", "", (), 0.0, "ab" * 32,
)  # fmt: skip


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(**changed: Any) -> dict[str, Any]:
    base = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    return {name: value for name, value in {**base, **changed}.items() if value is not None}


def allowed(text: str, principal: Principal = ROOT, action: str = "kms:Encrypt") -> bool:
    try:
        authorize_key(principal, action, KEY, compile_policy(text), None)
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
        ({"Action": None}, ROOT, False),
        ({"Resource": KEY.arn}, ROOT, True),
        ({"Resource": KEY.arn[:-1] + "?"}, ROOT, True),
        ({"Resource": KEY.arn.upper()}, ROOT, False),
        ({"Resource": None}, ROOT, False),
        ({"Resource": KEY.key_id}, ROOT, False),
    ],
)
def test_what_an_allow_covers(changed: dict[str, Any], principal: Principal, expected: bool) -> None:  # noqa: FBT001
    assert allowed(policy(statement(**changed)), principal) is expected


@pytest.mark.parametrize(
    "odd",
    [
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Principal": None, "NotPrincipal": {"AWS": OTHER}},
        {"Action": None, "NotAction": "kms:Decrypt"},
        {"Resource": None, "NotResource": "*"},
        {"Resource": "arn:aws:kms:*:${aws:PrincipalAccount}:key/*"},
    ],
)
def test_what_is_not_understood_allows_nothing_and_denies_everything(odd: dict[str, Any]) -> None:
    assert not allowed(policy(statement(**odd)))
    assert not allowed(policy(statement(), statement(Effect="Deny", **odd)))


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    deny = statement(Effect="Deny", Action="kms:Encrypt")

    for text in (policy(deny, statement()), policy(statement(), deny)):
        assert not allowed(text)
        assert allowed(text, action="kms:Decrypt")
    with pytest.raises(AccessDenied, match=r"with an explicit deny in a resource-based policy$"):
        authorize_key(ROOT, "kms:Encrypt", KEY, compile_policy(policy(statement(), deny)), None)


def test_a_foreign_principal_is_not_told_whether_the_key_exists() -> None:
    with pytest.raises(AccessDenied) as denied:
        authorize_key(OTHER_ROOT, "kms:Encrypt", KEY, compile_policy(default_key_policy(ACCOUNT)), None)

    assert KEY.key_id not in str(denied.value)
    assert "because the resource does not exist in this Region" in str(denied.value)


def test_only_root_users_act_on_the_account() -> None:
    authorize_account(ROOT, "kms:CreateKey")
    with pytest.raises(AccessDenied, match="because no identity-based policy allows the kms:CreateKey action"):
        authorize_account(USER, "kms:CreateKey")


def test_nobody_else_makes_an_authorized_key() -> None:
    with pytest.raises(TypeError):
        AuthorizedKey(object(), KEY, "kms:Decrypt", ROOT)


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
    ],
)
def test_malformed_documents(text: str) -> None:
    with pytest.raises(MalformedPolicyDocument):
        compile_policy(text)


def test_the_size_limit_is_in_bytes() -> None:
    check_policy_size("x" * MAX_POLICY_BYTES)
    with pytest.raises(LimitExceeded):
        check_policy_size("é" * (MAX_POLICY_BYTES // 2 + 1))


def test_a_pattern_with_many_wildcards_costs_little() -> None:
    text = policy(statement(Action="kms:" + "*a" * 60 + "b", Resource="*" * 200 + "x"))

    assert not allowed(text, action="kms:" + "a" * 200)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_match_as_fnmatch_does(pattern: str, text: str) -> None:
    expected = fnmatch.fnmatchcase(f"kms:{text}", f"kms:{pattern}")

    assert allowed(policy(statement(Action=f"kms:{pattern}")), action=f"kms:{text}") is expected


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
        compile_policy(policy(statement(Effect="Deny", **empty)))


@pytest.mark.parametrize("member", ["Id", "Sid"])
def test_names_are_text_and_nothing_nests_deep(member: str) -> None:
    for odd in (1, ["x"], {"a": "b"}, json.loads("[" * 900 + "]" * 900)):
        document: dict[str, Any] = {"Version": "2012-10-17", "Statement": [statement()]}
        if member == "Id":
            document["Id"] = odd
        else:
            document["Statement"] = [statement(Sid=odd)]
        with pytest.raises(MalformedPolicyDocument):
            compile_policy(json.dumps(document))


def test_what_hides_a_key_says_the_same_of_a_ciphertext_of_no_key() -> None:
    blob = CiphertextBlob(1, "ab" * 32, bytes(24), bytes(16), b"")
    with pytest.raises(AccessDenied) as denied:
        authorize_key(OTHER_ROOT, "kms:Decrypt", KEY, compile_policy(default_key_policy(ACCOUNT)), blob)

    assert str(denied.value) == str(hidden(OTHER_ROOT, "kms:Decrypt", by_ciphertext=True))
