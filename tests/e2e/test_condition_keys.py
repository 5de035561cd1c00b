"""Every condition key through boto3, in an Allow and in a Deny, on two server processes, and its audit record."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from strongroom.operations.condition_keys import CONDITION_KEYS
from strongroom.testing.server import Server
from tests.e2e.calls import REQUESTS, Key, Keys, Statement, allow, call, make_key, method, policy, refused
from tests.records import records_of_requests

OF_OTHERS = {
    "aws:CalledVia",
    "aws:CalledViaFirst",
    "aws:CalledViaLast",
    "aws:FederatedProvider",
    "aws:MultiFactorAuthPresent",
    "aws:PrincipalServiceName",
    "aws:PrincipalServiceNamesList",
    "aws:PrincipalTag/",
    "aws:SourceIdentity",
    "iam:PermissionsBoundary",
    "iam:PolicyARN",
    "iam:ResourceTag/",
    "kms:MultiRegionKeyType",
    "kms:PrimaryRegion",
    "kms:ReplicaRegion",
    "kms:ViaService",
    "sts:ExternalId",
    "sts:RoleSessionName",
    "sts:SourceIdentity",
    "sts:TransitiveTagKeys",
}
"""Keys that a root user who asks KMS does not have, or only for multi-Region keys (tests/e2e/test_identities.py,
test_multi_region.py, test_services.py, and tests/unit/operations/test_condition_keys.py)."""
NOT_FOR_KEY_POLICIES = {
    "aws:PrincipalType",
    "aws:username",
    "aws:TokenIssueTime",
    "aws:ResourceTag/",
    "kms:ResourceAliases",
}
"""Condition keys that a root user does not have, or that are refused in key policies: unit tests have them."""


class Row(NamedTuple):
    """A condition, whether it is met, the operation it is for, and that one's parameters beside the key's name."""

    operator: str
    key: str
    value: Any
    met: bool
    operation: str = "Encrypt"
    parameters: Mapping[str, Any] = MappingProxyType({})
    by_alias: bool = False

    @property
    def action(self) -> str:
        word = self.operation.partition(" ")
        return f"kms:{word[0]}{word[2].capitalize()}"

    def __str__(self) -> str:
        return f"{self.operator} {self.key} {self.value} {self.operation} {self.parameters}"


def both(
    operator: str,
    key: str,
    met: Any,
    unmet: Any,
    operation: str = "Encrypt",
    *,
    by_alias: bool = False,
    **parameters: Any,
) -> list[Row]:
    """The condition with a value that the request has, and with one that it does not have."""
    return [
        Row(operator, key, met, met=True, operation=operation, parameters=parameters, by_alias=by_alias),
        Row(operator, key, unmet, met=False, operation=operation, parameters=parameters, by_alias=by_alias),
    ]


CONTEXT = {"Dept": "finance", "App": "x"}
SOURCE_ARN = "arn:aws:rds:us-east-1:111122223333:db:mydb"
FOR_SERVICE: dict[str, Any] = {
    "GranteePrincipal": None,
    "GranteeServicePrincipal": "rds.amazonaws.com",
    "RetiringServicePrincipal": "rds.amazonaws.com",
    "Constraints": {"SourceArn": SOURCE_ARN},
}
SOON = "in an hour"
TAGS = [{"TagKey": "Project", "TagValue": "Blue"}]
ROWS = [
    *both("DateLessThan", "aws:CurrentTime", "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
    *both("NumericLessThan", "aws:EpochTime", 4102444800, 1577836800),
    *both("StringEquals", "aws:PrincipalAccount", "{account}", "000000000000"),
    *both("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::{account}:root", "arn:aws:iam::{account}:user/u"),
    *both("Bool", "aws:PrincipalIsAWSService", "false", "true"),
    *both("Null", "aws:Referer", "true", "false"),
    *both("StringEquals", "aws:RequestTag/project", "Blue", "Red", "TagResource", Tags=TAGS),
    *both("StringEquals", "aws:RequestedRegion", "us-east-1", "us-west-2"),
    *both("StringEquals", "aws:ResourceAccount", "{account}", "000000000000"),
    *both("Bool", "aws:SecureTransport", "false", "true"),
    *both("IpAddress", "aws:SourceIp", "127.0.0.0/8", "10.0.0.0/8"),
    *both("ForAnyValue:StringEquals", "aws:TagKeys", "Project", "Level", "TagResource", Tags=TAGS),
    *both("ForAllValues:StringLike", "aws:TagKeys", "Lev*", "Pro*", "UntagResource", TagKeys=["Levels"]),
    *both("StringLike", "aws:UserAgent", "Boto3/*", "curl/*"),
    *both("Bool", "aws:ViaAWSService", "false", "true"),
    *both("StringEquals", "aws:userid", "{account}", "AIDAX"),
    *both("Bool", "kms:BypassPolicyLockoutSafetyCheck", "true", "false", "PutKeyPolicy",
          BypassPolicyLockoutSafetyCheck=True),
    *both("StringEquals", "kms:CallerAccount", "{account}", "000000000000"),
    *both("StringEquals", "kms:CustomerMasterKeySpec", "SYMMETRIC_DEFAULT", "RSA_2048"),
    *both("StringEquals", "kms:CustomerMasterKeyUsage", "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
    *both("StringEquals", "kms:DataKeyPairSpec", "ECC_NIST_P256", "RSA_2048", "GenerateDataKeyPair"),
    *both("StringEquals", "kms:DataKeyPairSpec", "ECC_NIST_P256", "RSA_2048", "GenerateDataKeyPairWithoutPlaintext"),
    *both("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "GenerateDataKeyPair"),
    *both("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1"),
    *both("StringEquals", "kms:EncryptionContext:dept", "finance", "Finance", EncryptionContext=CONTEXT),
    *both("StringEquals", "kms:EncryptionContext:Dept", "finance", "it", "GenerateDataKey", KeySpec="AES_256",
          EncryptionContext=CONTEXT),
    *both("StringEquals", "kms:EncryptionContext:Dept", "finance", "it", "ReEncrypt to",
          DestinationEncryptionContext=CONTEXT),
    *both("ForAllValues:StringEquals", "kms:EncryptionContextKeys", ["Dept", "App"], ["Dept"],
          EncryptionContext=CONTEXT),
    *both("Null", "kms:EncryptionContextKeys", "true", "false"),
    *both("StringEquals", "kms:KeyAgreementAlgorithm", "ECDH", "X25519", "DeriveSharedSecret"),
    *both("StringEquals", "kms:KeyOrigin", "AWS_KMS", "EXTERNAL"),
    *both("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048"),
    *both("StringEquals", "kms:KeyUsage", "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
    *both("StringEquals", "kms:KeyUsage", "KEY_AGREEMENT", "ENCRYPT_DECRYPT", "GetPublicKey"),
    *both("StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256", "HMAC_SHA_512", "GenerateMac"),
    *both("StringEquals", "kms:MacAlgorithm", "HMAC_SHA_256", "HMAC_SHA_512", "VerifyMac"),
    *both("StringEquals", "kms:MessageType", "RAW", "DIGEST", "Sign"),
    *both("StringEquals", "kms:MessageType", "RAW", "DIGEST", "Verify"),
    *both("Bool", "kms:MultiRegion", "false", "true"),
    *both("StringEquals", "kms:PolicyName", "default", "other", "GetKeyPolicy"),
    *both("Bool", "kms:ReEncryptOnSameKey", "false", "true", "ReEncrypt to"),
    *both("Null", "kms:RequestAlias", "true", "false"),
    *both("StringLike", "kms:RequestAlias", "alias/test/*", "alias/other/*", "DescribeKey", by_alias=True),
    *both("NumericGreaterThan", "kms:ScheduleKeyDeletionPendingWindowInDays", 29, 30, "ScheduleKeyDeletion"),
    *both("StringLike", "kms:SigningAlgorithm", "ED25519_*", "RSASSA_*", "Sign"),
    *both("StringLike", "kms:SigningAlgorithm", "ED25519_*", "RSASSA_*", "Verify"),
    *both("StringLike", "kms:RequestAlias", "alias/test/*", "alias/other/*", "Encapsulate", by_alias=True),
    *both("StringLike", "kms:RequestAlias", "alias/test/*", "alias/other/*", "GetPublicKey", by_alias=True),
    *both("NumericLessThan", "kms:TrailingDaysWithoutKeyUsage", 1, 0, "ScheduleKeyDeletion"),
    *both("NumericGreaterThanEquals", "kms:TrailingDaysWithoutKeyUsage", 0, 1, "DisableKey"),
    *both("StringEquals", "kms:EncryptionContext:dept", "finance", "it", "CreateGrant",
          Constraints={"EncryptionContextSubset": CONTEXT}),
    *both("ForAllValues:StringEquals", "kms:EncryptionContextKeys", ["App", "Dept"], ["App"], "CreateGrant",
          Constraints={"EncryptionContextEquals": CONTEXT}),
    *both("ArnLike", "kms:GrantConstraintSourceArn", "arn:aws:rds:*:*:db:*", "arn:aws:ec2:*:*:*", "CreateGrant",
          Constraints={"SourceArn": SOURCE_ARN}),
    *both("StringEquals", "kms:GrantConstraintType", "EncryptionContextSubset", "EncryptionContextEquals",
          "CreateGrant", Constraints={"EncryptionContextSubset": CONTEXT}),
    *both("Bool", "kms:GrantIsForAWSResource", "false", "true", "CreateGrant"),
    *both("Bool", "kms:GrantIsForAWSResource", "false", "true", "ListGrants"),
    *both("ForAllValues:StringEquals", "kms:GrantOperations", ["Encrypt", "Decrypt"], ["Decrypt"], "CreateGrant"),
    *both("StringEquals", "kms:GranteePrincipal", "arn:aws:iam::{account}:root", "arn:aws:iam::{account}:user/u",
          "CreateGrant"),
    *both("StringEquals", "kms:RetiringPrincipal", "arn:aws:iam::{account}:root", "arn:aws:iam::{account}:user/u",
          "CreateGrant", RetiringPrincipal="arn:aws:iam::{account}:root"),
    *both("StringEquals", "kms:GranteeServicePrincipal", "rds.amazonaws.com", "ec2.amazonaws.com", "CreateGrant",
          **FOR_SERVICE),
    *both("StringEquals", "kms:RetiringServicePrincipal", "rds.amazonaws.com", "ec2.amazonaws.com", "CreateGrant",
          **FOR_SERVICE),
    *both("StringEquals", "kms:WrappingAlgorithm", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "GetParametersForImport"),
    *both("StringEquals", "kms:WrappingKeySpec", "RSA_2048", "RSA_4096", "GetParametersForImport"),
    *both("StringEquals", "kms:ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES",
          "ImportKeyMaterial"),
    *both("DateLessThan", "kms:ValidTo", "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "ImportKeyMaterial",
          ExpirationModel=None, ValidTo=SOON),
    *both("NumericLessThan", "kms:ValidTo", 4102444800, 1577836800, "ImportKeyMaterial",
          ExpirationModel=None, ValidTo=SOON),
    *both("NumericLessThanEquals", "kms:RotationPeriodInDays", 365, 364, "EnableKeyRotation"),
    *both("NumericEquals", "kms:RotationPeriodInDays", 90, 365, "EnableKeyRotation", RotationPeriodInDays=90),
    *both("NumericLessThanEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", 7, 6, "ScheduleKeyDeletion",
          PendingWindowInDays=7),
]  # fmt: skip


@pytest.fixture(scope="module")
def keys(owners: list[Any]) -> Keys:
    return Keys(owners[0])


@pytest.fixture
def key(keys: Keys, row: Row) -> Key:
    """A key for which the row's operation can succeed."""
    return keys.fit_for(row.operation)


