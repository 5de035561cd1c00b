"""IAM's own authorization: what each operation asks, and how it refuses."""

import json
from typing import Any, NamedTuple

import pytest

from strongroom.operations.registry import OPERATIONS
from strongroom.sigv4.signing import Credential
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, TRUST, Account, document

PROVIDER = f"{ARN}oidc-provider/issuer.example/there"
POLICY = f"{ARN}policy/p/there"
TAGS = {"Tags": [{"Key": "a", "Value": "b"}]}


class Asked(NamedTuple):
    """A request, the ARN of what it acts on, and what the refusal calls it if not so."""

    operation: str
    members: dict[str, Any]
    arn: str
    called: str | None = None
    action: str | None = None

    def __str__(self) -> str:
        return self.action or self.operation


def of(kind: str, *operations: str, **members: Any) -> list[Asked]:
    """Operations on a user, group or role that is there, in whatever case."""
    named = {f"{kind.title()}Name": "There"} | members
    return [Asked(operation, named, f"{ARN}{kind}/p/there", f"{kind} There") for operation in operations]


def of_policy(*operations: str, **members: Any) -> list[Asked]:
    named = {"PolicyArn": POLICY} | members
    return [Asked(operation, named, POLICY, f"policy {POLICY}") for operation in operations]


def of_provider(*operations: str, **members: Any) -> list[Asked]:
    return [Asked(operation, {"OpenIDConnectProviderArn": PROVIDER} | members, PROVIDER) for operation in operations]


def inline(kind: str) -> list[Asked]:
    """The operations that users, groups and roles have in common."""
    name = kind.title()
    return [
        *of(kind, f"Attach{name}Policy", f"Detach{name}Policy", PolicyArn=POWER_USER),
        *of(kind, f"Delete{name}Policy", f"Get{name}Policy", PolicyName="p"),
        *of(kind, f"Put{name}Policy", PolicyName="p", PolicyDocument=document()),
        *of(kind, f"Delete{name}", f"Get{name}", f"ListAttached{name}Policies", f"List{name}Policies"),
    ]


def bounded_and_tagged(kind: str) -> list[Asked]:
    name = kind.title()
    return [
        *of(kind, f"Put{name}PermissionsBoundary", PermissionsBoundary=POWER_USER),
        *of(kind, f"Delete{name}PermissionsBoundary", f"List{name}Tags"),
        *of(kind, f"Tag{name}", **TAGS),
        *of(kind, f"Untag{name}", TagKeys=["a"]),
    ]


NEW_ROLE = {"RoleName": "new", "Path": "/q/", "AssumeRolePolicyDocument": TRUST}
NEW_POLICY = {"PolicyName": "new", "Path": "/q/", "PolicyDocument": document()}
ASKED = [
    *inline("user"),
    *inline("group"),
    *inline("role"),
    *bounded_and_tagged("user"),
    *bounded_and_tagged("role"),
    *of("user", "CreateAccessKey", "ListAccessKeys", "ListGroupsForUser", "UpdateUser"),
    *of("user", "DeleteAccessKey", AccessKeyId="AKIA0000000000000000"),
    *of("user", "UpdateAccessKey", AccessKeyId="AKIA0000000000000000", Status="Inactive"),
    *of("group", "AddUserToGroup", "RemoveUserFromGroup", UserName="there"),
    *of("group", "UpdateGroup"),
    *of("role", "ListInstanceProfilesForRole", "UpdateRole"),
    *of("role", "UpdateAssumeRolePolicy", PolicyDocument=TRUST),
    *of("role", "UpdateRoleDescription", Description="d"),
    *of_policy("DeletePolicy", "GetPolicy", "ListEntitiesForPolicy", "ListPolicyTags", "ListPolicyVersions"),
    *of_policy("CreatePolicyVersion", PolicyDocument=document(), SetAsDefault="true"),
    *of_policy("DeletePolicyVersion", "GetPolicyVersion", "SetDefaultPolicyVersion", VersionId="v1"),
    *of_policy("TagPolicy", **TAGS),
    *of_policy("UntagPolicy", TagKeys=["a"]),
    *of_provider("DeleteOpenIDConnectProvider", "GetOpenIDConnectProvider", "ListOpenIDConnectProviderTags"),
    *of_provider("AddClientIDToOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider", ClientID="app"),
    *of_provider("UpdateOpenIDConnectProviderThumbprint", ThumbprintList=["0" * 40]),
    *of_provider("TagOpenIDConnectProvider", **TAGS),
    *of_provider("UntagOpenIDConnectProvider", TagKeys=["a"]),
    Asked("CreateUser", {"UserName": "new", "Path": "/q/"}, f"{ARN}user/q/new"),
    Asked("CreateUser", {"UserName": "new", **TAGS}, f"{ARN}user/new", action="TagUser"),
    Asked("CreateGroup", {"GroupName": "new", "Path": "/q/"}, f"{ARN}group/q/new"),
    Asked("CreateRole", NEW_ROLE, f"{ARN}role/q/new"),
    Asked("CreateRole", NEW_ROLE | TAGS, f"{ARN}role/q/new", action="TagRole"),
    Asked("CreatePolicy", NEW_POLICY, f"{ARN}policy/q/new", "policy new"),
    Asked("CreatePolicy", NEW_POLICY | TAGS, f"{ARN}policy/q/new", "policy new", action="TagPolicy"),
    Asked("CreateOpenIDConnectProvider", {"Url": "https://new.example/q"}, f"{ARN}oidc-provider/new.example/q"),
    Asked(
        "CreateOpenIDConnectProvider",
        {"Url": "https://new.example/q", **TAGS},
        f"{ARN}oidc-provider/new.example/q",
        action="TagOpenIDConnectProvider",
    ),
    Asked("ListUsers", {"PathPrefix": "/p/"}, f"{ARN}user/p/"),
    Asked("ListGroups", {}, f"{ARN}group/"),
    Asked("ListRoles", {"PathPrefix": "/p/"}, f"{ARN}role/p/"),
    Asked("ListPolicies", {}, f"{ARN}policy/", "policy path /"),
    Asked("ListPolicies", {"PathPrefix": "/p/"}, f"{ARN}policy/p/", "policy path /p/"),
    Asked("ListOpenIDConnectProviders", {}, f"{ARN}oidc-provider/*"),
    Asked("GetAccountAuthorizationDetails", {}, "*"),
    Asked("SimulateCustomPolicy", {"PolicyInputList": [document()], "ActionNames": ["kms:Encrypt"]}, "*"),
    Asked(
        "SimulatePrincipalPolicy",
        {"PolicySourceArn": f"{ARN}user/p/there", "ActionNames": ["kms:Encrypt"]},
        f"{ARN}user/p/there",
    ),
    # AWS: without a name they are about the caller, who is called by its ARN.
    Asked("GetUser", {}, f"{ARN}user/asking"),
    Asked("ListAccessKeys", {}, f"{ARN}user/asking"),
]

