"""Aliases through boto3: CreateAlias, UpdateAlias, DeleteAlias, ListAliases, and using keys by them."""

import base64
import time
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, allow, denied, deny, make_key, new_name, policy, refusal, refused, violation
from tests.records import record_of_request

MISSING = "00000000-0000-4000-8000-000000000000"
PATTERN = "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
NO_PREFIX = (
    "ValidationException",
    'Alias must start with the prefix "alias/". '
    "Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
)


@pytest.fixture
def key(kms: Any) -> Key:
    return make_key(kms)


@pytest.fixture(scope="module")
def full(kms: Any) -> Key:
    """A key with 50 aliases."""
    key = make_key(kms)
    for _ in range(49):
        kms.create_alias(AliasName=new_name(), TargetKeyId=key.key_id)
    return key


def entries(kms: Any, **parameters: Any) -> dict[str, dict[str, Any]]:
    """All entries that ListAliases tells, by name; in that order."""
    pages = kms.get_paginator("list_aliases").paginate(**parameters)
    return {entry["AliasName"]: entry for page in pages for entry in page["Aliases"]}


def not_found(key: Key, name: str) -> tuple[str, str]:
    return "NotFoundException", f"Alias {key.alias_arn.replace(key.alias, name)} is not found."


def too_many(key: Key) -> tuple[str, str]:
    return "LimitExceededException", f"{key.arn} has 50 aliases, the most that a key can have."


def test_an_alias_stands_for_its_key(kms: Any, key: Key) -> None:
    name = f"{new_name()}/a_B-9"
    kms.create_alias(AliasName=name, TargetKeyId=key.arn)

    entry = entries(kms, KeyId=key.key_id)[name]
    created = entry["CreationDate"]
    assert entry == {
        "AliasName": name,
        "AliasArn": key.alias_arn.replace(key.alias, name),
        "TargetKeyId": key.key_id,
        "CreationDate": created,
        "LastUpdatedDate": created,
    }
    assert entries(kms)[name] == entry
    assert kms.encrypt(KeyId=name, Plaintext=b"x")["KeyId"] == key.arn


def test_an_alias_moves_to_another_key_and_back(kms: Any, key: Key) -> None:
    other = make_key(kms)
    before = entries(kms)[key.alias]
    time.sleep(0.002)  # AWS tells milliseconds
    kms.update_alias(AliasName=key.alias, TargetKeyId=other.key_id)

    after = entries(kms)[key.alias]
    assert after == before | {"TargetKeyId": other.key_id, "LastUpdatedDate": after["LastUpdatedDate"]}
    assert after["LastUpdatedDate"] > before["LastUpdatedDate"]
    assert kms.describe_key(KeyId=key.alias)["KeyMetadata"]["KeyId"] == other.key_id
    assert entries(kms, KeyId=key.key_id) == {}
    assert entries(kms, KeyId=other.key_id).keys() == {key.alias, other.alias}
    assert kms.decrypt(CiphertextBlob=key.blob)["KeyId"] == key.arn
    assert refusal(kms.decrypt, CiphertextBlob=key.blob, KeyId=key.alias)[0] == "IncorrectKeyException"

    for _ in range(2):
        kms.update_alias(AliasName=key.alias, TargetKeyId=key.arn)
        assert entries(kms, KeyId=key.key_id).keys() == {key.alias}
    assert entries(kms, KeyId=other.key_id).keys() == {other.alias}


def test_a_deleted_alias_leaves_its_key_alone_and_can_be_made_again(kms: Any, key: Key) -> None:
    kms.delete_alias(AliasName=key.alias)

    gone = not_found(key, key.alias)
    assert refusal(kms.encrypt, KeyId=key.alias, Plaintext=b"x") == gone
    assert refusal(kms.update_alias, AliasName=key.alias, TargetKeyId=key.key_id) == gone
    assert refusal(kms.delete_alias, AliasName=key.alias) == gone
    assert key.alias not in entries(kms)
    assert kms.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
    other = make_key(kms)
    kms.create_alias(AliasName=key.alias, TargetKeyId=other.key_id)
    assert kms.encrypt(KeyId=key.alias, Plaintext=b"x")["KeyId"] == other.arn


def test_an_alias_that_exists(kms: Any, key: Key) -> None:
    other = make_key(kms)
    for target in (key, other):
        assert refusal(kms.create_alias, AliasName=key.alias, TargetKeyId=target.key_id) == (
            "AlreadyExistsException",
            f"An alias with the name {key.alias_arn} already exists",
        )
    assert entries(kms, KeyId=key.key_id).keys() == {key.alias}


