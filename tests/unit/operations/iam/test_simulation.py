"""SimulateCustomPolicy and SimulatePrincipalPolicy."""

import json
from typing import Any

import pytest

from strongroom.authorization.documents import compile_identity_policy
from strongroom.directory import compiled_policy
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, TRUST, Account, document

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234"
ALLOW, DENY = document("kms:*"), document("kms:Decrypt", effect="Deny")


def custom(account: Account, *policies: str, action: str = "kms:Decrypt", **members: Any) -> Any:
    """The one result of a simulation of policies."""
    members = {"PolicyInputList": list(policies), "ActionNames": [action]} | members
    (result,) = account.call("SimulateCustomPolicy", **members).evaluation_results
    return result


def principal(account: Account, arn: str, action: str = "kms:Decrypt", **members: Any) -> Any:
    """The one result of a simulation of an identity's policies."""
    members = {"PolicySourceArn": arn, "ActionNames": [action]} | members
    (result,) = account.call("SimulatePrincipalPolicy", **members).evaluation_results
    return result


def matched(result: Any) -> list[tuple[str, str]]:
    return [(one.source_policy_id, one.source_policy_type) for one in result.matched_statements]


def entry(name: str, *values: str) -> dict[str, Any]:
    """A value of a condition key."""
    return {"ContextKeyName": name, "ContextKeyValues": list(values), "ContextKeyType": "string"}


def key_policy(named: object) -> str:
    statement = {"Effect": "Allow", "Principal": named, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def user(account: Account, *policies: str, **members: Any) -> str:
    """Make a user with inline policies; its ARN."""
    name = account.name("user")
    account.user(name, *policies, **members)
    arn: str = account.call("GetUser", UserName=name).user.arn
    return arn


@pytest.mark.parametrize(
    ("policies", "decision", "sources"),
    [
        ([ALLOW], "allowed", ["PolicyInputList.1"]),
        ([ALLOW, DENY], "explicitDeny", ["PolicyInputList.2"]),
        ([document("kms:Encrypt")], "implicitDeny", []),
        ([document("kms:Decrypt", f"{KEY[:-4]}9999")], "implicitDeny", []),
    ],
)
def test_policies_are_decided_on(account: Account, policies: list[str], decision: str, sources: list[str]) -> None:
    result = custom(account, *policies, ResourceArns=[KEY])
    assert (result.eval_action_name, result.eval_resource_name, result.eval_decision) == ("kms:Decrypt", KEY, decision)
    assert matched(result) == [(source, "none") for source in sources]
    assert result.permissions_boundary_decision_detail is None


def test_every_action_is_decided_on_every_resource_page_by_page(account: Account) -> None:
    other = f"{KEY}5"
    asked = {
        "PolicyInputList": [document("kms:Decrypt", KEY)],
        "ActionNames": ["kms:Encrypt", "kms:Decrypt"],
        "ResourceArns": [KEY, other],
        "MaxItems": 3,
    }
    pages = account.pages("SimulateCustomPolicy", "evaluation_results", **asked)
    assert [len(page) for page in pages] == [3, 1]
    told = [(one.eval_action_name, one.eval_resource_name, one.eval_decision) for page in pages for one in page]
    assert told == [
        ("kms:Encrypt", KEY, "implicitDeny"),
        ("kms:Encrypt", other, "implicitDeny"),
        ("kms:Decrypt", KEY, "allowed"),
        ("kms:Decrypt", other, "implicitDeny"),
    ]


def test_condition_keys_have_the_values_given_and_those_missing_are_told(account: Account) -> None:
    policy = document(Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})
    missing = custom(account, policy)
    assert (missing.eval_decision, missing.missing_context_values) == ("implicitDeny", ("aws:sourcevpc",))
    for value, decision in (("vpc-1", "allowed"), ("vpc-2", "implicitDeny")):
        result = custom(account, policy, ContextEntries=[entry("AWS:SourceVPC", value)])
        assert (result.eval_decision, result.missing_context_values) == (decision, ())


def test_variables_have_the_values_of_the_caller(account: Account) -> None:
    policy = document(resource=f"{KEY[:-4]}${{aws:username}}")
    arn = user(account, policy)
    name = arn.rpartition("/")[2]
    assert principal(account, arn, ResourceArns=[f"{KEY[:-4]}{name}"]).eval_decision == "allowed"
    as_bob = principal(account, arn, CallerArn=f"{ARN}user/Bob", ResourceArns=[f"{KEY[:-4]}Bob"])
    assert as_bob.eval_decision == "allowed"
    role = custom(account, policy, CallerArn=f"{ARN}role/Bob", ResourceArns=[f"{KEY[:-4]}Bob"])
    assert (role.eval_decision, role.missing_context_values) == ("implicitDeny", ("aws:username",))


def test_the_arn_of_a_role_is_its_own_and_not_its_sessions(account: Account) -> None:
    role = f"{ARN}role/ops/R"
    policy = document(Condition={"ArnEquals": {"aws:PrincipalArn": role}})
    assert custom(account, policy, CallerArn=role).eval_decision == "allowed"
    assert custom(account, policy, CallerArn=f"{ARN}role/R").eval_decision == "implicitDeny"


