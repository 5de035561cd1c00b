import pytest

from strongroom.crypto.key_pairs import generate_key_pair, load_signing_key, load_verifying_key
from strongroom.errors import KMSInvalidSignature
from strongroom.model.key_specs import DIGEST, ED25519, ED25519_PH, RAW
from tests.unit.crypto.vectors import Case, Hex, Verification, each

SPEC = "ECC_NIST_EDWARDS25519"


class Signing(Case, frozen=True):
    algorithm: str
    message_type: str
    private_key: Hex
    public_key: Hex
    message: Hex
    signature: Hex


@each(Verification, "ed25519/verification.json", "ed25519/ph_verification.json")
def test_verifies_the_published_signatures(case: Verification) -> None:
    key = load_verifying_key(case.key_spec, case.public_key)
    if case.valid:
        key.verify(case.algorithm, case.message_type, case.message, case.signature)
        return
    with pytest.raises(KMSInvalidSignature):
        key.verify(case.algorithm, case.message_type, case.message, case.signature)


@each(Signing, "ed25519/signing.json")
def test_makes_the_published_signatures(case: Signing) -> None:
    private, public = load_signing_key(SPEC, case.private_key), load_verifying_key(SPEC, case.public_key)
    assert private.sign(case.algorithm, case.message_type, case.message) == case.signature
    public.verify(case.algorithm, case.message_type, case.message, case.signature)
    other, other_type = (ED25519_PH, DIGEST) if case.algorithm == ED25519 else (ED25519, RAW)
    with pytest.raises(KMSInvalidSignature):
        public.verify(other, other_type, case.message, case.signature)


@pytest.mark.parametrize(("algorithm", "message_type"), [(ED25519, RAW), (ED25519_PH, DIGEST)])
def test_verifies_what_it_signs_with_nothing_changed_only(algorithm: str, message_type: str) -> None:
    pair, other = generate_key_pair(SPEC), generate_key_pair(SPEC)
    public = load_verifying_key(SPEC, pair.public)
    message = bytes(64)
    signature = load_signing_key(SPEC, pair.private).sign(algorithm, message_type, message)
    public.verify(algorithm, message_type, message, signature)
    for position in range(64):
        changed = bytearray(signature)
        changed[position] ^= 1
        with pytest.raises(KMSInvalidSignature):
            public.verify(algorithm, message_type, message, bytes(changed))
    for no_signature in (b"", signature[:-1], signature + b"\x00", bytes(64), signature + signature):
        with pytest.raises(KMSInvalidSignature):
            public.verify(algorithm, message_type, message, no_signature)
    with pytest.raises(KMSInvalidSignature):
        public.verify(algorithm, message_type, bytes(63) + b"\x01", signature)
    with pytest.raises(KMSInvalidSignature):
        load_verifying_key(SPEC, other.public).verify(algorithm, message_type, message, signature)
