"""Each way in which a key policy allows and denies: before, with and after it, on two server processes at once."""

from typing import Any, NamedTuple

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, Statement, allow, deny, hidden, make_key, policy, refused
from tests.e2e.commands import strongroom
from tests.e2e.conftest import OTHER
from tests.records import record_of_request

OTHERS = "the second account's root user"
OWNERS = "the key's account's root user"
CONTEXT = {"dept": "hr"}


def everything_but_encrypt(account: str) -> Statement:
    """A statement that lets an account do all but what the tests ask for."""
    statement = {name: value for name, value in allow(account).items() if name != "Action"}
    return statement | {"NotAction": "kms:Encrypt"}


class Way(NamedTuple):
    """A statement, with `{account}` for the key's account and `{key}` for its ARN, and whom it lets encrypt or not."""

    name: str
    who: str
    statement: Statement

    def filled(self, key: Key) -> Statement:
        def fill(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: fill(inner) for name, inner in value.items()}
            if isinstance(value, list):
                return [fill(inner) for inner in value]
            return value.replace("{account}", key.account).replace("{key}", key.arn)

        filled: Statement = fill(self.statement)
        return filled

    def __str__(self) -> str:
        return f"{self.name}: {self.who}"


ALLOW: Statement = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}
DENY: Statement = ALLOW | {"Effect": "Deny"}
ME = {"AWS": "{account}"}
ALLOWING = [
    Way("account", OWNERS, ALLOW | {"Principal": ME}),
    Way("account's root ARN", OWNERS, ALLOW | {"Principal": {"AWS": "arn:aws:iam::{account}:root"}}),
    Way("anyone", OWNERS, ALLOW | {"Principal": "*"}),
    Way("anyone of AWS", OTHERS, ALLOW | {"Principal": {"AWS": "*"}}),
    Way("another account", OTHERS, ALLOW | {"Principal": {"AWS": ["{account}", OTHER]}}),
    Way("wildcard action", OWNERS, ALLOW | {"Principal": ME, "Action": ["kms:None", "KMS:en?ry*"]}),
    Way("wildcard resource", OWNERS, ALLOW | {"Principal": ME, "Resource": "arn:aws:kms:*:*:key/*"}),
    Way("not another resource", OTHERS, {"Effect": "Allow", "Principal": "*", "Action": "*", "NotResource": "{key}x"}),
    Way("variable", OWNERS, ALLOW | {"Principal": ME, "Resource": "arn:aws:kms:*:*:key/${kms:None, ''}*"}),
    Way(
        "condition",
        OTHERS,
        ALLOW | {"Principal": "*", "Condition": {"StringEquals": {"kms:EncryptionContext:dept": "hr"}}},
    ),
]
DENYING = [
    Way("account", OWNERS, DENY | {"Principal": ME}),
    Way("another account", OTHERS, DENY | {"Principal": {"AWS": OTHER}}),
    Way("everyone", OTHERS, DENY | {"Principal": "*"}),
    Way("all but another account", OWNERS, {**DENY, "NotPrincipal": {"AWS": OTHER}}),
    Way("all but the key's account", OTHERS, {**DENY, "NotPrincipal": ME}),
    Way("all but other actions", OWNERS, {"Effect": "Deny", "Principal": ME, "NotAction": "kms:P*", "Resource": "*"}),
    Way("this key", OWNERS, DENY | {"Principal": ME, "Resource": "{key}"}),
    Way(
        "condition",
        OWNERS,
        DENY | {"Principal": "*", "Condition": {"StringNotLike": {"kms:EncryptionContext:dept": ["it", "f*"]}}},
    ),
    Way("absent key", OTHERS, DENY | {"Principal": "*", "Condition": {"Null": {"aws:SourceVpce": "true"}}}),
]


@pytest.fixture(scope="module")
def key(owners: list[Any]) -> Key:
    return make_key(owners[0])


def put(owners: list[Any], key: Key, *statements: Statement) -> None:
    owners[1].put_key_policy(KeyId=key.key_id, Policy=policy(*statements))


def encrypted(clients: list[Any], key: Key) -> list[dict[str, Any]]:
    parameters = {"KeyId": key.arn, "Plaintext": b"x", "EncryptionContext": CONTEXT}
    answers = [client.encrypt(**parameters) for client in clients]
    assert all(answer["KeyId"] == key.arn for answer in answers)
    return answers


