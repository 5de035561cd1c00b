import contextlib
import hashlib
from functools import cache
from itertools import permutations, product

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.ecc import CURVES, EccPrivateKey
from strongroom.crypto.key_pairs import (
    ASYMMETRIC,
    generate_key_pair,
    load_agreement_key,
    load_signing_key,
    load_verifying_key,
)
from strongroom.errors import KMSInvalidSignature, Validation
from strongroom.model.key_specs import DIGEST, KEY_AGREEMENT, KEY_SPECS, RAW, SIGN_VERIFY
from tests.unit.crypto.vectors import Case, Hex, Verification, each

AGREEING = [spec for spec in CURVES if KEY_AGREEMENT in KEY_SPECS[spec].algorithms]
NO_CURVES = ("ECC_NIST_EDWARDS25519", "RSA_2048", "ML_DSA_44", "ML_KEM_512", "ML_KEM_768")
SECRET_BYTES = {"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}


class Agreement(Case, frozen=True):
    key_spec: str
    private_key: Hex
    """The number."""
    public_key: Hex
    shared_secret: Hex | None


def digest(algorithm: str, message: bytes) -> bytes:
    return hashlib.new(f"sha{algorithm[-3:]}", message).digest()


@each(
    Verification,
    "ecdsa/ecdsa_secp256r1_sha256.json",
    "ecdsa/ecdsa_secp384r1_sha384.json",
    "ecdsa/ecdsa_secp521r1_sha512.json",
    "ecdsa/ecdsa_secp256k1_sha256.json",
    "ecdsa/cavp.json",
)
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


@pytest.mark.parametrize("key_spec", CURVES)
def test_verifies_what_it_signs(key_spec: str) -> None:
    pair, other = generate_key_pair(key_spec), generate_key_pair(key_spec)
    private, public = load_signing_key(key_spec, pair.private), load_verifying_key(key_spec, pair.public)
    (algorithm,) = KEY_SPECS[key_spec].algorithms[SIGN_VERIFY]
    hashed = digest(algorithm, b"message")
    signatures = {
        private.sign(algorithm, message_type, message)
        for message_type, message in ((RAW, b"message"), (DIGEST, hashed))
        for _ in range(2)
    }
    assert len(signatures) == 4
    for signature in signatures:
        public.verify(algorithm, RAW, b"message", signature)
        public.verify(algorithm, DIGEST, hashed, signature)
        with pytest.raises(KMSInvalidSignature):
            public.verify(algorithm, RAW, b"Message", signature)
        with pytest.raises(KMSInvalidSignature):
            load_verifying_key(key_spec, other.public).verify(algorithm, RAW, b"message", signature)


@each(Agreement, "ecdh/ecdh.json")
def test_agrees_on_the_published_secrets(case: Agreement) -> None:
    number = ec.derive_private_key(int.from_bytes(case.private_key), CURVES[case.key_spec])
    key = load_agreement_key(case.key_spec, number.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    if case.shared_secret is not None:
        assert key.shared_secret(case.public_key) == case.shared_secret
        return
    with pytest.raises(Validation):
        key.shared_secret(case.public_key)


@pytest.mark.parametrize("key_spec", AGREEING)
def test_both_sides_agree(key_spec: str) -> None:
    ours, theirs = generate_key_pair(key_spec), generate_key_pair(key_spec)
    secret = load_agreement_key(key_spec, ours.private).shared_secret(theirs.public)
    assert load_agreement_key(key_spec, theirs.private).shared_secret(ours.public) == secret
    assert len(secret) == SECRET_BYTES[key_spec]


@pytest.mark.parametrize(
    ("key_spec", "other"),
    [pair for pair in product(AGREEING, (*CURVES, *NO_CURVES)) if pair[0] != pair[1]],
)
def test_agrees_with_no_key_of_another_spec(key_spec: str, other: str) -> None:
    private = load_agreement_key(key_spec, generate_key_pair(key_spec).private)
    with pytest.raises(Validation):
        private.shared_secret(generate_key_pair(other).public)


def test_agrees_with_nothing_that_is_no_public_key() -> None:
    pair = generate_key_pair("ECC_NIST_P256")
    private = load_agreement_key("ECC_NIST_P256", pair.private)
    for nothing in (b"", b"\x00", pair.private, pair.public[:-1], pair.public + b"\x00", pair.public[26:]):
        with pytest.raises(Validation):
            private.shared_secret(nothing)


@pytest.mark.parametrize(("key_spec", "other"), [*permutations(CURVES, 2)])
def test_opens_no_key_of_another_curve(key_spec: str, other: str) -> None:
    pair = generate_key_pair(key_spec)
    with pytest.raises(ValueError, match=other):
        load_signing_key(other, pair.private)
    with pytest.raises(ValueError, match=other):
        load_agreement_key(other, pair.private)
    with pytest.raises(ValueError, match=other):
        load_verifying_key(other, pair.public)


def test_public_keys_are_of_a_named_curve_and_not_compressed() -> None:
    public = generate_key_pair("ECC_NIST_P256").public
    assert public[:27].hex() == "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    assert len(public) == 26 + 65


@given(
    spec=st.sampled_from(sorted(ASYMMETRIC - {"RSA_3072", "RSA_4096"})),
    position=st.integers(min_value=0, max_value=60),
    byte=st.integers(min_value=0, max_value=255),
    length=st.integers(min_value=0),
)
def test_no_public_key_raises_anything_but_our_error(spec: str, position: int, byte: int, length: int) -> None:
    public = bytearray(public_key(spec))
    public[position % len(public)] = byte
    for given_key in (bytes(public), bytes(public[: length % len(public)])):
        with contextlib.suppress(Validation):
            assert len(agreement_key().shared_secret(given_key)) == 32


@cache
def public_key(spec: str) -> bytes:
    return generate_key_pair(spec).public


@cache
def agreement_key() -> EccPrivateKey:
    return load_agreement_key("ECC_NIST_P256", generate_key_pair("ECC_NIST_P256").private)