@pytest.fixture(scope="module")
def other_key(owners: list[Any]) -> Key:
    return make_key(owners[0])


class Asking:
    """Puts policies on a key and asks, through either process, for what a row is about."""

    def __init__(self, row: Row, clients: list[Any], key: Key, other_key: Key) -> None:
        self.row = row
        self.clients = clients
        self.key = key
        self.other_key = other_key

    def put(self, *statements: Statement) -> None:
        self.clients[0].put_key_policy(
            KeyId=self.key.key_id, Policy=policy(*statements), BypassPolicyLockoutSafetyCheck=True
        )

    def parameters(self) -> dict[str, Any]:
        named = self.key.alias if self.row.by_alias else self.key.key_id
        parameters = {**REQUESTS[self.row.operation](self.key, named, self.other_key), **self.row.parameters}
        return {name: self.filled(value) for name, value in parameters.items() if value is not None}

    def answered(self) -> list[dict[str, Any]]:
        """The answers of both processes to a request that is allowed."""
        answers = []
        for client in self.clients:
            answers.append(call(client, self.row.operation, self.parameters()))
            if self.row.operation in ("ScheduleKeyDeletion", "DisableKey"):
                self.revive(client)
            if self.row.operation == "CreateGrant":  # or it would allow what other rows ask for
                client.revoke_grant(KeyId=self.key.key_id, GrantId=answers[-1]["GrantId"])
        return answers

    def revive(self, client: Any) -> None:
        if self.row.operation == "ScheduleKeyDeletion":
            client.cancel_key_deletion(KeyId=self.key.key_id)
        client.enable_key(KeyId=self.key.key_id)

    def refused(self) -> list[dict[str, Any]]:
        """The answers of both processes to a request that is refused."""
        answers = [refused(method(client, self.row.operation), **self.parameters()) for client in self.clients]
        assert [answer["Error"]["Code"] for answer in answers] == ["AccessDeniedException"] * 2
        return answers

    def condition(self) -> dict[str, Any]:
        return {"Condition": {self.row.operator: {self.row.key: self.filled(self.row.value)}}}

    def filled(self, value: Any) -> Any:
        if value == SOON:
            return time.time() + 3_600
        return value.replace("{account}", self.key.account) if isinstance(value, str) else value


