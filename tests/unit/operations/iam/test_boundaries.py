"""Permissions boundaries of users and roles."""

import json
from typing import Any

import pytest

from tests.unit.operations.iam.account import ARN, POWER_USER, TRUST, Account, document

each_kind = pytest.mark.parametrize("kind", ["User", "Role"])


def made(account: Account, kind: str) -> dict[str, str]:
    """Make one; the member of a request that names it."""
    named = {f"{kind}Name": account.name("bounded")}
    account.call(f"Create{kind}", **named, **({"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}))
    return named


@each_kind
def test_a_boundary_is_set_replaced_and_taken_away(account: Account, kind: str) -> None:
    named = made(account, kind)
    own = account.call("CreatePolicy", PolicyName=account.name("limit"), PolicyDocument=document()).policy.arn
    for arn in (POWER_USER, own):
        account.call(f"Put{kind}PermissionsBoundary", **named, PermissionsBoundary=arn)
        found = getattr(account.call(f"Get{kind}", **named), kind.lower()).permissions_boundary
        assert (found.permissions_boundary_type, found.permissions_boundary_arn) == ("Policy", arn)
    assert account.refusal("DeletePolicy", PolicyArn=own)[0] == "DeleteConflict"
    account.call(f"Delete{kind}PermissionsBoundary", **named)
    assert getattr(account.call(f"Get{kind}", **named), kind.lower()).permissions_boundary is None
    assert account.refusal(f"Delete{kind}PermissionsBoundary", **named)[0] == "NoSuchEntity"
    account.call("DeletePolicy", PolicyArn=own)


@each_kind
def test_what_is_not_there_is_no_boundary(account: Account, kind: str) -> None:
    missing = f"{ARN}policy/none"
    told = ("NoSuchEntity", f"Scope ARN: {missing} does not exist or is not attachable.")
    named = made(account, kind)
    assert account.refusal(f"Put{kind}PermissionsBoundary", **named, PermissionsBoundary=missing) == told
    named = {f"{kind}Name": "nobody"}
    told = ("NoSuchEntity", f"The {kind.lower()} with name nobody cannot be found.")
    assert account.refusal(f"Put{kind}PermissionsBoundary", **named, PermissionsBoundary=POWER_USER) == told
    assert account.refusal(f"Delete{kind}PermissionsBoundary", **named) == told
    named |= {"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}
    told = ("NoSuchEntity", f"Scope ARN: {missing} does not exist or is not attachable.")
    assert account.refusal(f"Create{kind}", **named, PermissionsBoundary=missing) == told


def test_a_boundary_is_in_force(account: Account) -> None:
    key = account.user("within", document("iam:*"))
    limit = account.call("CreatePolicy", PolicyName="users-only", PolicyDocument=document("iam:GetUser")).policy.arn
    account.call("PutUserPermissionsBoundary", UserName="within", PermissionsBoundary=limit)
    account.by(key).call("GetUser")
    code, text = account.by(key).refusal("ListUsers")
    assert (code, "no permissions boundary allows the iam:ListUsers action" in str(text)) == ("AccessDenied", True)
    version = account.call(
        "CreatePolicyVersion", PolicyArn=limit, PolicyDocument=document("iam:ListUsers"), SetAsDefault="true"
    ).policy_version
    assert version.version_id == "v2"
    account.by(key).call("ListUsers")
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"


def bounded(action: str | list[str]) -> str:
    """Allow an action for who has the boundary alone."""
    return document(action, Condition={"StringEquals": {"iam:PermissionsBoundary": POWER_USER}})


def test_who_may_make_only_bounded_users_makes_no_others(account: Account) -> None:
    """AWS: "Delegating responsibility to others using permissions boundaries"."""
    actions = ["iam:CreateUser", "iam:PutUserPermissionsBoundary", "iam:PutUserPolicy", "iam:AttachUserPolicy"]
    key = account.user("delegate", bounded(actions))
    other = account.call("CreatePolicy", PolicyName="wide", PolicyDocument=document("*")).policy.arn
    account.call("CreateUser", UserName="unbounded")
    account.by(key).call("CreateUser", UserName="minor", PermissionsBoundary=POWER_USER)
    account.by(key).call("PutUserPolicy", UserName="minor", PolicyName="p", PolicyDocument=document("*"))
    account.by(key).call("AttachUserPolicy", UserName="minor", PolicyArn=other)
    account.by(key).call("PutUserPermissionsBoundary", UserName="unbounded", PermissionsBoundary=POWER_USER)
    account.call("DeleteUserPermissionsBoundary", UserName="unbounded")
    for operation, members in (
        ("CreateUser", {"UserName": "free"}),
        ("CreateUser", {"UserName": "free", "PermissionsBoundary": other}),
        ("PutUserPermissionsBoundary", {"UserName": "minor", "PermissionsBoundary": other}),
        ("DeleteUserPermissionsBoundary", {"UserName": "minor"}),
        ("PutUserPolicy", {"UserName": "unbounded", "PolicyName": "p", "PolicyDocument": document("*")}),
        ("AttachUserPolicy", {"UserName": "unbounded", "PolicyArn": other}),
    ):
        assert account.by(key).refusal(operation, **members)[0] == "AccessDenied", (operation, members)


def delegated(limit: str) -> str:
    """What AWS's example lets an administrator of others do, whose own boundary is `limit`."""
    bounded = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    change = [f"iam:{verb}{kind}Policy" for verb in ("Attach", "Delete", "Detach", "Put") for kind in ("User", "Role")]
    make = [f"iam:{verb}" for verb in ("CreateUser", "CreateRole", "PutUserPermissionsBoundary")]
    edit = ["iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"]
    take = ["iam:DeleteUserPermissionsBoundary", "iam:DeleteRolePermissionsBoundary"]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": [*make, *change], "Resource": "*", "Condition": bounded},
        {"Effect": "Allow", "Action": ["iam:CreatePolicy", *edit, *take, "iam:CreateAccessKey"], "Resource": "*"},
        {"Effect": "Deny", "Action": edit, "Resource": limit},
        {"Effect": "Deny", "Action": take, "Resource": "*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_who_makes_others_gives_them_no_more_than_the_boundary(account: Account) -> None:
    """AWS: "Delegating responsibility to others using permissions boundaries"."""
    limit = account.call("CreatePolicy", PolicyName="ceiling", PolicyDocument=document("iam:List*")).policy.arn
    wide = account.call("CreatePolicy", PolicyName="everything", PolicyDocument=document("*")).policy.arn
    by = account.by(account.user("zhang", delegated(limit)))
    trust = {"AssumeRolePolicyDocument": TRUST}
    for kind, members in (("User", {}), ("Role", trust)):
        free = made(account, kind)
        other = made(account, kind)
        account.call(f"Put{kind}PermissionsBoundary", **other, PermissionsBoundary=wide)
        new = {f"{kind}Name": account.name("under")}
        for asked in ({}, {"PermissionsBoundary": wide}):
            assert by.refusal(f"Create{kind}", **new, **members, **asked)[0] == "AccessDenied"
        by.call(f"Create{kind}", **new, **members, PermissionsBoundary=limit)
        inline = {"PolicyName": "p", "PolicyDocument": document("*")}
        for operation, given in (
            (f"Put{kind}Policy", inline),
            (f"Delete{kind}Policy", {"PolicyName": "p"}),
            (f"Attach{kind}Policy", {"PolicyArn": wide}),
            (f"Detach{kind}Policy", {"PolicyArn": wide}),
        ):
            by.call(operation, **new, **given)
            for without in (free, other):
                assert by.refusal(operation, **without, **given)[0] == "AccessDenied", operation
        for named in (new, free, other):
            assert by.refusal(f"Delete{kind}PermissionsBoundary", **named)[0] == "AccessDenied"
        assert by.refusal(f"Put{kind}PermissionsBoundary", **new, PermissionsBoundary=wide)[0] == "AccessDenied"
        by.call(f"Attach{kind}Policy", **new, PolicyArn=wide)
    version = {"PolicyArn": limit, "PolicyDocument": document("*"), "SetAsDefault": "true"}
    assert by.refusal("CreatePolicyVersion", **version)[0] == "AccessDenied"
    by.call("CreateUser", UserName="under-zhang", PermissionsBoundary=limit)
    by.call("AttachUserPolicy", UserName="under-zhang", PolicyArn=wide)
    key = by.key_of("under-zhang")
    account.by(key).call("ListUsers")
    assert account.by(key).refusal("CreateUser", UserName="x")[0] == "AccessDenied"


@pytest.mark.parametrize("kind", ["User", "Group", "Role"])
def test_which_policies_are_attached_can_be_limited(account: Account, kind: str) -> None:
    """AWS: `iam:PolicyARN`."""
    only = document(
        [f"iam:Attach{kind}Policy", f"iam:Detach{kind}Policy"],
        Condition={"ArnLike": {"iam:PolicyARN": "arn:aws:iam::*:policy/safe/*"}},
    )
    by = account.by(account.user(account.name("attacher"), only))
    name = account.name("safe")
    safe = account.call("CreatePolicy", PolicyName=name, Path="/safe/", PolicyDocument=document()).policy.arn
    named = {f"{kind}Name": account.name("limited")}
    account.call(f"Create{kind}", **named, **({"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}))
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
    by.call(f"Attach{kind}Policy", **named, PolicyArn=safe)
    assert by.refusal(f"Attach{kind}Policy", **named, PolicyArn=administrator)[0] == "AccessDenied"
    account.call(f"Attach{kind}Policy", **named, PolicyArn=administrator)
    assert by.refusal(f"Detach{kind}Policy", **named, PolicyArn=administrator)[0] == "AccessDenied"
    by.call(f"Detach{kind}Policy", **named, PolicyArn=safe)
