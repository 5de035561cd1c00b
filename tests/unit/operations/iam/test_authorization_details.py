"""GetAccountAuthorizationDetails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.unit.operations.iam.account import ARN, POWER_USER, TRUST, Account, document, opened_account

LISTS = ("user_detail_list", "group_detail_list", "role_detail_list", "policies")
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


@pytest.fixture(scope="module")
def account(install: Callable[[], Path]) -> Iterator[Account]:
    """An account with a user in a group, a role, and policies of each kind."""
    with opened_account(install()) as account:
        own = account.call("CreatePolicy", PolicyName="own", PolicyDocument=document(), Description="d").policy.arn
        account.call("CreatePolicyVersion", PolicyArn=own, PolicyDocument=document(effect="Deny"))
        tags = [{"Key": "a", "Value": "1"}]
        account.call("CreateUser", UserName="Ann", Path="/staff/", Tags=tags, PermissionsBoundary=POWER_USER)
        account.call("CreateGroup", GroupName="Staff")
        account.call("CreateRole", RoleName="Keeper", AssumeRolePolicyDocument=TRUST)
        account.call("AddUserToGroup", UserName="Ann", GroupName="Staff")
        for kind, name in (("User", "Ann"), ("Group", "Staff"), ("Role", "Keeper")):
            named = {f"{kind}Name": name}
            account.call(f"Put{kind}Policy", **named, PolicyName="inline", PolicyDocument=document("kms:Sign"))
            account.call(f"Attach{kind}Policy", **named, PolicyArn=own)
        yield account


def details(account: Account, **members: Any) -> Any:
    return account.call("GetAccountAuthorizationDetails", **members)


def told(found: Any) -> list[int]:
    """How many users, groups, roles and policies there are."""
    return [len(getattr(found, name)) for name in LISTS]


def test_everything_is_told(account: Account) -> None:
    found = details(account)
    assert told(found) == [1, 1, 1, 2]
    (user,), (group,), (role,) = (getattr(found, name) for name in LISTS[:3])
    assert (user.arn, user.group_list) == (f"{ARN}user/staff/Ann", ("Staff",))
    assert user.permissions_boundary.permissions_boundary_arn == POWER_USER
    assert [(tag.key, tag.value) for tag in user.tags] == [("a", "1")]
    assert (role.arn, role.instance_profile_list, role.tags) == (f"{ARN}role/Keeper", (), ())
    assert unquote(role.assume_role_policy_document) == TRUST
    inline = (*user.user_policy_list, *group.group_policy_list, *role.role_policy_list)
    assert [(one.policy_name, unquote(one.policy_document)) for one in inline] == [("inline", document("kms:Sign"))] * 3
    for one in (user, group, role):
        (attached,) = one.attached_managed_policies
        assert (attached.policy_name, attached.policy_arn) == ("own", f"{ARN}policy/own")


def test_policies_are_told_with_all_their_versions(account: Account) -> None:
    (aws, own) = sorted(details(account).policies, key=lambda policy: policy.arn, reverse=True)
    assert (aws.arn, aws.attachment_count, aws.permissions_boundary_usage_count) == (POWER_USER, 0, 1)
    assert (own.arn, own.attachment_count, own.permissions_boundary_usage_count) == (f"{ARN}policy/own", 3, 0)
    assert (own.description, own.default_version_id) == ("d", "v1")
    versions = [(one.version_id, unquote(one.document), one.is_default_version) for one in own.policy_version_list]
    assert versions == [("v2", document(effect="Deny"), False), ("v1", document(), True)]


@pytest.mark.parametrize(
    ("kinds", "counts"),
    [
        (["User"], [1, 0, 0, 0]),
        (["Group"], [0, 1, 0, 0]),
        (["Role", "User"], [1, 0, 1, 0]),
        (["LocalManagedPolicy"], [0, 0, 0, 1]),
        (["AWSManagedPolicy"], [0, 0, 0, 1]),
    ],
)
def test_some_kinds_are_told_alone(account: Account, kinds: list[str], counts: list[int]) -> None:
    assert told(details(account, Filter=kinds)) == counts


def test_a_kind_that_there_is_not_is_refused(account: Account) -> None:
    assert account.refusal("GetAccountAuthorizationDetails", Filter=["Policy"])[0] == "ValidationError"


def test_policies_of_aws_are_told_while_somebody_has_them(account: Account) -> None:
    def arns() -> list[str]:
        return [policy.arn for policy in details(account, Filter=["AWSManagedPolicy"]).policies]

    account.call("AttachUserPolicy", UserName="Ann", PolicyArn=ADMINISTRATOR)
    assert arns() == [POWER_USER, ADMINISTRATOR]
    account.call("DetachUserPolicy", UserName="Ann", PolicyArn=ADMINISTRATOR)
    assert arns() == [POWER_USER]


def test_pages_go_through_all_kinds(account: Account) -> None:
    counts: list[list[int]] = []
    marker: dict[str, str] = {}
    while True:
        page = details(account, MaxItems=2, **marker)
        counts.append(told(page))
        assert sum(counts[-1]) <= 2
        if not page.is_truncated:
            break
        marker = {"Marker": page.marker}
    assert [sum(column) for column in zip(*counts, strict=True)] == [1, 1, 1, 2]
    assert account.refusal("GetAccountAuthorizationDetails", Filter=["User"], **marker)[0] == "ValidationError"


def test_the_account_is_told_to_who_may_see_all_of_it(account: Account) -> None:
    key = account.key_of("Ann")
    assert account.by(key).refusal("GetAccountAuthorizationDetails")[0] == "AccessDenied"
