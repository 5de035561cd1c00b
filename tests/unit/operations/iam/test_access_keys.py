"""Access keys: what they sign, and what is told of them."""

import pytest
from msgspec import structs

from strongroom.sigv4.signing import Credential
from tests.composed import NOW
from tests.unit.operations.iam.account import ARN, TRUST, Account, document

UNKNOWN = "The security token included in the request is invalid."


def test_a_key_is_told_whole_once(account: Account) -> None:
    account.call("CreateUser", UserName="holder")
    made = account.call("CreateAccessKey", UserName="holder").access_key
    assert (made.user_name, made.status, made.create_date) == ("holder", "Active", NOW)
    assert (made.access_key_id[:4], len(made.access_key_id), len(made.secret_access_key)) == ("AKIA", 20, 40)
    (listed,) = account.call("ListAccessKeys", UserName="holder").access_key_metadata
    assert structs.asdict(listed) == {
        "user_name": "holder", "access_key_id": made.access_key_id, "status": "Active", "create_date": NOW,
    }  # fmt: skip


def test_a_secret_is_in_no_record_and_not_stored_as_it_is(account: Account) -> None:
    account.call("CreateUser", UserName="secretive")
    made = account.call("CreateAccessKey", UserName="secretive").access_key
    record = account.parts.records()[-1]
    assert record["responseElements"]["accessKey"]["accessKeyId"] == made.access_key_id
    assert made.secret_access_key not in str(record)
    assert "secretAccessKey" not in str(record)
    assert made.secret_access_key not in repr(made)
    stored = b"".join(path.read_bytes() for path in account.parts.opened.config.data.glob("strongroom.db*"))
    assert made.access_key_id.encode() in stored
    assert made.secret_access_key.encode() not in stored


def test_an_inactive_key_signs_nothing(account: Account) -> None:
    key = account.user("switched", document("iam:GetUser"))
    named = {"UserName": "switched", "AccessKeyId": key.access_key_id}
    for _ in range(2):
        account.call("UpdateAccessKey", **named, Status="Inactive")
        assert account.by(key).refusal("GetUser") == ("InvalidClientTokenId", UNKNOWN)
        (listed,) = account.call("ListAccessKeys", UserName="switched").access_key_metadata
        assert listed.status == "Inactive"
    account.call("UpdateAccessKey", **named, Status="Active")
    assert account.by(key).call("GetUser").user.user_name == "switched"


def test_a_key_cannot_be_made_to_expire(account: Account) -> None:
    key = account.user("expiring")
    named = {"UserName": "expiring", "AccessKeyId": key.access_key_id}
    account.call("UpdateAccessKey", **named, Status="Inactive")
    assert account.refusal("UpdateAccessKey", **named, Status="Expired") == (
        "ValidationError",
        "1 validation error detected: Value 'Expired' at 'status' failed to satisfy constraint: Member must satisfy "
        "enum value set: [Active, Inactive]",
    )
    assert account.refusal("UpdateAccessKey", **named, Status="active")[0] == "ValidationError"
    assert account.by(key).refusal("GetUser")[0] == "InvalidClientTokenId"


def test_a_deleted_key_signs_nothing_and_leaves_nothing(account: Account) -> None:
    key = account.user("losing", document("iam:GetUser"))
    named = {"UserName": "losing", "AccessKeyId": key.access_key_id}
    account.by(key).call("GetUser")
    account.call("DeleteAccessKey", **named)
    assert account.by(key).refusal("GetUser") == ("InvalidClientTokenId", UNKNOWN)
    assert account.call("ListAccessKeys", UserName="losing").access_key_metadata == ()
    gone = ("NoSuchEntity", f"The Access Key with id {key.access_key_id} cannot be found.")
    assert account.refusal("DeleteAccessKey", **named) == gone
    assert account.refusal("UpdateAccessKey", **named, Status="Active") == gone


