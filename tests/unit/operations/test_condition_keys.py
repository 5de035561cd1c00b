"""Condition keys: what a request has of them. `tests/e2e/test_condition_keys.py` has what policies make of that."""

from typing import Any

import pytest
from msgspec import structs

from strongroom.authorization.conditions import MAX_VALUES
from strongroom.authorization.patterns import MULTIVALUED
from strongroom.authorization.request import Undecidable
from strongroom.messages.iam import shapes
from strongroom.messages.iam.tags import TagUserRequest, UntagUserRequest
from strongroom.messages.iam.users import CreateUserRequest
from strongroom.messages.kms.encryption import ReEncryptRequest
from strongroom.messages.kms.keys import CreateKeyRequest
from strongroom.messages.kms.shapes import Tag
from strongroom.messages.sts.sessions import AssumeRoleRequest
from strongroom.messages.sts.sessions import Tag as StsTag
from strongroom.model.exchange import TlsDetails
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.principal import Principal
from strongroom.operations.call import Call
from strongroom.operations.condition_keys import CONDITION_KEYS, Asked
from strongroom.operations.targets import IdentityTarget, KeyTarget, use_of_encryption_key
from tests.unit.operations.test_targets import ACCOUNT, KEY_ID, OWNER, REGION, SHARED_ID, SNAPSHOT, arn, call

USER = Principal("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/team/ann", ACCOUNT, "AIDA1", "AKIA3")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
SESSION = Principal(
    "AssumedRole", f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s", ACCOUNT, "AROA1:s", "ASIA1", ROLE, issued=1_700_000_000.5
)
FEDERATED = Principal("FederatedUser", f"arn:aws:sts::{ACCOUNT}:federated-user/f", ACCOUNT, f"{ACCOUNT}:f", "ASIA2")
SERVICE = Principal("AWSService", "rds.amazonaws.com", "", "rds.amazonaws.com", "")
ENTRY = SNAPSHOT.keys[REGION, ACCOUNT, KEY_ID]


def asked_by(principal: Principal, action: str = "kms:ListKeys", **changed: Any) -> Asked:
    return Asked(principal, action, "*", call(principal), **changed)


def from_incoming(**changed: Any) -> Call:
    return structs.replace(call(OWNER), incoming=structs.replace(call(OWNER).incoming, **changed))


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (OWNER, (OWNER.arn, "Account", ACCOUNT, None, None)),
        (USER, (USER.arn, "User", "AIDA1", "ann", None)),
        (SESSION, (ROLE, "AssumedRole", "AROA1:s", None, "2023-11-14T22:13:20Z")),
        (FEDERATED, (FEDERATED.arn, "FederatedUser", f"{ACCOUNT}:f", None, None)),
    ],
)
def test_who_asks(principal: Principal, expected: tuple[str | None, ...]) -> None:
    asked = asked_by(principal)
    names = ("aws:principalarn", "aws:principaltype", "aws:userid", "aws:username", "aws:tokenissuetime")

    assert tuple(values and values[0] for values in map(asked.values, names)) == expected
    assert asked.values("aws:principalaccount") == (ACCOUNT,)
    assert asked.values("aws:principalisawsservice") == ("false",)


def test_a_service_has_no_account() -> None:
    asked = asked_by(SERVICE)

    assert asked.values("aws:principalaccount") is None
    assert asked.values("aws:principaltype") is None
    assert asked.values("aws:principalisawsservice") == ("true",)


