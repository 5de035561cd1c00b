"""Who may use a key: every way to be allowed through an identity, taken away again, on two server processes at once."""

import base64
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from strongroom.operations.registry import OPERATIONS
from strongroom.testing.server import Server
from tests.e2e.calls import REQUESTS, Key, Statement, allow, call, make_key, policy, refusal
from tests.e2e.commands import strongroom
from tests.e2e.conftest import OTHER, first_account
from tests.e2e.people import (
    Account,
    account_of,
    assume,
    both_processes,
    client,
    delete_user,
    make_user,
    name,
    new_key,
    of_session,
)
from tests.records import record_of_request, recorded

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
POWER_USER = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
ENCRYPT: Statement = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}
WITHOUT_A_KEY: dict[str, dict[str, Any]] = {
    "ConnectCustomKeyStore": {"CustomKeyStoreId": "cks-0123456789abcdef0"},
    "CreateCustomKeyStore": {
        "CustomKeyStoreName": "store",
        "CloudHsmClusterId": "cluster-a234567bcda",
        "KeyStorePassword": "password",
        "TrustAnchorCertificate": "PEM",
    },
    "CreateKey": {},
    "DeleteCustomKeyStore": {"CustomKeyStoreId": "cks-0123456789abcdef0"},
    "DescribeCustomKeyStores": {},
    "DisconnectCustomKeyStore": {"CustomKeyStoreId": "cks-0123456789abcdef0"},
    "GenerateRandom": {"NumberOfBytes": 1},
    "ListAliases": {},
    "ListKeys": {},
    "ListRetirableGrants": {"RetiringPrincipal": f"arn:aws:iam::{OTHER}:root"},
    "UpdateCustomKeyStore": {"CustomKeyStoreId": "cks-0123456789abcdef0"},
}
"""Operations of KMS that act on no key -> their parameters."""


@pytest.fixture(scope="session")
def first(pair: Server) -> Account:
    return account_of(pair, first_account(pair))


@pytest.fixture(scope="session")
def second(pair: Server) -> Account:
    return account_of(pair, OTHER)


@pytest.fixture(scope="module")
def key(first: Account) -> Key:
    return make_key(first.kms[0])


class Actor(NamedTuple):
    """Somebody with a client of either process, and who administers them: IAM by either process."""

    account: Account
    iam: list[Any]
    name: str
    arn: str
    caller: str
    kms: list[Any]


@pytest.fixture(scope="module")
def user(pair: Server, first: Account) -> Actor:
    made = make_user(first.iam)
    iam = both_processes(pair, first.credential, "iam")
    return Actor(first, iam, made.name, made.arn, made.arn, both_processes(pair, made.credential))


@pytest.fixture(scope="module")
def session(pair: Server, first: Account) -> Actor:
    """A session of a role that a user of its account assumed."""
    by = make_user(first.iam)
    trust = policy({"Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": "sts:AssumeRole"})
    role = first.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=trust)["Role"]
    credential = assume(pair, by.credential, role["Arn"])
    arn = f"arn:aws:sts::{first.account}:assumed-role/{role['RoleName']}/work"
    iam = both_processes(pair, first.credential, "iam")
    return Actor(first, iam, role["RoleName"], role["Arn"], arn, both_processes(pair, credential))


@pytest.fixture(scope="module")
def foreigner(pair: Server, second: Account) -> Actor:
    made = make_user(second.iam)
    iam = both_processes(pair, second.credential, "iam")
    return Actor(second, iam, made.name, made.arn, made.arn, both_processes(pair, made.credential))


class Way(NamedTuple):
    """A way to be allowed: what prepares it, what gives it and what takes it away, by clients of IAM and KMS."""

    name: str
    who: str
    give: Callable[["Setting", Any, Any], object]
    take: Callable[["Setting", Any, Any], object]
    prepare: Callable[["Setting"], object] = lambda _: None
    finish: Callable[["Setting"], object] = lambda _: None

    def __str__(self) -> str:
        return f"{self.name} ({self.who})"