def test_tags_of_an_identity_count(account: Account) -> None:
    arn = user(account, document(Condition={"StringEquals": {"aws:PrincipalTag/Team": "red"}}))
    assert principal(account, arn).eval_decision == "implicitDeny"
    account.call("TagUser", UserName=arn.rpartition("/")[2], Tags=[{"Key": "team", "Value": "red"}])
    assert principal(account, arn).eval_decision == "allowed"


def test_policies_of_a_user_are_its_groups_too(account: Account) -> None:
    arn, group = user(account, document("kms:Encrypt")), account.name("group")
    name = arn.rpartition("/")[2]
    own = account.call("CreatePolicy", PolicyName="own", PolicyDocument=document("kms:Sign")).policy.arn
    account.call("CreateGroup", GroupName=group)
    account.call("PutGroupPolicy", GroupName=group, PolicyName="g", PolicyDocument=document("kms:Decrypt"))
    account.call("AttachUserPolicy", UserName=name, PolicyArn=POWER_USER)
    account.call("AttachUserPolicy", UserName=name, PolicyArn=own)
    assert principal(account, arn).eval_decision == "implicitDeny"
    account.call("AddUserToGroup", GroupName=group, UserName=name)
    for action, source in (
        ("kms:Encrypt", (f"user_{name}_p0", "user")),
        ("kms:Decrypt", (f"group_{group}_g", "group")),
        ("kms:CreateKey", (POWER_USER.rpartition("/")[2], "aws-managed")),
        ("kms:Sign", ("own", "user-managed")),
    ):
        result = principal(account, arn, action)
        assert (result.eval_decision, matched(result)) == ("allowed", [source])
    assert principal(account, f"{ARN}group/{group}").eval_decision == "allowed"
    more = principal(account, arn, PolicyInputList=[DENY])
    assert (more.eval_decision, matched(more)) == ("explicitDeny", [("PolicyInputList.1", "none")])


@pytest.mark.parametrize(
    ("policy", "boundary", "decision", "allowed"),
    [
        (ALLOW, ALLOW, "allowed", True),
        (ALLOW, document("kms:Sign"), "implicitDeny", False),
        (ALLOW, DENY, "explicitDeny", False),
        (document("kms:Sign"), ALLOW, "implicitDeny", True),
        (document("kms:Sign"), document("kms:Sign"), "implicitDeny", False),
        (DENY, ALLOW, "explicitDeny", True),
        (DENY, document("kms:Sign"), "explicitDeny", False),
    ],
)
def test_what_a_boundary_says_is_told_whatever_the_policies_say(
    account: Account, policy: str, boundary: str, decision: str, *, allowed: bool
) -> None:
    result = custom(account, policy, PermissionsBoundaryPolicyInputList=[boundary])
    assert result.eval_decision == decision
    assert result.permissions_boundary_decision_detail.allowed_by_permissions_boundary is allowed
    assert len(matched(result)) == (policy == DENY or decision == "allowed")


def test_the_boundary_of_an_identity_counts_unless_another_is_given(account: Account) -> None:
    limit = account.call("CreatePolicy", PolicyName="limit", PolicyDocument=document("kms:Sign")).policy.arn
    arn = user(account, ALLOW, PermissionsBoundary=limit)
    own, other = principal(account, arn), principal(account, arn, PermissionsBoundaryPolicyInputList=[ALLOW])
    assert (own.eval_decision, other.eval_decision) == ("implicitDeny", "allowed")
    assert not own.permissions_boundary_decision_detail.allowed_by_permissions_boundary


def test_a_resource_policy_counts(account: Account) -> None:
    bob = f"{ARN}user/Bob"
    nothing = document("s3:*")

    def decision(named: object, policy: str = nothing, **members: Any) -> str:
        result = custom(account, policy, ResourcePolicy=key_policy(named), CallerArn=bob, **members)
        told: str = result.eval_decision
        return told

    assert decision({"AWS": bob}) == "allowed"
    assert decision({"AWS": ACCOUNT}) == "implicitDeny"
    assert decision({"AWS": ACCOUNT}, ALLOW) == "allowed"
    assert decision({"AWS": f"{ARN}user/Eve"}, ALLOW) == "implicitDeny"
    assert decision({"AWS": bob}, ResourceOwner="444455556666") == "implicitDeny"
    assert decision({"AWS": bob}, ALLOW, ResourceOwner="444455556666") == "allowed"
    result = custom(account, nothing, ResourcePolicy=key_policy({"AWS": bob}), CallerArn=bob)
    assert matched(result) == [("ResourcePolicy", "resource")]


def test_a_role_named_by_a_resource_policy_stays_within_its_boundary(account: Account) -> None:
    role = account.name("role")
    account.call("CreateRole", RoleName=role, AssumeRolePolicyDocument=TRUST)
    arn = f"{ARN}role/{role}"
    named = {"ResourcePolicy": key_policy({"AWS": arn})}
    assert principal(account, arn, **named).eval_decision == "allowed"
    bounded = principal(account, arn, **named, PermissionsBoundaryPolicyInputList=[document("kms:Sign")])
    assert bounded.eval_decision == "implicitDeny"


