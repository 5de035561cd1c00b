"""AssumeRole, GetSessionToken and GetCallerIdentity."""

import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec import structs

from strongroom.app.installing import new_access_key
from strongroom.model.iam import User
from strongroom.model.principal import Account as AccountRecord
from strongroom.sigv4.signing import Credential
from strongroom.storage.contract import Insert
from tests.composed import NOW
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, Account, document

OTHER = "444455556666"
ROOT = f"{ARN}root"
HOUR = 3_600
STS = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
EVERYTHING = document("*")


def trust(principal: str = ROOT, action: str | list[str] = "sts:AssumeRole", **members: Any) -> dict[str, Any]:
    """A statement of a trust policy."""
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action} | members


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def made(account: Account, *statements: dict[str, Any], **members: Any) -> str:
    """Make a role that these statements trust, by default its account; its ARN."""
    document = policy(*(statements or [trust(action=STS)]))
    arn: str = account.call(
        "CreateRole", RoleName=account.name("role"), AssumeRolePolicyDocument=document, **members
    ).role.arn
    return arn


def named(arn: str) -> str:
    return arn.rpartition("/")[2]


def asked(account: Account, arn: str, /, **members: Any) -> Any:
    """The response of AssumeRole."""
    return account.call("AssumeRole", service="sts", **{"RoleArn": arn, "RoleSessionName": "work"} | members)


def credential(response: Any) -> Credential:
    given = response.credentials
    return Credential(given.access_key_id, given.secret_access_key, given.session_token)


def assumed(account: Account, arn: str, /, **members: Any) -> Account:
    """The account as a session of a role calls it."""
    return account.by(credential(asked(account, arn, **members)))


def refused(account: Account, arn: str, /, **members: Any) -> tuple[str, str | None]:
    """What AssumeRole is refused with."""
    return account.refusal("AssumeRole", service="sts", **{"RoleArn": arn, "RoleSessionName": "work"} | members)


def denial(caller: str, action: str, arn: str) -> tuple[str, str]:
    return "AccessDenied", f"User: {caller} is not authorized to perform: {action} on resource: {arn}"


def tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


@pytest.fixture(scope="module")
def anyone(account: Account) -> Account:
    """The account as a user calls it who may do everything."""
    return account.by(account.user("anyone", EVERYTHING))


def test_a_session_of_a_role_is_made(account: Account, anyone: Account) -> None:
    arn = made(account, Path="/staff/")
    role = account.call("GetRole", RoleName=named(arn)).role
    response = asked(anyone, arn)
    assert response.assumed_role_user.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.role_name}/work"
    assert response.assumed_role_user.assumed_role_id == f"{role.role_id}:work"
    assert response.credentials.access_key_id.startswith("ASIA")
    assert (len(response.credentials.access_key_id), len(response.credentials.secret_access_key)) == (20, 40)
    assert response.credentials.expiration == NOW + HOUR
    assert response.packed_policy_size is response.source_identity is None
    who = account.by(credential(response)).call("GetCallerIdentity", service="sts")
    assert (who.user_id, who.account, who.arn) == (f"{role.role_id}:work", ACCOUNT, response.assumed_role_user.arn)


def test_sessions_have_credentials_of_their_own(account: Account, anyone: Account) -> None:
    arn = made(account)
    first, second = credential(asked(anyone, arn)), credential(asked(anyone, arn))
    assert first.access_key_id != second.access_key_id
    for mixed in (
        Credential(first.access_key_id, first.secret),
        Credential(first.access_key_id, first.secret, second.session_token),
    ):
        refusal = account.by(mixed).refusal("GetCallerIdentity", service="sts")
        assert refusal == ("InvalidClientTokenId", "The security token included in the request is invalid.")
    forged = Credential(first.access_key_id, second.secret, first.session_token)
    assert account.by(forged).refusal("GetCallerIdentity", service="sts")[0] == "SignatureDoesNotMatch"


