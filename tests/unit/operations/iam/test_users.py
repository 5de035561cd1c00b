"""CreateUser, GetUser, ListUsers, UpdateUser, DeleteUser."""

import pytest

from strongroom.operations.iam import users
from tests.composed import NOW
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, Account, document


def test_a_user_is_made_and_told(account: Account) -> None:
    made = account.call(
        "CreateUser", UserName="Ann", Path="/staff/", Tags=[{"Key": "a", "Value": "1"}], PermissionsBoundary=POWER_USER
    ).user
    assert (made.user_name, made.path, made.arn) == ("Ann", "/staff/", f"{ARN}user/staff/Ann")
    assert (made.user_id[:4], len(made.user_id), made.create_date) == ("AIDA", 21, NOW)
    boundary = made.permissions_boundary
    assert (boundary.permissions_boundary_type, boundary.permissions_boundary_arn) == ("Policy", POWER_USER)
    assert [(tag.key, tag.value) for tag in made.tags] == [("a", "1")]
    assert account.call("GetUser", UserName="Ann").user == made
    (listed,) = account.call("ListUsers", PathPrefix="/staff/").users
    assert (listed.user_id, listed.tags, listed.permissions_boundary) == (made.user_id, None, None)


def test_without_a_name_the_caller_is_told(account: Account) -> None:
    root = account.call("GetUser").user
    assert (root.user_id, root.arn, root.create_date) == (ACCOUNT, f"{ARN}root", NOW)
    key = account.user("own", document("iam:GetUser"))
    assert account.by(key).call("GetUser").user.user_name == "own"


def test_names_are_unique_in_whatever_case(account: Account) -> None:
    account.call("CreateUser", UserName="twin")
    for name, path in (("twin", "/"), ("TWIN", "/other/")):
        refused = account.refusal("CreateUser", UserName=name, Path=path)
        assert refused == ("EntityAlreadyExists", f"User with name {name} already exists.")
    account.call("CreateUser", UserName="third")
    refused = account.refusal("UpdateUser", UserName="third", NewUserName="Twin")
    assert refused == ("EntityAlreadyExists", "User with name Twin already exists.")
    assert account.call("GetUser", UserName="third").user.user_name == "third"


def test_who_is_not_there_is_not_found(account: Account) -> None:
    for name in ("GetUser", "UpdateUser", "DeleteUser"):
        assert account.refusal(name, UserName="nobody") == (
            "NoSuchEntity",
            "The user with name nobody cannot be found.",
        )


def test_a_boundary_must_be_there(account: Account) -> None:
    missing = f"{ARN}policy/missing"
    assert account.refusal("CreateUser", UserName="unbound", PermissionsBoundary=missing) == (
        "NoSuchEntity",
        f"Scope ARN: {missing} does not exist or is not attachable.",
    )
    assert account.refusal("GetUser", UserName="unbound")[0] == "NoSuchEntity"


def test_a_user_that_is_renamed_or_moved_stays_who_it_is(account: Account) -> None:
    made = account.call("CreateUser", UserName="before", Path="/old/").user
    account.call("UpdateUser", UserName="before", NewUserName="After")
    renamed = account.call("GetUser", UserName="After").user
    assert (renamed.user_id, renamed.arn) == (made.user_id, f"{ARN}user/old/After")
    account.call("UpdateUser", UserName="After", NewPath="/new/")
    assert account.call("GetUser", UserName="After").user.arn == f"{ARN}user/new/After"
    account.call("UpdateUser", UserName="After", NewUserName="AFTER")
    assert account.call("GetUser", UserName="AFTER").user.user_name == "AFTER"
    assert account.refusal("GetUser", UserName="before")[0] == "NoSuchEntity"


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("user/ranks/chief", {"NewUserName": "chief"}),
        ("user/chiefs/private", {"NewPath": "/chiefs/"}),
        ("user/chiefs/chief", {"NewUserName": "chief", "NewPath": "/chiefs/"}),
        ("user/ranks/PRIVATE", {"NewUserName": "PRIVATE"}),
    ],
)
def test_a_user_is_moved_by_who_may_change_it_there_too(account: Account, where: str, change: dict[str, str]) -> None:
    account.call("CreateUser", UserName="private", Path="/ranks/")
    within = account.user(account.name("within"), document("iam:UpdateUser", f"{ARN}user/ranks/private"))
    but = (document("iam:UpdateUser"), document("*", f"{ARN}{where}", "Deny"))
    without = account.user(account.name("without"), *but)
    for by in (within, without):
        code, text = account.by(by).refusal("UpdateUser", UserName="private", **change)
        assert code == "AccessDenied"
        assert f"iam:UpdateUser on resource: {ARN}{where} " in str(text)
    both = account.user(account.name("both"), document("iam:UpdateUser", [f"{ARN}user/ranks/private", f"{ARN}{where}"]))
    account.by(both).call("UpdateUser", UserName="private", **change)
    account.call("DeleteUser", UserName=where.rpartition("/")[2])


