"""Every operation of IAM and STS, called through boto3: what it answers parses, and says what was done."""

import json
from typing import Any

import pytest

from strongroom.operations.registry import OPERATIONS
from strongroom.testing.server import Server
from tests.e2e.conftest import first_account
from tests.e2e.people import Account, account_of, name

ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}
DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}]}
BOUNDARY = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
TAGS = [{"Key": "Cost Center", "Value": "ä/1"}, {"Key": "team", "Value": "red"}]


class Called:
    """The operations of a client that succeeded."""

    def __init__(self, *clients: Any) -> None:
        self.names: set[tuple[str, str]] = set()
        for client in clients:
            client.meta.events.register("after-call", self._note)

    def _note(self, http_response: Any, model: Any, **_: object) -> None:
        if http_response.status_code == 200:
            self.names.add((model.service_model.service_name, model.name))


@pytest.fixture(scope="module")
def account(pair: Server) -> Account:
    return account_of(pair, first_account(pair))


def without_metadata(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def test_users_and_their_access_keys(account: Account) -> None:
    iam, user = account.iam, name("user")
    made = iam.create_user(UserName=user, Path="/staff/", Tags=TAGS, PermissionsBoundary=BOUNDARY)["User"]
    assert made["Arn"] == f"arn:aws:iam::{account.account}:user/staff/{user}"
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
    assert iam.get_user(UserName=user)["User"] == made
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{account.account}:root"
    found = iam.list_users(PathPrefix="/staff/")["Users"]
    assert [one["UserId"] for one in found if one["UserName"] == user] == [made["UserId"]]
    assert iam.list_user_tags(UserName=user)["Tags"] == TAGS
    iam.tag_user(UserName=user, Tags=[{"Key": "TEAM", "Value": "blue"}])
    iam.untag_user(UserName=user, TagKeys=["cost center"])
    assert iam.list_user_tags(UserName=user)["Tags"] == [{"Key": "TEAM", "Value": "blue"}]
    iam.delete_user_permissions_boundary(UserName=user)
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=BOUNDARY)

    key = iam.create_access_key(UserName=user)["AccessKey"]
    assert (len(key["AccessKeyId"]), len(key["SecretAccessKey"]), key["Status"]) == (20, 40, "Active")
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    (listed,) = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    assert (listed["AccessKeyId"], listed["Status"], "SecretAccessKey" in listed) == (
        key["AccessKeyId"],
        "Inactive",
        False,
    )
    assert iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["UserName"] == user
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_user(UserName=user)
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.update_user(UserName=user, NewUserName=f"{user}-2")
    iam.delete_user(UserName=f"{user}-2")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName=user)


def test_groups(account: Account) -> None:
    iam, group, user = account.iam, name("group"), name("user")
    iam.create_user(UserName=user)
    made = iam.create_group(GroupName=group)["Group"]
    iam.add_user_to_group(GroupName=group, UserName=user)
    found = iam.get_group(GroupName=group)
    assert (found["Group"], [one["UserName"] for one in found["Users"]]) == (made, [user])
    assert made in iam.list_groups()["Groups"]
    assert iam.list_groups_for_user(UserName=user)["Groups"] == [made]
    iam.update_group(GroupName=group, NewPath="/new/")
    assert iam.get_group(GroupName=group)["Group"]["Path"] == "/new/"
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert iam.get_group(GroupName=group)["Users"] == []
    iam.delete_group(GroupName=group)
    iam.delete_user(UserName=user)


def test_roles(account: Account) -> None:
    iam, role = account.iam, name("role")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": account.account}, "Action": "sts:AssumeRole"}],
    }
    made = iam.create_role(
        RoleName=role,
        AssumeRolePolicyDocument=json.dumps(trust),
        Description="for tests",
        MaxSessionDuration=7200,
        Tags=TAGS,
    )["Role"]
    assert (made["AssumeRolePolicyDocument"], made["MaxSessionDuration"]) == (trust, 7200)
    assert iam.get_role(RoleName=role)["Role"] == made
    assert role in [one["RoleName"] for one in iam.list_roles()["Roles"]]
    iam.update_role(RoleName=role, Description="for more", MaxSessionDuration=3600)
    assert iam.update_role_description(RoleName=role, Description="again")["Role"]["Description"] == "again"
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust | {"Id": "new"}))
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Id"] == "new"
    assert iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"] == []
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=BOUNDARY)
    iam.delete_role_permissions_boundary(RoleName=role)
    assert iam.list_role_tags(RoleName=role)["Tags"] == TAGS
    iam.tag_role(RoleName=role, Tags=TAGS)
    iam.untag_role(RoleName=role, TagKeys=["team"])
    iam.delete_role(RoleName=role)


def test_inline_policies(account: Account) -> None:
    iam, own = account.iam, name("policies")
    trust = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
    iam.create_user(UserName=own)
    iam.create_group(GroupName=own)
    iam.create_role(RoleName=own, AssumeRolePolicyDocument=json.dumps(trust))
    for kind in ("user", "group", "role"):
        named = {f"{kind.title()}Name": own}
        policy = {"PolicyName": "p", "PolicyDocument": json.dumps(ALLOW)}
        getattr(iam, f"put_{kind}_policy")(**named, **policy)
        found = without_metadata(getattr(iam, f"get_{kind}_policy")(**named, PolicyName="p"))
        assert found == named | {"PolicyName": "p", "PolicyDocument": ALLOW}
        assert getattr(iam, f"list_{kind}_policies")(**named)["PolicyNames"] == ["p"]
        with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
            getattr(iam, f"put_{kind}_policy")(**named, PolicyName="q", PolicyDocument="{}")
        with pytest.raises(iam.exceptions.DeleteConflictException):
            getattr(iam, f"delete_{kind}")(**named)
        getattr(iam, f"delete_{kind}_policy")(**named, PolicyName="p")
        getattr(iam, f"delete_{kind}")(**named)