def test_secrets_are_in_no_record_and_no_repr(account: Account, anyone: Account) -> None:
    arn = made(account)
    response = asked(anyone, arn, ExternalId="word")
    given = response.credentials
    record = account.parts.records()[-1]
    for secret in (given.secret_access_key, given.session_token):
        assert secret not in json.dumps(account.parts.records())
        assert secret not in repr(response)
        assert secret not in repr(credential(response))
    assert record["responseElements"] == {
        "credentials": {"accessKeyId": given.access_key_id, "expiration": given.expiration},
        "assumedRoleUser": {
            "assumedRoleId": response.assumed_role_user.assumed_role_id,
            "arn": response.assumed_role_user.arn,
        },
    }
    assert record["requestParameters"] == {"roleArn": arn, "roleSessionName": "work", "externalId": "word"}
    assert record["resources"] == [{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": arn}]


def test_who_is_trusted_by_name_needs_nothing_more(account: Account) -> None:
    key = account.user("trusted")
    arn = made(account, trust(f"{ARN}user/trusted"))
    asked(account.by(key), arn)
    other = account.by(account.user("distrusted", EVERYTHING))
    assert refused(other, arn) == denial(f"{ARN}user/distrusted", "sts:AssumeRole", arn)


def test_who_is_trusted_through_the_account_needs_a_policy(account: Account) -> None:
    arn, other = made(account), made(account)
    by = account.by(account.user("without"))
    assert refused(by, arn) == denial(f"{ARN}user/without", "sts:AssumeRole", arn)
    account.call("PutUserPolicy", UserName="without", PolicyName="p", PolicyDocument=document("sts:AssumeRole", arn))
    asked(by, arn)
    assert refused(by, other)[0] == "AccessDenied"


def test_a_refusal_does_not_tell_whether_there_is_a_role(account: Account) -> None:
    by = account.by(account.user("curious", EVERYTHING))
    there = made(account, trust(f"{ARN}user/curious", Effect="Deny"), Path="/hidden/")
    for arn in (
        there,
        there.replace("/hidden/", "/"),
        there.upper().replace("ARN:AWS:IAM", "arn:aws:iam"),
        f"{ARN}role/none",
        f"arn:aws:iam::{OTHER}:role/none",
        "arn:aws:iam::999999999999:role/none",
        f"{ARN}user/curious",
        "arn:aws:kms:us-east-1:111122223333:key/none",
    ):
        assert refused(by, arn) == denial(f"{ARN}user/curious", "sts:AssumeRole", arn)


@pytest.mark.usefixtures("anyone")
def test_a_denial_is_stronger(account: Account) -> None:
    arn = made(account, trust(f"{ARN}user/anyone"))
    denied = account.user("denied", EVERYTHING, document("sts:*", arn, "Deny"))
    account.call(
        "UpdateAssumeRolePolicy",
        RoleName=named(arn),
        PolicyDocument=policy(trust(f"{ARN}user/denied"), trust(f"{ARN}user/anyone")),
    )
    assert refused(account.by(denied), arn) == denial(f"{ARN}user/denied", "sts:AssumeRole", arn)


def test_root_users_assume_no_roles(account: Account, anyone: Account) -> None:
    asked(anyone, made(account, trust(f"{ARN}user/anyone")))
    roots = ("AccessDenied", "Roles may not be assumed by root accounts.")
    assert refused(account, made(account, trust(action=STS))) == roots
    assert refused(account, made(account, trust("*"))) == roots
    assert refused(account, made(account, trust(f"{ARN}user/anyone")))[0] == "AccessDenied"


def test_a_role_may_ask_for_an_external_id(account: Account, anyone: Account) -> None:
    arn = made(account, trust(Condition={"StringEquals": {"sts:ExternalId": "the-word"}}))
    asked(anyone, arn, ExternalId="the-word")
    for wrong in ({}, {"ExternalId": "the-Word"}):
        assert refused(anyone, arn, **wrong)[0] == "AccessDenied"
    assert refused(anyone, arn, ExternalId="x")[0] == "ValidationError"


def test_a_role_may_ask_for_the_name_of_the_session(account: Account) -> None:
    arn = made(account, trust(Condition={"StringEquals": {"sts:RoleSessionName": "${aws:username}"}}))
    by = account.by(account.user("namesake", EVERYTHING))
    asked(by, arn, RoleSessionName="namesake")
    assert refused(by, arn, RoleSessionName="another")[0] == "AccessDenied"


@pytest.mark.parametrize(
    "members",
    [
        {"RoleArn": "arn:short"},
        {"RoleSessionName": "x"},
        {"RoleSessionName": "a b"},
        {"RoleSessionName": "x" * 65},
        {"DurationSeconds": 899},
        {"DurationSeconds": 43_201},
        {"SourceIdentity": "aws:x"},
        {"Tags": tags((f"k{number}", "") for number in range(51))},
        {"Tags": tags([("", "x")])},
        {"Tags": tags([("k", "x" * 257)])},
    ],
)
def test_parameters_have_their_form(anyone: Account, members: dict[str, Any]) -> None:
    code, text = refused(anyone, f"{ARN}role/any", **members)
    assert (code, "validation error" in str(text)) == ("ValidationError", True)


def test_what_is_not_there_is_refused(anyone: Account) -> None:
    mfa = ("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code. ")
    assert refused(anyone, f"{ARN}role/any", SerialNumber=f"{ARN}mfa/x", TokenCode="123456") == mfa
    contexts = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/IdentityCenter", "ContextAssertion": "abcd"}]
    told = ("ValidationError", "ProvidedContexts are not supported.")
    assert refused(anyone, f"{ARN}role/any", ProvidedContexts=contexts) == told


def test_a_session_lasts_as_long_as_its_role_allows(account: Account, anyone: Account) -> None:
    usual, long = made(account), made(account, MaxSessionDuration=43_200)
    assert asked(anyone, usual, DurationSeconds=900).credentials.expiration == NOW + 900
    assert asked(anyone, usual, DurationSeconds=HOUR).credentials.expiration == NOW + HOUR
    assert asked(anyone, long).credentials.expiration == NOW + HOUR
    assert asked(anyone, long, DurationSeconds=43_200).credentials.expiration == NOW + 43_200
    assert refused(anyone, usual, DurationSeconds=HOUR + 1) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )


def test_a_session_of_a_session_lasts_an_hour_at_most(account: Account, anyone: Account) -> None:
    first, second = made(account), made(account, MaxSessionDuration=43_200)
    account.call("PutRolePolicy", RoleName=named(first), PolicyName="p", PolicyDocument=document("sts:*"))
    chained = assumed(anyone, first)
    assert asked(chained, second).credentials.expiration == NOW + HOUR
    assert asked(chained, second, DurationSeconds=HOUR).credentials.expiration == NOW + HOUR
    assert refused(chained, second, DurationSeconds=HOUR + 1) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
    )


