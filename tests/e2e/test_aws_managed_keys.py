"""AWS managed keys, over a server of two processes and through boto3 (AWS: "AWS managed keys")."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import REQUESTS, Key, make_key, method, refusal, refused
from tests.e2e.commands import strongroom
from tests.e2e.conftest import OTHER, first_account
from tests.e2e.people import (
    Account,
    User,
    account_of,
    acting,
    assume,
    client,
    credentials_of,
    declare,
    make_user,
    name,
    remove_service,
)
from tests.records import record_of_request, recorded, records_of_requests

ALIAS = "alias/aws/dynamodb"
OPERATIONS = "Decrypt,Encrypt,GenerateDataKey,CreateGrant,DescribeKey"
AES_256 = {"KeySpec": "AES_256"}
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
)  # fmt: skip


class Party(NamedTuple):
    """An account, a user of it without a policy, and one who may do everything that a policy can allow."""

    account: Account
    user: User
    admin: User

    @property
    def root(self) -> Any:
        """The root user's KMS client."""
        return self.account.kms[0]


class Managed(NamedTuple):
    """The AWS managed key of the first party, what was encrypted with it, and another key of the account."""

    key: Key
    other: Key


@pytest.fixture(scope="module")
def parties(pair: Server) -> list[Party]:
    made = []
    for profile in (first_account(pair), OTHER):
        account = account_of(pair, profile)
        user, admin = make_user(account.iam), make_user(account.iam)
        account.iam.put_user_policy(UserName=admin.name, PolicyName="inline", PolicyDocument=EVERYTHING)
        made.append(Party(account, user, admin))
    return made


@pytest.fixture(scope="module")
def service(pair: Server, parties: list[Party]) -> Iterator[dict[str, str]]:
    """The credential of dynamodb, which may act for the users of both accounts."""
    yield declare(pair, "dynamodb", (party.account.account for party in parties), OPERATIONS)
    remove_service(pair, "dynamodb")


@pytest.fixture(scope="module")
def managed(pair: Server, parties: list[Party], service: dict[str, str]) -> Managed:
    party = parties[0]
    made = acting(pair, service, party.user.arn).encrypt(KeyId=ALIAS, Plaintext=b"secret")
    arn = made["KeyId"]
    alias_arn = f"{arn.rpartition(':')[0]}:{ALIAS}"
    key = Key(arn.rpartition("/")[2], arn, ALIAS, alias_arn, made["CiphertextBlob"], "0" * 64)
    return Managed(key, make_key(party.root))


def entry_of(kms: Any, alias: str) -> dict[str, Any]:
    """What ListAliases tells of an alias."""
    pages = kms.get_paginator("list_aliases").paginate()
    (entry,) = [entry for page in pages for entry in page["Aliases"] if entry["AliasName"] == alias]
    found: dict[str, Any] = entry
    return found