def decisions(pair: Server, row: Row, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the audit records of these answers say of the row's action: one each, from two processes."""
    request_ids = {answer["ResponseMetadata"]["RequestId"] for answer in answers}
    found = [
        (chain, decision)
        for chain, record in records_of_requests(pair.data, request_ids)
        for decision in record["additionalEventData"]["authorization"]
        if decision["action"] == row.action
    ]
    assert len({chain for chain, _ in found}) == len(found) == len(answers) == 2
    return [decision for _, decision in found]


def test_the_rows_are_of_every_condition_key() -> None:
    told = {row.key.lower() for row in ROWS}
    for key in CONDITION_KEYS:
        if key.name not in NOT_FOR_KEY_POLICIES | OF_OTHERS:
            assert any(name.startswith(key.name.lower()) for name in told), key.name


@pytest.mark.parametrize("row", [row for row in ROWS if row.operation != "PutKeyPolicy"], ids=str)
def test_a_condition_on_an_allow(pair: Server, owners: list[Any], row: Row, key: Key, other_key: Key) -> None:
    asking = Asking(row, owners, key, other_key)
    everything_else = {name: value for name, value in allow(key.account).items() if name != "Action"}
    everything_else["NotAction"] = row.action
    statement = allow(key.account, row.action) | asking.condition()

    asking.put(everything_else, statement)
    if row.met:
        for decision in decisions(pair, row, asking.answered()):
            (ground,) = decision["grounds"]
            assert (decision["effect"], ground["policyType"], ground["statement"]) == ("Allow", "KeyPolicy", 2)
    else:
        for decision in decisions(pair, row, asking.refused()):
            (ground,) = decision["grounds"]
            assert (decision["effect"], ground["effect"]) == ("Deny", "NoAllow")
            unmet = {"statement": 2, "sid": "", "conditions": [f"{row.operator} {row.key}"]}
            assert ground["nearest"] == [unmet]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_condition_on_a_deny(pair: Server, owners: list[Any], row: Row, key: Key, other_key: Key) -> None:
    if row.operation == "PutKeyPolicy":  # the key is locked for good
        key = make_key(owners[0])
    asking = Asking(row, owners, key, other_key)
    everything = allow(key.account)
    statement = allow(key.account, row.action) | {"Effect": "Deny"} | asking.condition()

    asking.put(everything, statement)
    if row.met:
        for decision in decisions(pair, row, asking.refused()):
            (ground,) = decision["grounds"]
            assert (decision["effect"], ground["effect"], ground["statement"]) == ("Deny", "Deny", 2)
    else:
        for decision in decisions(pair, row, asking.answered()):
            assert decision["effect"] == "Allow"