def test_managed_policies(account: Account) -> None:
    iam, own = account.iam, name("managed")
    trust = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
    iam.create_user(UserName=own)
    iam.create_group(GroupName=own)
    iam.create_role(RoleName=own, AssumeRolePolicyDocument=json.dumps(trust))
    made = iam.create_policy(PolicyName=own, PolicyDocument=json.dumps(ALLOW), Description="d", Tags=TAGS)["Policy"]
    arn = made["Arn"]
    for kind in ("user", "group", "role"):
        named = {f"{kind.title()}Name": own}
        getattr(iam, f"attach_{kind}_policy")(**named, PolicyArn=arn)
        found = getattr(iam, f"list_attached_{kind}_policies")(**named)["AttachedPolicies"]
        assert found == [{"PolicyName": own, "PolicyArn": arn}]
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [entities[f"Policy{kind}"][0][f"{kind[:-1]}Name"] for kind in ("Users", "Groups", "Roles")] == [own] * 3
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 3
    assert arn in [one["Arn"] for one in iam.list_policies(OnlyAttached=True)["Policies"]]
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(DENY))["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v2", False)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == ALLOW
    assert [one["VersionId"] for one in iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2", "v1"]
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "a", "Value": ""}])
    iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == TAGS
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_policy(PolicyArn=arn)
    details = iam.get_account_authorization_details()
    assert own in [one["RoleName"] for one in details["RoleDetailList"]]
    (policy,) = [one for one in details["Policies"] if one["Arn"] == arn]
    assert [one["Document"] for one in policy["PolicyVersionList"]] == [DENY]
    for kind in ("user", "group", "role"):
        named = {f"{kind.title()}Name": own}
        getattr(iam, f"detach_{kind}_policy")(**named, PolicyArn=arn)
        getattr(iam, f"delete_{kind}")(**named)
    iam.delete_policy(PolicyArn=arn)


def test_identity_providers(account: Account) -> None:
    iam, url = account.iam, f"https://{name('issuer')}.example/a"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=["app"], ThumbprintList=["ab" * 20], Tags=TAGS)[
        "OpenIDConnectProviderArn"
    ]
    assert arn == f"arn:aws:iam::{account.account}:oidc-provider/{url.removeprefix('https://')}"
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="second")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="app")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["cd" * 20])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["ClientIDList"], found["ThumbprintList"]) == (["second"], ["cd" * 20])
    assert found["Url"] == url.removeprefix("https://")
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["a"])
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == TAGS
    assert {"Arn": arn} in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_simulation(account: Account) -> None:
    iam, user = account.iam, name("user")
    arn = iam.create_user(UserName=user)["User"]["Arn"]
    iam.put_user_policy(UserName=user, PolicyName="allow", PolicyDocument=json.dumps(ALLOW))
    iam.put_user_policy(UserName=user, PolicyName="deny", PolicyDocument=json.dumps(DENY))
    asked = {"PolicySourceArn": arn, "ActionNames": ["kms:Encrypt", "kms:Decrypt", "s3:GetObject"]}
    found = iam.simulate_principal_policy(**asked)["EvaluationResults"]
    assert [one["EvalDecision"] for one in found] == ["allowed", "explicitDeny", "implicitDeny"]
    assert found[1]["MatchedStatements"][0]["SourcePolicyId"] == f"user_{user}_deny"
    condition = {"StringEquals": {"kms:EncryptionContext:dept": "hr"}}
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": condition}
    custom = {"PolicyInputList": [json.dumps({"Version": "2012-10-17", "Statement": statement})]}
    (missing,) = iam.simulate_custom_policy(**custom, ActionNames=["kms:Decrypt"])["EvaluationResults"]
    assert (missing["EvalDecision"], missing["MissingContextValues"]) == (
        "implicitDeny",
        ["kms:encryptioncontext:dept"],
    )
    entry = {
        "ContextKeyName": "kms:EncryptionContext:dept",
        "ContextKeyValues": ["hr"],
        "ContextKeyType": "string",
    }
    (allowed,) = iam.simulate_custom_policy(**custom, ActionNames=["kms:Decrypt"], ContextEntries=[entry])[
        "EvaluationResults"
    ]
    assert allowed["EvalDecision"] == "allowed"
    for policy in ("allow", "deny"):
        iam.delete_user_policy(UserName=user, PolicyName=policy)
    iam.delete_user(UserName=user)


def test_lists_come_in_pages(account: Account) -> None:
    iam, path = account.iam, f"/{name('page')}/"
    names = sorted(name("user") for _ in range(5))
    for user in names:
        iam.create_user(UserName=user, Path=path)
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix=path, PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [user["UserName"] for page in pages for user in page["Users"]] == names
    with pytest.raises(iam.exceptions.ClientError, match="ValidationError"):
        iam.list_users(Marker="x")
    for user in names:
        iam.delete_user(UserName=user)


def test_sessions(account: Account) -> None:
    assert account.sts.get_caller_identity()["Account"] == account.account
    assert account.sts.get_session_token()["Credentials"]["SessionToken"]


FAMILIES = [
    test_users_and_their_access_keys,
    test_groups,
    test_roles,
    test_inline_policies,
    test_managed_policies,
    test_identity_providers,
    test_simulation,
]


def test_every_operation_is_called_by_these_tests(pair: Server) -> None:
    account = account_of(pair, first_account(pair))
    called = Called(account.iam)
    for family in FAMILIES:
        family(account)
    assert called.names == {key for key in OPERATIONS if key[0] == "iam"}
