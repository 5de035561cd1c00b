from itertools import permutations

import pytest

from strongroom.crypto.key_pairs import generate_key_pair, load_decapsulation_key, load_encapsulation_key
from strongroom.errors import InvalidCiphertext
from tests.unit.crypto.vectors import Case, Hex, PublicKey, each

SPECS = {"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568}
"""Key spec -> length of a ciphertext in bytes (FIPS 203, table 3)."""
SEED_BYTES = 64


class Pair(Case, frozen=True):
    key_spec: str
    private_key: Hex
    public_key: Hex


class Decapsulation(Case, frozen=True):
    key_spec: str
    private_key: Hex
    ciphertext: Hex
    shared_secret: Hex | None


@each(Pair, "ml_kem/key_pairs.json")
def test_private_keys_are_seeds_of_the_published_public_keys(case: Pair) -> None:
    shared_secret, ciphertext = load_encapsulation_key(case.key_spec, case.public_key).encapsulate()
    assert load_decapsulation_key(case.key_spec, case.private_key).decapsulate(ciphertext) == shared_secret


@each(
    Decapsulation,
    "ml_kem/decapsulation_512.json",
    "ml_kem/decapsulation_768.json",
    "ml_kem/decapsulation_1024.json",
)
def test_decapsulates_the_published_ciphertexts(case: Decapsulation) -> None:
    key = load_decapsulation_key(case.key_spec, case.private_key)
    if case.shared_secret is not None:
        assert key.decapsulate(case.ciphertext) == case.shared_secret
        return
    with pytest.raises(InvalidCiphertext):
        key.decapsulate(case.ciphertext)


@each(PublicKey, "ml_kem/malformed_public_keys.json")
def test_encapsulates_with_no_public_key_that_is_not_reduced(case: PublicKey) -> None:
    with pytest.raises(ValueError, match="key"):
        load_encapsulation_key(case.key_spec, case.public_key).encapsulate()


@pytest.mark.parametrize("key_spec", SPECS)
def test_decapsulates_what_it_encapsulates(key_spec: str) -> None:
    pair, other = generate_key_pair(key_spec), generate_key_pair(key_spec)
    public, private = load_encapsulation_key(key_spec, pair.public), load_decapsulation_key(key_spec, pair.private)
    shared_secret, ciphertext = public.encapsulate()
    assert (len(shared_secret), len(ciphertext)) == (32, SPECS[key_spec])
    assert private.decapsulate(ciphertext) == shared_secret
    again, other_ciphertext = public.encapsulate()
    assert again != shared_secret
    assert other_ciphertext != ciphertext
    assert load_decapsulation_key(key_spec, other.private).decapsulate(ciphertext) != shared_secret


@pytest.mark.parametrize("key_spec", SPECS)
def test_rejects_a_changed_ciphertext_implicitly_and_always_in_the_same_way(key_spec: str) -> None:
    pair = generate_key_pair(key_spec)
    private = load_decapsulation_key(key_spec, pair.private)
    shared_secret, ciphertext = load_encapsulation_key(key_spec, pair.public).encapsulate()
    changed = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    rejected = private.decapsulate(changed)
    assert len(rejected) == 32
    assert rejected != shared_secret
    assert rejected == load_decapsulation_key(key_spec, pair.private).decapsulate(changed)


@pytest.mark.parametrize("key_spec", SPECS)
def test_decapsulates_no_ciphertext_of_another_length(key_spec: str) -> None:
    private = load_decapsulation_key(key_spec, generate_key_pair(key_spec).private)
    for length in (0, 1, *(bytes_ + more for bytes_ in SPECS.values() for more in (-1, 0, 1))):
        if length == SPECS[key_spec]:
            continue
        with pytest.raises(InvalidCiphertext):
            private.decapsulate(bytes(length))


@pytest.mark.parametrize("key_spec", SPECS)
def test_private_keys_hold_their_seed_alone(key_spec: str) -> None:
    private = generate_key_pair(key_spec).private
    assert len(private) == 22 + SEED_BYTES
    for no_key in (b"", private[:-1], private + b"\x00", private[22:]):
        with pytest.raises(ValueError, match=r".+"):
            load_decapsulation_key(key_spec, no_key)


@pytest.mark.parametrize(("key_spec", "other"), list(permutations(SPECS, 2)))
def test_opens_no_key_of_another_parameter_set(key_spec: str, other: str) -> None:
    pair = generate_key_pair(key_spec)
    with pytest.raises(ValueError, match=r".+"):
        load_decapsulation_key(other, pair.private)
    with pytest.raises(ValueError, match=r".+"):
        load_encapsulation_key(other, pair.public)