class Setting:
    """Somebody, a key, and what a way keeps between its steps."""

    def __init__(self, actor: Actor, key: Key, owner: Account) -> None:
        self.actor, self.key, self.owner = actor, key, owner
        self.kept: dict[str, Any] = {}

    @property
    def own(self) -> dict[str, str]:
        """How IAM's parameters name the actor."""
        return {"RoleName" if "role" in self.actor.arn else "UserName": self.actor.name}


def document(*statements: Statement) -> str:
    return policy(*(statements or (ENCRYPT,)))


def key_policy(setting: Setting, *statements: Statement) -> str:
    """The key's policy: its account may manage it and let nobody use it, and these."""
    names = ("PutKeyPolicy", "GetKeyPolicy", "CreateGrant", "RevokeGrant", "ListGrants")
    manage = allow(setting.owner.account) | {"Action": [f"kms:{operation}" for operation in names]}
    return policy(manage, *statements)


def named(principal: str) -> Statement:
    return ENCRYPT | {"Principal": {"AWS": principal}}


def put_key_policy(kms: Any, setting: Setting, *statements: Statement) -> None:
    kms.put_key_policy(KeyId=setting.key.key_id, Policy=key_policy(setting, *statements))


def delegate(setting: Setting) -> None:
    setting.owner.kms[0].put_key_policy(KeyId=setting.key.key_id, Policy=policy(allow(setting.owner.account)))


def by_key(name: str, who: str, principal: Callable[[Setting], str]) -> Way:
    """A key policy that names somebody."""
    return Way(
        name,
        who,
        lambda s, _iam, kms: put_key_policy(kms, s, named(principal(s))),
        lambda s, _iam, kms: put_key_policy(kms, s),
        lambda s: put_key_policy(s.owner.kms[0], s),
        delegate,
    )


def by_grant(name: str, who: str, principal: Callable[[Setting], str]) -> Way:
    """A grant to somebody."""

    def give(s: Setting, _iam: Any, kms: Any) -> None:
        made = kms.create_grant(KeyId=s.key.key_id, GranteePrincipal=principal(s), Operations=["Encrypt"])
        s.kept["grant"] = made["GrantId"]

    return Way(
        name,
        who,
        give,
        lambda s, _iam, kms: kms.revoke_grant(KeyId=s.key.key_id, GrantId=s.kept["grant"]),
        lambda s: put_key_policy(s.owner.kms[0], s),
        delegate,
    )


def with_policy(s: Setting, *statements: Statement) -> str:
    """Make a managed policy, and keep its ARN."""
    made = s.actor.account.iam.create_policy(PolicyName=name("policy"), PolicyDocument=document(*statements))
    s.kept["arn"] = made["Policy"]["Arn"]
    return str(s.kept["arn"])


def with_group(s: Setting) -> None:
    s.kept["group"] = s.actor.account.iam.create_group(GroupName=name("group"))["Group"]["GroupName"]


def with_allowed_group(s: Setting) -> None:
    with_group(s)
    s.actor.account.iam.put_group_policy(GroupName=s.kept["group"], **INLINE)


def in_group(s: Setting) -> None:
    with_group(s)
    s.actor.account.iam.add_user_to_group(GroupName=s.kept["group"], UserName=s.actor.name)


def out_of_group(s: Setting) -> None:
    s.actor.account.iam.remove_user_from_group(GroupName=s.kept["group"], UserName=s.actor.name)


def bounded(s: Setting) -> None:
    """Everything is allowed but by a boundary that lets nothing be encrypted."""
    s.actor.account.iam.attach_user_policy(**s.own, PolicyArn=ADMINISTRATOR)
    s.actor.account.iam.put_user_permissions_boundary(**s.own, PermissionsBoundary=POWER_USER)


def unbounded(s: Setting) -> None:
    s.actor.account.iam.delete_user_permissions_boundary(**s.own)
    s.actor.account.iam.detach_user_policy(**s.own, PolicyArn=ADMINISTRATOR)