def test_a_chain_needs_the_right_at_every_link(account: Account, anyone: Account) -> None:
    first = made(account)
    second = made(account, trust(first))
    by_name, by_account = assumed(anyone, first), assumed(anyone, first)
    asked(by_name, second)
    third = made(account)
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(first)}/work"
    assert refused(by_account, third) == denial(session, "sts:AssumeRole", third)
    itself = made(account, trust(session))
    asked(by_name, itself)
    assert refused(assumed(anyone, first, RoleSessionName="play"), itself)[0] == "AccessDenied"


def test_a_session_ends_with_its_role_and_none_made_again_revives_it(account: Account, anyone: Account) -> None:
    arn = made(account)
    session = assumed(anyone, arn)
    session.call("GetCallerIdentity", service="sts")
    account.call("DeleteRole", RoleName=named(arn))
    gone = ("InvalidClientTokenId", "The security token included in the request is invalid.")
    assert session.refusal("GetCallerIdentity", service="sts") == gone
    account.call("CreateRole", RoleName=named(arn), AssumeRolePolicyDocument=policy(trust()))
    assert session.refusal("GetCallerIdentity", service="sts") == gone


def test_who_is_made_again_is_not_trusted(account: Account) -> None:
    by = account.by(account.user("again", EVERYTHING))
    arn = made(account, trust(f"{ARN}user/again"))
    asked(by, arn)
    name = account.call("ListAccessKeys", UserName="again").access_key_metadata[0].access_key_id
    account.call("DeleteAccessKey", UserName="again", AccessKeyId=name)
    account.call("DeleteUserPolicy", UserName="again", PolicyName="p0")
    account.call("DeleteUser", UserName="again")
    by = account.by(account.user("again", EVERYTHING))
    assert refused(by, arn) == denial(f"{ARN}user/again", "sts:AssumeRole", arn)
    account.call("UpdateAssumeRolePolicy", RoleName=named(arn), PolicyDocument=policy(trust(f"{ARN}user/again")))
    asked(by, arn)