@pytest.mark.parametrize(
    ("address", "told"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")],
)
def test_the_source_address_is_the_sockets(address: str, told: str) -> None:
    headers = [(b"x-forwarded-for", b"10.0.0.1"), (b"forwarded", b"for=10.0.0.1"), (b"referer", b"there")]
    asked = Asked(OWNER, "kms:ListKeys", "*", from_incoming(source_ip=address, headers=headers))

    assert asked.values("aws:sourceip") == (told,)
    assert asked.values("aws:referer") == ("there",)
    assert asked.values("aws:useragent") is None


def test_whether_the_connection_is_secret() -> None:
    tls = from_incoming(tls=TlsDetails("TLSv1.3", "TLS_AES_128_GCM_SHA256"), headers=[(b"x-forwarded-proto", b"http")])
    plain = from_incoming(headers=[(b"x-forwarded-proto", b"https")])

    assert Asked(OWNER, "kms:ListKeys", "*", tls).values("aws:securetransport") == ("true",)
    assert Asked(OWNER, "kms:ListKeys", "*", plain).values("aws:securetransport") == ("false",)


def test_a_key_to_make_has_the_attributes_that_are_asked_for() -> None:
    tags = (Tag(tag_key="Project", tag_value="Blue"), Tag(tag_key="Level", tag_value="high"))
    asked = asked_by(OWNER, "kms:CreateKey", message=CreateKeyRequest(tags=tags, key_spec="RSA_2048"))
    usual = asked_by(OWNER, "kms:CreateKey", message=CreateKeyRequest())

    assert asked.values("kms:keyspec") == asked.values("kms:customermasterkeyspec") == ("RSA_2048",)
    assert asked.values("aws:requesttag/project") == ("Blue",)
    assert asked.values("aws:tagkeys") == ("Project", "Level")
    assert usual.values("kms:keyspec") == ("SYMMETRIC_DEFAULT",)
    assert usual.values("kms:keyusage") == usual.values("kms:customermasterkeyusage") == ("ENCRYPT_DECRYPT",)
    assert usual.values("kms:keyorigin") == ("AWS_KMS",)
    assert usual.values("kms:multiregion") == ("false",)
    assert usual.values("aws:tagkeys") is None
    assert usual.values("kms:calleraccount") is None


def test_a_key_is_not_asked_for_what_is_not_its_own() -> None:
    for name in ("kms:EncryptionContext:a", "kms:EncryptionAlgorithm", "kms:PolicyName", "kms:GrantOperations"):
        assert asked_by(OWNER, "kms:DisableKey", entry=ENTRY).values(name.lower()) is None
    for name in ("kms:nothing", "aws:sourcevpce", "kms:encryptioncontext:", "aws:resourcetag/"):
        assert asked_by(OWNER, "kms:Encrypt", entry=ENTRY, encryption_context={"": "x"}).values(name) is None


def test_names_that_differ_in_case_alone_cannot_be_told_apart() -> None:
    tagged = structs.replace(ENTRY, key=structs.replace(ENTRY.key, tags=(("a", "1"), ("A", "2"))))
    asked = asked_by(OWNER, "kms:Encrypt", entry=tagged, encryption_context={"Dept": "hr", "dept": "it", "b": "x"})

    for name in ("kms:encryptioncontext:dept", "aws:resourcetag/a"):
        for _ in range(2):
            with pytest.raises(Undecidable):
                asked.values(name)
    assert asked.values("kms:encryptioncontext:b") == ("x",)
    assert asked.values("kms:encryptioncontextkeys") == ("Dept", "dept", "b")
    same = asked_by(OWNER, "kms:Encrypt", entry=ENTRY, encryption_context={"Dept": "hr", "dept": "hr"})
    assert same.values("kms:encryptioncontext:dept") == ("hr",)


@pytest.mark.parametrize(
    ("destination", "same"),
    [(KEY_ID, "true"), (f"alias/{KEY_ID}", "true"), (SHARED_ID, "false"), ("alias/none", "false")],
)
def test_whether_a_ciphertext_stays_with_its_key(destination: str, same: str) -> None:
    message = ReEncryptRequest(source_key_id=arn(f"key/{KEY_ID}"), destination_key_id=destination)
    target = use_of_encryption_key("kms:ReEncryptFrom", message.source_key_id, {})
    asked = asked_by(OWNER, "kms:ReEncryptFrom", message=message, target=target, entry=ENTRY)

    assert asked.values("kms:reencryptonsamekey") == (same,)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (KEY_ID, None),
        (arn(f"key/{KEY_ID}"), None),
        ("alias/a", ("alias/a",)),
        (arn("alias/a"), ("alias/a",)),
        (None, None),
    ],
)
def test_the_alias_that_names_the_key(named: str | None, told: tuple[str] | None) -> None:
    target = KeyTarget("kms:DescribeKey", named, b"")

    assert asked_by(OWNER, "kms:DescribeKey", target=target, entry=ENTRY).values("kms:requestalias") == told


def test_the_aliases_of_a_key() -> None:
    named = structs.replace(ENTRY, aliases=frozenset({"alias/b", "alias/a"}))

    assert asked_by(OWNER, "kms:Encrypt", entry=named).values("kms:resourcealiases") == ("alias/a", "alias/b")
    assert asked_by(OWNER, "kms:Encrypt", entry=ENTRY).values("kms:resourcealiases") is None


POWER_USER = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
BOUNDED = User(ACCOUNT, "AIDA2", "ben", "/", 0.0, tags=(("Team", "red"),), boundary=POWER_USER)
GROUP = Group(ACCOUNT, "AGPA1", "g", "/", 0.0)


