"""Data key pairs, end to end, through boto3: every spec, with and without the private key's plaintext."""

import subprocess
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from kyber_py.ml_kem import ML_KEM_512

from strongroom.testing.server import Server
from tests.e2e.calls import refusal, violation
from tests.records import record_of_request

CONTEXT = {"purpose": "test", "tenant": "a"}

OPENSSL_KNOWS = {
    "RSA_2048": "Private-Key: (2048 bit, 2 primes)",
    "RSA_3072": "Private-Key: (3072 bit, 2 primes)",
    "RSA_4096": "Private-Key: (4096 bit, 2 primes)",
    "ECC_NIST_P256": "ASN1 OID: prime256v1",
    "ECC_NIST_P384": "ASN1 OID: secp384r1",
    "ECC_NIST_P521": "ASN1 OID: secp521r1",
    "ECC_SECG_P256K1": "ASN1 OID: secp256k1",
    "ECC_NIST_EDWARDS25519": "ED25519 Private-Key:",
}
"""Key pair spec -> what OpenSSL says of such a private key."""

ML_KEM = {
    "ML_KEM_512": (1, 800),
    "ML_KEM_768": (2, 1184),
    "ML_KEM_1024": (3, 1568),
}
"""Key pair spec -> the last number of its object identifier (RFC 9935), and the length of the public key (FIPS 203)."""

WITHOUT_PLAINTEXT = {"KeyId", "KeyMaterialId", "KeyPairSpec", "PrivateKeyCiphertextBlob", "PublicKey"}

EITHER = pytest.mark.parametrize("name", ["generate_data_key_pair", "generate_data_key_pair_without_plaintext"])


@pytest.fixture(scope="module")
def key(kms: Any) -> dict[str, Any]:
    created: dict[str, Any] = kms.create_key()["KeyMetadata"]
    return created


@pytest.mark.parametrize("spec", [*OPENSSL_KNOWS, *ML_KEM])
def test_the_private_key_is_told_and_wrapped(kms: Any, key: dict[str, Any], spec: str) -> None:
    made = members(kms.generate_data_key_pair(KeyId=key["KeyId"], KeyPairSpec=spec, EncryptionContext=CONTEXT))
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)

    assert made.keys() == WITHOUT_PLAINTEXT | {"PrivateKeyPlaintext"}
    assert (made["KeyId"], made["KeyMaterialId"]) == (key["Arn"], key["CurrentKeyMaterialId"])
    assert made["KeyPairSpec"] == spec
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    assert opened["KeyId"] == key["Arn"]
    assert_is_pair(spec, made["PrivateKeyPlaintext"], made["PublicKey"])


@pytest.mark.parametrize("spec", [*OPENSSL_KNOWS, *ML_KEM])
def test_the_private_key_is_wrapped_only(kms: Any, key: dict[str, Any], spec: str) -> None:
    made = members(
        kms.generate_data_key_pair_without_plaintext(KeyId=key["Arn"], KeyPairSpec=spec, EncryptionContext=CONTEXT)
    )
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)

    assert made.keys() == WITHOUT_PLAINTEXT
    assert (made["KeyId"], made["KeyMaterialId"]) == (key["Arn"], key["CurrentKeyMaterialId"])
    assert made["KeyPairSpec"] == spec
    assert_is_pair(spec, opened["Plaintext"], made["PublicKey"])


@EITHER
def test_every_pair_is_another(kms: Any, key: dict[str, Any], name: str) -> None:
    made = [getattr(kms, name)(KeyId=key["KeyId"], KeyPairSpec="ECC_NIST_P256") for _ in range(3)]

    for member in ("PrivateKeyCiphertextBlob", "PublicKey"):
        assert len({one[member] for one in made}) == 3


@EITHER
def test_the_encryption_context_is_needed_to_open_it(kms: Any, key: dict[str, Any], name: str) -> None:
    asked = {"KeyId": key["KeyId"], "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": CONTEXT}
    blob = getattr(kms, name)(**asked)["PrivateKeyCiphertextBlob"]

    for context in ({}, CONTEXT | {"tenant": "b"}):
        assert refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=context)[0] == ("InvalidCiphertextException")


