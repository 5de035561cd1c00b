"""Tags of users, roles, policies and identity providers."""

from typing import Any

import pytest

from tests.unit.operations.iam.account import ARN, POWER_USER, TRUST, Account, document

KINDS = ("User", "Role", "Policy", "OpenIDConnectProvider")
each_kind = pytest.mark.parametrize("kind", KINDS)
DUPLICATE = ("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")


def create(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """The operation that makes one, and its parameters."""
    members: dict[str, dict[str, Any]] = {
        "User": {"UserName": name},
        "Role": {"RoleName": name, "AssumeRolePolicyDocument": TRUST},
        "Policy": {"PolicyName": name, "PolicyDocument": document()},
        "OpenIDConnectProvider": {"Url": f"https://{name}.example", "ThumbprintList": ["ab" * 20]},
    }
    return f"Create{kind}", members[kind]


def made(account: Account, kind: str, pairs: dict[str, str] | None = None) -> dict[str, str]:
    """Make one with tags; the member of a request that names it."""
    operation, members = create(kind, account.name("tagged"))
    response = account.call(operation, **members, Tags=tags(pairs or {}))
    match kind:
        case "Policy":
            return {"PolicyArn": response.policy.arn}
        case "OpenIDConnectProvider":
            return {"OpenIDConnectProviderArn": response.open_id_connect_provider_arn}
        case _:
            return {f"{kind}Name": members[f"{kind}Name"]}


def tags(pairs: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def told(account: Account, kind: str, named: dict[str, str]) -> list[tuple[str, str]]:
    return [(tag.key, tag.value) for tag in account.call(f"List{kind}Tags", **named).tags]


@each_kind
def test_tags_are_put_told_in_order_of_key_and_taken_away(account: Account, kind: str) -> None:
    named = made(account, kind, {"b": "1", "Cost Center": "ä/1"})
    assert told(account, kind, named) == [("Cost Center", "ä/1"), ("b", "1")]
    account.call(f"Tag{kind}", **named, Tags=tags({"B": "2", "a": ""}))
    assert told(account, kind, named) == [("B", "2"), ("Cost Center", "ä/1"), ("a", "")]
    account.call(f"Untag{kind}", **named, TagKeys=["A", "cost center", "nothing"])
    assert told(account, kind, named) == [("B", "2")]


@each_kind
def test_keys_are_unique_in_whatever_case_and_not_awss(account: Account, kind: str) -> None:
    named = made(account, kind)
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    operation, members = create(kind, account.name("never"))
    assert account.refusal(f"Tag{kind}", **named, Tags=twice) == DUPLICATE
    assert account.refusal(operation, **members, Tags=twice) == DUPLICATE
    for key in ("aws:a", "AWS:a"):
        assert account.refusal(f"Tag{kind}", **named, Tags=tags({key: "1"}))[0] == "InvalidInput"
        assert account.refusal(operation, **members, Tags=tags({key: "1"}))[0] == "InvalidInput"
    assert told(account, kind, named) == []
    account.call(operation, **members)


@each_kind
def test_there_are_fifty_tags_at_most(account: Account, kind: str) -> None:
    full = {f"key{number:02}": "" for number in range(50)}
    named = made(account, kind, full)
    code, text = account.refusal(f"Tag{kind}", **named, Tags=tags({"one": "more"}))
    assert (code, str(text)[-4:]) == ("LimitExceeded", ": 50")
    account.call(f"Tag{kind}", **named, Tags=tags({"KEY00": "new"}))
    operation, members = create(kind, account.name("never"))
    assert account.refusal(operation, **members, Tags=tags(full | {"one": "more"}))[0] == "ValidationError"
    pages = account.pages(f"List{kind}Tags", "tags", **named, MaxItems=20)
    assert [len(page) for page in pages] == [20, 20, 10]
    assert [tag.key for page in pages for tag in page] == ["KEY00", *list(full)[1:]]


def test_the_longest_keys_come_in_pages(account: Account) -> None:
    keys = [letter * 128 for letter in "äöü"]
    named = made(account, "User", dict.fromkeys(keys, "ß" * 256))
    pages = account.pages("ListUserTags", "tags", **named, MaxItems=1)
    assert [[tag.key for tag in page] for page in pages] == [[key] for key in keys]


@pytest.mark.parametrize(
    ("kind", "named", "text"),
    [
        ("User", {"UserName": "nobody"}, "The user with name nobody cannot be found."),
        ("Role", {"RoleName": "nobody"}, "The role with name nobody cannot be found."),
        ("Policy", {"PolicyArn": f"{ARN}policy/none"}, f"Policy {ARN}policy/none was not found."),
        (
            "OpenIDConnectProvider",
            {"OpenIDConnectProviderArn": f"{ARN}oidc-provider/none.example"},
            f"OpenIDConnect Provider not found for arn {ARN}oidc-provider/none.example",
        ),
    ],
)
def test_what_is_not_there_has_no_tags(account: Account, kind: str, named: dict[str, str], text: str) -> None:
    assert account.refusal(f"Tag{kind}", **named, Tags=tags({"a": "1"})) == ("NoSuchEntity", text)
    assert account.refusal(f"Untag{kind}", **named, TagKeys=["a"]) == ("NoSuchEntity", text)
    assert account.refusal(f"List{kind}Tags", **named) == ("NoSuchEntity", text)


def test_policies_of_aws_are_not_tagged(account: Account) -> None:
    assert account.refusal("TagPolicy", PolicyArn=POWER_USER, Tags=tags({"a": "1"}))[0] == "NoSuchEntity"


@each_kind
def test_what_is_made_with_tags_needs_the_right_to_tag(account: Account, kind: str) -> None:
    key = account.user(account.name("maker"), document(f"iam:Create{kind}"))
    operation, members = create(kind, account.name("made"))
    code, text = account.by(key).refusal(operation, **members, Tags=tags({"a": "1"}))
    assert (code, f"iam:Tag{kind}" in str(text)) == ("AccessDenied", True)
    account.by(key).call(operation, **members)


def test_tags_that_are_asked_for_are_decided_on(account: Account) -> None:
    only = {"StringEquals": {"aws:RequestTag/team": "red"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    key = account.user("tagger", document(["iam:CreateUser", "iam:TagUser"], Condition=only))
    for wrong in ({}, {"team": "blue"}, {"team": "red", "b": "1"}):
        assert account.by(key).refusal("CreateUser", UserName="team-made", Tags=tags(wrong))[0] == "AccessDenied"
    account.by(key).call("CreateUser", UserName="team-made", Tags=tags({"team": "red"}))
    assert account.by(key).refusal("TagUser", UserName="team-made", Tags=tags({"team": "blue"}))[0] == "AccessDenied"


def test_tags_that_are_there_are_decided_on(account: Account) -> None:
    for name in ("aws:ResourceTag/team", "iam:ResourceTag/TEAM"):
        red, blue = account.name("red"), account.name("blue")
        key = account.user(account.name("lead"), document("iam:*", Condition={"StringEquals": {name: "red"}}))
        account.call("CreateUser", UserName=red, Tags=tags({"team": "red"}))
        account.call("CreateUser", UserName=blue, Tags=tags({"team": "blue"}))
        account.by(key).call("UpdateUser", UserName=red, NewPath="/x/")
        account.by(key).call("UntagUser", UserName=red, TagKeys=["team"])
        for user in (red, blue, "nobody"):
            assert account.by(key).refusal("GetUser", UserName=user)[0] == "AccessDenied"
