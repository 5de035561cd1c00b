"""The AWS CLI as a person has it: source the file that the server wrote, and work."""

import base64
import json
from pathlib import Path

from strongroom.testing.server import Server, initialize, start_server
from tests.e2e.aws_cli import answer, refusal, run, shell


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


def test_a_user_and_a_role(server: Server, tmp_path: Path) -> None:
    account = answer(server, "aws sts get-caller-identity")["Account"]
    made = answer(server, "aws kms create-key")["KeyMetadata"]
    (tmp_path / "plain").write_bytes(b"secret")
    assert answer(server, "aws iam create-user --user-name ann")["User"]["UserName"] == "ann"
    key = answer(server, "aws iam create-access-key --user-name ann")["AccessKey"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:user/ann"}, "Action": "sts:AssumeRole"}
    (tmp_path / "trust.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": trust}))
    may = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": made["Arn"]}
    (tmp_path / "may.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": may}))
    role = answer(
        server, f"aws iam create-role --role-name writer --assume-role-policy-document file://{tmp_path}/trust.json"
    )["Role"]
    put = f"aws iam put-role-policy --role-name writer --policy-name may --policy-document file://{tmp_path}/may.json"
    assert run(server, put) == ""
    with (server.data / "credentials").open("a") as file:
        file.write(
            f"[ann]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
        )
    (server.data / ".aws").mkdir()
    (server.data / ".aws" / "config").write_text(
        f"[profile ann]\n[profile writer]\nrole_arn = {role['Arn']}\nsource_profile = ann\nrole_session_name = work\n"
    )

    encrypt = f"kms encrypt --key-id {made['KeyId']} --plaintext fileb://{tmp_path}/plain"
    assert refusal(server, f"aws --profile ann {encrypt}") == (
        f"(AccessDeniedException) when calling the Encrypt operation: User: arn:aws:iam::{account}:user/ann is not "
        f"authorized to perform: kms:Encrypt on resource: {made['Arn']} because no identity-based policy allows the "
        "kms:Encrypt action"
    )
    assert answer(server, f"aws --profile writer {encrypt}")["KeyId"] == made["Arn"]
    assert answer(server, "aws --profile writer sts get-caller-identity")["Arn"] == (
        f"arn:aws:sts::{account}:assumed-role/writer/work"
    )
    details = answer(server, "aws iam get-account-authorization-details")
    assert [one["RoleName"] for one in details["RoleDetailList"]] == ["writer"]
    source = f"--policy-source-arn {role['Arn']} --resource-arns {made['Arn']}"
    simulated = answer(server, f"aws iam simulate-principal-policy {source} --action-names kms:Encrypt kms:Decrypt")
    assert [one["EvalDecision"] for one in simulated["EvaluationResults"]] == ["allowed", "implicitDeny"]
    assert run(server, "aws iam delete-role-policy --role-name writer --policy-name may") == ""
    assert "AccessDeniedException" in refusal(server, f"aws --profile writer {encrypt}")
