"""Roles and their trust policies."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from strongroom.operations.iam import roles
from tests.composed import NOW
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, TRUST, Account, document


def trust(principal: object, **members: Any) -> str:
    """A trust policy of one statement."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"} | members
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def made(account: Account, policy: str = TRUST, **members: Any) -> str:
    """Make a role; its name."""
    name = account.name("role")
    account.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=policy, **members)
    return name


def told(account: Account, name: str) -> Any:
    return account.call("GetRole", RoleName=name).role


def trusted(account: Account, name: str) -> Any:
    """The Principal that a role's trust policy is told with."""
    policy = json.loads(unquote(told(account, name).assume_role_policy_document))
    return policy["Statement"][0]["Principal"]


def test_a_role_is_made_and_told(account: Account) -> None:
    text = f"  {TRUST}\n"
    role = account.call(
        "CreateRole",
        RoleName="Keeper",
        Path="/ops/",
        AssumeRolePolicyDocument=text,
        Description="keeps",
        MaxSessionDuration=43_200,
        PermissionsBoundary=POWER_USER,
        Tags=[{"Key": "a", "Value": "1"}],
    ).role
    assert (role.role_name, role.path, role.arn) == ("Keeper", "/ops/", f"{ARN}role/ops/Keeper")
    assert (role.role_id[:4], len(role.role_id), role.create_date) == ("AROA", 21, NOW)
    assert (role.description, role.max_session_duration) == ("keeps", 43_200)
    assert role.permissions_boundary.permissions_boundary_arn == POWER_USER
    assert [(tag.key, tag.value) for tag in role.tags] == [("a", "1")]
    assert told(account, "keeper") == role
    (listed,) = account.call("ListRoles", PathPrefix="/ops/").roles
    assert (listed.role_id, listed.tags, listed.permissions_boundary) == (role.role_id, None, None)


def test_a_trust_policy_is_told_as_it_came_percent_encoded(account: Account) -> None:
    text = f"\n {TRUST} \t"
    encoded = told(account, made(account, text)).assume_role_policy_document
    assert unquote(encoded) == text
    assert encoded.startswith("%0A%20%7B%22Version%22%3A%20%222012-10-17%22")


def test_a_session_lasts_an_hour_unless_the_role_says_otherwise(account: Account) -> None:
    assert told(account, made(account)).max_session_duration == 3_600
    for seconds in (3_599, 43_201, 0):
        refused = account.refusal(
            "CreateRole", RoleName="wrong", AssumeRolePolicyDocument=TRUST, MaxSessionDuration=seconds
        )
        assert refused[0] == "ValidationError"
        assert account.refusal("UpdateRole", RoleName=made(account), MaxSessionDuration=seconds)[0] == "ValidationError"


def test_names_are_unique_in_whatever_case(account: Account) -> None:
    account.call("CreateRole", RoleName="twin", AssumeRolePolicyDocument=TRUST)
    for name, path in (("twin", "/other/"), ("TWIN", "/")):
        refused = account.refusal("CreateRole", RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST)
        assert refused == ("EntityAlreadyExists", f"Role with name {name} already exists.")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetRole", {}),
        ("UpdateRole", {}),
        ("UpdateRoleDescription", {"Description": "d"}),
        ("UpdateAssumeRolePolicy", {"PolicyDocument": TRUST}),
        ("DeleteRole", {}),
        ("ListInstanceProfilesForRole", {}),
    ],
)
def test_what_is_not_there_is_not_found(account: Account, operation: str, members: dict[str, str]) -> None:
    refused = account.refusal(operation, RoleName="nobody", **members)
    assert refused == ("NoSuchEntity", "The role with name nobody cannot be found.")


@pytest.mark.parametrize("members", [{"RoleName": "a b"}, {"RoleName": "a" * 65}, {"RoleName": "a", "Path": "ops"}, {}])
def test_a_name_and_a_path_have_their_form(account: Account, members: dict[str, str]) -> None:
    assert account.refusal("CreateRole", AssumeRolePolicyDocument=TRUST, **members)[0] == "ValidationError"


def test_a_role_is_updated(account: Account) -> None:
    name = made(account, Description="old", MaxSessionDuration=7_200)
    account.call("UpdateRole", RoleName=name, MaxSessionDuration=10_800)
    assert (told(account, name).description, told(account, name).max_session_duration) == ("old", 10_800)
    account.call("UpdateRole", RoleName=name, Description="new")
    assert (told(account, name).description, told(account, name).max_session_duration) == ("new", 3_600)
    account.call("UpdateRole", RoleName=name, Description="")
    assert told(account, name).description is None
    role = account.call("UpdateRoleDescription", RoleName=name, Description="last").role
    assert (role.description, role) == ("last", told(account, name))


