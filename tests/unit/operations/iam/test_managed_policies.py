"""Managed policies and their versions."""

from typing import Any
from urllib.parse import unquote

import pytest

from strongroom.operations.iam import managed_policies
from tests.composed import NOW
from tests.unit.operations.iam.account import ARN, POWER_USER, Account, document

ALLOW, DENY = document(), document(effect="Deny")


def made(account: Account, text: str = ALLOW, **members: Any) -> str:
    """Make a policy; its ARN."""
    name = account.name("policy")
    arn: str = account.call("CreatePolicy", PolicyName=name, PolicyDocument=text, **members).policy.arn
    return arn


def version(account: Account, arn: str, text: str = DENY, **members: Any) -> Any:
    """Make a version."""
    return account.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=text, **members).policy_version


def versions(account: Account, arn: str) -> list[tuple[str, bool]]:
    """The versions of a policy and which is the default."""
    found = account.call("ListPolicyVersions", PolicyArn=arn).versions
    return [(one.version_id, one.is_default_version) for one in found]


def test_a_policy_is_made_and_told(account: Account) -> None:
    policy = account.call(
        "CreatePolicy",
        PolicyName="Keys",
        Path="/ops/",
        PolicyDocument=ALLOW,
        Description="for keys",
        Tags=[{"Key": "a", "Value": "1"}],
    ).policy
    assert (policy.policy_name, policy.path, policy.arn) == ("Keys", "/ops/", f"{ARN}policy/ops/Keys")
    assert (policy.policy_id[:4], len(policy.policy_id)) == ("ANPA", 21)
    assert (policy.create_date, policy.update_date, policy.default_version_id) == (NOW, NOW, "v1")
    assert (policy.attachment_count, policy.permissions_boundary_usage_count, policy.is_attachable) == (0, 0, True)
    assert policy.description == "for keys"
    assert [(tag.key, tag.value) for tag in policy.tags] == [("a", "1")]
    assert account.call("GetPolicy", PolicyArn=policy.arn).policy == policy
    (listed,) = account.call("ListPolicies", PathPrefix="/ops/").policies
    assert (listed.policy_id, listed.description, listed.tags) == (policy.policy_id, None, None)


def test_names_are_unique_in_whatever_case_and_under_whatever_path(account: Account) -> None:
    account.call("CreatePolicy", PolicyName="twin", PolicyDocument=ALLOW)
    for name, path in (("twin", "/other/"), ("TWIN", "/")):
        refused = account.refusal("CreatePolicy", PolicyName=name, Path=path, PolicyDocument=ALLOW)
        text = f"A policy called {name} already exists. Duplicate names are not allowed."
        assert refused == ("EntityAlreadyExists", text)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetPolicy", {}),
        ("DeletePolicy", {}),
        ("CreatePolicyVersion", {"PolicyDocument": ALLOW}),
        ("GetPolicyVersion", {"VersionId": "v1"}),
        ("ListPolicyVersions", {}),
        ("SetDefaultPolicyVersion", {"VersionId": "v1"}),
        ("DeletePolicyVersion", {"VersionId": "v1"}),
    ],
)
@pytest.mark.parametrize(
    "arn", [f"{ARN}policy/nothing", "arn:aws:iam::444455556666:policy/theirs", "arn:aws:iam::aws:policy/Nothing"]
)
def test_what_is_not_there_is_not_found(account: Account, operation: str, members: dict[str, str], arn: str) -> None:
    refused = account.refusal(operation, PolicyArn=arn, **members)
    assert refused == ("NoSuchEntity", f"Policy {arn} was not found.")