def versions(s: Setting) -> None:
    arn = with_policy(s, ENCRYPT | {"Effect": "Deny"})
    s.actor.account.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document())
    s.actor.account.iam.attach_user_policy(**s.own, PolicyArn=arn)


def tagged(s: Setting) -> None:
    condition = {"StringEquals": {"aws:PrincipalTag/team": "red"}}
    s.actor.account.iam.put_user_policy(
        **s.own, PolicyName="tagged", PolicyDocument=document(ENCRYPT | {"Condition": condition})
    )


def drop(s: Setting) -> None:
    s.actor.account.iam.detach_user_policy(**s.own, PolicyArn=s.kept["arn"])


def without_inline(s: Setting) -> None:
    delegate(s)
    s.actor.account.iam.delete_user_policy(**s.own, PolicyName="inline")


INLINE = {"PolicyName": "inline", "PolicyDocument": document()}
WAYS = [
    Way(
        "inline policy",
        "user",
        lambda s, iam, _: iam.put_user_policy(**s.own, **INLINE),
        lambda s, iam, _: iam.delete_user_policy(**s.own, PolicyName="inline"),
    ),
    Way(
        "managed policy",
        "user",
        lambda s, iam, _: iam.attach_user_policy(**s.own, PolicyArn=s.kept["arn"]),
        lambda s, iam, _: iam.detach_user_policy(**s.own, PolicyArn=s.kept["arn"]),
        with_policy,
    ),
    Way(
        "AWS managed policy",
        "user",
        lambda s, iam, _: iam.attach_user_policy(**s.own, PolicyArn=ADMINISTRATOR),
        lambda s, iam, _: iam.detach_user_policy(**s.own, PolicyArn=ADMINISTRATOR),
    ),
    Way(
        "default version",
        "user",
        lambda s, iam, _: iam.set_default_policy_version(PolicyArn=s.kept["arn"], VersionId="v2"),
        lambda s, iam, _: iam.set_default_policy_version(PolicyArn=s.kept["arn"], VersionId="v1"),
        versions,
        drop,
    ),
    Way(
        "group's inline policy",
        "user",
        lambda s, iam, _: iam.put_group_policy(GroupName=s.kept["group"], **INLINE),
        lambda s, iam, _: iam.delete_group_policy(GroupName=s.kept["group"], PolicyName="inline"),
        in_group,
        out_of_group,
    ),
    Way(
        "group's managed policy",
        "user",
        lambda s, iam, _: iam.attach_group_policy(GroupName=s.kept["group"], PolicyArn=ADMINISTRATOR),
        lambda s, iam, _: iam.detach_group_policy(GroupName=s.kept["group"], PolicyArn=ADMINISTRATOR),
        in_group,
        out_of_group,
    ),
    Way(
        "membership",
        "user",
        lambda s, iam, _: iam.add_user_to_group(GroupName=s.kept["group"], UserName=s.actor.name),
        lambda s, iam, _: iam.remove_user_from_group(GroupName=s.kept["group"], UserName=s.actor.name),
        with_allowed_group,
    ),
    Way(
        "boundary",
        "user",
        lambda s, iam, _: iam.put_user_permissions_boundary(**s.own, PermissionsBoundary=ADMINISTRATOR),
        lambda s, iam, _: iam.put_user_permissions_boundary(**s.own, PermissionsBoundary=POWER_USER),
        bounded,
        unbounded,
    ),
    Way(
        "tag",
        "user",
        lambda s, iam, _: iam.tag_user(**s.own, Tags=[{"Key": "team", "Value": "red"}]),
        lambda s, iam, _: iam.untag_user(**s.own, TagKeys=["team"]),
        tagged,
        lambda s: s.actor.account.iam.delete_user_policy(**s.own, PolicyName="tagged"),
    ),
    by_key("key policy", "user", lambda s: s.actor.arn),
    by_grant("grant", "user", lambda s: s.actor.arn),
    Way(
        "role's inline policy",
        "session",
        lambda s, iam, _: iam.put_role_policy(**s.own, **INLINE),
        lambda s, iam, _: iam.delete_role_policy(**s.own, PolicyName="inline"),
    ),
    Way(
        "role's managed policy",
        "session",
        lambda s, iam, _: iam.attach_role_policy(**s.own, PolicyArn=ADMINISTRATOR),
        lambda s, iam, _: iam.detach_role_policy(**s.own, PolicyArn=ADMINISTRATOR),
    ),
    Way(
        "role's boundary",
        "session",
        lambda s, iam, _: iam.delete_role_permissions_boundary(**s.own),
        lambda s, iam, _: iam.put_role_permissions_boundary(**s.own, PermissionsBoundary=POWER_USER),
        lambda s: (
            s.actor.account.iam.attach_role_policy(**s.own, PolicyArn=ADMINISTRATOR),
            s.actor.account.iam.put_role_permissions_boundary(**s.own, PermissionsBoundary=POWER_USER),
        ),
        lambda s: (
            s.actor.account.iam.detach_role_policy(**s.own, PolicyArn=ADMINISTRATOR),
            s.actor.account.iam.delete_role_permissions_boundary(**s.own),
        ),
    ),
    by_key("key policy for the role", "session", lambda s: s.actor.arn),
    by_key("key policy for the session", "session", lambda s: s.actor.caller),
    by_grant("grant to the role", "session", lambda s: s.actor.arn),
    by_grant("grant to the session", "session", lambda s: s.actor.caller),
    Way(
        "their own account",
        "foreigner",
        lambda s, iam, _: iam.put_user_policy(**s.own, **INLINE),
        lambda s, iam, _: iam.delete_user_policy(**s.own, PolicyName="inline"),
        lambda s: put_key_policy(s.owner.kms[0], s, named(s.actor.arn)),
        delegate,
    ),
    Way(
        "the key's policy",
        "foreigner",
        lambda s, _iam, kms: put_key_policy(kms, s, named(s.actor.arn)),
        lambda s, _iam, kms: put_key_policy(kms, s),
        lambda s: s.actor.account.iam.put_user_policy(**s.own, **INLINE),
        without_inline,
    ),
    Way(
        "a grant",
        "foreigner",
        by_grant("", "", lambda s: s.actor.arn).give,
        by_grant("", "", lambda s: s.actor.arn).take,
        lambda s: s.actor.account.iam.put_user_policy(**s.own, **INLINE),
        lambda s: s.actor.account.iam.delete_user_policy(**s.own, PolicyName="inline"),
    ),
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_allows_is_seen_at_once_and_so_is_its_end(
    request: pytest.FixtureRequest, first: Account, key: Key, way: Way
) -> None:
    setting = Setting(request.getfixturevalue(way.who), key, first)
    way.prepare(setting)
    try:
        refused_by_both(setting)
        way.give(setting, setting.actor.iam[0], first.kms[0])
        for kms in reversed(setting.actor.kms):
            kms.encrypt(KeyId=key.arn, Plaintext=b"x")
        way.take(setting, setting.actor.iam[1], first.kms[1])
        refused_by_both(setting)
    finally:
        way.finish(setting)


def refused_by_both(setting: Setting) -> None:
    actor, key = setting.actor, setting.key
    about = f"User: {actor.caller} is not authorized to perform: kms:Encrypt on "
    for kms in actor.kms:
        code, text = refusal(kms.encrypt, KeyId=key.arn, Plaintext=b"x")
        assert code == "AccessDeniedException"
        if actor.account is setting.owner:
            assert text.startswith(f"{about}resource: {key.arn} "), text
        else:
            assert text.startswith(f"{about}this resource because the resource does not exist in this Region"), text


def test_a_user_without_rights_is_refused_everything_and_recorded(
    pair: Server, first: Account, user: Actor, key: Key
) -> None:
    other = make_key(first.kms[0])
    asked = {request: make(key, key.key_id, other) for request, make in REQUESTS.items()}
    asked |= {f"{operation} without": parameters for operation, parameters in WITHOUT_A_KEY.items()}
    asked["DeleteAlias"] = {"AliasName": other.alias}
    asked["UpdatePrimaryRegion"] = {"KeyId": key.key_id, "PrimaryRegion": "us-west-2"}
    built = {operation for service, operation in OPERATIONS if service == "kms"}
    assert {request.split(maxsplit=1)[0] for request in asked} == built
    text = re.compile(
        rf"User: {user.arn} is not authorized to perform: (kms:\w+) on resource: (\*|arn:aws:kms:\S+) "
        r"because no identity-based policy allows the \1 action"
    )
    seen = {}
    for request, parameters in asked.items():
        with pytest.raises(ClientError) as caught:
            call(user.kms[0], request, parameters)
        error = caught.value.response["Error"]
        assert error["Code"] == "AccessDeniedException", request
        assert text.fullmatch(error["Message"]), (request, error["Message"])
        seen[caught.value.response["ResponseMetadata"]["RequestId"]] = request.split(maxsplit=1)[0]
    records = {record.get("requestID"): record for record in recorded(pair.data)}
    for request_id, operation in seen.items():
        record = records[request_id]
        assert (record["eventName"], record["errorCode"]) == (operation, "AccessDenied")
        identity = record["userIdentity"]
        assert (identity["type"], identity["arn"], identity["userName"]) == ("IAMUser", user.arn, user.name)
        assert identity["principalId"].startswith("AIDA")
        assert identity["accessKeyId"].startswith("AKIA")


def test_a_refusal_has_awss_text(user: Actor, key: Key) -> None:
    assert refusal(user.kms[0].encrypt, KeyId=key.key_id, Plaintext=b"x")[1] == (
        f"User: {user.arn} is not authorized to perform: kms:Encrypt on resource: {key.arn} because no identity-based "
        "policy allows the kms:Encrypt action"
    )
    assert refusal(user.kms[0].list_keys)[1] == (
        f"User: {user.arn} is not authorized to perform: kms:ListKeys on resource: * because no identity-based policy "
        "allows the kms:ListKeys action"
    )


def test_a_power_user_makes_keys_and_may_not_use_them(pair: Server, first: Account) -> None:
    made = make_user(first.iam)
    first.iam.attach_user_policy(UserName=made.name, PolicyArn=POWER_USER)
    kms = client(pair, "kms", made.credential)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{made.name}", TargetKeyId=key_id)
    assert refusal(kms.encrypt, KeyId=key_id, Plaintext=b"x")[0] == "AccessDeniedException"
    own = policy(allow(first.account))
    assert refusal(kms.put_key_policy, KeyId=key_id, Policy=own)[0] == "AccessDeniedException"
    assert refusal(kms.create_key, Policy=own) == (
        "MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future.",
    )


def test_an_access_key_that_is_inactive_or_deleted_signs_nothing(pair: Server, first: Account) -> None:
    made = make_user(first.iam)
    clients = both_processes(pair, made.credential)
    key_id = made.credential["aws_access_key_id"]
    named_key = {"UserName": made.name, "AccessKeyId": key_id}
    for change in (partial(first.iam.update_access_key, Status="Inactive"), first.iam.delete_access_key):
        first.iam.update_access_key(UserName=made.name, AccessKeyId=key_id, Status="Active")
        for kms in clients:
            assert refusal(kms.list_keys)[0] == "AccessDeniedException"
        change(**named_key)
        for kms in clients:
            assert refusal(kms.list_keys) == (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )


def test_last_uses_of_an_access_key_are_told(pair: Server, first: Account) -> None:
    made = make_user(first.iam)
    iam = both_processes(pair, first.credential, "iam")[0]
    key_id = made.credential["aws_access_key_id"]
    assert iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    refusal(both_processes(pair, made.credential)[0].list_keys)
    told = iam.get_access_key_last_used(AccessKeyId=key_id)
    assert (told["UserName"], told["AccessKeyLastUsed"]["ServiceName"]) == (made.name, "kms")


def test_a_session_policy_limits_and_a_trust_policy_asks(pair: Server, first: Account, key: Key) -> None:
    by = make_user(first.iam)
    condition = {"StringEquals": {"sts:ExternalId": "secret-word"}}
    trusted = {"Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = first.iam.create_role(
        RoleName=name("role"), AssumeRolePolicyDocument=policy(trusted | {"Condition": condition})
    )["Role"]["Arn"]
    first.iam.attach_role_policy(RoleName=role.rpartition("/")[2], PolicyArn=ADMINISTRATOR)
    for parameters in ({}, {"ExternalId": "other"}):
        with pytest.raises(ClientError) as caught:
            assume(pair, by.credential, role, **parameters)
        assert caught.value.response["Error"] == {
            "Type": "Sender",
            "Code": "AccessDenied",
            "Message": f"User: {by.arn} is not authorized to perform: sts:AssumeRole on resource: {role}",
        }
    outside = {"ExternalId": "secret-word"}
    kms = client(pair, "kms", assume(pair, by.credential, role, **outside))
    kms.encrypt(KeyId=key.arn, Plaintext=b"x")
    only = document({"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"})
    for limit in ({"Policy": only}, {"PolicyArns": [{"arn": POWER_USER}]}):
        limited = client(pair, "kms", assume(pair, by.credential, role, **outside, **limit))
        assert "no session policy allows" in refusal(limited.encrypt, KeyId=key.arn, Plaintext=b"x")[1]
    first.iam.update_assume_role_policy(
        RoleName=role.rpartition("/")[2], PolicyDocument=policy(trusted | {"Effect": "Deny"})
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(pair, by.credential, role, **outside)
    kms.encrypt(KeyId=key.arn, Plaintext=b"x")  # as at AWS: a session that is there goes on


def test_a_role_of_another_account_is_assumed_if_both_sides_allow(
    pair: Server, first: Account, second: Account
) -> None:
    by = make_user(second.iam)
    trust = policy({"Effect": "Allow", "Principal": {"AWS": second.account}, "Action": "sts:AssumeRole"})
    role = first.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=trust)["Role"]
    with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
        assume(pair, by.credential, role["Arn"])
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role["Arn"]}
    second.iam.put_user_policy(UserName=by.name, PolicyName="assume", PolicyDocument=document(may))
    found = client(pair, "sts", assume(pair, by.credential, role["Arn"])).get_caller_identity()
    assert found["Arn"] == f"arn:aws:sts::{first.account}:assumed-role/{role['RoleName']}/work"
    assert found["UserId"] == f"{role['RoleId']}:work"
    nobody = f"arn:aws:iam::{first.account}:role/nobody"
    with pytest.raises(ClientError, match=f"sts:AssumeRole on resource: {nobody}"):
        assume(pair, by.credential, nobody)