def test_a_trust_policy_has_2048_characters_without_white_space(account: Account) -> None:
    short = len(trust({"AWS": ACCOUNT}, Sid="").replace(" ", ""))
    longest = trust({"AWS": ACCOUNT}, Sid="x" * (2_048 - short))
    over = trust({"AWS": ACCOUNT}, Sid="x" * (2_049 - short))
    name = made(account, " " * 3_000 + longest)
    refused = ("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")
    assert account.refusal("CreateRole", RoleName="long", AssumeRolePolicyDocument=over) == refused
    assert account.refusal("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=over) == refused


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("{", "This policy contains invalid Json"),
        ("{}", "Syntax errors in policy."),
        (trust({"AWS": ACCOUNT}, Resource="*"), "Has prohibited field Resource"),
        (document("sts:AssumeRole"), "Policy contains a statement with no principal."),
        (
            trust({"AWS": f"{ARN}user/nobody"}),
            f'Invalid principal in policy: "AWS":"{ARN}user/nobody"',
        ),
        (
            trust({"AWS": [ACCOUNT, "444455556666"]}),
            'Invalid principal in policy: "AWS":"arn:aws:iam::444455556666:root"',
        ),
        *(
            (trust({"AWS": ACCOUNT}, Action=action), "AssumeRole policy may only specify STS AssumeRole actions.")
            for action in ("*", "kms:Encrypt", ["sts:AssumeRole", "iam:*"])
        ),
        *(
            (trust({"Federated": name}), "Federated principals must be valid domain names or SAML metadata ARNs")
            for name in ("*", "provider", f"{ARN}oidc-provider/*", f"{ARN}user/ann", "https://issuer.example")
        ),
        (
            trust({"AWS": f"{ARN}group/g"}),
            "Policy contains a statement with one or more invalid principals.",
        ),
    ],
)
def test_a_trust_policy_is_checked(account: Account, policy: str, text: str) -> None:
    if text.startswith("Policy contains a statement with no"):  # it has a resource too
        policy = policy.replace(', "Resource": "*"', "")
    told = ("MalformedPolicyDocument", text)
    assert account.refusal("CreateRole", RoleName="malformed", AssumeRolePolicyDocument=policy) == told
    name = made(account)
    assert account.refusal("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=policy) == told
    assert trusted(account, name) == {"AWS": ACCOUNT}
    assert account.refusal("GetRole", RoleName="malformed")[0] == "NoSuchEntity"


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "*"},
        {"Service": "backup.amazonaws.com"},
        {"Federated": f"{ARN}oidc-provider/not-yet.example"},
        {"AWS": [f"{ARN}root", ACCOUNT], "Service": ["a.b", "c.d"]},
        {"Federated": ["accounts.google.com", f"{ARN}saml-provider/Corp"]},
    ],
)
def test_accounts_services_and_providers_are_trusted(account: Account, principal: object) -> None:
    assert trusted(account, made(account, trust(principal))) == principal


def test_who_is_trusted_and_gone_is_told_by_unique_id(account: Account) -> None:
    user, role = account.name("user"), made(account)
    user_id = account.call("CreateUser", UserName=user).user.user_id
    role_id = told(account, role).role_id
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/s"
    arns = [f"{ARN}user/{user}", f"{ARN}role/{role}", session]
    name = made(account, trust({"AWS": arns, "Service": "a.b"}))
    assert trusted(account, name) == {"AWS": arns, "Service": "a.b"}
    account.call("UpdateUser", UserName=user, NewUserName=f"{user}-new")
    assert trusted(account, name)["AWS"] == [f"{ARN}user/{user}-new", *arns[1:]]
    account.call("DeleteUser", UserName=f"{user}-new")
    account.call("DeleteRole", RoleName=role)
    gone = [user_id, role_id, f"{role_id}:s"]
    assert trusted(account, name)["AWS"] == gone
    account.call("CreateUser", UserName=user)
    account.call("CreateRole", RoleName=role, AssumeRolePolicyDocument=TRUST)
    assert trusted(account, name)["AWS"] == gone
    (listed,) = [one for one in account.call("ListRoles", MaxItems=1000).roles if one.role_name == name]
    assert listed.assume_role_policy_document == told(account, name).assume_role_policy_document