def on(kind: str, action: str, name: str = "ben", **members: str) -> IdentityTarget:
    return IdentityTarget(action, kind, name, **members)


def test_the_policy_that_is_attached_or_detached() -> None:
    for kind in ("User", "Group", "Role"):
        for action in (f"iam:Attach{kind}Policy", f"iam:Detach{kind}Policy"):
            target = on(kind.lower(), action, policy_arn=ADMINISTRATOR)
            assert asked_by(OWNER, action, target=target).values("iam:policyarn") == (ADMINISTRATOR,)
    target = on("policy", "iam:DeletePolicy", ADMINISTRATOR)
    assert asked_by(OWNER, "iam:DeletePolicy", target=target).values("iam:policyarn") is None


@pytest.mark.parametrize(
    ("action", "asked_for", "told"),
    [
        ("iam:CreateUser", ADMINISTRATOR, ADMINISTRATOR),
        ("iam:CreateRole", ADMINISTRATOR, ADMINISTRATOR),
        ("iam:PutUserPermissionsBoundary", ADMINISTRATOR, ADMINISTRATOR),
        ("iam:PutRolePermissionsBoundary", ADMINISTRATOR, ADMINISTRATOR),
        *((f"iam:{verb}{kind}Policy", None, POWER_USER)
          for verb in ("Attach", "Delete", "Detach", "Put") for kind in ("User", "Role")),
        ("iam:DeleteUserPermissionsBoundary", None, POWER_USER),
        ("iam:DeleteRolePermissionsBoundary", None, POWER_USER),
        ("iam:CreateAccessKey", None, None),
        ("iam:TagUser", None, None),
        ("iam:UpdateUser", None, None),
    ],
)  # fmt: skip
def test_the_boundary_that_is_asked_for_or_there(action: str, asked_for: str | None, told: str | None) -> None:
    target = IdentityTarget(action, "user", "ben", boundary=asked_for)
    expected = None if told is None else (told,)
    assert asked_by(OWNER, action, target=target, identity=BOUNDED).values("iam:permissionsboundary") == expected
    free = structs.replace(BOUNDED, boundary=None)
    expected = None if asked_for is None else (asked_for,)
    for identity in (None, free):
        asked = asked_by(OWNER, action, target=target, identity=identity)
        assert asked.values("iam:permissionsboundary") == expected


def test_the_tags_of_what_an_action_of_iam_is_on() -> None:
    for identity in (
        BOUNDED,
        Role(ACCOUNT, "AROA2", "r", "/", 0.0, "{}", (), "", 3600, tags=BOUNDED.tags),
        ManagedPolicy(ACCOUNT, "ANPA2", "p", "/", 0.0, 0.0, "", (), "v1", tags=BOUNDED.tags),
        IdentityProvider(ACCOUNT, "issuer.example", 0.0, (), (), tags=BOUNDED.tags),
    ):
        asked = asked_by(OWNER, "iam:GetUser", identity=identity)
        for name in ("aws:resourcetag/team", "iam:resourcetag/team"):
            assert asked.values(name) == ("red",)
        assert asked.values("aws:resourcetag/other") is None
    for asked in (asked_by(OWNER, "iam:GetGroup", identity=GROUP), asked_by(OWNER, "iam:GetUser")):
        assert asked.values("aws:resourcetag/team") is asked.values("iam:resourcetag/team") is None
    assert asked_by(OWNER, "kms:Encrypt", entry=ENTRY).values("iam:resourcetag/team") is None


def test_the_tags_that_iam_is_asked_to_put_and_to_take_away() -> None:
    tags = (shapes.Tag(key="Project", value="Blue"), shapes.Tag(key="Level", value=""))
    for action, message in (
        ("iam:TagUser", TagUserRequest(user_name="ben", tags=tags)),
        ("iam:CreateUser", CreateUserRequest(user_name="ben", tags=tags)),
    ):
        asked = asked_by(OWNER, action, message=message)
        assert (asked.values("aws:requesttag/project"), asked.values("aws:requesttag/level")) == (("Blue",), ("",))
        assert asked.values("aws:tagkeys") == ("Project", "Level")
    asked = asked_by(OWNER, "iam:UntagUser", message=UntagUserRequest(user_name="ben", tag_keys=("Project", "x")))
    assert asked.values("aws:tagkeys") == ("Project", "x")
    assert asked.values("aws:requesttag/project") is None
    asked = asked_by(OWNER, "iam:CreateUser", message=CreateUserRequest(user_name="ben"))
    assert asked.values("aws:tagkeys") is asked.values("aws:requesttag/project") is None


