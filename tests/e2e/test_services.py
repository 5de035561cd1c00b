"""Services that use keys for users, over a server of two processes and through boto3."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from strongroom.errors import ConfigurationError
from strongroom.testing.server import Server
from tests.e2e.calls import allow, policy, refusal, refused
from tests.e2e.commands import strongroom
from tests.e2e.conftest import OTHER, first_account
from tests.e2e.people import acting, client, credentials_of, declare
from tests.records import record_of_request

OPERATIONS = "Decrypt,Encrypt,GenerateDataKey,CreateGrant,DescribeKey,CreateKey,ListKeys"


class Users(NamedTuple):
    """A user of each of two accounts, with the key of each, which is for the users of its account through s3 alone."""

    arns: list[str]
    keys: list[str]
    owners: list[Any]
    """The root users' KMS clients."""


def via_service(account: str, service: str = "s3") -> dict[str, Any]:
    condition = {"kms:ViaService": f"{service}.us-east-1.amazonaws.com", "kms:CallerAccount": account}
    return {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["kms:GenerateDataKey", "kms:Decrypt", "kms:Encrypt", "kms:CreateGrant"],
        "Resource": "*",
        "Condition": {"StringEquals": condition},
    }


@pytest.fixture(scope="module")
def users(pair: Server) -> Users:
    arns, keys, owners = [], [], []
    for profile in (first_account(pair), OTHER):
        root = credentials_of(pair, profile)
        account = client(pair, "sts", root).get_caller_identity()["Account"]
        user = client(pair, "iam", root).create_user(UserName=f"ann-{secrets.token_hex(4)}")["User"]
        kms = client(pair, "kms", root)
        document = policy(allow(account, "kms:PutKeyPolicy"), via_service(account))
        keys.append(kms.create_key(Policy=document)["KeyMetadata"]["Arn"])
        arns.append(user["Arn"])
        owners.append(kms)
    return Users(arns, keys, owners)