def test_who_is_made_again_inherits_nothing(pair: Server, first: Account) -> None:
    key = make_key(first.kms[0])
    old = make_user(first.iam)
    statement = named(old.arn)
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), statement))
    first.kms[0].create_grant(KeyId=key.key_id, GranteePrincipal=old.arn, Operations=["Decrypt"])
    trust = policy({"Effect": "Allow", "Principal": {"AWS": old.arn}, "Action": "sts:AssumeRole"})
    role = first.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    before = client(pair, "kms", old.credential)
    blob = before.encrypt(KeyId=key.arn, Plaintext=b"x")["CiphertextBlob"]
    before.decrypt(CiphertextBlob=blob)
    assume(pair, old.credential, role)

    delete_user(first.iam, old)
    assert refusal(before.encrypt, KeyId=key.arn, Plaintext=b"x")[0] == "UnrecognizedClientException"
    new = make_user(first.iam, old.name)
    assert (new.arn, new.user_id == old.user_id) == (old.arn, False)
    after = client(pair, "kms", new.credential)
    assert refusal(after.encrypt, KeyId=key.arn, Plaintext=b"x")[0] == "AccessDeniedException"
    assert refusal(after.decrypt, CiphertextBlob=blob)[0] == "AccessDeniedException"
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(pair, new.credential, role)

    shown = json.loads(first.kms[1].get_key_policy(KeyId=key.key_id, PolicyName="default")["Policy"])
    assert shown["Statement"][1]["Principal"] == {"AWS": old.user_id}
    grants = first.kms[1].list_grants(KeyId=key.key_id)["Grants"]
    assert old.user_id in [grant["GranteePrincipal"] for grant in grants]
    told = first.iam.get_role(RoleName=role.rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
    assert told["Statement"][0]["Principal"] == {"AWS": old.user_id}

    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), statement))
    after.encrypt(KeyId=key.arn, Plaintext=b"x")


