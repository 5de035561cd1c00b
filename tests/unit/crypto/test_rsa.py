import hashlib
from functools import cache
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from strongroom.crypto.key_pairs import (
    KeyPair,
    generate_key_pair,
    load_decryption_key,
    load_encryption_key,
    load_signing_key,
    load_verifying_key,
)
from strongroom.errors import InvalidCiphertext, KMSInvalidSignature
from strongroom.model.key_specs import DIGEST, ENCRYPT_DECRYPT, KEY_SPECS, RAW, SIGN_VERIFY
from tests.unit.crypto.vectors import Case, Hex, Verification, each, read

SPECS = ("RSA_2048", "RSA_3072", "RSA_4096")
SIGNING = [(spec, algorithm) for spec in SPECS for algorithm in KEY_SPECS[spec].algorithms[SIGN_VERIFY]]
ENCRYPTION = [(spec, algorithm) for spec in SPECS for algorithm in KEY_SPECS[spec].algorithms[ENCRYPT_DECRYPT]]


class Signing(Case, frozen=True):
    key_spec: str
    algorithm: str
    private_key: Hex
    message: Hex
    signature: Hex


class Decryption(Case, frozen=True):
    key_spec: str
    algorithm: str
    private_key: Hex
    ciphertext: Hex
    plaintext: Hex | None


def digest(algorithm: str, message: bytes) -> bytes:
    return hashlib.new(f"sha{algorithm[-3:]}", message).digest()


@cache
def key_pair(key_spec: str) -> KeyPair:
    """A key pair of the vectors: to make one of 4096 bits takes seconds."""
    private = next(
        case.private_key for case in read(Signing, "rsa/pkcs1_v1_5_signing.json") if case.key_spec == key_spec
    )
    public = load_der_private_key(private, None).public_key()
    return KeyPair(private, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@each(Verification, "rsa/pkcs1_v1_5_verification.json", "rsa/pss_verification.json")
def test_verifies_the_published_signatures(case: Verification) -> None:
    key = load_verifying_key(case.key_spec, case.public_key)
    hashed = digest(case.algorithm, case.message)
    if case.valid:
        key.verify(case.algorithm, RAW, case.message, case.signature)
        key.verify(case.algorithm, DIGEST, hashed, case.signature)
        return
    with pytest.raises(KMSInvalidSignature):
        key.verify(case.algorithm, RAW, case.message, case.signature)
    with pytest.raises(KMSInvalidSignature):
        key.verify(case.algorithm, DIGEST, hashed, case.signature)


@each(Signing, "rsa/pkcs1_v1_5_signing.json")
def test_makes_the_published_signatures(case: Signing) -> None:
    key = load_signing_key(case.key_spec, case.private_key)
    assert key.sign(case.algorithm, RAW, case.message) == case.signature
    assert key.sign(case.algorithm, DIGEST, digest(case.algorithm, case.message)) == case.signature


@pytest.mark.parametrize(("key_spec", "algorithm"), SIGNING)
def test_verifies_what_it_signs_under_the_same_algorithm_only(key_spec: str, algorithm: str) -> None:
    pair = key_pair(key_spec)
    public = load_verifying_key(key_spec, pair.public)
    signature = load_signing_key(key_spec, pair.private).sign(algorithm, RAW, b"message")
    assert len(signature) == int(key_spec.removeprefix("RSA_")) // 8
    for other in KEY_SPECS[key_spec].algorithms[SIGN_VERIFY]:
        if other == algorithm:
            public.verify(other, RAW, b"message", signature)
            public.verify(other, DIGEST, digest(other, b"message"), signature)
        else:
            with pytest.raises(KMSInvalidSignature):
                public.verify(other, RAW, b"message", signature)


@pytest.mark.parametrize("algorithm", [algorithm for spec, algorithm in SIGNING if spec == "RSA_2048"])
def test_pss_takes_a_new_salt_for_every_signature_and_pkcs1_none(algorithm: str) -> None:
    key = load_signing_key("RSA_2048", key_pair("RSA_2048").private)
    signatures = {key.sign(algorithm, RAW, b"message") for _ in range(3)}
    assert len(signatures) == (3 if "PSS" in algorithm else 1)


@each(Decryption, "rsa/oaep_decryption.json")
def test_decrypts_the_published_ciphertexts(case: Decryption) -> None:
    key = load_decryption_key(case.key_spec, case.private_key)
    if case.plaintext is not None:
        assert key.decrypt(case.algorithm, case.ciphertext) == case.plaintext
        return
    with pytest.raises(InvalidCiphertext):
        key.decrypt(case.algorithm, case.ciphertext)


@pytest.mark.parametrize(("key_spec", "algorithm"), ENCRYPTION)
def test_decrypts_what_it_encrypts_under_the_same_algorithm_only(key_spec: str, algorithm: str) -> None:
    pair = key_pair(key_spec)
    public, private = load_encryption_key(key_spec, pair.public), load_decryption_key(key_spec, pair.private)
    longest = bytes(KEY_SPECS[key_spec].plaintext[algorithm])
    for plaintext in (b"", b"plaintext", longest):
        ciphertext, again = public.encrypt(algorithm, plaintext), public.encrypt(algorithm, plaintext)
        assert ciphertext != again
        assert len(ciphertext) == int(key_spec.removeprefix("RSA_")) // 8
        assert private.decrypt(algorithm, ciphertext) == private.decrypt(algorithm, again) == plaintext
        for other in KEY_SPECS[key_spec].plaintext:
            if other != algorithm:
                with pytest.raises(InvalidCiphertext):
                    private.decrypt(other, ciphertext)
    with pytest.raises(ValueError, match="Encryption failed"):
        public.encrypt(algorithm, longest + b"\x00")


def test_makes_key_pairs_with_the_usual_exponent() -> None:
    pair, other = generate_key_pair("RSA_2048"), generate_key_pair("RSA_2048")
    assert pair != other
    public = load_der_public_key(pair.public)
    assert isinstance(public, RSAPublicKey)
    assert (public.key_size, public.public_numbers().e) == (2048, 65537)
    signature = load_signing_key("RSA_2048", pair.private).sign("RSASSA_PSS_SHA_256", RAW, b"message")
    load_verifying_key("RSA_2048", pair.public).verify("RSASSA_PSS_SHA_256", RAW, b"message", signature)
    with pytest.raises(KMSInvalidSignature):
        load_verifying_key("RSA_2048", other.public).verify("RSASSA_PSS_SHA_256", RAW, b"message", signature)


@pytest.mark.parametrize(("key_spec", "other"), [*permutations(SPECS, 2)])
def test_opens_no_key_of_another_size(key_spec: str, other: str) -> None:
    pair = key_pair(key_spec)
    with pytest.raises(ValueError, match=other):
        load_signing_key(other, pair.private)
    with pytest.raises(ValueError, match=other):
        load_decryption_key(other, pair.private)
    with pytest.raises(ValueError, match=other):
        load_verifying_key(other, pair.public)
    with pytest.raises(ValueError, match=other):
        load_encryption_key(other, pair.public)
