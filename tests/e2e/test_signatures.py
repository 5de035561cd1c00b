"""Sign and Verify: what they answer, what they refuse and in which order, and what is recorded."""

import hashlib
from typing import Any

import pytest

from strongroom.model.key_specs import KEY_SPECS, MESSAGE_BYTES, SIGN_VERIFY
from strongroom.testing.server import Server
from tests.e2e.calls import ED25519, refusal
from tests.records import record_of_request

KINDS = [
    (spec, algorithm, message_type, length)
    for spec, row in KEY_SPECS.items()
    for algorithm in row.algorithms.get(SIGN_VERIFY, ())
    for message_type, length in MESSAGE_BYTES[algorithm].items()
]
INVALID = ("KMSInvalidSignatureException", "")
DIGESTS = {"SHA_256": hashlib.sha256, "SHA_384": hashlib.sha384, "SHA_512": hashlib.sha512}


@pytest.fixture(scope="module")
def keys(kms: Any) -> dict[str, str]:
    """A signing key of each spec, by its ARN."""
    specs = {spec for spec, row in KEY_SPECS.items() if SIGN_VERIFY in row.algorithms}
    return {spec: kms.create_key(KeySpec=spec, KeyUsage=SIGN_VERIFY)["KeyMetadata"]["Arn"] for spec in specs}


@pytest.mark.parametrize(("spec", "algorithm", "message_type", "length"), KINDS)
def test_what_is_signed_verifies_and_nothing_else_does(
    kms: Any, keys: dict[str, str], spec: str, algorithm: str, message_type: str, length: int | None
) -> None:
    asked = {"KeyId": keys[spec], "SigningAlgorithm": algorithm, "MessageType": message_type}
    message = bytes(range(256))[: length or 256]

    signed = kms.sign(**asked, Message=message)
    assert (signed["KeyId"], signed["SigningAlgorithm"]) == (keys[spec], algorithm)
    assert signed.keys() == {"KeyId", "Signature", "SigningAlgorithm", "ResponseMetadata"}
    signature = signed["Signature"]
    verified = kms.verify(**asked, Message=message, Signature=signature)
    assert (verified["KeyId"], verified["SignatureValid"]) == (keys[spec], True)
    assert verified["SigningAlgorithm"] == algorithm
    other = bytes([message[0] ^ 1, *message[1:]])
    assert refusal(kms.verify, **asked, Message=other, Signature=signature) == INVALID
    for altered in (signature[:-1], signature + b"\0", bytes([*signature[:-1], signature[-1] ^ 1]), b"x"):
        assert refusal(kms.verify, **asked, Message=message, Signature=altered) == INVALID


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        (spec, algorithm)
        for spec, algorithm, message_type, _ in KINDS
        if message_type == "DIGEST" and "ED" not in algorithm
    ],
)
def test_a_message_and_its_digest_are_signed_alike(kms: Any, keys: dict[str, str], spec: str, algorithm: str) -> None:
    asked = {"KeyId": keys[spec], "SigningAlgorithm": algorithm}
    digest = DIGESTS[algorithm[-7:]](b"message").digest()

    of_message = kms.sign(**asked, Message=b"message")["Signature"]
    assert kms.verify(**asked, Message=digest, MessageType="DIGEST", Signature=of_message)["SignatureValid"]
    of_digest = kms.sign(**asked, Message=digest, MessageType="DIGEST")["Signature"]
    assert kms.verify(**asked, Message=b"message", MessageType="RAW", Signature=of_digest)["SignatureValid"]


