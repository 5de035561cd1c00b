"""Encrypt, Decrypt and ReEncrypt with RSA keys."""

from typing import Any

import pytest

from strongroom.model.key_specs import KEY_SPECS
from strongroom.testing.server import Server
from tests.e2e.calls import Key, hidden, make_key, refusal
from tests.records import record_of_request

SPECS = ("RSA_2048", "RSA_3072", "RSA_4096")
KINDS = [(spec, algorithm, limit) for spec in SPECS for algorithm, limit in KEY_SPECS[spec].plaintext.items()]
SHA_256 = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
INVALID = ("InvalidCiphertextException", "")


@pytest.fixture(scope="module")
def keys(kms: Any) -> dict[str, str]:
    """An encryption key of each spec, by its ARN."""
    return {spec: kms.create_key(KeySpec=spec, KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"] for spec in SPECS}


@pytest.fixture(scope="module")
def symmetric(kms: Any) -> Key:
    return make_key(kms)


@pytest.mark.parametrize(("spec", "algorithm", "limit"), KINDS)
def test_the_longest_plaintext(kms: Any, keys: dict[str, str], spec: str, algorithm: str, limit: int) -> None:
    asked = {"KeyId": keys[spec], "EncryptionAlgorithm": algorithm}

    encrypted = kms.encrypt(**asked, Plaintext=bytes(limit))
    assert len(encrypted["CiphertextBlob"]) == int(spec[4:]) // 8
    assert (encrypted["KeyId"], encrypted["EncryptionAlgorithm"]) == (keys[spec], algorithm)
    decrypted = kms.decrypt(**asked, CiphertextBlob=encrypted["CiphertextBlob"])
    assert decrypted["Plaintext"] == bytes(limit)
    assert decrypted.keys() == {"KeyId", "Plaintext", "EncryptionAlgorithm", "ResponseMetadata"}
    assert refusal(kms.encrypt, **asked, Plaintext=bytes(limit + 1)) == (
        "ValidationException",
        f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {limit} bytes.",
    )


def test_what_was_not_encrypted_so_is_invalid(kms: Any, keys: dict[str, str], symmetric: Key) -> None:
    key = keys["RSA_2048"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", **SHA_256)["CiphertextBlob"]

    for altered in (blob[:-1], blob + b"\0", bytes(256), b"\xff" * 256, b"x", symmetric.blob):
        assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=altered, **SHA_256) == INVALID
    assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=blob, EncryptionAlgorithm="RSAES_OAEP_SHA_1") == INVALID
    assert refusal(kms.decrypt, KeyId=keys["RSA_3072"], CiphertextBlob=blob, **SHA_256) == INVALID


def test_a_ciphertext_names_no_key(kms: Any, keys: dict[str, str], symmetric: Key) -> None:
    key = keys["RSA_2048"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", **SHA_256)["CiphertextBlob"]

    text = "{} is required when the encryption algorithm is RSAES_OAEP_SHA_256."
    assert refusal(kms.decrypt, CiphertextBlob=blob, **SHA_256) == ("ValidationException", text.format("KeyId"))
    to = {"DestinationKeyId": symmetric.key_id, "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert refusal(kms.re_encrypt, CiphertextBlob=blob, **to) == ("ValidationException", text.format("SourceKeyId"))
    assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=symmetric.blob) == (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )


def test_an_algorithm_must_be_the_keys(kms: Any, keys: dict[str, str], symmetric: Key) -> None:
    key = keys["RSA_2048"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", **SHA_256)["CiphertextBlob"]

    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x") == (
        "InvalidKeyUsageException",
        "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.",
    )
    assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=blob) == (
        "InvalidKeyUsageException",
        "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.",
    )
    assert refusal(kms.re_encrypt, SourceKeyId=key, CiphertextBlob=blob, DestinationKeyId=symmetric.key_id) == (
        "InvalidKeyUsageException",
        "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.",
    )
    incompatible = "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."
    assert refusal(kms.encrypt, KeyId=symmetric.key_id, Plaintext=b"x", **SHA_256) == (
        "InvalidKeyUsageException",
        incompatible,
    )
    assert refusal(kms.decrypt, KeyId=symmetric.key_id, CiphertextBlob=blob, **SHA_256) == (
        "InvalidKeyUsageException",
        incompatible,
    )


def test_there_is_no_encryption_context(kms: Any, keys: dict[str, str]) -> None:
    key, context = keys["RSA_2048"], {"EncryptionContext": {"a": "b"}}
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", **SHA_256, EncryptionContext={})["CiphertextBlob"]
    refused = ("ValidationException", "An encryption context cannot be specified with an asymmetric KMS key.")

    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x", **SHA_256, **context) == refused
    assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=blob, **SHA_256, **context) == refused