def test_the_keys_of_several_values_are_no_variables() -> None:
    assert {key.name.lower() for key in CONDITION_KEYS if key.multivalued} == MULTIVALUED


def test_names_are_unique() -> None:
    names = [key.name.lower() for key in CONDITION_KEYS]

    assert len(set(names)) == len(names)


def test_what_a_service_makes_of_a_request() -> None:
    asked = Asked(structs.replace(USER, service="s3"), "kms:Decrypt", arn(KEY_ID), call(USER), entry=ENTRY)
    for name in ("aws:calledvia", "aws:calledviafirst", "aws:calledvialast"):
        assert asked.values(name) == ("s3.amazonaws.com",)
    assert asked.values("kms:viaservice") == (f"s3.{REGION}.amazonaws.com",)
    assert asked.values("aws:viaawsservice") == ("true",)
    without = Asked(USER, "kms:Decrypt", arn(KEY_ID), call(USER), entry=ENTRY)
    for name in ("aws:calledvia", "kms:viaservice"):
        assert without.values(name) is None
    assert without.values("aws:viaawsservice") == ("false",)


def test_a_service_by_itself() -> None:
    asked = asked_by(SERVICE)
    assert asked.values("aws:principalisawsservice") == ("true",)
    assert asked.values("aws:principalservicename") == ("rds.amazonaws.com",)
    assert asked.values("aws:principalservicenameslist") == ("rds.amazonaws.com",)
    assert asked_by(USER).values("aws:principalservicename") is None


def test_what_comes_with_a_session() -> None:
    claims = (("issuer.example/a:sub", ("job",)), ("issuer.example/a:amr", ("pwd", "otp")))
    session = structs.replace(
        SESSION, tags=(("Team", "red"),), source_identity="ann", federated_provider="arn:provider", claims=claims
    )
    asked = asked_by(session)
    assert asked.values("aws:principaltag/team") == ("red",)
    assert asked.values("aws:sourceidentity") == ("ann",)
    assert asked.values("aws:federatedprovider") == ("arn:provider",)
    assert asked.values("issuer.example/a:sub") == ("job",)
    assert asked.values("issuer.example/a:amr") == ("pwd", "otp")
    assert asked.values("issuer.example/a:aud") is None
    assert asked.values("aws:multifactorauthpresent") == ("false",)
    assert asked_by(USER).values("aws:multifactorauthpresent") is None
    assert asked_by(USER).values("issuer.example/a:sub") is None


def test_claims_stand_for_no_other_condition_key() -> None:
    claims = (("aws:principalarn", ("forged",)), ("kms:viaservice", ("forged",)))
    asked = asked_by(structs.replace(SESSION, claims=claims))
    assert asked.values("aws:principalarn") == (ROLE,)
    assert asked.values("kms:viaservice") is None


def test_what_is_asked_of_a_role() -> None:
    request = AssumeRoleRequest(
        role_arn=ROLE,
        role_session_name="work",
        external_id="word",
        source_identity="ann",
        tags=(StsTag(key="Team", value="red"),),
        transitive_tag_keys=("Team",),
    )
    asked = asked_by(USER, "sts:AssumeRole", message=request)
    assert asked.values("sts:externalid") == ("word",)
    assert asked.values("sts:rolesessionname") == ("work",)
    assert asked.values("sts:sourceidentity") == ("ann",)
    assert asked.values("aws:requesttag/team") == ("red",)
    assert asked.values("aws:tagkeys") == ("Team",)
    assert asked.values("sts:transitivetagkeys") == ("Team",)
    assert asked_by(USER, "sts:TagSession", message=request).values("sts:externalid") is None


def test_a_source_identity_is_there_too_if_the_session_hands_it_down() -> None:
    session = structs.replace(SESSION, source_identity="ann")
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="work")
    for action in ("sts:AssumeRole", "sts:SetSourceIdentity"):
        assert asked_by(session, action, message=request).values("sts:sourceidentity") == ("ann",)
        assert asked_by(SESSION, action, message=request).values("sts:sourceidentity") is None
    assert asked_by(session, "sts:TagSession", message=request).values("sts:sourceidentity") is None


def test_a_context_of_many_pairs_cannot_be_decided() -> None:
    for many in (MAX_VALUES, MAX_VALUES + 1):
        asked = asked_by(OWNER, "kms:Encrypt", encryption_context={f"key-{number}": "" for number in range(many)})
        for name in ("kms:encryptioncontext:key-1", "kms:encryptioncontextkeys"):
            if many > MAX_VALUES:
                with pytest.raises(Undecidable):
                    asked.values(name)
            else:
                assert asked.values(name) is not None
