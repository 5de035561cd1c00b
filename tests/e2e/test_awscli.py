"""The AWS CLI as a person has it: source the file that the server wrote, and work."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.server import Server, initialize, start_server

AWS = Path(__file__).parents[2] / ".venv" / "awscli" / "bin" / "aws"


def shell(server: Server, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the line that the server prints has it."""
    script = f"set -a; . {server.data}/client.env; set +a; {command}"
    return subprocess.run(
        ["bash", "-c", script.replace("aws ", f"{AWS} ")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(server.data)},
        capture_output=True,
        text=True,
        check=False,
    )


def run(server: Server, command: str) -> str:
    """Run a command that must succeed; return what it prints."""
    done = shell(server, command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(server: Server, command: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(run(server, command))
    return members


def refusal(server: Server, command: str) -> str:
    """Run a command that must be refused; return the code, the operation and the text in AWS's words."""
    done = shell(server, command)
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr.partition("An error occurred ")[2].strip()


@pytest.fixture(scope="module", autouse=True)
def _the_cli_is_there() -> None:
    assert AWS.exists(), "`make test` installs the AWS CLI"


def test_a_file_is_encrypted_and_survives_a_killed_server(data: Path, tmp_path: Path) -> None:
    initialize(data)
    server = start_server(data)
    plaintext = bytes(range(256)) * 16
    (tmp_path / "plain").write_bytes(plaintext)
    (tmp_path / "long").write_bytes(plaintext + b"x")
    created = json.loads(shell(server, "aws kms create-key").stdout)["KeyMetadata"]
    key_id = created["KeyId"]

    encrypt = f"aws kms encrypt --key-id {key_id} --encryption-context a=b --plaintext fileb://{tmp_path}"
    blob = answer(server, f"{encrypt}/plain")["CiphertextBlob"]
    (tmp_path / "encrypted").write_bytes(base64.b64decode(blob))
    decrypt = f"aws kms decrypt --ciphertext-blob fileb://{tmp_path}/encrypted --encryption-context"
    assert base64.b64decode(answer(server, f"{decrypt} a=b")["Plaintext"]) == plaintext

    refused = shell(server, f"{encrypt}/long")
    assert refused.returncode != 0
    assert (
        "(ValidationException) when calling the Encrypt operation: 1 validation error detected: Value at 'plaintext' "
        "failed to satisfy constraint: Member must have length less than or equal to 4096"
    ) in refused.stderr
    assert "InvalidCiphertextException" in shell(server, f"{decrypt} a=c").stderr

    made = answer(server, f"aws kms generate-data-key --key-id {key_id} --key-spec AES_256")
    (tmp_path / "data_key").write_bytes(base64.b64decode(made["CiphertextBlob"]))
    opened = answer(server, f"aws kms decrypt --ciphertext-blob fileb://{tmp_path}/data_key")
    assert opened["Plaintext"] == made["Plaintext"]

    server.kill()
    server = start_server(data)
    assert base64.b64decode(answer(server, f"{decrypt} a=b")["Plaintext"]) == plaintext
    assert server.stop() == 0


def test_the_life_of_a_key(server: Server, tmp_path: Path) -> None:
    made = answer(server, "aws kms create-key --description orders --tags TagKey=team,TagValue=shop")["KeyMetadata"]
    key_id, arn, account = made["KeyId"], made["Arn"], made["AWSAccountId"]
    policy = tmp_path / "policy.json"
    key = f"--key-id {key_id}"

    # A name, a description, tags and a policy.
    assert run(server, f"aws kms create-alias --alias-name alias/orders --target-{key[2:]}") == ""
    assert refusal(server, f"aws kms create-alias --alias-name orders --target-{key[2:]}").startswith(
        '(ValidationException) when calling the CreateAlias operation: Alias must start with the prefix "alias/".'
    )
    assert run(server, f"aws kms update-key-description {key} --description 'orders and «invoices»'") == ""
    assert run(server, f"aws kms tag-resource {key} --tags TagKey=stage,TagValue=test TagKey=team,TagValue=till") == ""
    assert run(server, f"aws kms untag-resource {key} --tag-keys stage") == ""
    assert answer(server, f"aws kms list-resource-tags {key}")["Tags"] == [{"TagKey": "team", "TagValue": "till"}]
    policy.write_text(run(server, f"aws kms get-key-policy {key} --query Policy --output text"))
    assert f"arn:aws:iam::{account}:root" in policy.read_text()
    policy.write_text(policy.read_text().replace('"kms:*"', '[ "kms:*" ]'))
    assert run(server, f"aws kms put-key-policy {key} --policy-name default --policy file://{policy}") == ""
    assert answer(server, f"aws kms get-key-policy {key}")["Policy"] == policy.read_text()
    assert answer(server, f"aws kms list-key-policies {key}")["PolicyNames"] == ["default"]

    # Its use, by the name, and a move to another key.
    (tmp_path / "plain").write_bytes(b"secret")
    plaintext = base64.b64encode(b"secret").decode()
    encrypt = f"aws kms encrypt --key-id alias/orders --plaintext fileb://{tmp_path}/plain --query CiphertextBlob"
    encrypt += " --output text"
    (tmp_path / "first").write_bytes(base64.b64decode(run(server, encrypt)))
    other = answer(server, "aws kms create-key")["KeyMetadata"]
    moved = answer(
        server,
        f"aws kms re-encrypt --ciphertext-blob fileb://{tmp_path}/first --destination-key-id {other['KeyId']} "
        "--destination-encryption-context a=b",
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (arn, other["Arn"])
    (tmp_path / "second").write_bytes(base64.b64decode(moved["CiphertextBlob"]))
    decrypt = f"aws kms decrypt --ciphertext-blob fileb://{tmp_path}"
    opened = answer(server, f"{decrypt}/second --encryption-context a=b")
    assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, other["Arn"])
    assert run(server, f"aws kms update-alias --alias-name alias/orders --target-key-id {other['KeyId']}") == ""
    (alias,) = answer(server, f"aws kms list-aliases --key-id {other['KeyId']}")["Aliases"]
    assert (alias["AliasName"], alias["TargetKeyId"]) == ("alias/orders", other["KeyId"])

    # Its end, and its return.
    assert run(server, f"aws kms disable-key {key}") == ""
    assert refusal(server, f"{decrypt}/first") == (
        f"(DisabledException) when calling the Decrypt operation: {arn} is disabled."
    )
    scheduled = answer(server, f"aws kms schedule-key-deletion {key} --pending-window-in-days 7")
    assert (scheduled["KeyId"], scheduled["KeyState"]) == (arn, "PendingDeletion")
    assert refusal(server, f"aws kms enable-key {key}") == (
        f"(KMSInvalidStateException) when calling the EnableKey operation: {arn} is pending deletion."
    )
    assert answer(server, f"aws kms cancel-key-deletion {key}") == {"KeyId": arn}
    assert run(server, f"aws kms enable-key {key}") == ""
    assert answer(server, f"{decrypt}/first")["Plaintext"] == plaintext
    told = answer(server, f"aws kms describe-key {key}")["KeyMetadata"]
    assert told == made | {"Description": "orders and «invoices»"}
    assert run(server, "aws kms delete-alias --alias-name alias/orders") == ""
