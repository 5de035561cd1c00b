"""Groups, and who is in them."""

import pytest

from strongroom.operations.iam import groups
from tests.unit.operations.iam.account import ARN, POWER_USER, Account, document


def test_a_group_is_made_and_told(account: Account) -> None:
    made = account.call("CreateGroup", GroupName="Red", Path="/teams/").group
    assert (made.group_name, made.arn) == ("Red", f"{ARN}group/teams/Red")
    assert (made.group_id[:4], len(made.group_id)) == ("AGPA", 21)
    found = account.call("GetGroup", GroupName="Red")
    assert (found.group, found.users, found.is_truncated) == (made, (), False)
    assert account.call("ListGroups", PathPrefix="/teams/").groups == (made,)


def test_names_are_unique_in_whatever_case(account: Account) -> None:
    account.call("CreateGroup", GroupName="twin")
    for name in ("twin", "TWIN"):
        refused = account.refusal("CreateGroup", GroupName=name)
        assert refused == ("EntityAlreadyExists", f"Group with name {name} already exists.")
    account.call("CreateGroup", GroupName="third")
    refused = account.refusal("UpdateGroup", GroupName="third", NewGroupName="Twin")
    assert refused == ("EntityAlreadyExists", "Group with name Twin already exists.")


def test_what_is_not_there_is_not_found(account: Account) -> None:
    account.call("CreateUser", UserName="alone")
    account.call("CreateGroup", GroupName="empty")
    no_group = ("NoSuchEntity", "The group with name none cannot be found.")
    no_user = ("NoSuchEntity", "The user with name nobody cannot be found.")
    for name in ("GetGroup", "UpdateGroup", "DeleteGroup"):
        assert account.refusal(name, GroupName="none") == no_group
    for name in ("AddUserToGroup", "RemoveUserFromGroup"):
        assert account.refusal(name, GroupName="none", UserName="alone") == no_group
        assert account.refusal(name, GroupName="empty", UserName="nobody") == no_user
    assert account.refusal("ListGroupsForUser", UserName="nobody") == no_user


def test_users_come_and_go(account: Account) -> None:
    made = account.call("CreateGroup", GroupName="meeting").group
    for name in ("m-b", "m-c", "m-a"):
        account.call("CreateUser", UserName=name)
        for _ in range(2):
            account.call("AddUserToGroup", GroupName="meeting", UserName=name)
    pages = account.pages("GetGroup", "users", GroupName="meeting", MaxItems=2)
    assert [[user.user_name for user in page] for page in pages] == [["m-a", "m-b"], ["m-c"]]
    assert account.call("ListGroupsForUser", UserName="m-a").groups == (made,)
    account.call("RemoveUserFromGroup", GroupName="meeting", UserName="m-a")
    assert account.call("ListGroupsForUser", UserName="m-a").groups == ()
    account.call("UpdateUser", UserName="m-b", NewUserName="m-z")
    account.call("UpdateGroup", GroupName="meeting", NewGroupName="party")
    left = account.call("GetGroup", GroupName="party").users
    assert [user.user_name for user in left] == ["m-c", "m-z"]


def test_a_group_that_is_renamed_or_moved_stays_what_it_is(account: Account) -> None:
    made = account.call("CreateGroup", GroupName="before", Path="/old/").group
    account.call("UpdateGroup", GroupName="before", NewGroupName="after")
    account.call("UpdateGroup", GroupName="after", NewPath="/new/")
    found = account.call("GetGroup", GroupName="after").group
    assert (found.group_id, found.arn) == (made.group_id, f"{ARN}group/new/after")
    account.call("UpdateGroup", GroupName="after")
    assert account.call("GetGroup", GroupName="after").group == found


def test_a_group_is_moved_by_who_may_change_it_there_too(account: Account) -> None:
    account.call("CreateGroup", GroupName="low", Path="/ranks/")
    key = account.user("mover", document("iam:UpdateGroup", f"{ARN}group/ranks/*"))
    for change, where in (
        ({"NewPath": "/chiefs/"}, "group/chiefs/low"),
        ({"NewPath": "/chiefs/", "NewGroupName": "high"}, "group/chiefs/high"),
    ):
        code, text = account.by(key).refusal("UpdateGroup", GroupName="low", **change)
        assert code == "AccessDenied"
        assert f"iam:UpdateGroup on resource: {ARN}{where} " in str(text)
    account.by(key).call("UpdateGroup", GroupName="low", NewGroupName="middle")
    account.by(key).call("UpdateGroup", GroupName="middle", NewPath="/ranks/of/")


def test_what_a_group_has_keeps_it(account: Account) -> None:
    account.call("CreateGroup", GroupName="kept")
    account.call("CreateUser", UserName="member")
    account.call("AddUserToGroup", GroupName="kept", UserName="member")
    account.call("PutGroupPolicy", GroupName="kept", PolicyName="p", PolicyDocument=document())
    account.call("AttachGroupPolicy", GroupName="kept", PolicyArn=POWER_USER)
    reasons = [
        ("must remove users from group first", ("RemoveUserFromGroup", {"UserName": "member"})),
        ("must delete policies first", ("DeleteGroupPolicy", {"PolicyName": "p"})),
        ("must detach all policies first", ("DetachGroupPolicy", {"PolicyArn": POWER_USER})),
    ]
    for reason, (operation, members) in reasons:
        refused = account.refusal("DeleteGroup", GroupName="kept")
        assert refused == ("DeleteConflict", f"Cannot delete entity, {reason}.")
        account.call(operation, GroupName="kept", **members)
    account.call("DeleteGroup", GroupName="kept")
    assert account.refusal("GetGroup", GroupName="kept")[0] == "NoSuchEntity"


def test_a_group_that_is_made_again_is_another(account: Account) -> None:
    old = account.call("CreateGroup", GroupName="again").group
    account.call("DeleteGroup", GroupName="again")
    assert account.call("CreateGroup", GroupName="again").group.group_id != old.group_id


def test_groups_come_in_pages_by_name_under_a_path(account: Account) -> None:
    account.call("CreateUser", UserName="everywhere")
    for name in ("page-c", "page-a", "page-b"):
        account.call("CreateGroup", GroupName=name, Path="/pages/")
        account.call("AddUserToGroup", GroupName=name, UserName="everywhere")
    expected = [["page-a", "page-b"], ["page-c"]]
    pages = account.pages("ListGroups", "groups", PathPrefix="/pages/", MaxItems=2)
    assert [[group.group_name for group in page] for page in pages] == expected
    pages = account.pages("ListGroupsForUser", "groups", UserName="everywhere", MaxItems=2)
    assert [[group.group_name for group in page] for page in pages] == expected


def test_a_user_is_in_ten_groups_at_most(account: Account) -> None:
    account.call("CreateUser", UserName="joiner")
    for number in range(11):
        account.call("CreateGroup", GroupName=f"joined-{number}")
    for number in range(10):
        account.call("AddUserToGroup", GroupName=f"joined-{number}", UserName="joiner")
    assert account.refusal("AddUserToGroup", GroupName="joined-10", UserName="joiner") == (
        "LimitExceeded",
        "Cannot exceed quota for GroupsPerUser: 10",
    )
    account.call("AddUserToGroup", GroupName="joined-9", UserName="joiner")


def test_an_account_has_as_many_groups_as_it_may(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(account.call("ListGroups", MaxItems=1000).groups)
    monkeypatch.setattr(groups, "_MAX_GROUPS", there)
    assert account.refusal("CreateGroup", GroupName="too-many") == (
        "LimitExceeded",
        f"Cannot exceed quota for GroupsPerAccount: {there}",
    )
