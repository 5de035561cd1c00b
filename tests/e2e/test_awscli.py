"""The AWS CLI as a person has it: source the file that the server wrote, and work."""

import base64
import json
import subprocess
from pathlib import Path

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


def answer(server: Server, command: str) -> dict[str, str]:
    done = shell(server, command)
    assert done.returncode == 0, done.stderr
    members: dict[str, str] = json.loads(done.stdout)
    return members


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
