"""Data keys and plaintexts pass through and leave nothing in the data directory."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.sizes import Size

pytestmark = pytest.mark.soak


def test_no_data_key_and_no_plaintext_is_in_any_file(server: Server, kms: Any, size: Size) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    secrets = []
    for _ in range(size.data_keys):
        made = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")
        secrets.append(made["Plaintext"])
        assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
        plaintext = os.urandom(48)
        blob = kms.encrypt(KeyId=key_id, Plaintext=plaintext)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == plaintext
        secrets.append(plaintext)
    secrets.append(kms.generate_random(NumberOfBytes=32)["Plaintext"])

    contents = b"\n".join(path.read_bytes() for path in files(server.data))
    assert key_id.encode() in contents
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)[:-4]):
            assert form not in contents
    print(f"{len(secrets)} secrets looked for in {len(contents)} bytes of {len(files(server.data))} files")


def test_the_secret_access_key_is_in_the_profile_alone(server: Server) -> None:
    holders = [path.name for path in files(server.data) if server.secret_access_key.encode() in path.read_bytes()]

    assert holders == ["credentials"]


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]