def test_names_differ_by_case_and_from_region_to_region(kms: Any, kms_elsewhere: Any, key: Key) -> None:
    upper = key.alias.replace("alias/test", "alias/TEST")
    kms.create_alias(AliasName=upper, TargetKeyId=make_key(kms).key_id)
    elsewhere = kms_elsewhere.create_key()["KeyMetadata"]
    kms_elsewhere.create_alias(AliasName=key.alias, TargetKeyId=elsewhere["KeyId"])

    assert kms.describe_key(KeyId=key.alias)["KeyMetadata"]["Arn"] == key.arn
    assert kms.describe_key(KeyId=upper)["KeyMetadata"]["Arn"] != key.arn
    assert kms_elsewhere.describe_key(KeyId=key.alias)["KeyMetadata"]["Arn"] == elsewhere["Arn"]
    assert upper not in entries(kms_elsewhere)
    kms_elsewhere.delete_alias(AliasName=key.alias)
    assert key.alias in entries(kms)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", NO_PREFIX),
        ("Alias/x", NO_PREFIX),
        ("aliasx", NO_PREFIX),
        ("alias/aws/s3", ("NotAuthorizedException", "")),
        ("alias/aws/", ("NotAuthorizedException", "")),
        ("alias/", ("InvalidAliasNameException", "alias/ contains invalid characters for an alias")),
        ("alias/a:b", ("InvalidAliasNameException", "alias/a:b contains invalid characters for an alias")),
        ("alias/a b", violation("alias/a b", "aliasName", PATTERN)),
        ("alias/é", violation("alias/é", "aliasName", PATTERN)),
        ("alias/a\n", violation("alias/a\n", "aliasName", PATTERN)),
        ("alias/" + "a" * 251, violation("alias/" + "a" * 251, "aliasName", "have length less than or equal to 256")),
        (None, violation(None, "aliasName", "not be null")),
    ],
)
def test_names_that_no_alias_can_have(kms: Any, full: Key, name: str | None, expected: tuple[str, str]) -> None:
    named = {} if name is None else {"AliasName": name}

    assert refusal(kms.create_alias, TargetKeyId=full.key_id, **named) == expected
    assert refusal(kms.update_alias, TargetKeyId=full.key_id, **named) == expected
    assert refusal(kms.delete_alias, **named) == expected


def test_the_longest_name(kms: Any, key: Key) -> None:
    longest = "alias/" + "a" * 250
    kms.create_alias(AliasName=longest, TargetKeyId=key.key_id)

    assert kms.describe_key(KeyId=longest)["KeyMetadata"]["Arn"] == key.arn
    kms.delete_alias(AliasName=longest)


def test_a_key_has_50_aliases_at_most(kms: Any, full: Key, key: Key) -> None:
    assert len(entries(kms, KeyId=full.key_id)) == 50
    assert refusal(kms.create_alias, AliasName=new_name(), TargetKeyId=full.key_id) == too_many(full)
    assert refusal(kms.update_alias, AliasName=key.alias, TargetKeyId=full.key_id) == too_many(full)
    assert entries(kms, KeyId=key.key_id).keys() == {key.alias}

    kms.update_alias(AliasName=full.alias, TargetKeyId=full.key_id)
    kms.delete_alias(AliasName=full.alias)
    kms.create_alias(AliasName=full.alias, TargetKeyId=full.key_id)
    assert refusal(kms.create_alias, AliasName=new_name(), TargetKeyId=full.key_id) == too_many(full)


def test_the_first_check_that_fails_is_told(kms: Any, full: Key) -> None:
    missing = full.arn.replace(full.key_id, MISSING)
    no_key = ("NotFoundException", f"Key '{missing}' does not exist")

    assert refusal(kms.create_alias, AliasName=full.alias, TargetKeyId=MISSING) == no_key
    assert refusal(kms.update_alias, AliasName=full.alias, TargetKeyId=MISSING) == no_key
    assert refusal(kms.update_alias, AliasName="alias/none", TargetKeyId=MISSING) == not_found(full, "alias/none")
    assert refusal(kms.create_alias, AliasName="x", TargetKeyId="alias/y") == NO_PREFIX
    assert refusal(kms.create_alias, AliasName=full.alias, TargetKeyId=full.key_id)[0] == "AlreadyExistsException"


@pytest.mark.parametrize("operation", ["CreateAlias", "UpdateAlias", "DeleteAlias"])
def test_the_policy_of_the_key_decides_too(kms: Any, key: Key, operation: str) -> None:
    other = make_key(kms)
    statements = policy(allow(key.account), deny(key.account, f"kms:{operation}"))
    kms.put_key_policy(KeyId=key.key_id, Policy=statements)
    expected = denied(key, f"kms:{operation}")

    match operation:
        case "CreateAlias":
            assert refusal(kms.create_alias, AliasName=new_name(), TargetKeyId=key.key_id) == expected
        case "UpdateAlias":
            assert refusal(kms.update_alias, AliasName=key.alias, TargetKeyId=other.key_id) == expected
            assert refusal(kms.update_alias, AliasName=other.alias, TargetKeyId=key.key_id) == expected
        case _:
            assert refusal(kms.delete_alias, AliasName=key.alias) == expected
    assert entries(kms, KeyId=key.key_id).keys() == {key.alias}