WITH_OTHER_TARGETS = {"GetAccessKeyLastUsed"}
"""Operations that `test_access_keys.py` asks."""

each_operation = pytest.mark.parametrize("asked", ASKED, ids=str)


@pytest.fixture(scope="module")
def asking(account: Account) -> Credential:
    """A user without rights, in an account where everything is there that is asked about."""
    for kind in ("user", "group", "role"):
        trust = {"AssumeRolePolicyDocument": TRUST} if kind == "role" else {}
        account.call(f"Create{kind.title()}", **{f"{kind.title()}Name": "there"}, Path="/p/", **trust)
    account.call("CreatePolicy", PolicyName="there", Path="/p/", PolicyDocument=document())
    account.call("CreateOpenIDConnectProvider", Url="https://issuer.example/there")
    return account.user("asking")


def test_every_operation_is_asked() -> None:
    built = {name for service, name in OPERATIONS if service == "iam"}
    assert built == {one.operation for one in ASKED} | WITH_OTHER_TARGETS


def permit(account: Account, *statements: tuple[str, str, str]) -> None:
    """Let the user do this alone: effect, action and resource of each statement."""
    told = [{"Effect": effect, "Action": action, "Resource": resource} for effect, action, resource in statements]
    text = json.dumps({"Version": "2012-10-17", "Statement": told})
    account.call("PutUserPolicy", UserName="asking", PolicyName="p", PolicyDocument=text)


def first(asked: Asked) -> list[tuple[str, str, str]]:
    """What must be allowed before the action: what is tagged is made first."""
    return [("Allow", f"iam:{asked.operation}", "*")] if asked.action is not None else []


@each_operation
def test_who_has_no_right_is_refused(account: Account, asking: Credential, asked: Asked) -> None:
    permit(account, ("Allow", "kms:*", "*"), *first(asked))
    action = f"iam:{asked}"
    told = f"User: {ARN}user/asking is not authorized to perform: {action} on resource: {asked.called or asked.arn}"
    lacking = f"{told} because no identity-based policy allows the {action} action"
    by = account.by(asking)
    assert by.refusal(asked.operation, **asked.members) == ("AccessDenied", lacking)
    permit(account, ("Allow", "*", "*"), ("Deny", action, asked.arn))
    denied = f"{told} with an explicit deny in an identity-based policy"
    assert by.refusal(asked.operation, **asked.members) == ("AccessDenied", denied)


@each_operation
def test_other_rights_do_not_help_and_tell_nothing(account: Account, asking: Credential, asked: Asked) -> None:
    """Neither to another action, nor on another resource; and who is refused is not told what is there."""
    elsewhere = "arn:aws:iam::*:x" if asked.arn == "*" else f"{asked.arn}x"
    permit(account, *first(asked), ("Allow", "*", elsewhere), ("Allow", f"iam:{asked}x", "*"))
    other = {"There": "Nobody", POLICY: f"{POLICY}-none", PROVIDER: f"{PROVIDER}-none", "new": "there"}
    for members in (asked.members, {name: other.get(str(value), value) for name, value in asked.members.items()}):
        code, text = account.by(asking).refusal(asked.operation, **members)
        assert (code, f"not authorized to perform: iam:{asked} on" in str(text)) == ("AccessDenied", True)


def test_other_accounts_do_not_come_in(account: Account, asking: Credential) -> None:
    permit(account, ("Allow", "*", f"arn:aws:iam::{'9' * 12}:*"), ("Allow", "*", f"arn:aws:kms:*:{ACCOUNT}:*"))
    assert account.by(asking).refusal("GetUser")[0] == "AccessDenied"
    refused = account.parts.records()[-1]
    assert (refused["errorCode"], refused["userIdentity"]["userName"]) == ("AccessDenied", "asking")
