"""Of two changes of identities at once the second is decided again: what was looked at holds when it is written."""

from typing import Any, NamedTuple

import pytest

from tests.unit.operations.iam.account import ARN, POWER_USER, Account, document


class Pair(NamedTuple):
    """Two changes, the second of which comes first, and the code that the first is refused with then."""

    first: tuple[str, dict[str, Any]]
    second: tuple[str, dict[str, Any]]
    refusal: str


OWN = f"{ARN}policy/own"
PAIRS = [
    Pair(("CreateUser", {"UserName": "u"}), ("CreateUser", {"UserName": "U"}), "EntityAlreadyExists"),
    Pair(("CreateAccessKey", {"UserName": "one"}), ("CreateAccessKey", {"UserName": "one"}), "LimitExceeded"),
    Pair(("CreateAccessKey", {"UserName": "none"}), ("DeleteUser", {"UserName": "none"}), "NoSuchEntity"),
    Pair(("DeleteUser", {"UserName": "none"}), ("CreateAccessKey", {"UserName": "none"}), "DeleteConflict"),
    Pair(
        ("DeleteUser", {"UserName": "none"}),
        ("AttachUserPolicy", {"UserName": "none", "PolicyArn": OWN}),
        "DeleteConflict",
    ),
    Pair(
        ("AttachUserPolicy", {"UserName": "none", "PolicyArn": OWN}),
        ("DeletePolicy", {"PolicyArn": OWN}),
        "NoSuchEntity",
    ),
    Pair(
        ("DeletePolicy", {"PolicyArn": OWN}),
        ("PutUserPermissionsBoundary", {"UserName": "none", "PermissionsBoundary": OWN}),
        "DeleteConflict",
    ),
    Pair(
        ("DeleteGroup", {"GroupName": "group"}),
        ("AddUserToGroup", {"GroupName": "group", "UserName": "none"}),
        "DeleteConflict",
    ),
    Pair(
        ("AddUserToGroup", {"GroupName": "group", "UserName": "none"}),
        ("DeleteGroup", {"GroupName": "group"}),
        "NoSuchEntity",
    ),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.first[0]} after {pair.second[0]}")
def test_what_came_between_is_seen(account: Account, monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    account.user(one := account.name("one"))
    account.call("CreateUser", UserName=(none := account.name("none")))
    account.call("CreateGroup", GroupName=(group := account.name("group")))
    account.call("CreatePolicy", PolicyName=(own := account.name("own")), PolicyDocument=document())
    fresh = account.name("u")
    names = {"one": one, "none": none, "group": group, "u": fresh, "U": fresh.upper(), OWN: f"{ARN}policy/{own}"}

    def named(members: dict[str, str]) -> dict[str, str]:
        return {member: names[value] for member, value in members.items()}

    account.meanwhile(monkeypatch, pair.second[0], **named(pair.second[1]))
    assert account.refusal(pair.first[0], **named(pair.first[1]))[0] == pair.refusal


@pytest.mark.parametrize(
    ("name", "members", "refusal"),
    [
        ("DeleteUserPolicy", {"PolicyName": "p0"}, "AccessDenied"),
        ("PutUserPermissionsBoundary", {"PermissionsBoundary": POWER_USER}, "AccessDenied"),
        ("UpdateAccessKey", {"Status": "Inactive"}, "InvalidClientTokenId"),
        ("DeleteAccessKey", {}, "InvalidClientTokenId"),
        ("UpdateUser", {"NewPath": "/moved/"}, "AccessDenied"),
    ],
)
def test_who_lost_the_right_meanwhile_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, name: str, members: dict[str, str], refusal: str
) -> None:
    user, made = account.name("losing"), account.name("made")
    own = document("iam:*", Condition={"ArnEquals": {"aws:PrincipalArn": f"{ARN}user/{user}"}})
    key = account.user(user, own)
    members = {"UserName": user} | members
    if name.endswith("AccessKey"):
        members["AccessKeyId"] = key.access_key_id
    account.meanwhile(monkeypatch, name, **members)
    assert account.by(key).refusal("CreateUser", UserName=made)[0] == refusal
    assert account.refusal("GetUser", UserName=made)[0] == "NoSuchEntity"
    assert account.parts.records()[-2]["errorCode"] == refusal


def test_what_has_nothing_to_do_with_each_other_is_both_done(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.meanwhile(monkeypatch, "CreateUser", UserName="this")
    account.call("CreateUser", UserName="that")
    assert {user.user_name for user in account.call("ListUsers").users} >= {"this", "that"}
    records = [record["requestParameters"]["userName"] for record in account.parts.records()[-3:-1]]
    assert records == ["this", "that"]