@pytest.mark.parametrize("operation", ["GetPolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion"])
def test_a_version_that_is_not_there_is_not_found(account: Account, operation: str) -> None:
    arn = made(account)
    refused = account.refusal(operation, PolicyArn=arn, VersionId="v2")
    assert refused == ("NoSuchEntity", f"Policy {arn} version v2 does not exist or is not attachable.")
    assert account.refusal(operation, PolicyArn=arn, VersionId="2")[0] == "ValidationError"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("{", "This policy contains invalid Json"),
        ("{}", "Syntax errors in policy."),
        (document(Principal="*"), "Policy document should not specify a principal."),
        (document("decrypt"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (document(resource="key/1"), 'Resource key/1 must be in ARN format or "*".'),
    ],
)
def test_a_document_is_checked(account: Account, text: str, refused: str) -> None:
    told = ("MalformedPolicyDocument", refused)
    assert account.refusal("CreatePolicy", PolicyName="malformed", PolicyDocument=text) == told
    arn = made(account)
    assert account.refusal("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=text) == told
    assert versions(account, arn) == [("v1", True)]


def test_a_policy_has_6144_characters_without_white_space(account: Account) -> None:
    short = len(document(Sid="").replace(" ", ""))
    longest, over = (document(Sid="x" * (size - short)) for size in (6_144, 6_145))
    arn = made(account, "\n" * 9_000 + longest)
    version(account, arn, longest)
    refused = ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
    assert account.refusal("CreatePolicy", PolicyName="long", PolicyDocument=over) == refused
    assert account.refusal("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=over) == refused


def test_versions_are_counted_and_never_given_twice(account: Account) -> None:
    arn = made(account)
    second = version(account, arn)
    assert (second.version_id, second.is_default_version, second.document) == ("v2", False, None)
    assert versions(account, arn) == [("v2", False), ("v1", True)]
    third = version(account, arn, SetAsDefault="true")
    assert (third.version_id, third.is_default_version) == ("v3", True)
    account.call("DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    account.call("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v1")
    account.call("DeletePolicyVersion", PolicyArn=arn, VersionId="v3")
    assert version(account, arn).version_id == "v4"
    assert versions(account, arn) == [("v4", False), ("v1", True)]
    assert account.call("GetPolicy", PolicyArn=arn).policy.default_version_id == "v1"


def test_a_version_is_told_as_it_came_percent_encoded(account: Account) -> None:
    arn = made(account, f" {ALLOW}\n")
    version(account, arn)
    for version_id, text, default in (("v1", f" {ALLOW}\n", True), ("v2", DENY, False)):
        found = account.call("GetPolicyVersion", PolicyArn=arn, VersionId=version_id).policy_version
        assert (unquote(found.document), found.is_default_version, found.create_date) == (text, default, NOW)
        assert found.document.isascii()
        assert " " not in found.document
    listed = account.call("ListPolicyVersions", PolicyArn=arn).versions
    assert [one.document for one in listed] == [None, None]


def test_a_policy_has_five_versions_at_most(account: Account) -> None:
    arn = made(account)
    for _ in range(4):
        version(account, arn)
    assert account.refusal("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=DENY, SetAsDefault="true") == (
        "LimitExceeded",
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
        "version.",
    )
    account.call("DeletePolicyVersion", PolicyArn=arn, VersionId="v3")
    assert version(account, arn).version_id == "v6"


def test_versions_come_in_pages_the_newest_first(account: Account) -> None:
    arn = made(account)
    for _ in range(12):  # past v9, which a text would put behind v10
        newest = version(account, arn, SetAsDefault="true").version_id
        for old, default in versions(account, arn)[4:]:
            assert not default
            account.call("DeletePolicyVersion", PolicyArn=arn, VersionId=old)
    assert newest == "v13"
    pages = account.pages("ListPolicyVersions", "versions", PolicyArn=arn, MaxItems=3)
    assert [[one.version_id for one in page] for page in pages] == [["v13", "v12", "v11"], ["v10"]]
    marker = account.call("ListPolicyVersions", PolicyArn=arn, MaxItems=1).marker
    assert account.refusal("ListPolicyVersions", PolicyArn=made(account), Marker=marker)[0] == "ValidationError"


def test_the_default_version_is_in_force_and_stays(account: Account) -> None:
    user = account.name("user")
    key = account.user(user)
    arn = made(account, document("iam:GetUser"))
    account.call("AttachUserPolicy", UserName=user, PolicyArn=arn)
    account.by(key).call("GetUser")
    version(account, arn)
    account.by(key).call("GetUser")
    account.call("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"
    refused = account.refusal("DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    assert refused == ("DeleteConflict", "Cannot delete the default version of a policy.")


def test_only_the_last_version_of_what_nobody_has_is_deleted(account: Account) -> None:
    arn, user = made(account), account.name("user")
    account.call("CreateUser", UserName=user)
    attached = ("DeleteConflict", "Cannot delete a policy attached to entities.")
    account.call("AttachUserPolicy", UserName=user, PolicyArn=arn)
    assert account.refusal("DeletePolicy", PolicyArn=arn) == attached
    account.call("DetachUserPolicy", UserName=user, PolicyArn=arn)
    account.call("PutUserPermissionsBoundary", UserName=user, PermissionsBoundary=arn)
    assert account.refusal("DeletePolicy", PolicyArn=arn) == attached
    account.call("DeleteUserPermissionsBoundary", UserName=user)
    version(account, arn)
    assert account.refusal("DeletePolicy", PolicyArn=arn) == (
        "DeleteConflict",
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
        "The default version is deleted with the policy.",
    )
    account.call("DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    account.call("DeletePolicy", PolicyArn=arn)
    assert account.refusal("GetPolicy", PolicyArn=arn)[0] == "NoSuchEntity"


def test_a_policy_that_is_made_again_is_another(account: Account) -> None:
    old = account.call("CreatePolicy", PolicyName="again", PolicyDocument=ALLOW, Description="old").policy
    account.call("DeletePolicy", PolicyArn=old.arn)
    new = account.call("CreatePolicy", PolicyName="again", PolicyDocument=DENY).policy
    assert (new.arn, new.policy_id == old.policy_id, new.description) == (old.arn, False, None)
    assert versions(account, new.arn) == [("v1", True)]
    found = account.call("GetPolicyVersion", PolicyArn=new.arn, VersionId="v1").policy_version
    assert unquote(found.document) == DENY


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("DeletePolicy", {}),
        ("CreatePolicyVersion", {"PolicyDocument": DENY}),
        ("SetDefaultPolicyVersion", {"VersionId": "v2"}),
        ("DeletePolicyVersion", {"VersionId": "v2"}),
    ],
)
def test_what_is_of_aws_is_told_and_not_changed(account: Account, operation: str, members: dict[str, str]) -> None:
    before = account.call("GetPolicy", PolicyArn=POWER_USER).policy
    assert account.refusal(operation, PolicyArn=POWER_USER, **members)[0] == "AccessDenied"
    assert account.call("GetPolicy", PolicyArn=POWER_USER).policy == before
    assert versions(account, POWER_USER) == [("v2", True)]


def test_policies_are_counted_and_filtered(account: Account) -> None:
    user, group = account.name("user"), account.name("group")
    account.call("CreateUser", UserName=user)
    account.call("CreateGroup", GroupName=group)
    none, attached, bounding = (made(account, Path="/filtered/") for _ in range(3))
    account.call("AttachUserPolicy", UserName=user, PolicyArn=attached)
    account.call("AttachGroupPolicy", GroupName=group, PolicyArn=attached)
    account.call("PutUserPermissionsBoundary", UserName=user, PermissionsBoundary=bounding)

    def told(**members: str) -> list[str]:
        return [one.arn for one in account.call("ListPolicies", **members).policies]

    found = [account.call("GetPolicy", PolicyArn=arn).policy for arn in (none, attached, bounding)]
    counts = [(one.attachment_count, one.permissions_boundary_usage_count) for one in found]
    assert counts == [(0, 0), (2, 0), (0, 1)]
    under = {"PathPrefix": "/filtered/"}
    assert told(**under) == told(**under, Scope="Local") == [none, attached, bounding]
    assert told(**under, OnlyAttached="true") == told(**under, PolicyUsageFilter="PermissionsPolicy") == [attached]
    assert told(**under, PolicyUsageFilter="PermissionsBoundary") == [bounding]
    assert told(**under, Scope="AWS") == []
    aws = told(Scope="AWS")
    assert POWER_USER in aws
    assert all(arn.startswith("arn:aws:iam::aws:policy/") for arn in aws)
    assert set(aws) < set(told())
    assert none in told()
    assert account.refusal("ListPolicies", Scope="Mine")[0] == "ValidationError"


def test_policies_come_in_pages_by_name(account: Account) -> None:
    arns = [made(account, Path="/pages/") for _ in range(3)]
    pages = account.pages("ListPolicies", "policies", PathPrefix="/pages/", MaxItems=2)
    assert [[one.arn for one in page] for page in pages] == [arns[:2], arns[2:]]
    marker = account.call("ListPolicies", PathPrefix="/pages/", MaxItems=1).marker
    for other in ({"PathPrefix": "/"}, {"PathPrefix": "/pages/", "OnlyAttached": "true"}, {"Scope": "AWS"}):
        assert account.refusal("ListPolicies", Marker=marker, **other)[0] == "ValidationError"


def test_an_account_has_as_many_policies_as_it_may(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    there = len(account.call("ListPolicies", Scope="Local", MaxItems=1000).policies)
    monkeypatch.setattr(managed_policies, "_MAX_POLICIES", there + 1)
    made(account)
    refused = account.refusal("CreatePolicy", PolicyName="too-many", PolicyDocument=ALLOW)
    assert refused == ("LimitExceeded", f"Cannot exceed quota for PoliciesPerAccount: {there + 1}")