def test_a_user_has_two_keys_at_most(account: Account) -> None:
    account.user("full")
    key = account.key_of("full")
    over = ("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
    assert account.refusal("CreateAccessKey", UserName="full") == over
    account.call("UpdateAccessKey", UserName="full", AccessKeyId=key.access_key_id, Status="Inactive")
    assert account.refusal("CreateAccessKey", UserName="full") == over
    account.call("DeleteAccessKey", UserName="full", AccessKeyId=key.access_key_id)
    account.key_of("full")


def test_without_a_name_the_keys_are_the_callers(account: Account) -> None:
    own = account.user("self", document("iam:*AccessKey*", f"{ARN}user/${{aws:username}}"))
    made = account.by(own).call("CreateAccessKey").access_key
    assert made.user_name == "self"
    listed = account.by(own).call("ListAccessKeys").access_key_metadata
    assert {one.access_key_id for one in listed} == {own.access_key_id, made.access_key_id}
    account.by(own).call("UpdateAccessKey", AccessKeyId=made.access_key_id, Status="Inactive")
    account.by(own).call("DeleteAccessKey", AccessKeyId=made.access_key_id)
    (root,) = account.call("ListAccessKeys").access_key_metadata
    assert root.user_name is None


def test_the_keys_of_the_root_user(account: Account) -> None:
    made = account.call("CreateAccessKey").access_key
    key = Credential(made.access_key_id, made.secret_access_key)
    assert account.by(key).call("GetUser").user.arn == f"{ARN}root"
    assert account.refusal("CreateAccessKey")[0] == "LimitExceeded"
    account.call("UpdateAccessKey", AccessKeyId=made.access_key_id, Status="Inactive")
    assert account.by(key).refusal("GetUser")[0] == "InvalidClientTokenId"
    account.call("DeleteAccessKey", AccessKeyId=made.access_key_id)
    assert len(account.call("ListAccessKeys").access_key_metadata) == 1


def test_a_session_of_a_role_has_no_keys_of_its_own(account: Account) -> None:
    by = account.user("assuming", document("sts:AssumeRole"))
    account.call("CreateRole", RoleName="keyless", AssumeRolePolicyDocument=TRUST)
    account.call("PutRolePolicy", RoleName="keyless", PolicyName="all", PolicyDocument=document("iam:*"))
    assumed = (
        account.by(by)
        .call("AssumeRole", service="sts", RoleArn=f"{ARN}role/keyless", RoleSessionName="work")
        .credentials
    )
    session = Credential(assumed.access_key_id, assumed.secret_access_key, assumed.session_token)
    for name in ("CreateAccessKey", "ListAccessKeys", "GetUser"):
        assert account.by(session).refusal(name) == (
            "ValidationError",
            "Must specify userName when calling with non-User credentials",
        )


def test_nobody_reaches_the_keys_of_others(account: Account) -> None:
    """Neither by naming them, nor by naming their key as one's own, nor the root user's."""
    other = account.user("victim", document("iam:GetUser"))
    own = account.user("thief", document("iam:*AccessKey*", f"{ARN}user/thief"))
    for name in ("CreateAccessKey", "ListAccessKeys"):
        assert account.by(own).refusal(name, UserName="victim")[0] == "AccessDenied"
    root = account.call("ListAccessKeys").access_key_metadata[0].access_key_id
    for key_id in (other.access_key_id, root):
        gone = ("NoSuchEntity", f"The Access Key with id {key_id} cannot be found.")
        for named in ({}, {"UserName": "thief"}):
            assert account.by(own).refusal("DeleteAccessKey", AccessKeyId=key_id, **named) == gone
            update = {"AccessKeyId": key_id, "Status": "Inactive"} | named
            assert account.by(own).refusal("UpdateAccessKey", **update) == gone
        assert account.refusal("DeleteAccessKey", UserName="thief", AccessKeyId=key_id) == gone
    assert account.refusal("DeleteAccessKey", AccessKeyId=other.access_key_id)[0] == "NoSuchEntity"
    assert account.by(other).call("GetUser").user.user_name == "victim"


def test_who_is_not_there_has_no_keys(account: Account) -> None:
    missing = ("NoSuchEntity", "The user with name nobody cannot be found.")
    key = {"UserName": "nobody", "AccessKeyId": "AKIA0000000000000000"}
    assert account.refusal("CreateAccessKey", UserName="nobody") == missing
    assert account.refusal("ListAccessKeys", UserName="nobody") == missing
    assert account.refusal("DeleteAccessKey", **key) == missing
    assert account.refusal("UpdateAccessKey", **key, Status="Active") == missing


def test_keys_come_in_pages(account: Account) -> None:
    ids = {account.user("paged").access_key_id, account.key_of("paged").access_key_id}
    pages = account.pages("ListAccessKeys", "access_key_metadata", UserName="paged", MaxItems=1)
    assert [len(page) for page in pages] == [1, 1]
    assert {key.access_key_id for page in pages for key in page} == ids


def test_the_last_use_is_told(account: Account) -> None:
    key = account.user("user", document("sts:GetCallerIdentity"))
    named = {"AccessKeyId": key.access_key_id}
    found = account.call("GetAccessKeyLastUsed", **named)
    assert structs.asdict(found.access_key_last_used) == {
        "last_used_date": None, "service_name": "N/A", "region": "N/A",
    }  # fmt: skip
    account.by(key).call("GetCallerIdentity", service="sts")
    found = account.call("GetAccessKeyLastUsed", **named)
    assert (found.user_name, structs.asdict(found.access_key_last_used)) == (
        "user",
        {"last_used_date": NOW, "service_name": "sts", "region": "us-east-1"},
    )
    assert account.by(key).refusal("GetUser")[0] == "AccessDenied"
    assert account.call("GetAccessKeyLastUsed", **named).access_key_last_used.service_name == "iam"


def test_a_signature_that_is_wrong_is_no_use(account: Account) -> None:
    key = account.user("forged")
    wrong = structs.replace(key, secret="A" * 40)
    assert account.by(wrong).refusal("GetUser")[0] == "SignatureDoesNotMatch"
    found = account.call("GetAccessKeyLastUsed", AccessKeyId=key.access_key_id)
    assert found.access_key_last_used.last_used_date is None


def test_the_last_use_of_the_root_users_key_is_told(account: Account) -> None:
    root = account.call("ListAccessKeys").access_key_metadata[0].access_key_id
    found = account.call("GetAccessKeyLastUsed", AccessKeyId=root)
    assert (found.user_name, found.access_key_last_used.service_name) == (None, "iam")


def test_the_last_use_of_what_is_not_there_is_denied(account: Account) -> None:
    key_id = "AKIA0000000000000000"
    assert account.refusal("GetAccessKeyLastUsed", AccessKeyId=key_id) == (
        "AccessDenied",
        f"User: {ARN}root is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key {key_id}",
    )


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ((document("iam:GetAccessKeyLastUsed", f"{ARN}user/watched"),), True),
        ((document("iam:GetAccessKeyLastUsed"),), True),
        ((document("iam:GetAccessKeyLastUsed", f"{ARN}user/curious*"),), False),
        ((document("iam:*"), document("iam:*", f"{ARN}user/watched", "Deny")), False),
    ],
)
def test_the_last_use_is_told_to_who_may_ask_about_the_user(
    account: Account, policies: tuple[str, ...], *, allowed: bool
) -> None:
    name = account.name("watched")
    named = {"AccessKeyId": account.user(name).access_key_id}
    asking = account.user(account.name("curious"), *(one.replace("user/watched", f"user/{name}") for one in policies))
    if allowed:
        assert account.by(asking).call("GetAccessKeyLastUsed", **named).user_name == name
    else:
        assert account.by(asking).refusal("GetAccessKeyLastUsed", **named)[0] == "AccessDenied"