# Tags


TEAM = {"Tags": tags([("Team", "red")])}


def by_team(action: str = "iam:ListUsers") -> str:
    """Allow an action to who has the tag Team=red."""
    return document(action, Condition={"StringEquals": {"aws:PrincipalTag/Team": "red"}})


def test_tags_need_a_permission_of_their_own(account: Account) -> None:
    without = made(account, trust())
    by = account.by(account.user("tagger", document("sts:AssumeRole")))
    asked(by, without)
    assert refused(by, without, **TEAM) == denial(f"{ARN}user/tagger", "sts:TagSession", without)
    account.call("PutUserPolicy", UserName="tagger", PolicyName="p1", PolicyDocument=document("sts:TagSession"))
    assert refused(by, without, **TEAM) == denial(f"{ARN}user/tagger", "sts:TagSession", without)
    asked(by, made(account, trust(action=STS)), **TEAM)


def test_tags_that_are_asked_for_are_decided_on(account: Account, anyone: Account) -> None:
    only = {
        "StringEquals": {"aws:RequestTag/team": ["red", "blue"]},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["Team", "Level"], "sts:TransitiveTagKeys": ["Team"]},
    }
    arn = made(account, trust(), trust(action="sts:TagSession", Condition=only))
    asked(anyone, arn, **TEAM, TransitiveTagKeys=["Team"])
    asked(anyone, arn, Tags=tags([("Team", "blue"), ("Level", "1")]))
    for wrong in (
        {"Tags": tags([("Team", "green")])},
        {"Tags": tags([("Team", "red"), ("Other", "1")])},
        {"Tags": tags([("Level", "1")])},
        {"Tags": tags([("Team", "red"), ("Level", "1")]), "TransitiveTagKeys": ["Team", "Level"]},
    ):
        assert refused(anyone, arn, **wrong) == denial(f"{ARN}user/anyone", "sts:TagSession", arn)


def test_tags_of_a_session_are_its_callers(account: Account, anyone: Account) -> None:
    arn = made(account, Tags=tags([("team", "blue"), ("Site", "A")]))
    account.call("PutRolePolicy", RoleName=named(arn), PolicyName="p", PolicyDocument=by_team())
    site = document("iam:ListGroups", Condition={"StringEquals": {"aws:PrincipalTag/Site": "A"}})
    account.call("PutRolePolicy", RoleName=named(arn), PolicyName="q", PolicyDocument=site)
    assert assumed(anyone, arn).refusal("ListUsers")[0] == "AccessDenied"
    tagged = assumed(anyone, arn, **TEAM)  # it stands for the role's, whatever its case
    tagged.call("ListUsers")
    tagged.call("ListGroups")


def test_tags_that_no_session_has(anyone: Account, account: Account) -> None:
    arn = made(account)
    twice = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    assert refused(anyone, arn, Tags=tags([("Team", "a"), ("team", "b")])) == ("ValidationError", twice)
    reserved = "Tag keys beginning with aws: are reserved for system use."
    assert refused(anyone, arn, Tags=tags([("AWS:x", "a")])) == ("ValidationError", reserved)
    absent = "The specified transitive tag key must be included in the requested tags."
    assert refused(anyone, arn, **TEAM, TransitiveTagKeys=["Other"]) == ("ValidationError", absent)
    assert refused(anyone, arn, TransitiveTagKeys=["Team"]) == ("ValidationError", absent)


def chain(account: Account, **second: Any) -> tuple[str, str]:
    """Two roles, of which the first may assume the second."""
    first = made(account)
    account.call("PutRolePolicy", RoleName=named(first), PolicyName="p", PolicyDocument=document(STS))
    return first, made(account, **second)