def not_encrypted(clients: list[Any], key: Key) -> list[dict[str, Any]]:
    parameters = {"KeyId": key.arn, "Plaintext": b"x", "EncryptionContext": CONTEXT}
    answers = [refused(client.encrypt, **parameters) for client in clients]
    assert [answer["Error"]["Code"] for answer in answers] == ["AccessDeniedException"] * len(clients)
    return answers


def authorization(pair: Server, answer: dict[str, Any]) -> Any:
    """What the audit record says was decided; None if it does not."""
    return record_of_request(pair.data, answer).get("additionalEventData", {}).get("authorization")


@pytest.mark.parametrize("way", ALLOWING, ids=str)
def test_a_way_to_allow(pair: Server, owners: list[Any], others: list[Any], key: Key, way: Way) -> None:
    callers, at_home = (owners, True) if way.who == OWNERS else (others, False)
    base = everything_but_encrypt(key.account)

    put(owners, key, base)
    not_encrypted(callers, key)
    put(owners, key, base, way.filled(key))
    for answer in encrypted(callers, key):
        (decision,) = authorization(pair, answer)
        (ground,) = decision.pop("grounds")
        assert decision == {"action": "kms:Encrypt", "effect": "Allow"}
        assert (ground["policyType"], ground["effect"], ground["statement"]) == ("KeyPolicy", "Allow", 2)
        assert ("policy" in ground) is at_home, "what is in another account's policy stays untold"
    put(owners, key, base)
    for answer in not_encrypted(callers, key):
        no_allow = {"policyType": "KeyPolicy", "effect": "NoAllow"}
        expected = [{"action": "kms:Encrypt", "effect": "Deny", "grounds": [no_allow]}]
        assert authorization(pair, answer) == (expected if at_home else None)


@pytest.mark.parametrize("way", DENYING, ids=str)
def test_a_way_to_deny(pair: Server, owners: list[Any], others: list[Any], key: Key, way: Way) -> None:
    callers, at_home = (owners, True) if way.who == OWNERS else (others, False)
    base = (allow(key.account), allow(OTHER, "kms:Encrypt"))

    put(owners, key, *base)
    encrypted(callers, key)
    put(owners, key, way.filled(key), *base)
    for answer in not_encrypted(callers, key):
        error = (answer["Error"]["Code"], answer["Error"]["Message"])
        told = authorization(pair, answer)
        if at_home:
            assert error[1].endswith(f"{key.arn} with an explicit deny in a resource-based policy")
            (ground,) = told[0]["grounds"]
            assert (ground["policyType"], ground["effect"], ground["statement"]) == ("KeyPolicy", "Deny", 1)
        else:
            assert error == hidden(OTHER, "kms:Encrypt")
            assert told is None
    put(owners, key, *base)
    encrypted(callers, key)


CONSTRAINTS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"EncryptionContextSubset": {}}, True),
    ({"EncryptionContextSubset": CONTEXT}, True),
    ({"EncryptionContextEquals": CONTEXT}, True),
    ({"EncryptionContextSubset": {"dept": "it"}}, False),
    ({"EncryptionContextSubset": {"Dept": "hr"}}, False),
    ({"EncryptionContextSubset": CONTEXT | {"more": "x"}}, False),
    ({"EncryptionContextEquals": {}}, False),
    ({"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:d"}, False),
]


@pytest.mark.parametrize(("constraints", "met"), CONSTRAINTS, ids=str)
@pytest.mark.parametrize("who", [OWNERS, OTHERS])
def test_a_grant(
    pair: Server,
    owners: list[Any],
    others: list[Any],
    key: Key,
    who: str,
    constraints: dict[str, Any],
    met: bool,  # noqa: FBT001 — a table's column
) -> None:
    callers, account = (owners, key.account) if who == OWNERS else (others, OTHER)
    put(owners, key, everything_but_encrypt(key.account))
    not_encrypted(callers, key)

    root = f"arn:aws:iam::{account}:root"
    made = owners[0].create_grant(
        KeyId=key.arn, GranteePrincipal=root, RetiringPrincipal=root, Operations=["Encrypt"], Constraints=constraints
    )
    if met:
        for answer in encrypted(callers, key):
            granted = {"policyType": "Grant", "effect": "Allow", "grantId": made["GrantId"]}
            expected = [{"action": "kms:Encrypt", "effect": "Allow", "grounds": [granted]}]
            assert authorization(pair, answer) == expected
    else:
        not_encrypted(callers, key)
    put(owners, key, everything_but_encrypt(key.account), deny(account, "kms:Encrypt"))
    not_encrypted(callers, key)

    put(owners, key, everything_but_encrypt(key.account))
    if who == OWNERS:
        owners[1].revoke_grant(KeyId=key.arn, GrantId=made["GrantId"])
    else:
        others[1].retire_grant(GrantToken=made["GrantToken"])
    not_encrypted(callers, key)


