"""DeriveSharedSecret, Encapsulate, Decapsulate, GenerateMac and VerifyMac: answers, refusals, records."""

from typing import Any

import pytest

from strongroom.crypto.key_pairs import generate_key_pair, load_agreement_key, load_encapsulation_key
from strongroom.model.key_specs import MAC_BYTES
from strongroom.testing.server import Server
from tests.e2e.calls import ML_KEM, refusal
from tests.records import record_of_request

CURVES = {"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}
KEMS = {"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568}


def create(kms: Any, spec: str, usage: str) -> str:
    """The ARN of a new key."""
    return str(kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"])


@pytest.mark.parametrize(("spec", "length"), CURVES.items())
def test_both_sides_derive_the_same_secret(server: Server, kms: Any, spec: str, length: int) -> None:
    key, theirs = create(kms, spec, "KEY_AGREEMENT"), generate_key_pair(spec)

    derived = kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=theirs.public)

    ours = kms.get_public_key(KeyId=key)["PublicKey"]
    assert derived["SharedSecret"] == load_agreement_key(spec, theirs.private).shared_secret(ours)
    assert len(derived["SharedSecret"]) == length
    assert (derived["KeyId"], derived["KeyAgreementAlgorithm"], derived["KeyOrigin"]) == (key, "ECDH", "AWS_KMS")
    record = record_of_request(server.data, derived)
    assert record["requestParameters"] == {"keyId": key, "keyAgreementAlgorithm": "ECDH"}


def test_public_keys_that_do_not_fit(kms: Any) -> None:
    key = create(kms, "ECC_NIST_P256", "KEY_AGREEMENT")
    others = [generate_key_pair(spec).public for spec in ("ECC_NIST_P384", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519")]
    off_the_curve = bytearray(generate_key_pair("ECC_NIST_P256").public)
    off_the_curve[-1] ^= 1

    for public in (b"x", *others, bytes(off_the_curve), generate_key_pair("ECC_NIST_P256").private):
        asked = {"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public}
        assert refusal(kms.derive_shared_secret, **asked) == ("ValidationException", "")
    code, text = refusal(kms.derive_shared_secret, KeyId=key, KeyAgreementAlgorithm="X25519", PublicKey=others[0])
    assert (code, "at 'keyAgreementAlgorithm' failed" in text) == ("ValidationException", True)


@pytest.mark.parametrize(("spec", "length"), KEMS.items())
def test_what_is_encapsulated_is_decapsulated(server: Server, kms: Any, spec: str, length: int) -> None:
    key = create(kms, spec, "ENCAPSULATE_DECAPSULATE")

    made = kms.encapsulate(KeyId=key, **ML_KEM)
    blob, secret = made["SharedSecretCiphertextBlob"], made["SharedSecret"]
    assert (made["KeyId"], made["EncapsulationAlgorithm"], len(blob), len(secret)) == (key, "ML_KEM", length, 32)
    opened = kms.decapsulate(KeyId=key, SharedSecretCiphertextBlob=blob, **ML_KEM)
    assert (opened["KeyId"], opened["EncapsulationAlgorithm"], opened["SharedSecret"]) == (key, "ML_KEM", secret)
    assert record_of_request(server.data, opened)["requestParameters"] == {
        "keyId": key,
        "encapsulationAlgorithm": "ML_KEM",
    }
    offline, sent = load_encapsulation_key(spec, kms.get_public_key(KeyId=key)["PublicKey"]).encapsulate()
    assert kms.decapsulate(KeyId=key, SharedSecretCiphertextBlob=sent, **ML_KEM)["SharedSecret"] == offline

    altered = bytes([blob[0] ^ 1, *blob[1:]])
    rejected = kms.decapsulate(KeyId=key, SharedSecretCiphertextBlob=altered, **ML_KEM)["SharedSecret"]
    assert len(rejected) == 32
    assert rejected != secret
    for wrong in (blob[:-1], blob + b"x"):
        refused = refusal(kms.decapsulate, KeyId=key, SharedSecretCiphertextBlob=wrong, **ML_KEM)
        assert refused == ("InvalidCiphertextException", "")


@pytest.mark.parametrize(("algorithm", "length"), MAC_BYTES.items())
def test_macs(server: Server, kms: Any, algorithm: str, length: int) -> None:
    spec = algorithm.replace("_SHA", "")
    key, other = (create(kms, spec, "GENERATE_VERIFY_MAC") for _ in range(2))
    asked = {"Message": bytes(4096), "MacAlgorithm": algorithm}

    made = kms.generate_mac(KeyId=key, **asked)
    assert (made["KeyId"], made["MacAlgorithm"], len(made["Mac"])) == (key, algorithm, length)
    assert kms.generate_mac(KeyId=key, **asked)["Mac"] == made["Mac"]
    verified = kms.verify_mac(KeyId=key, Mac=made["Mac"], **asked)
    assert (verified["KeyId"], verified["MacAlgorithm"], verified["MacValid"]) == (key, algorithm, True)
    assert record_of_request(server.data, verified)["requestParameters"] == {"keyId": key, "macAlgorithm": algorithm}

    invalid = ("KMSInvalidMacException", "")
    assert refusal(kms.verify_mac, KeyId=other, Mac=made["Mac"], **asked) == invalid
    assert refusal(kms.verify_mac, KeyId=key, Mac=made["Mac"][:-1], **asked) == invalid
    assert refusal(kms.verify_mac, KeyId=key, Mac=made["Mac"], **asked | {"Message": b"x"}) == invalid


def test_usage_comes_before_the_algorithm(kms: Any) -> None:
    signing, mac = create(kms, "ECC_NIST_P256", "SIGN_VERIFY"), create(kms, "HMAC_224", "GENERATE_VERIFY_MAC")

    assert refusal(kms.generate_mac, KeyId=signing, Message=b"x", MacAlgorithm="HMAC_SHA_512") == (
        "InvalidKeyUsageException",
        f"{signing} key usage is SIGN_VERIFY which is not valid for GenerateMac.",
    )
    assert refusal(kms.generate_mac, KeyId=mac, Message=b"x", MacAlgorithm="HMAC_SHA_512") == (
        "InvalidKeyUsageException",
        "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_224.",
    )
    for operation, name, more in (
        (kms.derive_shared_secret, "DeriveSharedSecret", {"KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"}),
        (kms.encapsulate, "Encapsulate", ML_KEM),
        (kms.decapsulate, "Decapsulate", {"SharedSecretCiphertextBlob": b"x", **ML_KEM}),
    ):
        assert refusal(operation, KeyId=signing, **more) == (
            "InvalidKeyUsageException",
            f"{signing} key usage is SIGN_VERIFY which is not valid for {name}.",
        )


def test_dry_runs(kms: Any) -> None:
    agreeing = create(kms, "ECC_NIST_P256", "KEY_AGREEMENT")
    kem, mac = create(kms, "ML_KEM_512", "ENCAPSULATE_DECAPSULATE"), create(kms, "HMAC_256", "GENERATE_VERIFY_MAC")
    would = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    public = generate_key_pair("ECC_NIST_P256").public
    ecdh = {"KeyAgreementAlgorithm": "ECDH", "DryRun": True}

    assert refusal(kms.derive_shared_secret, KeyId=agreeing, PublicKey=public, **ecdh) == would
    assert refusal(kms.derive_shared_secret, KeyId=agreeing, PublicKey=b"x", **ecdh) == ("ValidationException", "")
    assert refusal(kms.encapsulate, KeyId=kem, DryRun=True, **ML_KEM) == would
    assert refusal(kms.generate_mac, KeyId=mac, Message=b"x", MacAlgorithm="HMAC_SHA_256", DryRun=True) == would


def test_grants_are_for_what_a_key_can_do(kms: Any) -> None:
    kem = create(kms, "ML_KEM_512", "ENCAPSULATE_DECAPSULATE")
    grantee = f"arn:aws:iam::{kem.split(':')[4]}:root"

    kms.create_grant(KeyId=kem, GranteePrincipal=grantee, Operations=["Encapsulate", "Decapsulate", "GetPublicKey"])
    code, text = refusal(kms.create_grant, KeyId=kem, GranteePrincipal=grantee, Operations=["Sign", "Decapsulate"])
    assert (code, "is not valid for Sign." in text) == ("ValidationException", True)
    subset = {"EncryptionContextSubset": {"a": "b"}}
    asked = {"KeyId": kem, "GranteePrincipal": grantee, "Operations": ["Encapsulate"], "Constraints": subset}
    assert refusal(kms.create_grant, **asked)[0] == "ValidationException"
