"""Managed policies of users, groups and roles."""

import pytest

from strongroom.model.aws_managed_policies import AWS_MANAGED_POLICIES
from tests.unit.operations.iam.account import ARN, POWER_USER, TRUST, Account, document

KINDS = ("User", "Group", "Role")
each_kind = pytest.mark.parametrize("kind", KINDS)


def made(account: Account, kind: str, **members: str) -> dict[str, str]:
    """Make one; the member of a request that names it."""
    named = {f"{kind}Name": account.name("attached")}
    trust = {"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}
    account.call(f"Create{kind}", **named, **trust, **members)
    return named


def policy(account: Account, **members: str) -> str:
    """Make a managed policy; its ARN."""
    name = account.name("policy")
    arn: str = account.call("CreatePolicy", PolicyName=name, PolicyDocument=document(), **members).policy.arn
    return arn


@each_kind
def test_a_policy_is_attached_and_detached(account: Account, kind: str) -> None:
    named, own = made(account, kind), policy(account)
    for arn in (own, POWER_USER, own):
        account.call(f"Attach{kind}Policy", **named, PolicyArn=arn)
    found = account.call(f"ListAttached{kind}Policies", **named).attached_policies
    assert {(one.policy_name, one.policy_arn) for one in found} == {
        (arn.rpartition("/")[2], arn) for arn in (own, POWER_USER)
    }
    account.call(f"Detach{kind}Policy", **named, PolicyArn=own)
    (left,) = account.call(f"ListAttached{kind}Policies", **named).attached_policies
    assert left.policy_arn == POWER_USER
    gone = ("NoSuchEntity", f"Policy {own} was not found.")
    assert account.refusal(f"Detach{kind}Policy", **named, PolicyArn=own) == gone


@each_kind
def test_what_is_not_there_is_not_attached(account: Account, kind: str) -> None:
    named, other = made(account, kind), "arn:aws:iam::444455556666:policy/theirs"
    missing = ("NoSuchEntity", f"The {kind.lower()} with name nobody cannot be found.")
    for operation in (f"Attach{kind}Policy", f"Detach{kind}Policy"):
        assert account.refusal(operation, **{f"{kind}Name": "nobody"}, PolicyArn=POWER_USER) == missing
    assert account.refusal(f"ListAttached{kind}Policies", **{f"{kind}Name": "nobody"}) == missing
    for arn in (f"{ARN}policy/none", other, "arn:aws:iam::aws:policy/None"):
        refused = account.refusal(f"Attach{kind}Policy", **named, PolicyArn=arn)
        assert refused == ("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
    assert account.refusal(f"Attach{kind}Policy", **named, PolicyArn="short")[0] == "ValidationError"


@each_kind
def test_ten_policies_are_attached_at_most(account: Account, kind: str) -> None:
    named = made(account, kind)
    policies = [policy(account) for _ in range(11)]
    for arn in policies[:10]:
        account.call(f"Attach{kind}Policy", **named, PolicyArn=arn)
    over = ("LimitExceeded", f"Cannot exceed quota for PoliciesPer{kind}: 10")
    assert account.refusal(f"Attach{kind}Policy", **named, PolicyArn=policies[10]) == over
    account.call(f"Attach{kind}Policy", **named, PolicyArn=policies[0])
    account.call(f"Detach{kind}Policy", **named, PolicyArn=policies[0])
    account.call(f"Attach{kind}Policy", **named, PolicyArn=policies[10])


@each_kind
def test_attached_policies_come_in_pages_by_name_under_a_path(account: Account, kind: str) -> None:
    named = made(account, kind)
    arns = [policy(account, Path="/pages/") for _ in range(3)]
    for arn in (*reversed(arns), POWER_USER):
        account.call(f"Attach{kind}Policy", **named, PolicyArn=arn)
    members = {**named, "PathPrefix": "/pages/", "MaxItems": 2}
    pages = account.pages(f"ListAttached{kind}Policies", "attached_policies", **members)
    assert [len(page) for page in pages] == [2, 1]
    assert [one.policy_arn for page in pages for one in page] == sorted(arns)


def test_an_attached_policy_is_in_force_until_it_is_detached(account: Account) -> None:
    key = account.user("ruled")
    account.call("AttachUserPolicy", UserName="ruled", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    account.by(key).call("GetUser")
    account.call("DetachUserPolicy", UserName="ruled", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"


def test_every_policy_of_aws_can_be_attached(account: Account) -> None:
    for arn in AWS_MANAGED_POLICIES:
        named = made(account, "User")
        account.call("AttachUserPolicy", **named, PolicyArn=arn)
        (found,) = account.call("ListAttachedUserPolicies", **named).attached_policies
        assert found.policy_arn == arn


def test_a_policy_that_somebody_has_is_not_deleted(account: Account) -> None:
    for kind in KINDS:
        named, arn = made(account, kind), policy(account)
        account.call(f"Attach{kind}Policy", **named, PolicyArn=arn)
        refused = account.refusal("DeletePolicy", PolicyArn=arn)
        assert refused == ("DeleteConflict", "Cannot delete a policy attached to entities.")
        account.call(f"Detach{kind}Policy", **named, PolicyArn=arn)
        account.call("DeletePolicy", PolicyArn=arn)


def test_entities_of_a_policy_are_told(account: Account) -> None:
    arn = policy(account)
    users = [made(account, "User", Path="/told/")["UserName"] for _ in range(3)]
    group, role = made(account, "Group")["GroupName"], made(account, "Role")["RoleName"]
    account.call("AttachUserPolicy", UserName=users[0], PolicyArn=arn)
    account.call("PutUserPermissionsBoundary", UserName=users[1], PermissionsBoundary=arn)
    for operation in ("AttachUserPolicy", "PutUserPermissionsBoundary"):
        member = "PolicyArn" if operation == "AttachUserPolicy" else "PermissionsBoundary"
        account.call(operation, UserName=users[2], **{member: arn})
    account.call("AttachGroupPolicy", GroupName=group, PolicyArn=arn)
    account.call("PutRolePermissionsBoundary", RoleName=role, PermissionsBoundary=arn)

    def told(**members: str) -> tuple[list[str], list[str], list[str]]:
        found = account.call("ListEntitiesForPolicy", PolicyArn=arn, **members)
        return (
            [one.user_name for one in found.policy_users],
            [one.group_name for one in found.policy_groups],
            [one.role_name for one in found.policy_roles],
        )

    assert told() == (users, [group], [role])
    assert told(PolicyUsageFilter="PermissionsPolicy") == ([users[0], users[2]], [group], [])
    assert told(PolicyUsageFilter="PermissionsBoundary") == ([users[1], users[2]], [], [role])
    assert told(EntityFilter="User") == (users, [], [])
    assert told(EntityFilter="Group", PolicyUsageFilter="PermissionsBoundary") == ([], [], [])
    assert told(PathPrefix="/told/") == (users, [], [])
    names: list[str] = []
    for member, name in (("policy_groups", "group_name"), ("policy_roles", "role_name"), ("policy_users", "user_name")):
        pages = account.pages("ListEntitiesForPolicy", member, PolicyArn=arn, MaxItems=2)
        names += [getattr(one, name) for page in pages for one in page]
    assert names == [group, role, *users]


def test_entities_have_their_unique_ids(account: Account) -> None:
    arn = policy(account)
    named = made(account, "User")
    account.call("AttachUserPolicy", **named, PolicyArn=arn)
    (found,) = account.call("ListEntitiesForPolicy", PolicyArn=arn).policy_users
    assert found.user_id == account.call("GetUser", **named).user.user_id


def test_what_is_no_policy_has_no_entities(account: Account) -> None:
    arn = f"{ARN}policy/none"
    assert account.refusal("ListEntitiesForPolicy", PolicyArn=arn) == ("NoSuchEntity", f"Policy {arn} was not found.")