def test_a_key_that_signs_encrypts_nothing(kms: Any) -> None:
    key = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    usage = f"{key} key usage is SIGN_VERIFY which is not valid for "

    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x", **SHA_256) == (
        "InvalidKeyUsageException",
        f"{usage}Encrypt.",
    )
    assert refusal(kms.decrypt, KeyId=key, CiphertextBlob=bytes(256), **SHA_256) == (
        "InvalidKeyUsageException",
        f"{usage}Decrypt.",
    )
    assert refusal(kms.generate_data_key, KeyId=key, KeySpec="AES_256") == (
        "InvalidKeyUsageException",
        f"{usage}GenerateDataKey.",
    )


def test_re_encrypting_across_kinds(server: Server, kms: Any, keys: dict[str, str], symmetric: Key) -> None:
    to_rsa = {"DestinationKeyId": keys["RSA_2048"], "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}
    to_symmetric = {"SourceKeyId": keys["RSA_2048"], "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}

    there = kms.re_encrypt(CiphertextBlob=symmetric.blob, **to_rsa)
    assert (there["SourceKeyId"], there["KeyId"]) == (symmetric.arn, keys["RSA_2048"])
    assert "SourceKeyMaterialId" in there
    assert "DestinationKeyMaterialId" not in there
    assert record_of_request(server.data, there)["additionalEventData"].keys() == {
        "sourceKeyMaterialId",
        "authorization",
    }
    again = kms.re_encrypt(CiphertextBlob=there["CiphertextBlob"], **to_symmetric, DestinationKeyId=symmetric.key_id)
    assert "DestinationKeyMaterialId" in again
    assert "SourceKeyMaterialId" not in again
    assert kms.decrypt(CiphertextBlob=again["CiphertextBlob"])["Plaintext"] == b"secret"
    between = kms.re_encrypt(
        CiphertextBlob=there["CiphertextBlob"],
        **to_symmetric,
        DestinationKeyId=keys["RSA_3072"],
        DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256",
    )
    assert (
        kms.decrypt(KeyId=keys["RSA_3072"], CiphertextBlob=between["CiphertextBlob"], **SHA_256)["Plaintext"]
        == b"secret"
    )

    long = kms.encrypt(KeyId=symmetric.key_id, Plaintext=bytes(215))["CiphertextBlob"]
    assert refusal(kms.re_encrypt, CiphertextBlob=long, **to_rsa) == (
        "ValidationException",
        "Algorithm RSAES_OAEP_SHA_1 and key spec RSA_2048 cannot encrypt data larger than 214 bytes.",
    )


def test_dry_runs(kms: Any, keys: dict[str, str]) -> None:
    asked: dict[str, Any] = {"KeyId": keys["RSA_2048"], "DryRun": True, **SHA_256}
    would = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")

    assert refusal(kms.encrypt, **asked, Plaintext=b"x") == would
    assert refusal(kms.decrypt, **asked, CiphertextBlob=bytes(256)) == INVALID
    assert refusal(kms.decrypt, **asked, DryRunModifiers=["IGNORE_CIPHERTEXT"]) == would


def test_a_foreign_key_is_not_told(kms: Any, keys: dict[str, str]) -> None:
    account = keys["RSA_2048"].split(":")[4]
    foreign = keys["RSA_2048"].replace(account, "999999999999")

    assert refusal(kms.decrypt, KeyId=foreign, CiphertextBlob=bytes(256), **SHA_256) == hidden(account, "kms:Decrypt")
