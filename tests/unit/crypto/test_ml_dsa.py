from itertools import permutations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from strongroom.crypto.key_pairs import generate_key_pair, load_signing_key, load_verifying_key
from strongroom.errors import KMSInvalidSignature
from strongroom.model.key_specs import EXTERNAL_MU, ML_DSA, RAW
from tests.unit.crypto.vectors import Case, Hex, PublicKey, Verification, each

SPECS = {"ML_DSA_44": 2420, "ML_DSA_65": 3309, "ML_DSA_87": 4627}
"""Key spec -> length of a signature in bytes (FIPS 204, table 2)."""


class Signing(Case, frozen=True):
    key_spec: str
    private_key: Hex
    public_key: Hex
    message: Hex
    context: Hex
    mu: Hex
    signature: Hex
    """The deterministic one."""


@each(Verification, "ml_dsa/verification_44.json", "ml_dsa/verification_65.json", "ml_dsa/verification_87.json")
def test_verifies_the_published_signatures(case: Verification) -> None:
    key = load_verifying_key(case.key_spec, case.public_key)
    if case.valid:
        key.verify(case.algorithm, case.message_type, case.message, case.signature)
        return
    with pytest.raises(KMSInvalidSignature):
        key.verify(case.algorithm, case.message_type, case.message, case.signature)


@each(Signing, "ml_dsa/key_pairs.json")
def test_private_keys_are_seeds_of_the_published_public_keys(case: Signing) -> None:
    public = load_der_private_key(case.private_key, None).public_key()
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == case.public_key


@each(Signing, "ml_dsa/key_pairs.json")
def test_a_published_mu_stands_for_its_message_and_context(case: Signing) -> None:
    private = load_signing_key(case.key_spec, case.private_key)
    public = load_verifying_key(case.key_spec, case.public_key)
    public.verify(ML_DSA, EXTERNAL_MU, case.mu, case.signature)
    signature = private.sign(ML_DSA, EXTERNAL_MU, case.mu)
    assert signature != case.signature  # it is hedged
    public.verify(ML_DSA, EXTERNAL_MU, case.mu, signature)
    if case.context:  # ours is empty
        for of_another_context in (case.signature, signature):
            with pytest.raises(KMSInvalidSignature):
                public.verify(ML_DSA, RAW, case.message, of_another_context)
        return
    public.verify(ML_DSA, RAW, case.message, case.signature)
    public.verify(ML_DSA, RAW, case.message, signature)
    public.verify(ML_DSA, EXTERNAL_MU, case.mu, private.sign(ML_DSA, RAW, case.message))


@pytest.mark.parametrize("key_spec", SPECS)
@pytest.mark.parametrize("message_type", [RAW, EXTERNAL_MU])
def test_verifies_what_it_signs_with_nothing_changed_only(key_spec: str, message_type: str) -> None:
    pair, other = generate_key_pair(key_spec), generate_key_pair(key_spec)
    private, public = load_signing_key(key_spec, pair.private), load_verifying_key(key_spec, pair.public)
    message = bytes(64)
    signature = private.sign(ML_DSA, message_type, message)
    assert len(signature) == SPECS[key_spec]
    assert private.sign(ML_DSA, message_type, message) != signature
    public.verify(ML_DSA, message_type, message, signature)
    for no_signature in (b"", signature[:-1], signature + b"\x00", bytes(len(signature))):
        with pytest.raises(KMSInvalidSignature):
            public.verify(ML_DSA, message_type, message, no_signature)
    with pytest.raises(KMSInvalidSignature):
        public.verify(ML_DSA, message_type, bytes(63) + b"\x01", signature)
    with pytest.raises(KMSInvalidSignature):
        public.verify(ML_DSA, RAW if message_type == EXTERNAL_MU else EXTERNAL_MU, message, signature)
    with pytest.raises(KMSInvalidSignature):
        load_verifying_key(key_spec, other.public).verify(ML_DSA, message_type, message, signature)


@each(PublicKey, "ml_dsa/malformed_public_keys.json")
def test_opens_no_public_key_of_another_length(case: PublicKey) -> None:
    with pytest.raises(ValueError, match="key"):
        load_verifying_key(case.key_spec, case.public_key)


@pytest.mark.parametrize("key_spec", SPECS)
def test_private_keys_hold_their_seed_alone(key_spec: str) -> None:
    assert len(generate_key_pair(key_spec).private) == 22 + 32


@pytest.mark.parametrize(("key_spec", "other"), [*permutations(SPECS, 2)])
def test_opens_no_key_of_another_parameter_set(key_spec: str, other: str) -> None:
    pair = generate_key_pair(key_spec)
    with pytest.raises(ValueError, match=other):
        load_signing_key(other, pair.private)
    with pytest.raises(ValueError, match=other):
        load_verifying_key(other, pair.public)