def test_a_user_that_is_renamed_stays_who_it_is(pair: Server, first: Account) -> None:
    key = make_key(first.kms[0])
    made = make_user(first.iam)
    first.kms[0].put_key_policy(KeyId=key.key_id, Policy=policy(allow(first.account), named(made.arn)))
    new_name = name("renamed")
    first.iam.update_user(UserName=made.name, NewUserName=new_name, NewPath="/staff/")
    client(pair, "kms", made.credential).encrypt(KeyId=key.arn, Plaintext=b"x")
    shown = json.loads(first.kms[0].get_key_policy(KeyId=key.key_id, PolicyName="default")["Policy"])
    assert shown["Statement"][1]["Principal"] == {"AWS": f"arn:aws:iam::{first.account}:user/staff/{new_name}"}


def test_sessions_end_with_their_role_and_by_command(pair: Server, first: Account, key: Key) -> None:
    by = make_user(first.iam)
    trust = policy({"Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": "sts:AssumeRole"})
    role_name = name("role")

    def make_role() -> str:
        made = first.iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        first.iam.put_role_policy(RoleName=role_name, **INLINE)
        return str(made)

    role = make_role()
    old = both_processes(pair, assume(pair, by.credential, role))
    done = strongroom("revoke-sessions", "--config", pair.data / "strongroom.yaml", role)
    assert done.returncode == 0, done.stderr
    ended("old sessions are revoked", old, key)
    assert strongroom("revoke-sessions", "--config", pair.data / "strongroom.yaml", f"{role}x").returncode == 2

    first.iam.delete_role_policy(RoleName=role_name, PolicyName="inline")
    first.iam.delete_role(RoleName=role_name)
    make_role()
    kms = both_processes(pair, assume(pair, by.credential, role))
    for one in kms:
        one.encrypt(KeyId=key.arn, Plaintext=b"x")
    first.iam.delete_role_policy(RoleName=role_name, PolicyName="inline")
    first.iam.delete_role(RoleName=role_name)
    ended("their role is gone", kms, key)
    make_role()
    ended("another role has its name", kms, key)