def told(kms: Any, key_id: str) -> dict[str, Any]:
    """All that can be read of a key."""
    answers = [
        kms.describe_key(KeyId=key_id),
        kms.get_key_policy(KeyId=key_id),
        kms.get_key_rotation_status(KeyId=key_id),
        kms.list_key_policies(KeyId=key_id),
        kms.list_key_rotations(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL"),
        kms.list_resource_tags(KeyId=key_id),
        kms.list_aliases(KeyId=key_id),
        kms.list_grants(KeyId=key_id),
    ]
    return {name: value for answer in answers for name, value in answer.items() if name != "ResponseMetadata"}


def test_each_account_has_a_key_that_only_its_users_use_through_the_service(
    pair: Server, parties: list[Party], service: dict[str, str]
) -> None:
    clients = [acting(pair, service, party.user.arn) for party in parties]
    made = [kms.generate_data_key(KeyId=ALIAS, **AES_256) for kms in clients]
    for party, kms, own, foreign in zip(parties, clients, made, reversed(made), strict=True):
        assert own["KeyId"].split(":")[4] == party.account.account
        for root in party.account.kms:
            assert root.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"] == own["KeyId"]
        assert kms.generate_data_key(KeyId=ALIAS, **AES_256)["KeyId"] == own["KeyId"]
        assert kms.decrypt(CiphertextBlob=own["CiphertextBlob"])["Plaintext"] == own["Plaintext"]
        for named in ({}, {"KeyId": foreign["KeyId"]}):
            asked = {"CiphertextBlob": foreign["CiphertextBlob"], **named}
            assert refusal(kms.decrypt, **asked)[0] == "AccessDeniedException"
        assert refusal(kms.encrypt, KeyId=foreign["KeyId"], Plaintext=b"x")[0] == "AccessDeniedException"
        record = record_of_request(pair.data, own)
        assert record["userIdentity"]["arn"] == party.user.arn
        assert record["userIdentity"]["invokedBy"] == "dynamodb.amazonaws.com"
        assert [resource["ARN"] for resource in record["resources"]] == [own["KeyId"]]
        created = [
            (event["eventType"], event["recipientAccountId"])
            for event in recorded(pair.data)
            if event["eventName"] == "CreateKey" and (event.get("resources") or [{}])[0].get("ARN") == own["KeyId"]
        ]
        assert created == [("AwsServiceEvent", party.account.account)]


def test_a_session_of_a_role_uses_the_key_through_the_service(
    pair: Server, parties: list[Party], service: dict[str, str], managed: Managed
) -> None:
    account = parties[0].account
    trust = {"Effect": "Allow", "Principal": {"AWS": account.account}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    role = account.iam.create_role(RoleName=name("role"), AssumeRolePolicyDocument=document)["Role"]
    account.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="inline", PolicyDocument=EVERYTHING)
    account.iam.put_user_policy(
        UserName=parties[0].admin.name,
        PolicyName="assume",
        PolicyDocument=EVERYTHING.replace("kms:*", "sts:AssumeRole"),
    )
    session = assume(pair, parties[0].admin.credential, role["Arn"])
    kms = acting(pair, service, session["aws_session_token"])
    assert kms.decrypt(CiphertextBlob=managed.key.blob)["Plaintext"] == b"secret"
    itself = client(pair, "kms", session)
    assert refusal(itself.encrypt, KeyId=ALIAS, Plaintext=b"x")[0] == "AccessDeniedException"
    assert itself.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"] == managed.key.arn


ACTIONS = {
    "CancelKeyDeletion": "",
    "CreateAlias": "",
    "CreateGrant": "",
    "Decrypt": "",
    "DeleteImportedKeyMaterial": "",
    "DisableKey": "",
    "DisableKeyRotation": "",
    "EnableKey": "",
    "EnableKeyRotation": "",
    "Encrypt": "",
    "GenerateDataKey": "",
    "GenerateDataKeyPair": "",
    "GenerateDataKeyPairWithoutPlaintext": "",
    "GenerateDataKeyWithoutPlaintext": "",
    "GenerateMac": "",
    "PutKeyPolicy": "",
    "ReEncrypt from": "ReEncryptFrom",
    "ReEncrypt to": "ReEncryptTo",
    "ReplicateKey": "",
    "RotateKeyOnDemand": "",
    "ScheduleKeyDeletion": "",
    "Sign": "",
    "TagResource": "",
    "UntagResource": "",
    "UpdateAlias": "",
    "UpdateKeyDescription": "",
    "UpdatePrimaryRegion": "",
}
"""What nobody may do with an AWS managed key; the action, if it is not called as the operation."""
MORE_REQUESTS: dict[str, Callable[[Key, str, Key], dict[str, Any]]] = {
    "ReplicateKey": lambda _key, named, _other: {"KeyId": named, "ReplicaRegion": "eu-west-1"},
    "UpdatePrimaryRegion": lambda _key, named, _other: {"KeyId": named, "PrimaryRegion": "eu-west-1"},
}


@pytest.mark.parametrize("who", ["root", "admin"])
def test_nobody_uses_or_manages_the_key_directly(
    pair: Server, parties: list[Party], service: dict[str, str], managed: Managed, who: str
) -> None:
    party, (key, other) = parties[0], managed
    caller, kms = f"arn:aws:iam::{party.account.account}:root", party.root
    if who == "admin":
        caller, kms = party.admin.arn, client(pair, "kms", party.admin.credential)
    before = told(party.root, key.key_id)
    request_ids: dict[str, str] = {}
    for request, called in ACTIONS.items():
        parameters = (REQUESTS | MORE_REQUESTS)[request](key, key.arn, other)
        response = refused(method(kms, request), **parameters)
        action = called or request
        error = response["Error"]
        assert error["Code"] == "AccessDeniedException", request
        assert error["Message"].startswith(
            f"User: {caller} is not authorized to perform: kms:{action} on resource: {key.arn} because no "
        )
        request_ids[response["ResponseMetadata"]["RequestId"]] = request.split()[0]
    for operation, parameters in (
        ("Encrypt", {"KeyId": ALIAS, "Plaintext": b"x"}),
        ("Encrypt", {"KeyId": key.alias_arn, "Plaintext": b"x"}),
        ("GenerateDataKey", {"KeyId": ALIAS, **AES_256}),
        ("Decrypt", {"CiphertextBlob": key.blob}),
        ("Decrypt", {"KeyId": ALIAS, "CiphertextBlob": key.blob}),
    ):
        response = refused(method(kms, operation), **parameters)
        assert response["Error"]["Code"] == "AccessDeniedException"
        request_ids[response["ResponseMetadata"]["RequestId"]] = operation
    records = [record for _, record in records_of_requests(pair.data, {*request_ids})]
    assert {record["requestID"]: record["eventName"] for record in records} == request_ids
    assert len(records) == len(request_ids)
    assert {record["errorCode"] for record in records} == {"AccessDenied"}
    assert {record["userIdentity"]["arn"] for record in records} == {caller}
    for record in records:
        assert key.arn in [resource["ARN"] for resource in record["resources"]], record["eventName"]

    assert told(party.root, key.key_id) == before
    assert entry_of(party.root, other.alias)["TargetKeyId"] == other.key_id
    through = acting(pair, service, party.user.arn)
    assert through.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
    assert through.encrypt(KeyId=ALIAS, Plaintext=b"x")["KeyId"] == key.arn


@pytest.mark.parametrize("who", ["root", "admin"])
def test_aliases_of_aws_are_not_for_anybody_to_make_or_change(
    pair: Server, parties: list[Party], managed: Managed, who: str
) -> None:
    party, own = parties[0], managed.other.key_id
    kms = party.root if who == "root" else client(pair, "kms", party.admin.credential)
    before = entry_of(party.root, ALIAS)
    request_ids: dict[str, str] = {}
    for alias in (ALIAS, "alias/aws/sns", "alias/aws/mine", "alias/aws/"):
        for operation, parameters in (
            ("CreateAlias", {"AliasName": alias, "TargetKeyId": own}),
            ("CreateAlias", {"AliasName": alias, "TargetKeyId": managed.key.key_id}),
            ("UpdateAlias", {"AliasName": alias, "TargetKeyId": own}),
            ("DeleteAlias", {"AliasName": alias}),
        ):
            response = refused(method(kms, operation), **parameters)
            assert response["Error"]["Code"] == "NotAuthorizedException", (operation, alias)
            request_ids[response["ResponseMetadata"]["RequestId"]] = operation
    records = [record for _, record in records_of_requests(pair.data, {*request_ids})]
    assert {record["requestID"]: record["eventName"] for record in records} == request_ids
    assert {record["errorCode"] for record in records} == {"NotAuthorizedException"}
    assert entry_of(party.root, ALIAS) == before
    assert before["TargetKeyId"] == managed.key.key_id


@pytest.mark.parametrize("who", ["root", "admin"])
def test_the_account_looks_at_the_key(pair: Server, parties: list[Party], managed: Managed, who: str) -> None:
    party, key = parties[0], managed.key
    kms = party.root if who == "root" else client(pair, "kms", party.admin.credential)
    found = told(kms, key.key_id)
    metadata = found["KeyMetadata"]
    assert (metadata["Arn"], metadata["KeyManager"], metadata["KeyState"]) == (key.arn, "AWS", "Enabled")
    assert metadata["Description"] == "Default key that protects my DynamoDB data when no other key is defined"
    assert (metadata["MultiRegion"], "MultiRegionConfiguration" in metadata) == (False, False)
    assert json.loads(found["Policy"])["Id"].startswith("auto-dynamodb-")
    assert (found["KeyRotationEnabled"], found["RotationPeriodInDays"]) == (True, 365)
    assert (found["Tags"], found["PolicyNames"]) == ([], ["default"])
    assert [alias["AliasName"] for alias in found["Aliases"]] == [ALIAS]
    listed = [entry for page in kms.get_paginator("list_keys").paginate() for entry in page["Keys"]]
    assert {"KeyId": key.key_id, "KeyArn": key.arn} in listed
    entry = entry_of(kms, ALIAS)
    assert (entry["AliasArn"], entry["TargetKeyId"]) == (key.alias_arn, key.key_id)
    assert entry["CreationDate"] == entry["LastUpdatedDate"] == metadata["CreationDate"]
    predefined = entry_of(kms, "alias/aws/xray")
    predefined_arn = key.alias_arn.replace("dynamodb", "xray")
    assert predefined == {"AliasName": "alias/aws/xray", "AliasArn": predefined_arn}
    plain = client(pair, "kms", party.user.credential)
    assert refusal(plain.describe_key, KeyId=ALIAS)[0] == "AccessDeniedException"


def test_a_grant_that_the_service_makes_is_in_force_until_the_account_revokes_it(
    pair: Server, parties: list[Party], service: dict[str, str], managed: Managed
) -> None:
    party, key = parties[0], managed.key
    through = acting(pair, service, party.user.arn)
    grant = through.create_grant(KeyId=key.arn, GranteePrincipal=party.user.arn, Operations=["Decrypt"])
    plain = client(pair, "kms", party.user.credential)
    assert plain.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
    assert refusal(plain.encrypt, KeyId=key.arn, Plaintext=b"x")[0] == "AccessDeniedException"
    listed = party.root.list_grants(KeyId=key.key_id)["Grants"]
    assert [one["GrantId"] for one in listed] == [grant["GrantId"]]
    party.root.revoke_grant(KeyId=key.key_id, GrantId=grant["GrantId"])
    for _ in range(4):
        assert refusal(plain.decrypt, CiphertextBlob=key.blob)[0] == "AccessDeniedException"


def test_a_service_that_is_declared_to_protect_something_has_a_key_at_once(pair: Server, parties: list[Party]) -> None:
    party, service = parties[0], name("keeper")
    alias = f"alias/aws/{service}"
    made = strongroom(
        "service", "declare", service, "--config", pair.data / "strongroom.yaml",
        "--accounts", party.account.account, "--operations", OPERATIONS, "--protects", "kept things",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    credential = credentials_of(pair, f"service-{service}")
    try:
        for kms in party.account.kms:
            assert entry_of(kms, alias) == {
                "AliasName": alias,
                "AliasArn": f"arn:aws:kms:us-east-1:{party.account.account}:{alias}",
            }
        assert refusal(party.root.encrypt, KeyId=alias, Plaintext=b"x")[0] == "NotFoundException"
        through = acting(pair, credential, party.user.arn)
        data_key = through.generate_data_key(KeyId=alias, **AES_256)
        assert through.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]
        for kms in party.account.kms:
            metadata = kms.describe_key(KeyId=alias)["KeyMetadata"]
            assert (metadata["Arn"], metadata["KeyManager"]) == (data_key["KeyId"], "AWS")
            assert metadata["Description"] == (
                "Default key that protects my kept things when no other key is defined"
            )  # fmt: skip
        declared = [event for event in recorded(pair.data) if event["eventName"] == "DeclareService"]
        details = [event["serviceEventDetails"] for event in declared]
        assert [one["protects"] for one in details if one["name"] == service] == ["kept things"]
    finally:
        remove_service(pair, service)
    assert entry_of(party.root, alias)["TargetKeyId"] == data_key["KeyId"].rpartition("/")[2]