def test_aliases_are_listed_page_by_page_in_order_of_name(kms: Any, full: Key, key: Key) -> None:
    of_one = list(entries(kms, KeyId=full.key_id, PaginationConfig={"PageSize": 7}))
    assert len(of_one) == 50
    assert of_one == sorted(of_one)
    assert set(of_one) == entries(kms, KeyId=full.arn).keys()

    of_all = list(entries(kms, PaginationConfig={"PageSize": 20}))
    assert of_all == sorted(of_all)
    assert {*of_one, key.alias} <= set(of_all)
    assert set(of_all) == entries(kms).keys()

    default, exact = kms.list_aliases(), kms.list_aliases(KeyId=full.key_id, Limit=50)
    assert (len(default["Aliases"]), default["Truncated"]) == (50, True)
    assert (len(exact["Aliases"]), exact["Truncated"]) == (50, False)
    assert "NextMarker" not in exact


def test_a_list_goes_on_where_the_last_alias_told_was_deleted(kms: Any, key: Key) -> None:
    names = sorted([key.alias, *(new_name() for _ in range(4))])
    for name in names:
        if name != key.alias:
            kms.create_alias(AliasName=name, TargetKeyId=key.key_id)
    first = kms.list_aliases(KeyId=key.key_id, Limit=2)
    kms.delete_alias(AliasName=names[1])
    rest = kms.list_aliases(KeyId=key.key_id, Marker=first["NextMarker"])

    assert [entry["AliasName"] for entry in first["Aliases"] + rest["Aliases"]] == names
    assert rest["Truncated"] is False


def test_markers_that_this_list_did_not_give(kms: Any, full: Key, key: Key) -> None:
    of_all = kms.list_aliases(Limit=1)["NextMarker"]
    of_full = kms.list_aliases(KeyId=full.key_id, Limit=1)["NextMarker"]
    of_keys = kms.list_keys(Limit=1)["NextMarker"]
    garbage = ["x", "====", "QUJD", base64.b64encode(b"[]").decode(), base64.b64encode(b"\xff\xfe").decode(), "é", " "]

    for marker in (of_full, of_keys, *garbage):
        assert refusal(kms.list_aliases, Marker=marker) == ("InvalidMarkerException", "")
    for marker in (of_all, of_full, of_keys, *garbage):
        assert refusal(kms.list_aliases, KeyId=key.key_id, Marker=marker) == ("InvalidMarkerException", "")
    assert (
        refusal(kms.list_aliases, Marker="")[1] == violation("", "marker", "have length greater than or equal to 1")[1]
    )
    not_latin = violation("→", "marker", r"satisfy regular expression pattern: [\u0020-\u00FF]*")
    assert refusal(kms.list_aliases, Marker="→") == not_latin


@pytest.mark.parametrize(
    ("limit", "rule"),
    [
        (0, "have value greater than or equal to 1"),
        (101, "have value less than or equal to 100"),
        (1001, "have value less than or equal to 1000"),
    ],
)
def test_limits(kms: Any, limit: int, rule: str) -> None:
    assert refusal(kms.list_aliases, Limit=limit) == violation(str(limit), "limit", rule)


def test_what_is_recorded(kms: Any, server: Server, key: Key) -> None:
    other = make_key(kms)
    name = new_name()
    arn = key.alias_arn.replace(key.alias, name)
    keys_and_alias = {
        "create": (kms.create_alias(AliasName=name, TargetKeyId=key.key_id), [key.arn, arn], key.arn),
        "update": (kms.update_alias(AliasName=name, TargetKeyId=other.arn), [key.arn, other.arn, arn], other.arn),
        "delete": (kms.delete_alias(AliasName=name), [other.arn, arn], other.arn),
    }
    parameters = {
        "create": {"aliasName": name, "targetKeyId": key.key_id},
        "update": {"aliasName": name, "targetKeyId": other.arn},
        "delete": {"aliasName": name},
    }
    for verb, (response, arns, changed) in keys_and_alias.items():
        record = record_of_request(server.data, response)
        assert record["eventName"] == f"{verb.capitalize()}Alias"
        assert record["requestParameters"] == parameters[verb]
        assert record["responseElements"] == {"keyId": changed}
        assert record["resources"] == [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": arn} for arn in arns]
        assert record["readOnly"] is False
        assert "errorCode" not in record

    listed = record_of_request(server.data, kms.list_aliases(KeyId=key.key_id, Limit=5))
    assert listed["requestParameters"] == {"keyId": key.key_id, "limit": 5}
    assert (listed["responseElements"], listed["resources"], listed["readOnly"]) == (None, [], True)
    refusing = record_of_request(server.data, refused(kms.create_alias, AliasName=key.alias, TargetKeyId=key.key_id))
    assert refusing["errorCode"] == "AlreadyExistsException"
    assert refusing["errorMessage"] == f"An alias with the name {key.alias_arn} already exists"
    assert refusing["requestParameters"] == {"aliasName": key.alias, "targetKeyId": key.key_id}
    assert refusing["responseElements"] is None