@pytest.mark.parametrize("spelled", ["Team", "tEAM"])
def test_transitive_tags_go_along(account: Account, anyone: Account, spelled: str) -> None:
    """AWS: "Chaining roles with session tags"."""
    first, second = chain(account, Tags=tags([("TEAM", "blue")]))
    for action in ("iam:ListUsers", *STS):
        account.call("PutRolePolicy", RoleName=named(second), PolicyName=action[4:], PolicyDocument=by_team(action))
    third = made(account)
    account.call("PutRolePolicy", RoleName=named(third), PolicyName="p", PolicyDocument=by_team())
    plain = assumed(anyone, first, **TEAM)
    assert assumed(plain, second).refusal("ListUsers")[0] == "AccessDenied"
    with_tag = assumed(anyone, first, **TEAM, TransitiveTagKeys=[spelled])
    inherited = assumed(with_tag, second)
    inherited.call("ListUsers")
    assumed(inherited, third).call("ListUsers")
    code, text = refused(with_tag, second, Tags=tags([("tEam", "blue")]))
    assert (code, "conflicts with a transitive tag key" in str(text)) == ("ValidationError", True)
    assert asked(inherited, third, Tags=tags([("Other", "x")])).packed_policy_size == 4  # two of fifty


def test_inherited_tags_need_the_permission_to_tag(account: Account, anyone: Account) -> None:
    first, _ = chain(account)
    second = made(account, trust())
    asked(assumed(anyone, first, **TEAM), second)
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(first)}/work"
    tagged = assumed(anyone, first, **TEAM, TransitiveTagKeys=["Team"])
    assert refused(tagged, second) == denial(session, "sts:TagSession", second)


def test_a_session_has_fifty_tags_at_most(account: Account, anyone: Account) -> None:
    first, second = chain(account)
    keys = [f"k{number}" for number in range(50)]
    full = assumed(anyone, first, Tags=tags((key, "") for key in keys), TransitiveTagKeys=keys)
    assert asked(full, second).packed_policy_size == 100
    told = ("PackedPolicyTooLarge", "Packed size of session tags consumes 102% of allotted space.")
    assert refused(full, second, Tags=tags([("more", "")])) == told


def test_the_largest_session_can_be_used(account: Account, anyone: Account) -> None:
    arn = made(account)
    keys = [f"{number:02}".ljust(128, "k") for number in range(50)]
    members = {
        "Tags": tags((key, "v" * 256) for key in keys),
        "TransitiveTagKeys": keys,
        "Policy": sized(2_048),
        "PolicyArns": [{"arn": POWER_USER}] * 10,
    }
    response = asked(anyone, arn, **members)
    assert response.packed_policy_size == 100
    account.by(credential(response)).call("GetCallerIdentity", service="sts")
    code, text = refused(anyone, arn, **members | {"Tags": tags((key, "é" * 256) for key in keys)})
    assert (code, text) == ("PackedPolicyTooLarge", "Packed size of session tags consumes 149% of allotted space.")


def sized(characters: int) -> str:
    """A policy of so many characters."""
    return document(Sid="x" * (characters - len(document(Sid=""))))


# Source identity


def test_a_source_identity_needs_a_permission_of_its_own(account: Account, anyone: Account) -> None:
    arn = made(account, trust())
    assert refused(anyone, arn, SourceIdentity="ann") == denial(f"{ARN}user/anyone", "sts:SetSourceIdentity", arn)
    arn = made(account, trust(action=STS, Condition={"StringEquals": {"sts:SourceIdentity": "ann"}}))
    assert asked(anyone, arn, SourceIdentity="ann").source_identity == "ann"
    for wrong in ({}, {"SourceIdentity": "ben"}):
        assert refused(anyone, arn, **wrong)[0] == "AccessDenied"


def test_a_source_identity_stays(account: Account, anyone: Account) -> None:
    """AWS: "Monitor and control actions taken with assumed roles"."""
    first, second = chain(account)
    session = assumed(anyone, first, SourceIdentity="ann")
    assert asked(session, second).source_identity == "ann"
    assert asked(session, second, SourceIdentity="ann").source_identity == "ann"
    assert refused(session, second, SourceIdentity="ben")[0] == "AccessDenied"
    assumed(session, second).call("GetCallerIdentity", service="sts")
    assert account.parts.records()[-1]["userIdentity"]["sessionContext"]["sourceIdentity"] == "ann"