def ended(why: str, clients: list[Any], key: Key) -> None:
    for kms in clients:
        assert refusal(kms.encrypt, KeyId=key.arn, Plaintext=b"x")[0] == "UnrecognizedClientException", why


def test_a_session_of_a_user_has_the_users_rights_and_no_iam(pair: Server, first: Account, key: Key) -> None:
    made = make_user(first.iam)
    first.iam.attach_user_policy(UserName=made.name, PolicyArn=ADMINISTRATOR)
    session = of_session(client(pair, "sts", made.credential).get_session_token(DurationSeconds=900))
    kms = client(pair, "kms", session)
    record = record_of_request(pair.data, kms.encrypt(KeyId=key.arn, Plaintext=b"x"))
    assert record["userIdentity"]["sessionContext"]["attributes"]["mfaAuthenticated"] == "false"
    assert record["userIdentity"]["arn"] == made.arn
    for service, operation in (("iam", "list_users"), ("sts", "get_session_token")):
        with pytest.raises(ClientError) as caught:
            getattr(client(pair, service, session), operation)()
        assert caught.value.response["Error"]["Code"] in ("InvalidClientTokenId", "AccessDenied")
    first.iam.detach_user_policy(UserName=made.name, PolicyArn=ADMINISTRATOR)
    assert refusal(kms.encrypt, KeyId=key.arn, Plaintext=b"x")[0] == "AccessDeniedException"


