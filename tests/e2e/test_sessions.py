"""Sessions of roles and of users: what they hand on, what limits them, and what ends them, on two server processes."""

import time
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from strongroom.testing.server import Server
from tests.e2e.calls import Key, Statement, allow, make_key, policy, refusal
from tests.e2e.commands import strongroom
from tests.e2e.conftest import OTHER, first_account
from tests.e2e.people import (
    Account,
    User,
    account_of,
    assume,
    both_processes,
    client,
    delete_user,
    make_user,
    name,
    of_session,
)
from tests.records import record_of_request

ENCRYPT: Statement = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}
RED = [{"Key": "Team", "Value": "red"}]
BLUE = [{"Key": "team", "Value": "blue"}]


class Role(NamedTuple):
    name: str
    arn: str
    role_id: str


@pytest.fixture(scope="module")
def first(pair: Server) -> Account:
    return account_of(pair, first_account(pair))


@pytest.fixture(scope="module")
def second(pair: Server) -> Account:
    return account_of(pair, OTHER)


@pytest.fixture(scope="module")
def key(first: Account) -> Key:
    return make_key(first.kms[0])


@pytest.fixture(scope="module")
def by(first: Account) -> User:
    """Who assumes roles, and has no rights else."""
    return make_user(first.iam)


def make_role(account: Account, *trusted: str, **members: Any) -> Role:
    """A role that these may assume, with session tags and a source identity."""
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    trust = policy({"Effect": "Allow", "Principal": {"AWS": list(trusted)}, "Action": actions})
    parameters = {"RoleName": name("role"), "AssumeRolePolicyDocument": trust} | members
    made = account.iam.create_role(**parameters)["Role"]
    return Role(made["RoleName"], made["Arn"], made["RoleId"])


def session_arn(account: Account, role: Role) -> str:
    return f"arn:aws:sts::{account.account}:assumed-role/{role.name}/work"


def encrypt(kms: Any, key: Key) -> dict[str, Any]:
    response: dict[str, Any] = kms.encrypt(KeyId=key.arn, Plaintext=b"x")
    return response


def refused_code(kms: Any, key: Key) -> str:
    return refusal(kms.encrypt, KeyId=key.arn, Plaintext=b"x")[0]


def sts_refusal(server: Server, credential: dict[str, str], role: str, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        assume(server, credential, role, **parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_key_policy_decides_on_session_tags(pair: Server, first: Account, by: User) -> None:
    role = make_role(first, by.arn, Tags=[{"Key": "TEAM", "Value": "green"}])
    key = make_key(first.kms[0])
    tagged = ENCRYPT | {"Principal": {"AWS": role.arn}, "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}}
    red = both_processes(pair, assume(pair, by.credential, role.arn, Tags=RED))
    others = [assume(pair, by.credential, role.arn), assume(pair, by.credential, role.arn, Tags=BLUE)]
    for kms in red:
        assert refused_code(kms, key) == "AccessDeniedException"
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), tagged))
    for kms in red:  # a tag of the session stands for the role's of the same key
        encrypt(kms, key)
    for credential in others:
        assert refused_code(client(pair, "kms", credential), key) == "AccessDeniedException"
    first.kms[1].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account)))
    for kms in red:
        assert refused_code(kms, key) == "AccessDeniedException"