def test_an_inherited_source_identity_is_decided_on(account: Account, anyone: Account) -> None:
    first, _ = chain(account)
    session, without = assumed(anyone, first, SourceIdentity="ann"), assumed(anyone, first)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(first)}/work"
    second = made(account, trust())
    asked(without, second)
    assert refused(session, second) == denial(arn, "sts:SetSourceIdentity", second)
    for key in ("sts:SourceIdentity", "aws:SourceIdentity"):
        only = made(account, trust(action=STS, Condition={"StringEquals": {key: "ann"}}))
        asked(session, only)
        assert refused(without, only)[0] == "AccessDenied"
        other = made(account, trust(action=STS, Condition={"StringEquals": {key: "ben"}}))
        assert refused(session, other)[0] == "AccessDenied"


# Session policies


def test_session_policies_limit_what_the_role_may(account: Account, anyone: Account) -> None:
    arn = made(account)
    account.call("PutRolePolicy", RoleName=named(arn), PolicyName="p", PolicyDocument=document("iam:List*"))
    users, groups = document("iam:ListUsers"), document("iam:ListGroups")
    managed = account.call("CreatePolicy", PolicyName=account.name("limit"), PolicyDocument=groups).policy.arn
    for members, allowed in (
        ({}, {"ListUsers", "ListGroups", "ListRoles"}),
        ({"Policy": users}, {"ListUsers"}),
        ({"PolicyArns": [{"arn": managed}]}, {"ListGroups"}),
        ({"Policy": users, "PolicyArns": [{"arn": managed}]}, {"ListUsers", "ListGroups"}),
        ({"Policy": EVERYTHING}, {"ListUsers", "ListGroups", "ListRoles"}),
        ({"Policy": document("iam:ListUsers", effect="Deny"), "PolicyArns": [{"arn": managed}]}, {"ListGroups"}),
    ):
        session = assumed(anyone, arn, **members)
        for operation in ("ListUsers", "ListGroups", "ListRoles", "GetAccountAuthorizationDetails"):
            if operation in allowed:
                session.call(operation)
            else:
                assert session.refusal(operation)[0] == "AccessDenied", (members, operation)
    session = assumed(anyone, arn, PolicyArns=[{"arn": managed}])
    account.call("DeletePolicy", PolicyArn=managed)
    assert session.refusal("ListGroups")[0] == "AccessDenied"


def test_session_policies_have_their_form(account: Account, anyone: Account) -> None:
    arn = made(account)
    for text, told in (
        ("{", "This policy contains invalid Json"),
        (policy(trust()), "Policy document should not specify a principal."),
        ('{"Version": "2012-10-17", "Statement": []}', "Syntax errors in policy."),
    ):
        assert refused(anyone, arn, Policy=text) == ("MalformedPolicyDocument", told)
    asked(anyone, arn, Policy=sized(2_048))
    assert refused(anyone, arn, Policy=sized(2_049))[0] == "PackedPolicyTooLarge"
    asked(anyone, arn, PolicyArns=[{"arn": POWER_USER}] * 10)
    too_many = ("ValidationError", "The number of policy ARNs must not exceed 10.")
    assert refused(anyone, arn, PolicyArns=[{"arn": POWER_USER}] * 11) == too_many
    for missing in (f"{ARN}policy/none", f"arn:aws:iam::{OTHER}:policy/none"):
        told = f"Policy {missing} does not exist or is not attachable."
        assert refused(anyone, arn, PolicyArns=[{"arn": missing}]) == ("ValidationError", told)


# Another account


@pytest.fixture(scope="module")
def foreigner(account: Account) -> Account:
    """A user of another account who may assume every role."""
    opened = account.parts.opened
    user = User(OTHER, "AIDA4444444444444444", "foreigner", "/", NOW, policies=(("p", document("sts:*")),))
    key, secret = new_access_key(opened.domain_keys, OTHER, NOW)
    records = (AccountRecord(OTHER, NOW), user, structs.replace(key, user_id=user.user_id))
    opened.storage.commit([Insert(record) for record in records], None)
    return account.by(Credential(key.access_key_id, secret))