@pytest.fixture(scope="module")
def service(pair: Server, users: Users) -> Iterator[dict[str, str]]:
    """The credential of s3, which may act for the users of both accounts."""
    accounts = ",".join(arn.split(":")[4] for arn in users.arns)
    made = strongroom(
        "service", "declare", "s3", "--config", pair.data / "strongroom.yaml",
        "--accounts", accounts, "--operations", OPERATIONS,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    yield credentials_of(pair, "service-s3")
    strongroom("service", "remove", "s3", "--config", pair.data / "strongroom.yaml")


def test_a_service_uses_a_key_for_a_user_of_each_account(pair: Server, users: Users, service: dict[str, str]) -> None:
    for arn, key, other in zip(users.arns, users.keys, reversed(users.keys), strict=True):
        kms = acting(pair, service, arn)
        made = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
        assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
        assert refusal(kms.generate_data_key, KeyId=other, KeySpec="AES_256")[0] == "AccessDeniedException"
        record = record_of_request(pair.data, made)
        identity = record["userIdentity"]
        assert (identity["type"], identity["arn"], identity["invokedBy"]) == ("IAMUser", arn, "s3.amazonaws.com")
        assert (record["sourceIPAddress"], record["userAgent"]) == ("s3.amazonaws.com", "s3.amazonaws.com")
        by = {"accessKeyId": service["aws_access_key_id"], "sourceIPAddress": "127.0.0.1"}
        assert record["additionalEventData"]["service"] == by


def test_the_key_is_for_this_service_alone(pair: Server, users: Users, service: dict[str, str]) -> None:
    account = users.arns[0].split(":")[4]
    assert refusal(users.owners[0].encrypt, KeyId=users.keys[0], Plaintext=b"x")[0] == "AccessDeniedException"
    other = acting(pair, declare(pair, "ebs", [account], OPERATIONS), users.arns[0])
    assert refusal(other.encrypt, KeyId=users.keys[0], Plaintext=b"x")[0] == "AccessDeniedException"
    itself = client(pair, "kms", service)
    assert refusal(itself.encrypt, KeyId=users.keys[0], Plaintext=b"x")[0] == "AccessDeniedException"


def test_taking_the_policy_away_is_seen_at_once(pair: Server, users: Users, service: dict[str, str]) -> None:
    account = users.arns[0].split(":")[4]
    kms = acting(pair, service, users.arns[0])
    kms.encrypt(KeyId=users.keys[0], Plaintext=b"x")
    users.owners[0].put_key_policy(KeyId=users.keys[0], Policy=policy(allow(account, "kms:PutKeyPolicy")))
    for _ in range(8):
        assert refusal(kms.encrypt, KeyId=users.keys[0], Plaintext=b"x")[0] == "AccessDeniedException"
    restored = policy(allow(account, "kms:PutKeyPolicy"), via_service(account))
    users.owners[0].put_key_policy(KeyId=users.keys[0], Policy=restored)
    kms.encrypt(KeyId=users.keys[0], Plaintext=b"x")


def test_nobody_but_a_service_names_another(pair: Server, users: Users) -> None:
    root = acting(pair, credentials_of(pair, first_account(pair)), users.arns[0])
    code, text = refusal(root.encrypt, KeyId=users.keys[0], Plaintext=b"x")
    assert (code, "is not a service" in text) == ("AccessDeniedException", True)


def test_an_unsigned_header_is_refused(pair: Server, users: Users, service: dict[str, str]) -> None:
    kms = client(pair, "kms", service)

    def add(request: Any, **_: object) -> None:
        request.headers["x-strongroom-on-behalf-of"] = users.arns[0]
        request.headers["x-strongroom-nonce"] = secrets.token_hex(16)

    kms.meta.events.register("before-send.kms", add)
    assert refusal(kms.encrypt, KeyId=users.keys[0], Plaintext=b"x")[0] == "InvalidSignatureException"


def test_a_request_that_is_sent_again_is_refused_by_every_process(
    pair: Server, users: Users, service: dict[str, str]
) -> None:
    kms = acting(pair, service, users.arns[0], nonce=secrets.token_hex(16))
    kms.encrypt(KeyId=users.keys[0], Plaintext=b"x")
    for _ in range(8):  # connections of their own: some of them to the other process
        again = acting(pair, service, users.arns[0])
        sent: list[Any] = []
        again.meta.events.register("before-send.kms", lambda request, sent=sent, **_: sent.append(request))
        again.encrypt(KeyId=users.keys[0], Plaintext=b"x")
        replayed = client(pair, "kms", service)
        replayed.meta.events.register("before-send.kms", lambda sent=sent, **_: _send(sent[0]))
        code, text = refusal(replayed.encrypt, KeyId=users.keys[0], Plaintext=b"x")
        assert (code, "was sent before" in text) == ("AccessDeniedException", True)
    assert "was sent before" in refusal(kms.encrypt, KeyId=users.keys[0], Plaintext=b"y")[1]


def _send(request: Any) -> Any:
    """Send a prepared request once more, as it was."""
    from botocore.httpsession import URLLib3Session

    return URLLib3Session().send(request)


@pytest.mark.parametrize("operation", ["EnableKey", "GetKeyPolicy"])
def test_an_operation_that_was_not_declared_is_refused(
    pair: Server, users: Users, service: dict[str, str], operation: str
) -> None:
    kms = acting(pair, service, users.arns[0])
    call = {"EnableKey": kms.enable_key, "GetKeyPolicy": kms.get_key_policy}[operation]
    answer = refused(call, KeyId=users.keys[0])
    text = f"s3.amazonaws.com may not call {operation}."
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("AccessDeniedException", text)
    request_id = answer["ResponseMetadata"]["RequestId"]
    told = strongroom("explain", request_id, "--config", pair.data / "strongroom.yaml").stdout.splitlines()
    assert told[0].endswith(f"{operation} by s3.amazonaws.com failed with AccessDenied")
    assert told[1:] == [f"  {text}"]


@pytest.mark.parametrize("name", ["kms", "sts", "iam"])
def test_what_answers_here_is_no_service_that_asks(pair: Server, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is a service that answers here"):
        declare(pair, name, [first_account(pair)], "Decrypt")


def test_a_service_gets_no_sessions_and_manages_nobody(pair: Server, users: Users, service: dict[str, str]) -> None:
    for name, call in (("sts", "get_session_token"), ("sts", "get_caller_identity"), ("iam", "list_users")):
        for headers in ({}, {"x-strongroom-on-behalf-of": users.arns[0], "x-strongroom-nonce": "0" * 32}):
            other = client(pair, name, service)
            other.meta.events.register(
                "before-sign",
                lambda request, headers=headers, **_: [request.headers.add_header(*h) for h in headers.items()],
            )
            with pytest.raises(Exception, match="AccessDenied"):
                getattr(other, call)()


def test_a_service_that_is_removed_or_confined_is_refused_at_once(pair: Server, users: Users) -> None:
    both = ",".join(arn.split(":")[4] for arn in users.arns)
    kms = [acting(pair, declare(pair, "sqs", both.split(","), "ListKeys"), arn) for arn in users.arns]
    root = [
        acting(pair, credentials_of(pair, "service-sqs"), f"arn:aws:iam::{arn.split(':')[4]}:root")
        for arn in users.arns
    ]
    for one in root:
        one.list_keys()
    assert refusal(kms[0].list_keys)[0] == "AccessDeniedException"  # the user has no policy that allows it
    declare(pair, "sqs", [OTHER], "ListKeys")
    for _ in range(4):
        assert refusal(root[0].list_keys) == (
            "AccessDeniedException",
            "sqs.amazonaws.com may not act for this principal.",
        )
        root[1].list_keys()
    strongroom("service", "remove", "sqs", "--config", pair.data / "strongroom.yaml")
    for _ in range(4):
        assert refusal(root[1].list_keys)[0] == "UnrecognizedClientException"


def test_a_service_is_a_principal_of_its_own(pair: Server, users: Users, service: dict[str, str]) -> None:
    account = users.arns[0].split(":")[4]
    named = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:Encrypt", "Resource": "*"}
    key = users.owners[0].create_key(Policy=policy(allow(account), named))["KeyMetadata"]["Arn"]
    made = client(pair, "kms", service).encrypt(KeyId=key, Plaintext=b"x")
    identity = record_of_request(pair.data, made)["userIdentity"]
    assert identity == {"type": "AWSService", "invokedBy": "s3.amazonaws.com"}
    declare(pair, "s3", [OTHER], OPERATIONS)
    assert refusal(client(pair, "kms", service).encrypt, KeyId=key, Plaintext=b"x")[0] == "AccessDeniedException"
    declare(pair, "s3", [account, OTHER], OPERATIONS)


def test_a_grant_that_a_service_makes_for_a_user_is_for_an_aws_resource(
    pair: Server, users: Users, service: dict[str, str]
) -> None:
    account = users.arns[0].split(":")[4]
    condition = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    only = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:CreateGrant", "Resource": "*"}
    key = users.owners[0].create_key(
        Policy=policy(allow(account, "kms:PutKeyPolicy"), only | {"Condition": condition})
    )["KeyMetadata"]["Arn"]
    asked = {"KeyId": key, "GranteePrincipal": users.arns[0], "Operations": ["Encrypt"]}
    assert refusal(users.owners[0].create_grant, **asked)[0] == "AccessDeniedException"
    acting(pair, service, users.arns[0]).create_grant(**asked)


def test_what_was_declared_is_listed_and_recorded(pair: Server, service: dict[str, str]) -> None:
    listed = strongroom("service", "list", "--config", pair.data / "strongroom.yaml")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == sorted({"s3", "ebs"} & {*listed.stdout.split()})
    assert service["aws_secret_access_key"] not in json.dumps(listed.stdout)
    for arguments in (("S3!", OTHER, "Decrypt"), ("s4", "123", "Decrypt"), ("s4", OTHER, "Decipher")):
        name, accounts, operations = arguments
        failed = strongroom(
            "service", "declare", name, "--config", pair.data / "strongroom.yaml",
            "--accounts", accounts, "--operations", operations,
        )  # fmt: skip
        assert failed.returncode == 2
        assert failed.stderr.startswith("strongroom: ")