def test_iam_and_sts_are_authorized_too(pair: Server, first: Account, user: Actor, foreigner: Actor) -> None:
    made = make_user(first.iam)
    iam = client(pair, "iam", made.credential)
    with pytest.raises(ClientError) as caught:
        iam.create_user(UserName="mallory", Path="/x/")
    assert caught.value.response["Error"]["Message"] == (
        f"User: {made.arn} is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{first.account}:user/x/mallory because no identity-based policy allows the iam:CreateUser action"
    )
    own = {"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam::*:user/${aws:username}"}
    first.iam.put_user_policy(UserName=made.name, PolicyName="own", PolicyDocument=document(own))
    second_key = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    iam.delete_access_key(AccessKeyId=second_key)
    with pytest.raises(ClientError, match="AccessDenied"):
        iam.create_access_key(UserName=user.name)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        first.iam.create_access_key(UserName=foreigner.name)
    refused = record_of_request(pair.data, caught.value.response)
    assert (refused["eventSource"], refused["errorCode"]) == ("iam.amazonaws.com", "AccessDenied")


def test_secrets_of_access_keys_are_in_no_file(pair: Server, first: Account) -> None:
    """Neither in records nor in the database, of which a backup is a copy; the root key alone opens what is sealed."""
    made = make_user(first.iam)
    secret = new_key(first.iam, made.name)["aws_secret_access_key"]
    by = {"Effect": "Allow", "Principal": {"AWS": made.arn}, "Action": "sts:AssumeRole"}
    role = first.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=policy(by))["Role"]["Arn"]
    session = assume(pair, made.credential, role)
    client(pair, "sts", session).get_caller_identity()
    backup = pair.data.parent / "backup.db"
    with closing(sqlite3.connect(pair.data / "strongroom.db")) as database, closing(sqlite3.connect(backup)) as copy:
        database.backup(copy)
    files = [backup, *(path for path in pair.data.rglob("*") if path.is_file())]
    assert any(path.name.startswith("strongroom.db") for path in files)
    contents = {path: path.read_bytes() for path in files}
    assert any(made.credential["aws_access_key_id"].encode() in content for content in contents.values())
    secrets = [secret, made.credential["aws_secret_access_key"], session["aws_secret_access_key"]]
    for hidden in (*secrets, session["aws_session_token"]):
        forms = {hidden.encode(), json.dumps(hidden).encode(), hidden.encode().hex().encode()}
        forms.add(base64.b64decode(hidden))
        assert [path for path, content in contents.items() if any(form in content for form in forms)] == []


