"""Accounts and Regions: namespaces of their own, and nobody learns what is in another's."""

import configparser
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing.server import Server
from tests.records import record_of_request

OTHER = "222233334444"


def command(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "strongroom", *words, "--config", str(server.data / "strongroom.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )


def client_of(server: Server, profile: str, region: str = "us-east-1") -> Any:
    credentials = configparser.ConfigParser()
    credentials.read(server.data / "credentials")
    return boto3.client(
        "kms",
        endpoint_url=server.endpoint,
        region_name=region,
        aws_access_key_id=credentials[profile]["aws_access_key_id"],
        aws_secret_access_key=credentials[profile]["aws_secret_access_key"],
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture(scope="module")
def other(server: Server) -> Any:
    """A client of another account, made while the server runs."""
    made = command(server, "account", "create", "--account", OTHER)
    assert (made.returncode, made.stderr) == (0, "")
    assert OTHER in made.stdout
    return client_of(server, OTHER)


def code_of(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"].get("Message", "")


def hidden(action: str) -> tuple[str, str]:
    return (
        "AccessDeniedException",
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: {action} on this resource because the "
        "resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
        "policy explicitly denies access",
    )


def test_accounts_are_listed_and_known_at_once(server: Server, kms: Any, other: Any) -> None:
    first = kms.create_key()["KeyMetadata"]["AWSAccountId"]
    listed = command(server, "account", "list")
    accounts = [line.split()[0] for line in listed.stdout.splitlines()]
    assert accounts[0] == first
    assert OTHER in accounts
    assert other.create_key()["KeyMetadata"]["AWSAccountId"] == OTHER
    assert (server.data / "credentials").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("account", "text"), [(OTHER, f"account {OTHER} is there already"), ("12", "account '12' is not 12 digits")]
)
def test_an_account_that_cannot_be_made(server: Server, other: Any, account: str, text: str) -> None:
    before = (server.data / "credentials").read_text()
    refused = command(server, "account", "create", "--account", account)
    assert (refused.returncode, refused.stderr) == (2, f"strongroom: {text}\n")
    assert (server.data / "credentials").read_text() == before


def test_a_credentials_file_stays_readable(server: Server, other: Any) -> None:
    """Whatever an interrupted attempt or an editor left in it."""
    path = server.data / "credentials"
    before = path.read_text()
    left = "[333344445555]\naws_access_key_id = AKIALEFTBEHIND\naws_secret_access_key = x\nregion = us-east-1"
    path.write_text(before + left)
    assert command(server, "account", "create", "--account", "333344445555").returncode == 0
    after = path.read_text()
    assert "AKIALEFTBEHIND" not in after
    assert after.startswith(before)
    assert client_of(server, "333344445555").list_keys()["Keys"] == []
    assert client_of(server, OTHER).list_keys()["Truncated"] is False


def test_each_account_and_region_has_its_own_names(kms: Any, kms_elsewhere: Any, other: Any) -> None:
    keys = [client.create_key()["KeyMetadata"] for client in (kms, kms_elsewhere, other)]
    for client, key in zip((kms, kms_elsewhere, other), keys, strict=True):
        client.create_alias(AliasName="alias/same", TargetKeyId=key["KeyId"])
    for client, key in zip((kms, kms_elsewhere, other), keys, strict=True):
        assert client.describe_key(KeyId="alias/same")["KeyMetadata"]["Arn"] == key["Arn"]
        listed = [alias for alias in client.list_aliases()["Aliases"] if alias["AliasName"] == "alias/same"]
        assert [alias["TargetKeyId"] for alias in listed] == [key["KeyId"]]
        others = {one["KeyId"] for one in keys} - {key["KeyId"]}
        assert not others & {entry["KeyId"] for entry in client.list_keys()["Keys"]}
        for key_id in others:
            assert code_of(client.describe_key, KeyId=key_id)[0] == "NotFoundException"
            assert code_of(client.create_alias, AliasName="alias/x", TargetKeyId=key_id)[0] == "NotFoundException"
    assert code_of(kms.describe_key, KeyId=keys[1]["Arn"]) == ("NotFoundException", "Invalid arn eu-west-1")


def test_a_denied_account_cannot_tell_whether_a_key_exists(kms: Any, other: Any) -> None:
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/secret", TargetKeyId=key["KeyId"])
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    missing = key["Arn"].replace(key["KeyId"], "00000000-0000-4000-8000-000000000000")
    alias = key["Arn"].replace(f"key/{key['KeyId']}", "alias/secret")
    for key_id in (key["Arn"], missing, alias, alias + "-none"):
        assert code_of(other.describe_key, KeyId=key_id) == hidden("kms:DescribeKey")
        assert code_of(other.encrypt, KeyId=key_id, Plaintext=b"x") == hidden("kms:Encrypt")
    for key_id in (key["Arn"], missing):
        for call in (other.disable_key, other.get_key_policy, other.schedule_key_deletion, other.list_resource_tags):
            code, text = code_of(call, KeyId=key_id)
            assert (code, "because the resource does not exist in this Region" in text) == (
                "AccessDeniedException",
                True,
            )
        assert code_of(other.list_aliases, KeyId=key_id) == hidden("kms:ListAliases")
    for parameters in ({}, {"KeyId": key["Arn"]}):
        code, text = code_of(other.decrypt, CiphertextBlob=blob, **parameters)
        assert (code, "because the resource does not exist" in text) == ("AccessDeniedException", True)


def test_a_key_policy_lets_another_account_use_a_key_and_not_manage_it(server: Server, kms: Any, other: Any) -> None:
    key = kms.create_key()["KeyMetadata"]
    policy = json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:*", "Resource": "*"})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))

    encrypted = other.encrypt(KeyId=key["Arn"], Plaintext=b"shared", EncryptionContext={"a": "b"})
    assert encrypted["KeyId"] == key["Arn"]
    own = other.create_key()["KeyMetadata"]["Arn"]
    again = other.re_encrypt(
        CiphertextBlob=encrypted["CiphertextBlob"], SourceEncryptionContext={"a": "b"}, DestinationKeyId=own
    )
    assert (again["SourceKeyId"], again["KeyId"]) == (key["Arn"], own)
    assert other.decrypt(CiphertextBlob=again["CiphertextBlob"])["Plaintext"] == b"shared"
    assert other.describe_key(KeyId=key["Arn"])["KeyMetadata"]["AWSAccountId"] == key["AWSAccountId"]
    assert code_of(other.disable_key, KeyId=key["Arn"]) == hidden("kms:DisableKey")
    assert code_of(other.put_key_policy, KeyId=key["Arn"], Policy="{}") == hidden("kms:PutKeyPolicy")
    assert code_of(other.tag_resource, KeyId=key["Arn"], Tags=[]) == hidden("kms:TagResource")

    kms.disable_key(KeyId=key["KeyId"])
    assert code_of(other.encrypt, KeyId=key["Arn"], Plaintext=b"x")[0] == "DisabledException"
    recorded = record_of_request(server.data, again)
    assert {resource["ARN"] for resource in recorded["resources"]} == {key["Arn"], own}


def test_another_accounts_ciphertext_is_opened_by_the_short_id_of_its_key(kms: Any, other: Any) -> None:
    shared, hidden_key = (kms.create_key()["KeyMetadata"] for _ in range(2))
    policy = json.loads(kms.get_key_policy(KeyId=shared["KeyId"])["Policy"])
    policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:*", "Resource": "*"})
    kms.put_key_policy(KeyId=shared["KeyId"], Policy=json.dumps(policy))
    blob = kms.encrypt(KeyId=shared["KeyId"], Plaintext=b"shared")["CiphertextBlob"]
    own = other.create_key()["KeyMetadata"]["KeyId"]

    assert other.decrypt(CiphertextBlob=blob, KeyId=shared["KeyId"])["KeyId"] == shared["Arn"]
    again = other.re_encrypt(CiphertextBlob=blob, SourceKeyId=shared["KeyId"], DestinationKeyId=own)
    assert again["SourceKeyId"] == shared["Arn"]
    missing = f"Key 'arn:aws:kms:us-east-1:{OTHER}:key/{hidden_key['KeyId']}' does not exist"
    assert code_of(other.decrypt, CiphertextBlob=blob, KeyId=hidden_key["KeyId"]) == ("NotFoundException", missing)
    unusable = kms.encrypt(KeyId=hidden_key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert code_of(other.decrypt, CiphertextBlob=unusable, KeyId=hidden_key["KeyId"]) == ("NotFoundException", missing)
    assert code_of(other.encrypt, KeyId=shared["KeyId"], Plaintext=b"x")[0] == "NotFoundException"