def test_a_role_of_another_account_is_assumed_if_both_sides_allow(account: Account, foreigner: Account) -> None:
    caller = f"arn:aws:iam::{OTHER}:user/foreigner"
    for principal in (caller, f"arn:aws:iam::{OTHER}:root"):
        arn = made(account, trust(principal))
        response = asked(foreigner, arn)
        who = account.by(credential(response)).call("GetCallerIdentity", service="sts")
        assert (who.account, who.arn) == (ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/{named(arn)}/work")
    own = made(account)
    assert refused(foreigner, own) == denial(caller, "sts:AssumeRole", own)


# GetSessionToken


def token(account: Account, **members: Any) -> Any:
    return account.call("GetSessionToken", service="sts", **members)


def test_a_user_has_sessions_of_its_own(account: Account) -> None:
    by = account.by(account.user("sessions", document(["sts:AssumeRole", "iam:*"])))
    response = token(by)
    assert response.credentials.expiration == NOW + 12 * HOUR
    assert token(by, DurationSeconds=900).credentials.expiration == NOW + 900
    assert token(by, DurationSeconds=129_600).credentials.expiration == NOW + 129_600
    for seconds in (899, 129_601):
        assert by.refusal("GetSessionToken", service="sts", DurationSeconds=seconds)[0] == "ValidationError"
    session = account.by(credential(response))
    assert session.call("GetCallerIdentity", service="sts").arn == f"{ARN}user/sessions"
    asked(session, made(account))
    told = ("InvalidClientTokenId", "The security token included in the request is invalid.")
    assert session.refusal("ListUsers") == told


def test_a_session_of_a_user_is_no_link_of_a_chain(account: Account, anyone: Account) -> None:
    long = made(account, MaxSessionDuration=43_200)
    session = account.by(credential(token(anyone)))
    assert asked(session, long, DurationSeconds=43_200).credentials.expiration == NOW + 43_200


def test_a_session_of_a_root_user_lasts_an_hour_at_most(account: Account) -> None:
    for asked_for, lasts in (({}, HOUR), ({"DurationSeconds": 129_600}, HOUR), ({"DurationSeconds": 900}, 900)):
        assert token(account, **asked_for).credentials.expiration == NOW + lasts
    session = account.by(credential(token(account)))
    assert session.call("GetCallerIdentity", service="sts").arn == ROOT
    assert session.refusal("ListUsers")[0] == "InvalidClientTokenId"
    assert refused(session, made(account))[1] == "Roles may not be assumed by root accounts."


def test_sessions_make_no_session_tokens(account: Account, anyone: Account) -> None:
    told = ("AccessDenied", "Cannot call GetSessionToken with session credentials")
    for session in (account.by(credential(token(anyone))), assumed(anyone, made(account))):
        assert session.refusal("GetSessionToken", service="sts") == told
    mfa = ("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code. ")
    assert anyone.refusal("GetSessionToken", service="sts", TokenCode="123456") == mfa


def test_a_session_of_a_user_ends_with_it(account: Account) -> None:
    by = account.by(account.user("ending"))
    session = account.by(credential(token(by)))
    key = account.call("ListAccessKeys", UserName="ending").access_key_metadata[0].access_key_id
    account.call("DeleteAccessKey", UserName="ending", AccessKeyId=key)
    session.call("GetCallerIdentity", service="sts")
    account.call("DeleteUser", UserName="ending")
    assert session.refusal("GetCallerIdentity", service="sts")[0] == "InvalidClientTokenId"


# GetCallerIdentity


def test_everybody_may_ask_who_they_are(account: Account) -> None:
    who = account.call("GetCallerIdentity", service="sts")
    assert (who.user_id, who.account, who.arn) == (ACCOUNT, ACCOUNT, ROOT)
    by = account.by(account.user("self", document("*", effect="Deny"), Path="/staff/"))
    user = account.call("GetUser", UserName="self").user
    who = by.call("GetCallerIdentity", service="sts")
    assert (who.user_id, who.account, who.arn) == (user.user_id, ACCOUNT, f"{ARN}user/staff/self")


def test_a_policy_of_trust_is_told_as_it_was_given(account: Account) -> None:
    text = policy(trust(), trust("*", Effect="Deny", Condition={"Null": {"aws:SourceIp": "true"}}))
    arn = account.call("CreateRole", RoleName=account.name("told"), AssumeRolePolicyDocument=text).role.arn
    told = account.call("GetRole", RoleName=named(arn)).role.assume_role_policy_document
    assert urllib.parse.unquote(told) == text