def test_what_belongs_to_a_user_keeps_it(account: Account) -> None:
    key = account.user("kept", document())
    account.call("AttachUserPolicy", UserName="kept", PolicyArn=POWER_USER)
    account.call("CreateGroup", GroupName="keepers")
    account.call("AddUserToGroup", UserName="kept", GroupName="keepers")
    reasons = [
        ("must delete access keys first", ("DeleteAccessKey", {"AccessKeyId": key.access_key_id})),
        ("must delete policies first", ("DeleteUserPolicy", {"PolicyName": "p0"})),
        ("must detach all policies first", ("DetachUserPolicy", {"PolicyArn": POWER_USER})),
        ("must remove users from group first", ("RemoveUserFromGroup", {"GroupName": "keepers"})),
    ]
    for reason, (operation, members) in reasons:
        refused = account.refusal("DeleteUser", UserName="kept")
        assert refused == ("DeleteConflict", f"Cannot delete entity, {reason}.")
        account.call(operation, UserName="kept", **members)
    account.call("DeleteUser", UserName="kept")
    assert account.refusal("GetUser", UserName="kept")[0] == "NoSuchEntity"


def test_who_is_made_again_is_somebody_else(account: Account) -> None:
    tags = [{"Key": "role", "Value": "chief"}]
    old = account.call("CreateUser", UserName="again", Tags=tags, PermissionsBoundary=POWER_USER).user
    account.call("DeleteUser", UserName="again")
    new = account.call("CreateUser", UserName="again").user
    assert (new.arn, new.user_id == old.user_id) == (old.arn, False)
    assert (new.tags, new.permissions_boundary) == (None, None)
    for name, member in (
        ("ListAccessKeys", "access_key_metadata"),
        ("ListAttachedUserPolicies", "attached_policies"),
        ("ListGroupsForUser", "groups"),
        ("ListUserPolicies", "policy_names"),
        ("ListUserTags", "tags"),
    ):
        assert getattr(account.call(name, UserName="again"), member) == ()


def test_users_come_in_pages_by_name_under_a_path(account: Account) -> None:
    path = f"/{'long/' * 100}"
    for name in ("page-c", "page-a", "page-b"):
        account.call("CreateUser", UserName=name, Path=path)
    account.call("CreateUser", UserName="page-elsewhere")
    pages = account.pages("ListUsers", "users", PathPrefix=path, MaxItems=2)
    assert [[user.user_name for user in page] for page in pages] == [["page-a", "page-b"], ["page-c"]]
    marker = account.call("ListUsers", PathPrefix=path, MaxItems=1).marker
    for other in ({"PathPrefix": "/"}, {}):
        assert account.refusal("ListUsers", Marker=marker, **other)[0] == "ValidationError"
    assert account.refusal("ListGroups", Marker=marker)[0] == "ValidationError"


def test_a_list_has_a_hundred_at_a_time_and_a_thousand_at_most(account: Account) -> None:
    for number in range(101):
        account.call("CreateUser", UserName=f"one-of-{number}", Path="/hundred/")
    assert [len(page) for page in account.pages("ListUsers", "users", PathPrefix="/hundred/")] == [100, 1]
    assert len(account.call("ListUsers", PathPrefix="/hundred/", MaxItems=1000).users) == 101
    for wrong in (0, 1001):
        assert account.refusal("ListUsers", MaxItems=wrong)[0] == "ValidationError"


def test_an_account_has_as_many_users_as_it_may(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(account.call("ListUsers", MaxItems=1000).users)
    monkeypatch.setattr(users, "_MAX_USERS", there + 1)
    account.call("CreateUser", UserName="last")
    assert account.refusal("CreateUser", UserName="too-many") == (
        "LimitExceeded",
        f"Cannot exceed quota for UsersPerAccount: {there + 1}",
    )


@pytest.mark.parametrize(
    "members",
    [{"UserName": "a b"}, {"UserName": "a" * 65}, {"UserName": "ö"}, {"UserName": "a", "Path": "staff/"}, {}],
)
def test_a_name_and_a_path_have_their_form(account: Account, members: dict[str, str]) -> None:
    assert account.refusal("CreateUser", **members)[0] == "ValidationError"
