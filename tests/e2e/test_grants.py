"""Grants: made, listed, retired and revoked; who may, and what they let their grantees do."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, allow, denied, deny, hidden, make_key, policy, refusal, refused, violation
from tests.e2e.test_accounts import client_of, command
from tests.records import record_of_request

GRANTEE, RETIRER = "555566667777", "666677778888"
MISSING = "0" * 64
SOURCE = "arn:aws:rds:us-east-1:111122223333:db:x"
NEITHER = "Please specify either a grantee principal or a grantee service principal."
RETIRE_WHAT = ("ValidationException", "Grant token OR (grant ID, key ID) must be specified")


def root(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


class Others(NamedTuple):
    """Clients of two other accounts."""

    grantee: Any
    retirer: Any


@pytest.fixture(scope="module")
def others(server: Server) -> Others:
    for account in (GRANTEE, RETIRER):
        assert command(server, "account", "create", "--account", account).returncode == 0
    return Others(client_of(server, GRANTEE), client_of(server, RETIRER))


class Granting(NamedTuple):
    """A key, and what makes a grant on it to another account."""

    kms: Any
    key: Key
    made: datetime

    def create(self, **parameters: Any) -> dict[str, Any]:
        asked_for = {"KeyId": self.key.key_id, "GranteePrincipal": root(GRANTEE), "Operations": ["Encrypt"]}
        made: dict[str, Any] = self.kms.create_grant(**asked_for | parameters)
        return made

    def listed(self, **parameters: Any) -> list[dict[str, Any]]:
        grants: list[dict[str, Any]] = self.kms.list_grants(KeyId=self.key.key_id, **parameters)["Grants"]
        return grants

    def ids(self, **parameters: Any) -> list[str]:
        return [grant["GrantId"] for grant in self.listed(**parameters)]


@pytest.fixture
def granting(kms: Any, others: Others) -> Granting:
    key = make_key(kms)
    granting = Granting(kms, key, kms.describe_key(KeyId=key.key_id)["KeyMetadata"]["CreationDate"])
    kms.revoke_grant(KeyId=granting.key.key_id, GrantId=granting.key.grant_id)
    return granting


def test_a_grant_is_listed_as_it_was_made(granting: Granting) -> None:
    key = granting.key
    made = granting.create(
        RetiringPrincipal=root(RETIRER),
        Operations=["Decrypt", "Encrypt", "Decrypt"],
        Constraints={
            "EncryptionContextEquals": {"Department": "IT", "ä": ""},
            "SourceArn": SOURCE,
        },
        Name="a:name/of_this-grant",
    )
    assert len(made["GrantId"]) == 64
    assert made["GrantId"] == made["GrantId"].lower()
    assert 1 <= len(made["GrantToken"]) <= 8192
    (listed,) = granting.listed()
    assert listed.pop("CreationDate") >= granting.made
    assert listed == {
        "KeyId": key.arn,
        "GrantId": made["GrantId"],
        "Name": "a:name/of_this-grant",
        "GranteePrincipal": root(GRANTEE),
        "RetiringPrincipal": root(RETIRER),
        "IssuingAccount": root(key.account),
        "Operations": ["Decrypt", "Encrypt"],
        "Constraints": {
            "EncryptionContextEquals": {"Department": "IT", "ä": ""},
            "SourceArn": SOURCE,
        },
    }


def test_what_was_not_asked_for_is_not_listed_but_for_an_empty_name(granting: Granting) -> None:
    granting.create()
    (listed,) = granting.listed()
    assert listed.keys() == {
        "KeyId", "GrantId", "Name", "CreationDate", "GranteePrincipal", "IssuingAccount", "Operations",
    }  # fmt: skip
    assert listed["Name"] == ""


def test_a_grant_to_a_service(granting: Granting) -> None:
    asked_for = {
        "KeyId": granting.key.key_id,
        "Operations": ["Encrypt"],
        "GranteeServicePrincipal": "rds.amazonaws.com",
    }
    without_source: list[dict[str, Any]] = [
        {"RetiringPrincipal": root(RETIRER)},
        {"RetiringServicePrincipal": "x.amazonaws.com", "Constraints": {"EncryptionContextSubset": {}}},
    ]
    for parameters in without_source:
        assert refusal(granting.kms.create_grant, **asked_for, **parameters) == (
            "ValidationException",
            "A grant to a service principal must have a SourceArn constraint.",
        )
    sourced = asked_for | {"Constraints": {"SourceArn": SOURCE}}
    assert refusal(granting.kms.create_grant, **sourced) == (
        "ValidationException",
        "A grant to a service principal must have a retiring principal.",
    )
    granting.kms.create_grant(**sourced, RetiringServicePrincipal="rds.amazonaws.com")
    (listed,) = granting.listed()
    assert (listed["GranteeServicePrincipal"], listed["RetiringServicePrincipal"]) == ("rds.amazonaws.com",) * 2
    assert not {"GranteePrincipal", "RetiringPrincipal"} & listed.keys()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"GranteePrincipal": None}, ("ValidationException", NEITHER)),
        (
            {"GranteeServicePrincipal": "rds.amazonaws.com", "Constraints": {"SourceArn": SOURCE}},
            ("ValidationException", NEITHER),
        ),
        (
            {"RetiringPrincipal": root(RETIRER), "RetiringServicePrincipal": "rds.amazonaws.com"},
            (
                "ValidationException",
                "Please specify either a retiring principal or a retiring service principal.",
            ),
        ),
        ({"Operations": []}, violation("[]", "operations", "have length greater than or equal to 1")),
        (
            {"Operations": ["CreateGrant"]},
            ("ValidationException", "Grants must not contain only the CreateGrant operation."),
        ),
        (
            {"Constraints": {"EncryptionContextSubset": {"a": "b"}, "EncryptionContextEquals": {}}},
            ("ValidationException", "More than one constraint supplied"),
        ),
        ({"Operations": None}, violation(None, "operations", "not be null")),
        (
            {"Constraints": {"EncryptionContextSubset": {str(number): "" for number in range(9)}}},
            ("ValidationException", "A constraint on the encryption context can have 8 pairs at most."),
        ),
        (
            {"Constraints": {"EncryptionContextEquals": {"a": "x" * 385}}},
            (
                "ValidationException",
                "A value in a constraint on the encryption context can have 384 characters at most.",
            ),
        ),
        *(
            ({parameter: principal}, ("InvalidArnException", f"ARN does not refer to a valid principal: {principal}"))
            for parameter in ("GranteePrincipal", "RetiringPrincipal")
            for principal in (
                root("999999999999"),
                GRANTEE,
                f"arn:aws:iam::{GRANTEE}:user/nobody",
                f"arn:aws:sts::{GRANTEE}:assumed-role/r/s",
                "rds.amazonaws.com",
            )
        ),
    ],
    ids=str,
)
def test_grants_that_cannot_be(granting: Granting, parameters: dict[str, Any], expected: tuple[str, str]) -> None:
    asked_for = {"KeyId": granting.key.key_id, "GranteePrincipal": root(GRANTEE), "Operations": ["Encrypt"]}
    given = {name: value for name, value in (asked_for | parameters).items() if value is not None}
    assert refusal(granting.kms.create_grant, **given) == expected
    assert granting.listed() == []


def test_operations_that_do_not_fit_the_key(granting: Granting) -> None:
    for operation in ("Sign", "Verify", "GetPublicKey", "GenerateMac", "DeriveSharedSecret", "Decapsulate"):
        assert refusal(granting.create, Operations=["Encrypt", operation]) == (
            "ValidationException",
            f"{granting.key.arn} key usage is ENCRYPT_DECRYPT which is not valid for {operation}.",
        )
    fitting = [
        "Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
        "CreateGrant", "RetireGrant", "DescribeKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
    ]  # fmt: skip
    granting.create(Operations=fitting)
    assert granting.listed()[0]["Operations"] == fitting


def test_the_largest_constraint(granting: Granting) -> None:
    largest = {f"{number}": "é" * 384 for number in range(8)}
    granting.create(Constraints={"EncryptionContextSubset": largest})
    assert granting.listed()[0]["Constraints"] == {"EncryptionContextSubset": largest}


def test_with_a_name_the_same_grant_is_made_once(granting: Granting) -> None:
    constraints = {"EncryptionContextSubset": {"a": "b", "c": "d"}}
    first = granting.create(Name="n", Operations=["Encrypt", "Decrypt"], Constraints=constraints)
    again = granting.create(
        Name="n",
        Operations=["Decrypt", "Encrypt", "Encrypt"],
        Constraints={"EncryptionContextSubset": {"c": "d", "a": "b"}},
    )
    assert again["GrantId"] == first["GrantId"]
    assert again["GrantToken"] != first["GrantToken"]
    others = [
        granting.create(Name="n", Operations=["Encrypt"], Constraints=constraints),
        granting.create(Name="n", Operations=["Encrypt", "Decrypt"]),
        granting.create(Name="m", Operations=["Encrypt", "Decrypt"], Constraints=constraints),
        granting.create(
            Name="n", Operations=["Encrypt", "Decrypt"], Constraints=constraints, RetiringPrincipal=root(RETIRER)
        ),
        granting.create(
            Name="n", Operations=["Encrypt", "Decrypt"], Constraints=constraints, GranteePrincipal=root(RETIRER)
        ),
        granting.create(
            Name="n",
            Operations=["Encrypt", "Decrypt"],
            Constraints={"EncryptionContextEquals": constraints["EncryptionContextSubset"]},
        ),
    ]
    assert sorted(granting.ids()) == sorted({made["GrantId"] for made in [first, *others]})
    assert len(granting.ids()) == 7
    granting.kms.revoke_grant(KeyId=granting.key.key_id, GrantId=first["GrantId"])
    renewed = granting.create(Name="n", Operations=["Encrypt", "Decrypt"], Constraints=constraints)
    assert renewed["GrantId"] != first["GrantId"]


def test_without_a_name_each_is_another(granting: Granting) -> None:
    assert granting.create()["GrantId"] != granting.create()["GrantId"]
    assert len(granting.ids()) == 2


def test_with_a_name_the_same_grant_is_made_once_by_many_at_once(granting: Granting) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: granting.create(Name="n")["GrantId"], range(12)))
    assert len(set(made)) == 1
    assert granting.ids() == made[:1]


def test_a_dry_run_makes_and_takes_nothing(granting: Granting) -> None:
    dry = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    made = granting.create()
    named = {"KeyId": granting.key.key_id, "GrantId": made["GrantId"]}
    assert refusal(granting.create, DryRun=True) == dry
    assert refusal(granting.kms.revoke_grant, DryRun=True, **named) == dry
    assert refusal(granting.kms.retire_grant, DryRun=True, **named) == dry
    assert refusal(granting.kms.retire_grant, DryRun=True, GrantToken=made["GrantToken"]) == dry
    assert granting.ids() == [made["GrantId"]]
    assert refusal(granting.kms.revoke_grant, DryRun=True, **named | {"GrantId": MISSING})[0] == "NotFoundException"


def test_grants_are_listed_page_by_page(granting: Granting) -> None:
    made = {granting.create()["GrantId"] for _ in range(5)}
    pages = granting.kms.get_paginator("list_grants").paginate(
        KeyId=granting.key.key_id, PaginationConfig={"PageSize": 2}
    )
    told = [[grant["GrantId"] for grant in page["Grants"]] for page in pages]
    assert [len(page) for page in told] == [2, 2, 1]
    assert [grant_id for page in told for grant_id in page] == sorted(made)
    first = granting.kms.list_grants(KeyId=granting.key.key_id, Limit=2)
    assert (first["Truncated"], granting.kms.list_grants(KeyId=granting.key.key_id)["Truncated"]) == (True, False)
    assert refusal(granting.listed, Limit=101) == violation("101", "limit", "have value less than or equal to 100")
    invalid = ("InvalidMarkerException", "")
    assert refusal(granting.listed, Marker="x") == invalid
    assert refusal(granting.listed, Marker=first["NextMarker"], GranteePrincipal=root(GRANTEE)) == invalid
    other = make_key(granting.kms)
    assert refusal(granting.kms.list_grants, KeyId=other.key_id, Marker=first["NextMarker"]) == invalid


def test_grants_are_listed_by_id_and_by_grantee(granting: Granting) -> None:
    first = granting.create()["GrantId"]
    second = granting.create(GranteePrincipal=root(RETIRER))["GrantId"]
    assert granting.ids(GrantId=first) == [first]
    assert granting.ids(GranteePrincipal=root(RETIRER)) == [second]
    assert granting.ids(GranteePrincipal=root(RETIRER), GrantId=first) == []
    assert granting.ids(GrantId=MISSING) == []
    assert granting.ids(GranteePrincipal="nobody") == []
    for malformed in ("x", first.upper(), first[1:]):
        assert refusal(granting.listed, GrantId=malformed) == ("InvalidGrantIdException", "")
    assert refusal(granting.listed, GranteeServicePrincipal="rds.amazonaws.com") == (
        "ValidationException",
        "GranteeServicePrincipal can be used by AWS services only.",
    )


def retirable(client: Any, account: str, **parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.list_retirable_grants(RetiringPrincipal=root(account), **parameters)
    return found


def test_who_may_retire_grants_lists_them_from_every_account(granting: Granting, others: Others) -> None:
    before = {grant["GrantId"] for grant in retirable(others.retirer, RETIRER)["Grants"]}
    foreign = others.grantee.create_key()["KeyMetadata"]
    made = [granting.create(RetiringPrincipal=root(RETIRER))["GrantId"] for _ in range(3)]
    made.append(
        others.grantee.create_grant(
            KeyId=foreign["KeyId"],
            GranteePrincipal=root(granting.key.account),
            RetiringPrincipal=root(RETIRER),
            Operations=["Decrypt"],
        )["GrantId"]
    )
    granting.create()
    pages = others.retirer.get_paginator("list_retirable_grants").paginate(
        RetiringPrincipal=root(RETIRER), PaginationConfig={"PageSize": 2}
    )
    told = [grant for page in pages for grant in page["Grants"]]
    assert {grant["GrantId"] for grant in told} - before == set(made)
    assert len(told) == len({grant["GrantId"] for grant in told})
    assert {grant["KeyId"] for grant in told} >= {granting.key.arn, foreign["Arn"]}
    (entry,) = [grant for grant in told if grant["GrantId"] == made[3]]
    assert (entry["IssuingAccount"], entry["Operations"]) == (root(GRANTEE), ["Decrypt"])


def test_retirable_grants_are_those_of_ones_own_principals(granting: Granting, others: Others) -> None:
    account = granting.key.account
    assert refusal(retirable, client=granting.kms, account=RETIRER) == (
        "AccessDeniedException",
        f"User: {root(account)} is not authorized to perform: kms:ListRetirableGrants on resource: {root(RETIRER)} "
        "because no identity-based policy allows the kms:ListRetirableGrants action",
    )
    call = granting.kms.list_retirable_grants
    for malformed in ("nobody", account, f"arn:aws:kms::{account}:x"):
        expected = ("InvalidArnException", f"ARN does not refer to a valid principal: {malformed}")
        assert refusal(call, RetiringPrincipal=malformed) == expected
    assert refusal(call) == ("ValidationException", "Please specify a retiring principal.")
    assert refusal(call, RetiringServicePrincipal="rds.amazonaws.com") == (
        "ValidationException",
        "RetiringServicePrincipal can be used by AWS services only.",
    )
    assert refusal(call, RetiringPrincipal=root(account), Limit=101) == violation(
        "101", "limit", "have value less than or equal to 100"
    )
    assert refusal(call, RetiringPrincipal=root(account), Marker="x") == ("InvalidMarkerException", "")
    assert call(RetiringPrincipal=f"arn:aws:iam::{account}:user/nobody")["Grants"] == []


def test_a_grant_is_retired_by_token_or_by_name(granting: Granting, others: Others) -> None:
    """By whom it names, and by the account that made it."""
    key = granting.key
    made = [granting.create(RetiringPrincipal=root(RETIRER)) for _ in range(4)]
    others.retirer.retire_grant(GrantToken=made[0]["GrantToken"])
    others.retirer.retire_grant(KeyId=key.arn, GrantId=made[1]["GrantId"])
    granting.kms.retire_grant(GrantToken=made[2]["GrantToken"])
    granting.kms.retire_grant(KeyId=key.key_id, GrantId=made[3]["GrantId"])
    assert granting.ids() == []


def test_the_grantee_retires_a_grant_that_is_for_that(granting: Granting, others: Others) -> None:
    made = granting.create(Operations=["Encrypt", "RetireGrant"])
    kept = granting.create(Operations=["Encrypt"])
    others.grantee.retire_grant(GrantToken=made["GrantToken"])
    assert refusal(others.grantee.retire_grant, GrantToken=kept["GrantToken"]) == hidden(GRANTEE, "kms:RetireGrant")
    assert granting.ids() == [kept["GrantId"]]


def test_all_tokens_of_a_grant_name_it(granting: Granting) -> None:
    tokens = [granting.create(Name="n")["GrantToken"] for _ in range(2)]
    granting.kms.retire_grant(GrantToken=tokens[0])
    gone = granting.create(Name="n")["GrantId"]
    code, text = refusal(granting.kms.retire_grant, GrantToken=tokens[1])
    assert (code, text.split()[0], gone in text) == ("NotFoundException", "Grant", False)


def test_who_may_not_retire_a_grant_learns_nothing(granting: Granting, others: Others) -> None:
    key = granting.key
    made = granting.create(RetiringPrincipal=root(RETIRER))
    refused_so = hidden(GRANTEE, "kms:RetireGrant")
    retire = others.grantee.retire_grant
    assert refusal(retire, GrantToken=made["GrantToken"]) == refused_so
    assert refusal(retire, KeyId=key.arn, GrantId=made["GrantId"]) == refused_so
    assert refusal(retire, KeyId=key.arn, GrantId=MISSING) == refused_so
    assert refusal(retire, KeyId=key.arn.replace(key.key_id, "0" * 8 + key.key_id[8:]), GrantId=MISSING) == refused_so
    granting.kms.revoke_grant(KeyId=key.key_id, GrantId=made["GrantId"])
    assert refusal(retire, GrantToken=made["GrantToken"]) == refused_so


def test_a_deny_keeps_grants_from_being_retired(granting: Granting) -> None:
    key = granting.key
    made = granting.create()
    granting.kms.put_key_policy(
        KeyId=key.key_id, Policy=policy(allow(key.account), deny(key.account, "kms:RetireGrant"))
    )
    assert refusal(granting.kms.retire_grant, GrantToken=made["GrantToken"]) == denied(key, "kms:RetireGrant")


def test_what_retire_grant_must_be_given(granting: Granting, kms_elsewhere: Any) -> None:
    made = granting.create()
    key_id, grant_id, token = granting.key.key_id, made["GrantId"], made["GrantToken"]
    retire = granting.kms.retire_grant
    for parameters in (
        {},
        {"KeyId": key_id},
        {"GrantId": grant_id},
        {"GrantToken": token, "KeyId": key_id},
        {"GrantToken": token, "KeyId": key_id, "GrantId": grant_id},
    ):
        assert refusal(retire, **parameters) == RETIRE_WHAT
    assert refusal(retire, KeyId=key_id, GrantId="x") == ("InvalidGrantIdException", "")
    assert refusal(retire, KeyId=key_id, GrantId=MISSING) == ("NotFoundException", f"Grant ID {MISSING} not found")
    assert refusal(kms_elsewhere.retire_grant, GrantToken=token) == ("InvalidGrantTokenException", "")
    assert granting.ids() == [grant_id]


def tampered(token: str) -> Iterator[str]:
    """Nearly the token."""
    yield token[:-1]
    yield token + "A"
    yield token + "="
    yield token[:50] + ("A" if token[50] != "A" else "B") + token[51:]
    yield " " + token
    last = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    yield base64.urlsafe_b64encode(last[:-1] + bytes([last[-1] ^ 1])).decode().rstrip("=")


def test_tokens_that_were_not_given_out(granting: Granting) -> None:
    token = granting.create()["GrantToken"]
    uses: list[Callable[[str], Any]] = [
        lambda token: granting.kms.encrypt(KeyId=granting.key.key_id, Plaintext=b"x", GrantTokens=[token]),
        lambda token: granting.create(GrantTokens=[token]),
        lambda token: granting.kms.describe_key(KeyId=granting.key.key_id, GrantTokens=[token]),
        lambda token: granting.kms.retire_grant(GrantToken=token),
    ]
    for bad in (*tampered(token), "x", "AAAA", "ä", token[::-1], "A" * 8192):
        for use in uses:
            assert refusal(use, token=bad) == ("InvalidGrantTokenException", "")
    for use in uses:
        use(token)


def test_tokens_are_looked_at_before_the_key(granting: Granting) -> None:
    token = granting.create()["GrantToken"]
    invalid = ("InvalidGrantTokenException", "")
    assert refusal(granting.kms.encrypt, KeyId="nothing", Plaintext=b"x", GrantTokens=[token, "x"]) == invalid
    refused_with = refusal(granting.kms.encrypt, KeyId="nothing", Plaintext=b"x", GrantTokens=[token] * 10)
    assert refused_with[0] == "NotFoundException"
    code, text = refusal(granting.kms.encrypt, KeyId="nothing", Plaintext=b"x", GrantTokens=[token] * 11)
    assert (code, "at 'grantTokens'" in text) == ("ValidationException", True)


def test_a_grant_is_revoked(granting: Granting) -> None:
    revoke = granting.kms.revoke_grant
    grant_id = granting.create()["GrantId"]
    revoke(KeyId=granting.key.arn, GrantId=grant_id)
    assert granting.ids() == []
    gone = ("NotFoundException", f"Grant ID {grant_id} not found")
    assert refusal(revoke, KeyId=granting.key.key_id, GrantId=grant_id) == gone
    assert refusal(revoke, KeyId=granting.key.key_id, GrantId="x") == ("InvalidGrantIdException", "")
    other = make_key(granting.kms)
    assert refusal(revoke, KeyId=granting.key.key_id, GrantId=other.grant_id)[0] == "NotFoundException"


def test_a_policy_lets_another_account_manage_grants(granting: Granting, others: Others) -> None:
    key = granting.key
    named = {"KeyId": key.arn}
    asked_for = named | {"GranteePrincipal": root(RETIRER), "Operations": ["Decrypt"]}
    grantee = others.grantee
    made = granting.create(GranteePrincipal=root(RETIRER))
    for action, call, parameters in (
        ("kms:CreateGrant", grantee.create_grant, asked_for),
        ("kms:ListGrants", grantee.list_grants, named),
        ("kms:RevokeGrant", grantee.revoke_grant, named | {"GrantId": made["GrantId"]}),
    ):
        assert refusal(call, **parameters) == hidden(GRANTEE, action)
    granting.kms.put_key_policy(KeyId=key.key_id, Policy=policy(allow(key.account), allow(GRANTEE)))
    issued = grantee.create_grant(**asked_for)
    assert {grant["GrantId"] for grant in grantee.list_grants(**named)["Grants"]} == {
        made["GrantId"], issued["GrantId"],
    }  # fmt: skip
    assert granting.listed(GrantId=issued["GrantId"])[0]["IssuingAccount"] == root(GRANTEE)
    assert refusal(granting.kms.retire_grant, GrantToken=issued["GrantToken"])[0] == "AccessDeniedException"
    grantee.retire_grant(GrantToken=issued["GrantToken"])
    grantee.revoke_grant(**named, GrantId=made["GrantId"])
    assert granting.ids() == []


def test_a_grant_lets_its_grantee_use_the_key_until_it_is_gone(granting: Granting, others: Others) -> None:
    key, grantee = granting.key, others.grantee
    encrypt = {"KeyId": key.arn, "Plaintext": b"x"}
    assert refusal(grantee.encrypt, **encrypt) == hidden(GRANTEE, "kms:Encrypt")
    made = granting.create(Operations=["Encrypt", "DescribeKey"])
    blob = grantee.encrypt(**encrypt)["CiphertextBlob"]
    assert grantee.encrypt(**encrypt, GrantTokens=[made["GrantToken"]])["KeyId"] == key.arn
    assert grantee.describe_key(KeyId=key.arn)["KeyMetadata"]["Arn"] == key.arn
    assert refusal(grantee.decrypt, CiphertextBlob=blob, KeyId=key.arn) == hidden(GRANTEE, "kms:Decrypt")
    assert refusal(others.retirer.encrypt, **encrypt, GrantTokens=[made["GrantToken"]]) == hidden(
        RETIRER, "kms:Encrypt"
    )
    granting.kms.revoke_grant(KeyId=key.key_id, GrantId=made["GrantId"])
    assert refusal(grantee.encrypt, **encrypt, GrantTokens=[made["GrantToken"]]) == hidden(GRANTEE, "kms:Encrypt")


def test_a_grant_constrains_the_encryption_context(granting: Granting, others: Others) -> None:
    key, grantee = granting.key, others.grantee
    equals = granting.create(Operations=["Encrypt"], Constraints={"EncryptionContextEquals": {"a": "b"}})
    encrypt = {"KeyId": key.arn, "Plaintext": b"x"}
    refused_so = hidden(GRANTEE, "kms:Encrypt")
    grantee.encrypt(**encrypt, EncryptionContext={"a": "b"})
    for context in ({}, {"a": "B"}, {"A": "b"}, {"a": "b", "c": "d"}):
        assert refusal(grantee.encrypt, **encrypt, EncryptionContext=context) == refused_so
    granting.kms.revoke_grant(KeyId=key.key_id, GrantId=equals["GrantId"])
    granting.create(Operations=["Encrypt", "DescribeKey"], Constraints={"EncryptionContextSubset": {"a": "b"}})
    grantee.encrypt(**encrypt, EncryptionContext={"a": "b", "c": "d"})
    assert refusal(grantee.encrypt, **encrypt, EncryptionContext={"c": "d"}) == refused_so
    grantee.describe_key(KeyId=key.arn)


def test_a_deny_is_stronger_than_a_grant(granting: Granting, others: Others) -> None:
    key = granting.key
    granting.create(Operations=["Encrypt"])
    others.grantee.encrypt(KeyId=key.arn, Plaintext=b"x")
    denying = policy(allow(key.account), deny(GRANTEE, "kms:Encrypt"))
    granting.kms.put_key_policy(KeyId=key.key_id, Policy=denying)
    assert refusal(others.grantee.encrypt, KeyId=key.arn, Plaintext=b"x") == hidden(GRANTEE, "kms:Encrypt")


def test_a_grantee_hands_on_no_more_than_it_has(granting: Granting, others: Others) -> None:
    key, grantee = granting.key, others.grantee
    context = {"a": "b"}
    first = granting.create(
        Operations=["Encrypt", "CreateGrant"], Constraints={"EncryptionContextSubset": context}, Name="first"
    )
    asked_for: dict[str, Any] = {"KeyId": key.arn, "GranteePrincipal": root(RETIRER)}
    refused_so = hidden(GRANTEE, "kms:CreateGrant")
    within = {"Operations": ["Encrypt"], "Constraints": {"EncryptionContextEquals": context}}
    widened: list[dict[str, Any]] = [
        {"Operations": ["Decrypt"]},
        {"Operations": ["Encrypt", "Decrypt"]},
        {"Constraints": {}},
        {"Constraints": {"EncryptionContextSubset": {"a": "c"}}},
    ]
    for wider in widened:
        assert refusal(grantee.create_grant, **asked_for | within | wider) == refused_so
    handed_on = grantee.create_grant(**asked_for, **within)
    assert granting.listed(GrantId=handed_on["GrantId"])[0]["IssuingAccount"] == root(GRANTEE)
    others.retirer.encrypt(KeyId=key.arn, Plaintext=b"x", EncryptionContext=context)
    granting.kms.revoke_grant(KeyId=key.key_id, GrantId=first["GrantId"])
    assert refusal(grantee.create_grant, **asked_for, **within) == refused_so
    others.retirer.encrypt(KeyId=key.arn, Plaintext=b"x", EncryptionContext=context)


def test_what_is_recorded_of_grants(server: Server, granting: Granting) -> None:
    key = granting.key
    created = granting.create(
        Name="n",
        RetiringPrincipal=root(RETIRER),
        Constraints={"EncryptionContextSubset": {"a": "b"}, "SourceArn": SOURCE},
        GrantTokens=[granting.create()["GrantToken"]],
    )
    record = record_of_request(server.data, created)
    assert record["requestParameters"] == {
        "keyId": key.key_id,
        "granteePrincipal": root(GRANTEE),
        "retiringPrincipal": root(RETIRER),
        "operations": ["Encrypt"],
        "constraints": {"encryptionContextSubset": {"a": "b"}, "sourceArn": SOURCE},
        "name": "n",
    }
    assert record["responseElements"] == {"grantId": created["GrantId"], "keyId": key.arn}
    assert (record["readOnly"], [resource["ARN"] for resource in record["resources"]]) == (False, [key.arn])

    listed = record_of_request(server.data, granting.kms.list_grants(KeyId=key.key_id, Limit=1))
    assert (listed["requestParameters"], listed["readOnly"]) == ({"keyId": key.key_id, "limit": 1}, True)

    retired = record_of_request(server.data, granting.kms.retire_grant(GrantToken=created["GrantToken"]))
    assert retired["requestParameters"] is None
    assert retired["responseElements"] == {"keyId": key.arn}
    assert retired["additionalEventData"]["grantId"] == created["GrantId"]
    assert (retired["readOnly"], [resource["ARN"] for resource in retired["resources"]]) == (False, [key.arn])

    (left,) = granting.ids()
    revoked = record_of_request(server.data, granting.kms.revoke_grant(KeyId=key.key_id, GrantId=left))
    assert revoked["requestParameters"] == {"keyId": key.key_id, "grantId": left}
    assert revoked["responseElements"] == {"keyId": key.arn}
    assert created["GrantToken"] not in json.dumps([record, listed, retired, revoked])

    failed = refused(granting.kms.retire_grant, GrantToken="garbage")
    assert record_of_request(server.data, failed)["errorCode"] == "InvalidGrantTokenException"