@pytest.mark.parametrize(
    "members",
    [
        {"CallerArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"},
        {"CallerArn": f"{ARN}root"},
        {"ResourcePolicy": key_policy("*")},
        {"PermissionsBoundaryPolicyInputList": [ALLOW, ALLOW]},
        {"ActionNames": ["kms:*"]},
        {"ActionNames": ["decrypt"]},
        {"ActionNames": ["kms:Decrypt"] * 101, "ResourceArns": [KEY] * 100},
    ],
)
def test_what_is_asked_has_its_form(account: Account, members: dict[str, Any]) -> None:
    members = {"PolicyInputList": [ALLOW], "ActionNames": ["kms:Decrypt"]} | members
    assert account.refusal("SimulateCustomPolicy", **members)[0] == "InvalidInput"


@pytest.mark.parametrize("member", ["PolicyInputList", "PermissionsBoundaryPolicyInputList", "ResourcePolicy"])
def test_a_policy_that_cannot_be_read_is_refused(account: Account, member: str) -> None:
    members = {"PolicyInputList": [ALLOW], "ActionNames": ["kms:Decrypt"], "CallerArn": f"{ARN}user/Bob"}
    members[member] = "{}" if member == "ResourcePolicy" else ["{}"]
    code, text = account.refusal("SimulateCustomPolicy", **members)
    assert (code, text) == ("InvalidInput", "Syntax errors in policy.")


def test_who_is_not_there_is_not_simulated(account: Account) -> None:
    asked = {"ActionNames": ["kms:Decrypt"]}
    arn = user(account)
    for other in (f"{ARN}user/nobody", arn.replace("user/", "user/path/"), arn.replace(ACCOUNT, "444455556666")):
        assert account.refusal("SimulatePrincipalPolicy", PolicySourceArn=other, **asked)[0] == "NoSuchEntity"
    for wrong in (f"{ARN}root", f"{ARN}policy/p", f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"):
        assert account.refusal("SimulatePrincipalPolicy", PolicySourceArn=wrong, **asked)[0] == "InvalidInput"


def test_others_are_simulated_by_who_may(account: Account) -> None:
    arn = user(account, ALLOW)
    key = account.user(account.name("user"), document("iam:SimulatePrincipalPolicy", arn))
    asked: dict[str, Any] = {"ActionNames": ["kms:Decrypt"]}
    account.by(key).call("SimulatePrincipalPolicy", PolicySourceArn=arn, **asked)
    other = user(account, ALLOW)
    assert account.by(key).refusal("SimulatePrincipalPolicy", PolicySourceArn=other, **asked)[0] == "AccessDenied"
    assert account.by(key).refusal("SimulateCustomPolicy", PolicyInputList=[ALLOW], **asked)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("aws:PrincipalAccount", "StringEquals", ACCOUNT),
        ("aws:PrincipalArn", "ArnEquals", f"{ARN}user/simulated"),
        ("aws:username", "StringEquals", "simulated"),
        ("aws:CurrentTime", "DateGreaterThan", "2020-01-01T00:00:00Z"),
        ("aws:EpochTime", "NumericGreaterThan", "1"),
    ],
)
def test_what_every_request_has_need_not_be_given(account: Account, name: str, operator: str, value: str) -> None:
    assert custom(account, document(Condition={operator: {name: value}})).eval_decision == "allowed"


def test_what_is_simulated_is_what_is_decided(account: Account) -> None:
    """A user may do through the API what the simulation says, and nothing else."""
    limit = account.call("CreatePolicy", PolicyName="real", PolicyDocument=document("iam:List*")).policy.arn
    own = document(["iam:ListUsers", "iam:GetUser"])
    by = account.by(account.user("real", own, document("iam:ListRoles", effect="Deny"), PermissionsBoundary=limit))
    for operation, decision in (
        ("ListUsers", "allowed"),
        ("ListRoles", "explicitDeny"),
        ("ListGroups", "implicitDeny"),
        ("GetUser", "implicitDeny"),
    ):
        assert principal(account, f"{ARN}user/real", f"iam:{operation}").eval_decision == decision
        if decision == "allowed":
            by.call(operation)
        else:
            assert by.refusal(operation)[0] == "AccessDenied"


def test_a_policy_in_force_remembers_few_of_the_actions_that_were_asked(account: Account) -> None:
    text = document("kms:*", Sid="remembering")
    arn = user(account, text)
    for page in range(4):
        names = [f"kms:Imagined{page}x{number}" for number in range(100)]
        account.call("SimulatePrincipalPolicy", PolicySourceArn=arn, ActionNames=names)
    (statement,) = compiled_policy(text).allows
    assert 200 <= len(statement.answers) <= 256
    assert compile_identity_policy(text).allows[0].answers == {}