def test_transitive_tags_and_the_source_identity_are_handed_down(pair: Server, first: Account, by: User) -> None:
    link = make_role(first, by.arn)
    last = make_role(first, link.arn)
    key = make_key(first.kms[0])
    tagged = {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:SourceIdentity": "ann"}}
    statement = ENCRYPT | {"Principal": {"AWS": last.arn}, "Condition": tagged}
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), statement))
    through = assume(pair, by.credential, link.arn, Tags=RED, TransitiveTagKeys=["TEAM"], SourceIdentity="ann")
    used = encrypt(client(pair, "kms", assume(pair, through, last.arn)), key)
    identity = record_of_request(pair.data, used)["userIdentity"]
    assert (identity["type"], identity["arn"]) == ("AssumedRole", session_arn(first, last))
    assert identity["sessionContext"]["sourceIdentity"] == "ann"
    issuer = identity["sessionContext"]["sessionIssuer"]
    assert (issuer["arn"], issuer["principalId"]) == (last.arn, last.role_id)

    assert sts_refusal(pair, through, last.arn, Tags=BLUE)[0] == "ValidationError"
    assert sts_refusal(pair, through, last.arn, SourceIdentity="bob")[0] == "AccessDenied"
    assert sts_refusal(pair, through, last.arn, DurationSeconds=3601)[0] == "ValidationError"
    kept = assume(pair, by.credential, link.arn, Tags=RED, SourceIdentity="ann")  # not transitive
    assert refused_code(client(pair, "kms", assume(pair, kept, last.arn)), key) == "AccessDeniedException"

    plain = policy({"Effect": "Allow", "Principal": {"AWS": link.arn}, "Action": "sts:AssumeRole"})
    first.iam.update_assume_role_policy(RoleName=last.name, PolicyDocument=plain)
    for session in (through, kept):  # what is handed down needs its permission too
        assert sts_refusal(pair, session, last.arn)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("action", "parameters"),
    [("sts:TagSession", {"Tags": RED}), ("sts:SetSourceIdentity", {"SourceIdentity": "ann"})],
)
def test_tags_and_a_source_identity_need_a_permission(
    pair: Server, first: Account, by: User, action: str, parameters: dict[str, Any]
) -> None:
    trust = policy({"Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": "sts:AssumeRole"})
    role = make_role(first, by.arn, AssumeRolePolicyDocument=trust)
    assume(pair, by.credential, role.arn)
    refused = sts_refusal(pair, by.credential, role.arn, **parameters)
    text = f"User: {by.arn} is not authorized to perform: {action} on resource: {role.arn}"
    assert refused == ("AccessDenied", text)


def test_a_trust_policy_decides_on_the_name_of_a_session(pair: Server, first: Account, by: User) -> None:
    trusted = {"Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": "sts:AssumeRole"}
    condition = {"StringEquals": {"sts:RoleSessionName": "${aws:username}"}}
    role = make_role(first, by.arn, AssumeRolePolicyDocument=policy(trusted | {"Condition": condition}))
    assume(pair, by.credential, role.arn, by.name)
    assert sts_refusal(pair, by.credential, role.arn, session="somebody")[0] == "AccessDenied"


def test_a_role_is_assumed_by_its_whole_arn(pair: Server, first: Account, by: User) -> None:
    role = make_role(first, by.arn, Path="/team/")
    assert role.arn == f"arn:aws:iam::{first.account}:role/team/{role.name}"
    found = client(pair, "sts", assume(pair, by.credential, role.arn)).get_caller_identity()
    assert found["Arn"] == session_arn(first, role)  # AWS: without the path
    for wrong in (role.arn.replace("/team/", "/"), role.arn.upper(), role.arn.replace("/team/", "/other/")):
        assert sts_refusal(pair, by.credential, wrong)[0] in ("AccessDenied", "ValidationError")


@pytest.mark.parametrize("whom", ["the role", "the session"])
def test_a_role_that_is_made_again_has_no_part_in_policies_and_grants(
    pair: Server, first: Account, by: User, whom: str
) -> None:
    old = make_role(first, by.arn)
    named = old.arn if whom == "the role" else session_arn(first, old)
    unique_id = old.role_id if whom == "the role" else f"{old.role_id}:work"
    key = make_key(first.kms[0])
    statement = ENCRYPT | {"Principal": {"AWS": named}}
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), statement))
    granted = make_key(first.kms[0])
    first.kms[0].create_grant(KeyId=granted.key_id, GranteePrincipal=named, Operations=["Encrypt"])
    for kms in both_processes(pair, assume(pair, by.credential, old.arn)):
        encrypt(kms, key)
        encrypt(kms, granted)
    first.iam.delete_role(RoleName=old.name)
    new = make_role(first, by.arn, RoleName=old.name)
    assert (new.arn, new.role_id == old.role_id) == (old.arn, False)
    for kms in both_processes(pair, assume(pair, by.credential, new.arn)):
        assert refused_code(kms, key) == "AccessDeniedException"
        assert refused_code(kms, granted) == "AccessDeniedException"
    for kms in first.kms:
        assert f'"{unique_id}"' in kms.get_key_policy(KeyId=key.key_id)["Policy"]
        assert unique_id in [grant["GranteePrincipal"] for grant in kms.list_grants(KeyId=granted.key_id)["Grants"]]