def explained(pair: Server, answer: dict[str, Any]) -> list[str]:
    done = strongroom("explain", answer["ResponseMetadata"]["RequestId"], "--config", pair.data / "strongroom.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_explain_says_which_statement_decided(pair: Server, owners: list[Any], key: Key) -> None:
    allowing = allow(key.account, "kms:*") | {"Sid": "All"}
    condition = {"StringEquals": {"kms:EncryptionContext:dept": "it"}}
    put(owners, key, deny(OTHER, "kms:*"), allowing)
    (answer, _) = encrypted(owners, key)
    told = explained(pair, answer)
    assert told[0].endswith(f"Encrypt by arn:aws:iam::{key.account}:root succeeded")
    assert told[1] == "  kms:Encrypt: allowed by statement 2 (All) of the key policy"
    assert [line.strip() for line in told[2:5]] == ["{", '"Effect": "Allow",', '"Principal": {']

    put(owners, key, everything_but_encrypt(key.account), allow(key.account, "kms:Encrypt") | {"Condition": condition})
    assert explained(pair, answer) == [*told[:2], "    The policy has changed since."]
    (refusal, _) = not_encrypted(owners, key)
    assert explained(pair, refusal)[1:] == [
        "  kms:Encrypt: refused because nothing in the key policy allows it, and no grant",
        "    statement 2 would have, but for want of: StringEquals kms:EncryptionContext:dept",
    ]

    put(owners, key, deny(key.account, "kms:Encrypt"), allowing)
    (refusal, _) = not_encrypted(owners, key)
    assert explained(pair, refusal)[1] == "  kms:Encrypt: refused by statement 1 of the key policy"


def test_explain_says_which_grant_decided(pair: Server, owners: list[Any], others: list[Any], key: Key) -> None:
    put(owners, key, allow(key.account))
    grantee = f"arn:aws:iam::{OTHER}:root"
    made = owners[0].create_grant(KeyId=key.arn, GranteePrincipal=grantee, Operations=["Encrypt"])
    (answer, _) = encrypted(others, key)
    owners[1].revoke_grant(KeyId=key.arn, GrantId=made["GrantId"])

    assert explained(pair, answer)[1:] == [f"  kms:Encrypt: allowed by grant {made['GrantId']}"]


def test_explain_of_what_has_no_key_and_of_what_is_hidden(
    pair: Server, owners: list[Any], others: list[Any], key: Key
) -> None:
    put(owners, key, allow(key.account))
    (_, *told) = explained(pair, owners[0].list_keys())
    assert told == ["  kms:ListKeys: allowed: the caller is its account's root user"]
    (refusal, _) = not_encrypted(others, key)
    (_, *told) = explained(pair, refusal)
    assert told[0].startswith("  By another account's key, or there is no such key")
    (_, *told) = explained(pair, refused(owners[0].describe_key, KeyId="nothing"))
    assert told == ["  It ended before anything was decided: Invalid keyId 'nothing'"]


def test_explain_of_a_request_that_was_never_made(pair: Server) -> None:
    done = strongroom("explain", "no-such-request", "--config", pair.data / "strongroom.yaml")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "strongroom: the audit log has no record of request no-such-request\n"


def test_a_principal_that_does_not_exist_is_refused(owners: list[Any], key: Key) -> None:
    for principal in ("999999999999", "arn:aws:iam::999999999999:root", f"arn:aws:iam::{key.account}:user/nobody"):
        error = refused(owners[0].put_key_policy, KeyId=key.key_id, Policy=policy(allow(key.account), allow(principal)))
        assert (error["Error"]["Code"], error["Error"]["Message"]) == (
            "MalformedPolicyDocumentException",
            "Policy contains a statement with one or more invalid principals.",
        )