@pytest.mark.parametrize("spec", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"])
def test_a_message_and_its_mu_are_signed_alike(kms: Any, keys: dict[str, str], spec: str) -> None:
    asked = {"KeyId": keys[spec], "SigningAlgorithm": "ML_DSA_SHAKE_256"}
    raw_key = kms.get_public_key(KeyId=keys[spec])["PublicKey"][22:]
    mu = hashlib.shake_256(hashlib.shake_256(raw_key).digest(64) + b"\0\0" + b"message").digest(64)

    of_message = kms.sign(**asked, Message=b"message")["Signature"]
    assert kms.verify(**asked, Message=mu, MessageType="EXTERNAL_MU", Signature=of_message)["SignatureValid"]
    of_mu = kms.sign(**asked, Message=mu, MessageType="EXTERNAL_MU")["Signature"]
    assert kms.verify(**asked, Message=b"message", Signature=of_mu)["SignatureValid"]


@pytest.mark.parametrize(
    ("spec", "algorithm", "message_type", "text"),
    [
        ("RSA_2048", "RSASSA_PSS_SHA_384", "DIGEST", "Digest is invalid length for algorithm RSASSA_PSS_SHA_384."),
        ("ECC_NIST_P521", "ECDSA_SHA_512", "DIGEST", "Digest is invalid length for algorithm ECDSA_SHA_512."),
        ("ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "DIGEST",
         "Digest is invalid length for algorithm ED25519_PH_SHA_512."),
        ("ML_DSA_44", "ML_DSA_SHAKE_256", "EXTERNAL_MU", "Message is invalid length for algorithm ML_DSA_SHAKE_256."),
        ("ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "RAW",
         "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", "DIGEST",
         "Message type DIGEST is incompatible with algorithm ED25519_SHA_512."),
        ("ML_DSA_44", "ML_DSA_SHAKE_256", "DIGEST",
         "Message type DIGEST is incompatible with algorithm ML_DSA_SHAKE_256."),
        ("RSA_2048", "RSASSA_PSS_SHA_384", "EXTERNAL_MU",
         "Message type EXTERNAL_MU is incompatible with algorithm RSASSA_PSS_SHA_384."),
    ],
)  # fmt: skip
def test_messages_that_an_algorithm_does_not_take(
    kms: Any, keys: dict[str, str], spec: str, algorithm: str, message_type: str, text: str
) -> None:
    asked = {"KeyId": keys[spec], "SigningAlgorithm": algorithm, "MessageType": message_type, "Message": b"x" * 20}

    assert refusal(kms.sign, **asked) == ("ValidationException", text)
    assert refusal(kms.verify, **asked, Signature=b"x") == ("ValidationException", text)


def test_usage_is_looked_at_before_the_algorithm_and_that_before_the_message(kms: Any, keys: dict[str, str]) -> None:
    agreeing = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")["KeyMetadata"]["Arn"]
    asked = {"Message": b"x", "MessageType": "DIGEST", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}

    for operation, more in ((kms.sign, {}), (kms.verify, {"Signature": b"x"})):
        name = {"sign": "Sign", "verify": "Verify"}[operation.__name__]
        assert refusal(operation, KeyId=agreeing, **asked, **more) == (
            "InvalidKeyUsageException",
            f"{agreeing} key usage is KEY_AGREEMENT which is not valid for {name}.",
        )
        assert refusal(operation, KeyId=keys["ECC_NIST_P256"], **asked, **more) == (
            "InvalidKeyUsageException",
            "Algorithm RSASSA_PSS_SHA_256 is incompatible with key spec ECC_NIST_P256.",
        )


def test_the_longest_message(kms: Any, keys: dict[str, str]) -> None:
    asked = {"KeyId": keys["ECC_NIST_EDWARDS25519"], "SigningAlgorithm": "ED25519_SHA_512"}

    assert len(kms.sign(**asked, Message=bytes(4096))["Signature"]) == 64
    code, text = refusal(kms.sign, **asked, Message=bytes(4097))
    assert (code, "Value at 'message' failed" in text) == ("ValidationException", True)


def test_dry_runs(kms: Any, keys: dict[str, str]) -> None:
    asked = {"KeyId": keys["ECC_NIST_EDWARDS25519"], "DryRun": True, **ED25519}
    would = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    signature = kms.sign(**asked | {"DryRun": False})["Signature"]

    assert refusal(kms.sign, **asked) == would
    assert refusal(kms.verify, **asked, Signature=signature) == would
    assert refusal(kms.verify, **asked, Signature=bytes(64)) == INVALID


def test_the_record_names_the_algorithm_and_neither_message_nor_signature(
    server: Server, kms: Any, keys: dict[str, str]
) -> None:
    key = keys["ECC_NIST_EDWARDS25519"]

    record = record_of_request(server.data, kms.sign(KeyId=key, MessageType="RAW", **ED25519))

    assert (record["eventName"], record["readOnly"], record["responseElements"]) == ("Sign", True, None)
    assert record["requestParameters"] == {"keyId": key, "messageType": "RAW", "signingAlgorithm": "ED25519_SHA_512"}
    assert [resource["ARN"] for resource in record["resources"]] == [key]
    assert "keyMaterialId" not in record["additionalEventData"]
