"""JSON Web Tokens that KMS keys sign are valid to PyJWT, with the public keys that GetPublicKey gives."""

import base64
import hashlib
import json
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

CLAIMS = {"sub": "someone", "aud": "shop"}


class Kind(NamedTuple):
    """What signs the tokens of one algorithm of RFC 7518 or RFC 8037."""

    spec: str
    algorithm: str
    number_bytes: int = 0
    """Length of r and of s, if these are the signature."""


KINDS = {
    "ES256": Kind("ECC_NIST_P256", "ECDSA_SHA_256", 32),
    "ES256K": Kind("ECC_SECG_P256K1", "ECDSA_SHA_256", 32),
    "ES384": Kind("ECC_NIST_P384", "ECDSA_SHA_384", 48),
    "ES512": Kind("ECC_NIST_P521", "ECDSA_SHA_512", 66),
    "EdDSA": Kind("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
    "RS256": Kind("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"),
    "RS512": Kind("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
    "PS256": Kind("RSA_2048", "RSASSA_PSS_SHA_256"),
    "PS384": Kind("RSA_2048", "RSASSA_PSS_SHA_384"),
}


@pytest.fixture(scope="module")
def keys(kms: Any) -> dict[str, str]:
    """A key of each spec that signs tokens: its ARN."""
    return {spec: made(kms, spec) for spec in sorted({kind.spec for kind in KINDS.values()})}


@pytest.mark.parametrize("name", KINDS)
def test_a_token_is_valid_and_an_altered_one_is_not(kms: Any, keys: dict[str, str], name: str) -> None:
    key = keys[KINDS[name].spec]
    token = signed(kms, key, name)

    assert claims_in(token, public_key_of(kms, key), name) == CLAIMS
    head, _, signature = token.split(".")
    altered = f"{head}.{part(CLAIMS | {'sub': 'another'})}.{signature}"
    with pytest.raises(jwt.InvalidSignatureError):
        claims_in(altered, public_key_of(kms, key), name)


def test_a_token_of_another_key_is_not_valid(kms: Any, keys: dict[str, str]) -> None:
    token = signed(kms, made(kms, "ECC_NIST_P256"), "ES256")

    with pytest.raises(jwt.InvalidSignatureError):
        claims_in(token, public_key_of(kms, keys["ECC_NIST_P256"]), "ES256")


@pytest.mark.parametrize("name", ["RS256", "PS256"])
def test_a_token_that_is_signed_by_its_digest(kms: Any, keys: dict[str, str], name: str) -> None:
    unsigned = f"{part({'alg': name})}.{part(CLAIMS)}"
    asked = {"KeyId": keys["RSA_2048"], "SigningAlgorithm": KINDS[name].algorithm}
    digest = {"Message": hashlib.sha256(unsigned.encode()).digest(), "MessageType": "DIGEST"}
    signature = kms.sign(**asked, **digest)["Signature"]

    assert claims_in(f"{unsigned}.{encoded(signature)}", public_key_of(kms, asked["KeyId"]), name) == CLAIMS
    assert kms.verify(**asked, Message=unsigned.encode(), Signature=signature)["SignatureValid"] is True


def test_a_token_that_pyjwt_signs_with_the_private_key_of_a_data_key_pair(kms: Any, key_arn: str) -> None:
    pair = kms.generate_data_key_pair_without_plaintext(KeyId=key_arn, KeyPairSpec="ECC_NIST_P256")
    private_key = load_der_private_key(
        kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])["Plaintext"], password=None
    )
    token = jwt.encode(
        CLAIMS, private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), algorithm="ES256"
    )

    assert claims_in(token, pem(pair["PublicKey"]), "ES256") == CLAIMS


def made(kms: Any, spec: str) -> str:
    """The ARN of a new key that signs."""
    arn: str = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    return arn


def public_key_of(kms: Any, key: str) -> bytes:
    return pem(kms.get_public_key(KeyId=key)["PublicKey"])


def pem(public_key: bytes) -> bytes:
    return load_der_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(kms: Any, key: str, name: str) -> str:
    """A token that a KMS key signs."""
    kind = KINDS[name]
    unsigned = f"{part({'alg': name})}.{part(CLAIMS)}"
    signature = kms.sign(KeyId=key, SigningAlgorithm=kind.algorithm, Message=unsigned.encode())["Signature"]
    if kind.number_bytes:
        signature = b"".join(number.to_bytes(kind.number_bytes, "big") for number in decode_dss_signature(signature))
    return f"{unsigned}.{encoded(signature)}"


def claims_in(token: str, public_key: bytes, name: str) -> dict[str, Any]:
    """What PyJWT finds in a token. Raises InvalidSignatureError."""
    claims: dict[str, Any] = jwt.decode(token, public_key, algorithms=[name], audience="shop")
    return claims


def part(members: dict[str, str]) -> str:
    return encoded(json.dumps(members).encode())


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