@EITHER
def test_a_key_that_signs_wraps_nothing(kms: Any, name: str) -> None:
    signing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    operation = "".join(word.capitalize() for word in name.split("_"))

    assert refusal(getattr(kms, name), KeyId=signing["KeyId"], KeyPairSpec="ECC_NIST_P256") == (
        "InvalidKeyUsageException",
        f"{signing['Arn']} key usage is SIGN_VERIFY which is not valid for {operation}.",
    )


@EITHER
def test_a_disabled_key_wraps_nothing(kms: Any, name: str) -> None:
    disabled = kms.create_key()["KeyMetadata"]
    kms.disable_key(KeyId=disabled["KeyId"])

    assert refusal(getattr(kms, name), KeyId=disabled["KeyId"], KeyPairSpec="ECC_NIST_P256") == (
        "DisabledException",
        f"{disabled['Arn']} is disabled.",
    )


@EITHER
def test_the_spec_is_one_of_aws(kms: Any, key: dict[str, Any], name: str) -> None:
    assert refusal(getattr(kms, name), KeyId=key["KeyId"]) == violation(None, "keyPairSpec", "not be null")
    for spec in ("ML_DSA_44", "HMAC_256", "SYMMETRIC_DEFAULT", "rsa_2048"):
        code, text = refusal(getattr(kms, name), KeyId=key["KeyId"], KeyPairSpec=spec)
        assert code == "ValidationException"
        assert f"Value '{spec}' at 'keyPairSpec' failed to satisfy constraint: Member must satisfy enum" in text


@EITHER
def test_a_dry_run_makes_nothing(kms: Any, key: dict[str, Any], name: str) -> None:
    assert refusal(getattr(kms, name), KeyId=key["KeyId"], KeyPairSpec="ECC_NIST_P256", DryRun=True) == (
        "DryRunOperationException",
        "The request would have succeeded, but the DryRun option is set.",
    )


@EITHER
def test_its_record_has_no_private_key(kms: Any, server: Server, key: dict[str, Any], name: str) -> None:
    asked = {"KeyId": key["KeyId"], "KeyPairSpec": "ECC_NIST_P256", "EncryptionContext": CONTEXT}
    record = record_of_request(server.data, getattr(kms, name)(**asked))

    assert record["requestParameters"] == {
        "keyId": key["KeyId"],
        "keyPairSpec": "ECC_NIST_P256",
        "encryptionContext": CONTEXT,
    }
    assert record["responseElements"] is None


def members(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def assert_is_pair(spec: str, private_key: bytes, public_key: bytes) -> None:
    """Check that the keys are PKCS #8 and SubjectPublicKeyInfo, of this spec, and of each other."""
    if spec in OPENSSL_KNOWS:
        openssl("pkcs8", private_key, "-nocrypt")
        assert OPENSSL_KNOWS[spec] in openssl("pkey", private_key, "-noout", "-text").decode()
        assert openssl("pkey", private_key, "-pubout", "-outform", "DER") == public_key
        return
    arc, length = ML_KEM[spec]
    algorithm = bytes.fromhex("300b06096086480165030404") + bytes([arc])
    assert private_key[:-64] == bytes.fromhex("3054020100") + algorithm + bytes.fromhex("04428040")  # the seed is 64
    assert algorithm in public_key[:-length]
    assert len(public_key) == length + 22
    if spec == "ML_KEM_512":  # cryptography does not know it
        assert ML_KEM_512.key_derive(private_key[-64:])[0] == public_key[-length:]
        return
    private, public = load_der_private_key(private_key, password=None), load_der_public_key(public_key)
    assert isinstance(private, MLKEM768PrivateKey | MLKEM1024PrivateKey)
    assert isinstance(public, MLKEM768PublicKey | MLKEM1024PublicKey)
    assert private.public_key() == public
    secret, ciphertext = public.encapsulate()
    assert private.decapsulate(ciphertext) == secret


def openssl(command: str, key: bytes, *options: str) -> bytes:
    """What OpenSSL makes of a private key."""
    done = subprocess.run(["openssl", command, "-inform", "DER", *options], input=key, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
