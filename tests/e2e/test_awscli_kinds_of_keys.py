"""The AWS CLI with keys that sign, encrypt by RSA, authenticate, agree and encapsulate, and with data key pairs."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import botocore
import pytest

from strongroom.testing.server import Server
from tests.e2e.aws_cli import answer, refusal

NEWER_MODEL = f"AWS_DATA_PATH={Path(botocore.__file__).parent / 'data'}"
"""Makes the CLI, which knows nothing of ML-KEM yet, read the model of the service that boto3 has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the CLI reads files of bytes: `message`, and `other`, are there."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "message").write_bytes(b"a message")
    (folder / "other").write_bytes(b"another message")
    return folder


def created(kms: Any, spec: str, usage: str) -> str:
    """The id of a new key."""
    key_id: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key_id


def kept(folder: Path, name: str, member: str) -> bytes:
    """Write a member of an answer to a file; return its bytes."""
    value = base64.b64decode(member)
    (folder / name).write_bytes(value)
    return value


def openssl(folder: Path, command: str) -> str:
    """What a command of OpenSSL that must succeed prints."""
    done = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sign_and_verify(server: Server, folder: Path) -> None:
    made = answer(server, "aws kms create-key --key-spec ECC_NIST_P384 --key-usage SIGN_VERIFY")["KeyMetadata"]
    assert (made["KeySpec"], made["KeyUsage"], made["KeyState"]) == ("ECC_NIST_P384", "SIGN_VERIFY", "Enabled")
    key_id, algorithm = made["KeyId"], "ECDSA_SHA_384"
    asked = f"--key-id {key_id} --signing-algorithm {algorithm} --message fileb://{folder}"
    signed = answer(server, f"aws kms sign {asked}/message")
    kept(folder, "signature", signed["Signature"])
    told = answer(server, f"aws kms get-public-key --key-id {key_id}")
    kept(folder, "public", told["PublicKey"])

    verify = "-verify public -keyform DER -signature signature"
    assert openssl(folder, f"dgst -sha384 {verify} message") == "Verified OK\n"
    assert told["SigningAlgorithms"] == [algorithm]
    verify = f"--signature fileb://{folder}/signature"
    assert answer(server, f"aws kms verify {asked}/message {verify}") == {
        "KeyId": signed["KeyId"],
        "SignatureValid": True,
        "SigningAlgorithm": algorithm,
    }
    assert refusal(server, f"aws kms verify {asked}/other {verify}").startswith(
        "(KMSInvalidSignatureException) when calling the Verify operation"
    )


def test_rsa_encryption(server: Server, kms: Any, folder: Path) -> None:
    key = f"--key-id {created(kms, 'RSA_2048', 'ENCRYPT_DECRYPT')} --encryption-algorithm RSAES_OAEP_SHA_256"
    encrypted = answer(server, f"aws kms encrypt {key} --plaintext fileb://{folder}/message")
    kept(folder, "encrypted", encrypted["CiphertextBlob"])

    opened = answer(server, f"aws kms decrypt {key} --ciphertext-blob fileb://{folder}/encrypted")
    assert base64.b64decode(opened["Plaintext"]) == b"a message"
    assert (opened["KeyId"], opened["EncryptionAlgorithm"]) == (encrypted["KeyId"], "RSAES_OAEP_SHA_256")


def test_macs(server: Server, kms: Any, folder: Path) -> None:
    key = f"--key-id {created(kms, 'HMAC_512', 'GENERATE_VERIFY_MAC')} --mac-algorithm HMAC_SHA_512"
    made = answer(server, f"aws kms generate-mac {key} --message fileb://{folder}/message")
    assert len(kept(folder, "mac", made["Mac"])) == 64

    verify = f"aws kms verify-mac {key} --mac fileb://{folder}/mac --message fileb://{folder}"
    assert answer(server, f"{verify}/message") == {
        "KeyId": made["KeyId"],
        "MacValid": True,
        "MacAlgorithm": "HMAC_SHA_512",
    }
    assert refusal(server, f"{verify}/other").startswith(
        "(KMSInvalidMacException) when calling the VerifyMac operation"
    )


def test_a_secret_is_shared_with_openssl(server: Server, kms: Any, folder: Path) -> None:
    key_id = created(kms, "ECC_NIST_P256", "KEY_AGREEMENT")
    openssl(folder, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out theirs")
    openssl(folder, "pkey -inform DER -in theirs -pubout -outform DER -out theirs.public")
    (folder / "ours.public").write_bytes(kms.get_public_key(KeyId=key_id)["PublicKey"])
    asked = f"--key-id {key_id} --key-agreement-algorithm ECDH --public-key fileb://{folder}/theirs.public"
    derived = answer(server, f"aws kms derive-shared-secret {asked}")

    openssl(folder, "pkeyutl -derive -keyform DER -inkey theirs -peerform DER -peerkey ours.public -out secret")
    assert base64.b64decode(derived["SharedSecret"]) == (folder / "secret").read_bytes()


def test_encapsulate_and_decapsulate(server: Server, folder: Path) -> None:
    spec = "--key-spec ML_KEM_768 --key-usage ENCAPSULATE_DECAPSULATE"
    created = answer(server, f"{NEWER_MODEL} aws kms create-key {spec}")["KeyMetadata"]
    assert created["EncapsulationAlgorithms"] == ["ML_KEM"]
    key = f"--key-id {created['KeyId']} --encapsulation-algorithm ML_KEM"
    made = answer(server, f"{NEWER_MODEL} aws kms encapsulate {key}")
    kept(folder, "encapsulated", made["SharedSecretCiphertextBlob"])

    blob = f"--shared-secret-ciphertext-blob fileb://{folder}/encapsulated"
    opened = answer(server, f"{NEWER_MODEL} aws kms decapsulate {key} {blob}")
    assert opened == {name: value for name, value in made.items() if name != "SharedSecretCiphertextBlob"}
    assert len(base64.b64decode(opened["SharedSecret"])) == 32


def test_data_key_pairs(server: Server, kms: Any, folder: Path) -> None:
    asked = f"--key-id {kms.create_key()['KeyMetadata']['KeyId']} --key-pair-spec ECC_NIST_P256"
    made = answer(server, f"aws kms generate-data-key-pair {asked}")
    wrapped = answer(server, f"aws kms generate-data-key-pair-without-plaintext {asked}")

    assert made.keys() - wrapped.keys() == {"PrivateKeyPlaintext"}
    for pair in (made, wrapped):
        opened = kms.decrypt(CiphertextBlob=base64.b64decode(pair["PrivateKeyCiphertextBlob"]))["Plaintext"]
        assert pair.get("PrivateKeyPlaintext") in (None, base64.b64encode(opened).decode())
        (folder / "private").write_bytes(opened)
        openssl(folder, "pkey -inform DER -in private -pubout -outform DER -out public")
        assert (folder / "public").read_bytes() == base64.b64decode(pair["PublicKey"])