def test_who_is_made_again_is_not_trusted_until_the_policy_is_put_again(account: Account) -> None:
    user = account.name("user")
    key = account.user(user)
    policy = trust({"AWS": f"{ARN}user/{user}"})
    name = made(account, policy)
    assume = {"service": "sts", "RoleArn": f"{ARN}role/{name}", "RoleSessionName": "session"}
    account.by(key).call("AssumeRole", **assume)
    account.call("DeleteAccessKey", UserName=user, AccessKeyId=key.access_key_id)
    account.call("DeleteUser", UserName=user)
    again = account.user(user)
    assert account.by(again).refusal("AssumeRole", **assume)[0] == "AccessDenied"
    account.call("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=policy)
    account.by(again).call("AssumeRole", **assume)


def test_what_a_role_has_keeps_it(account: Account) -> None:
    name = made(account, PermissionsBoundary=POWER_USER)
    account.call("PutRolePolicy", RoleName=name, PolicyName="p", PolicyDocument=document())
    account.call("AttachRolePolicy", RoleName=name, PolicyArn=POWER_USER)
    reasons = [
        ("must delete policies first", ("DeleteRolePolicy", {"PolicyName": "p"})),
        ("must detach all policies first", ("DetachRolePolicy", {"PolicyArn": POWER_USER})),
    ]
    for reason, (operation, members) in reasons:
        refused = account.refusal("DeleteRole", RoleName=name)
        assert refused == ("DeleteConflict", f"Cannot delete entity, {reason}.")
        account.call(operation, RoleName=name, **members)
    account.call("DeleteRole", RoleName=name)
    assert account.refusal("GetRole", RoleName=name)[0] == "NoSuchEntity"


def test_a_role_that_is_made_again_inherits_nothing(account: Account) -> None:
    tags = [{"Key": "a", "Value": "1"}]
    name = made(account, Description="d", MaxSessionDuration=7_200, Tags=tags, PermissionsBoundary=POWER_USER)
    old = told(account, name)
    account.call("DeleteRole", RoleName=name)
    account.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust({"Service": "a.b"}))
    new = told(account, name)
    assert (new.arn, new.role_id == old.role_id) == (old.arn, False)
    assert (new.description, new.max_session_duration, new.tags, new.permissions_boundary) == (None, 3_600, None, None)
    assert trusted(account, name) == {"Service": "a.b"}
    assert account.call("ListRolePolicies", RoleName=name).policy_names == ()
    assert account.call("ListAttachedRolePolicies", RoleName=name).attached_policies == ()


def test_a_session_ends_with_its_role(account: Account) -> None:
    key = account.user(account.name("user"), document("sts:AssumeRole"))
    name = made(account)
    assume = {"service": "sts", "RoleArn": f"{ARN}role/{name}", "RoleSessionName": "session"}
    session = account.by(key).call("AssumeRole", **assume).credentials
    assert session.access_key_id.startswith("ASIA")
    account.call("DeleteRole", RoleName=name)
    assert account.by(key).refusal("AssumeRole", **assume)[0] == "AccessDenied"


def test_a_role_has_no_instance_profiles(account: Account) -> None:
    found = account.call("ListInstanceProfilesForRole", RoleName=made(account))
    assert (found.instance_profiles, found.is_truncated, found.marker) == ((), False, None)


def test_roles_come_in_pages_by_name_under_a_path(account: Account) -> None:
    for name in ("page-c", "page-a", "page-b"):
        account.call("CreateRole", RoleName=name, Path="/pages/", AssumeRolePolicyDocument=TRUST)
    pages = account.pages("ListRoles", "roles", PathPrefix="/pages/", MaxItems=2)
    assert [[role.role_name for role in page] for page in pages] == [["page-a", "page-b"], ["page-c"]]
    marker = account.call("ListRoles", PathPrefix="/pages/", MaxItems=1).marker
    assert account.refusal("ListRoles", Marker=marker)[0] == "ValidationError"


def test_an_account_has_as_many_roles_as_it_may(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(account.call("ListRoles", MaxItems=1000).roles)
    monkeypatch.setattr(roles, "_MAX_ROLES", there + 1)
    name = made(account)
    refused = account.refusal("CreateRole", RoleName="too-many", AssumeRolePolicyDocument=TRUST)
    assert refused == ("LimitExceeded", f"Cannot exceed quota for RolesPerAccount: {there + 1}")
    account.call("DeleteRole", RoleName=name)
    made(account)
