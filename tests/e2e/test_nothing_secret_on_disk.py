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

    assert_in_no_file(server, key_id, secrets)


def test_no_private_key_no_shared_secret_no_mac_and_no_message_is_in_any_file(server: Server, kms: Any) -> None:
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    pairs = {
        spec: kms.generate_data_key_pair(KeyId=key_id, KeyPairSpec=spec)
        for spec in ("RSA_2048", "ECC_NIST_P256", "ECC_NIST_EDWARDS25519", "ML_KEM_512", "ML_KEM_768")
    }
    secrets = [pair["PrivateKeyPlaintext"][-32:] for pair in pairs.values()]
    agreeing, kem, mac, signing = (
        kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
        for spec, usage in (
            ("ECC_NIST_P256", "KEY_AGREEMENT"),
            ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
            ("HMAC_256", "GENERATE_VERIFY_MAC"),
            ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        )
    )
    theirs = {"PublicKey": pairs["ECC_NIST_P256"]["PublicKey"], "KeyAgreementAlgorithm": "ECDH"}
    message = os.urandom(48)
    secrets += [
        kms.derive_shared_secret(KeyId=agreeing, **theirs)["SharedSecret"],
        kms.encapsulate(KeyId=kem, EncapsulationAlgorithm="ML_KEM")["SharedSecret"],
        kms.generate_mac(KeyId=mac, Message=message, MacAlgorithm="HMAC_SHA_256")["Mac"],
        kms.sign(KeyId=signing, Message=message, SigningAlgorithm="ED25519_SHA_512")["Signature"],
        message,
    ]

    assert_in_no_file(server, key_id, secrets)


def assert_in_no_file(server: Server, key_id: str, secrets: list[bytes]) -> None:
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