def test_a_foreigner_who_is_made_again_has_no_part_in_anything(pair: Server, first: Account, second: Account) -> None:
    key, granted = make_key(first.kms[0]), make_key(first.kms[0])
    old = make_user(second.iam)
    role = make_role(first, old.arn)
    statement = ENCRYPT | {"Principal": {"AWS": old.arn}}
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), statement))
    first.kms[0].create_grant(KeyId=granted.key_id, GranteePrincipal=old.arn, Operations=["Encrypt"])
    may = policy({"Effect": "Allow", "Action": ["kms:Encrypt", "sts:AssumeRole"], "Resource": "*"})
    second.iam.put_user_policy(UserName=old.name, PolicyName="may", PolicyDocument=may)
    encrypt(client(pair, "kms", old.credential), key)
    encrypt(client(pair, "kms", old.credential), granted)
    assume(pair, old.credential, role.arn)
    delete_user(second.iam, old)
    new = make_user(second.iam, old.name)
    second.iam.put_user_policy(UserName=new.name, PolicyName="may", PolicyDocument=may)
    for kms in both_processes(pair, new.credential):
        assert refused_code(kms, key) == "AccessDeniedException"
        assert refused_code(kms, granted) == "AccessDeniedException"
    assert sts_refusal(pair, new.credential, role.arn)[0] == "AccessDenied"


def test_what_a_session_of_a_user_may_do_is_the_users(pair: Server, first: Account, key: Key) -> None:
    made = make_user(first.iam)
    session = of_session(client(pair, "sts", made.credential).get_session_token(DurationSeconds=900))
    clients = both_processes(pair, session)
    own = {"UserName": made.name, "PolicyName": "inline"}
    for kms in clients:
        assert refused_code(kms, key) == "AccessDeniedException"
    first.iam.put_user_policy(**own, PolicyDocument=policy(ENCRYPT))
    for kms in clients:
        encrypt(kms, key)
    made_with = {"UserName": made.name, "AccessKeyId": made.credential["aws_access_key_id"]}
    first.iam.update_access_key(**made_with, Status="Inactive")
    for kms in clients:  # as at AWS: a session outlives the access key that it was made with
        encrypt(kms, key)
    first.iam.delete_user_policy(**own)
    for kms in clients:
        assert refused_code(kms, key) == "AccessDeniedException"
    delete_user(first.iam, made)
    for kms in clients:
        assert refused_code(kms, key) == "UnrecognizedClientException"


def test_a_session_token_is_good_for_its_own_access_key_alone(pair: Server, first: Account, by: User, key: Key) -> None:
    role = make_role(first, by.arn)
    one, other = assume(pair, by.credential, role.arn), assume(pair, by.credential, role.arn)
    mixed = [
        one | {"aws_session_token": other["aws_session_token"]},
        by.credential | {"aws_session_token": one["aws_session_token"]},
        {part: one[part] for part in ("aws_access_key_id", "aws_secret_access_key")},
    ]
    for credential in mixed:
        assert refused_code(client(pair, "kms", credential), key) == "UnrecognizedClientException"
    wrong = one | {"aws_secret_access_key": other["aws_secret_access_key"]}
    assert refused_code(client(pair, "kms", wrong), key) == "InvalidSignatureException"


def test_old_sessions_are_revoked_and_new_ones_are_not(pair: Server, first: Account, key: Key) -> None:
    user = make_user(first.iam)
    first.iam.put_user_policy(UserName=user.name, PolicyName="inline", PolicyDocument=policy(ENCRYPT))
    sts = client(pair, "sts", user.credential)
    old = both_processes(pair, of_session(sts.get_session_token()))
    for kms in old:
        encrypt(kms, key)
    done = strongroom("revoke-sessions", "--config", pair.data / "strongroom.yaml", user.arn)
    assert done.returncode == 0, done.stderr
    for kms in old:
        assert refused_code(kms, key) == "UnrecognizedClientException"
    encrypt(client(pair, "kms", user.credential), key)  # an access key is no session
    time.sleep(1 - time.time() % 1)  # sessions are dated in whole seconds
    encrypt(client(pair, "kms", of_session(sts.get_session_token())), key)