def test_it_is_explained_which_policy_of_a_user_or_a_role_decided(pair: Server, first: Account, key: Key) -> None:
    by = make_user(first.iam)
    trusting = {"Sid": "Trusted", "Effect": "Allow", "Principal": {"AWS": by.arn}, "Action": "sts:AssumeRole"}
    role = first.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=policy(trusting))["Role"]["Arn"]
    assumed = client(pair, "sts", by.credential).assume_role(RoleArn=role, RoleSessionName="work")
    told = explained(pair, assumed)
    assert "allowed by statement 1 (Trusted) of the role's trust policy" in told
    assert '"Action": "sts:AssumeRole"' in told
    mine = document(ENCRYPT | {"Sid": "Mine"})
    first.iam.put_user_policy(UserName=by.name, PolicyName="mine", PolicyDocument=mine)
    told = explained(pair, client(pair, "kms", by.credential).encrypt(KeyId=key.arn, Plaintext=b"x"))
    assert " of the key policy\n" in told
    assert "allowed by statement 1 (Mine) of an identity-based policy of the caller" in told
    assert '"Sid": "Mine"' in told


def explained(server: Server, response: dict[str, Any]) -> str:
    request_id = response["ResponseMetadata"]["RequestId"]
    done = strongroom("explain", "--config", server.data / "strongroom.yaml", request_id)
    assert done.returncode == 0, done.stderr
    return done.stdout
