"""What every key store fulfils (strongroom/keystores/contract.py)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import (
    generate_key_pair,
    load_agreement_key,
    load_encapsulation_key,
    load_encryption_key,
    load_verifying_key,
)
from strongroom.errors import InvalidCiphertext, KeyUnavailable, KMSInvalidMac
from strongroom.keystores.contract import KeyStore, RawSymmetricKey, SymmetricKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import KEY_SPECS, MAC_BYTES, MESSAGE_BYTES, SYMMETRIC_DEFAULT
from tests.keys import KEY, generate, kms_key

CONTEXTS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)


@pytest.fixture(scope="module")
def material(key_store: KeyStore) -> KeyMaterial:
    return generate(key_store)


@pytest.fixture(scope="module")
def key(key_store: KeyStore, material: KeyMaterial) -> RawSymmetricKey:
    return key_store.open_symmetric(KEY, material)


def test_material_says_whose_it_is_and_who_can_open_it(key_store: KeyStore, material: KeyMaterial) -> None:
    assert (material.account, material.region) == ("111122223333", "us-east-1")
    assert material.key_id == "1234abcd-12ab-34cd-56ef-1234567890ab"
    assert material.created == 1.5
    assert material.key_store == key_store.name


@given(plaintext=st.binary(max_size=4096), context=CONTEXTS)
def test_decrypts_what_it_encrypted(key: SymmetricKey, plaintext: bytes, context: dict[str, str]) -> None:
    blob = key.encrypt(plaintext, context)
    assert key.decrypt(parse(blob), dict(reversed(context.items()))) == plaintext


def test_the_blob_names_the_material_and_fits_the_api(key: SymmetricKey, material: KeyMaterial) -> None:
    blob = key.encrypt(bytes(4096), {"a": "b"})
    assert parse(blob).material_id == material.material_id
    assert parse(blob).algorithm == material.algorithm
    assert len(blob) - 4096 <= 100


def test_never_encrypts_the_same_way_twice(key: SymmetricKey) -> None:
    blobs = [parse(key.encrypt(b"same", {})) for _ in range(50)]
    assert len({blob.nonce for blob in blobs}) == 50
    assert len({blob.ciphertext for blob in blobs}) == 50


@given(position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7), context=CONTEXTS)
def test_refuses_any_flipped_bit(key: SymmetricKey, position: int, bit: int, context: dict[str, str]) -> None:
    altered = bytearray(key.encrypt(b"plaintext", context))
    altered[position % len(altered)] ^= 1 << bit
    with pytest.raises(InvalidCiphertext) as refused:
        key.decrypt(parse(bytes(altered)), context)
    assert refused.value.message is None


def test_refuses_every_flipped_bit_of_one_blob(key: SymmetricKey) -> None:
    blob = key.encrypt(b"plaintext", {"a": "b"})
    for bit in range(8 * len(blob)):
        altered = bytearray(blob)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidCiphertext):
            key.decrypt(parse(bytes(altered)), {"a": "b"})


@given(context=CONTEXTS, other=CONTEXTS)
def test_refuses_any_other_context(key: SymmetricKey, context: dict[str, str], other: dict[str, str]) -> None:
    assume(context != other)
    with pytest.raises(InvalidCiphertext):
        key.decrypt(parse(key.encrypt(b"plaintext", context)), other)


def test_refuses_a_context_divided_elsewhere(key: SymmetricKey) -> None:
    blob = parse(key.encrypt(b"plaintext", {"a": "bc"}))
    with pytest.raises(InvalidCiphertext):
        key.decrypt(blob, {"ab": "c"})


def test_refuses_the_blob_of_another_material_of_the_same_key(key_store: KeyStore, key: SymmetricKey) -> None:
    other = key_store.open_symmetric(KEY, generate(key_store))
    with pytest.raises(InvalidCiphertext):
        key.decrypt(parse(other.encrypt(b"plaintext", {})), {})


def test_refuses_a_blob_that_was_given_this_materials_name(
    key_store: KeyStore, key: SymmetricKey, material: KeyMaterial
) -> None:
    other = generate(key_store)
    blob = key_store.open_symmetric(KEY, other).encrypt(b"plaintext", {})
    renamed = blob.replace(bytes.fromhex(other.material_id), bytes.fromhex(material.material_id))
    assert parse(renamed).material_id == material.material_id
    with pytest.raises(InvalidCiphertext):
        key.decrypt(parse(renamed), {})


def test_blobs_are_sealed_with_what_the_format_document_names(key: RawSymmetricKey) -> None:
    blob = parse(key.encrypt(b"plaintext", {"a": "b"}))
    assert blob.algorithm == key.algorithm
    associated_data = (
        b"strongroom ciphertext blob\x00" + blob.header + bytes.fromhex("00000002 00000001 61 00000001 62")
    )
    assert key.unseal(blob.nonce, blob.ciphertext, associated_data) == b"plaintext"


def test_material_opened_again_decrypts_too(key_store: KeyStore, material: KeyMaterial, key: SymmetricKey) -> None:
    blob = parse(key.encrypt(b"plaintext", {}))
    assert key_store.open_symmetric(KEY, material).decrypt(blob, {}) == b"plaintext"
    key_store.forget(material.region, material.material_id)
    assert key_store.open_symmetric(KEY, material).decrypt(blob, {}) == b"plaintext"


def test_forgetting_is_idempotent(key_store: KeyStore) -> None:
    material = generate(key_store)
    key_store.forget(material.region, material.material_id)
    key_store.open_symmetric(KEY, material)
    key_store.forget(material.region, material.material_id)
    key_store.forget(material.region, material.material_id)
    key_store.open_symmetric(KEY, material)


CHANGES = {
    "account": {"account": "999999999999"},
    "region": {"region": "eu-west-1"},
    "key": {"key_id": "00000000-12ab-34cd-56ef-1234567890ab"},
    "material id": {"material_id": "00" * 32},
    "account and region divided elsewhere": {"account": "111122223333u", "region": "s-east-1"},
    "algorithm": {"algorithm": 2},
    "key store": {"key_store": "other"},
    "domain key version": {"domain_key_version": 2},
    "no wrapped bytes": {"wrapped": b""},
    "random wrapped bytes": {"wrapped": b"\x01" + bytes(72)},
}


@pytest.mark.parametrize("times_opened", [0, 1])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_altered_or_moved_material_is_unavailable(
    key_store: KeyStore, change: dict[str, str | int | bytes], times_opened: int
) -> None:
    material = generate(key_store)
    for _ in range(times_opened):
        key_store.open_symmetric(KEY, material)
    with pytest.raises(KeyUnavailable):
        key_store.open_symmetric(KEY, replace(material, **change))


def test_the_keys_of_a_multi_region_key_open_each_others_material(key_store: KeyStore) -> None:
    here = replace(KEY, key_id=f"mrk-{'5' * 32}", multi_region=True, primary_region=KEY.region)
    there = replace(here, region="eu-west-1")
    material = generate(key_store, here)
    copy = replace(material, region=there.region)
    blob = key_store.open_symmetric(here, material).encrypt(b"plaintext", {})
    assert key_store.open_symmetric(there, copy).decrypt(parse(blob), {}) == b"plaintext"
    key_store.forget(here.region, material.material_id)
    assert key_store.open_symmetric(there, copy).decrypt(parse(blob), {}) == b"plaintext"
    single = replace(here, multi_region=False, primary_region=None)
    other = replace(here, key_id=f"mrk-{'6' * 32}")
    for key, moved in ((single, material), (other, replace(material, key_id=other.key_id))):
        key_store.forget(key.region, material.material_id)
        with pytest.raises(KeyUnavailable):
            key_store.open_symmetric(key, moved)


def test_material_with_the_bytes_of_another_is_unavailable(key_store: KeyStore, material: KeyMaterial) -> None:
    with pytest.raises(KeyUnavailable):
        key_store.open_symmetric(KEY, replace(material, wrapped=generate(key_store).wrapped))


def test_every_flipped_bit_of_the_wrapped_bytes_is_found(key_store: KeyStore, material: KeyMaterial) -> None:
    for bit in range(8 * len(material.wrapped)):
        altered = bytearray(material.wrapped)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyUnavailable):
            key_store.open_symmetric(KEY, replace(material, wrapped=bytes(altered)))


def test_is_shared_between_threads(key_store: KeyStore) -> None:
    materials = [generate(key_store) for _ in range(4)]

    def use(number: int) -> bytes:
        key = key_store.open_symmetric(KEY, materials[number % 4])
        if number % 7 == 0:
            key_store.forget(materials[number % 4].region, materials[number % 4].material_id)
        return key.decrypt(parse(key.encrypt(number.to_bytes(4), {"n": str(number)})), {"n": str(number)})

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(1_000))) == [number.to_bytes(4) for number in range(1_000)]


@pytest.mark.parametrize("length", [0, 1, 1024])
def test_random_bytes_are_of_the_length_asked_for(key_store: KeyStore, length: int) -> None:
    assert len(key_store.random_bytes(length)) == length


def test_random_bytes_differ(key_store: KeyStore) -> None:
    assert len({key_store.random_bytes(32) for _ in range(50)}) == 50


def test_shows_no_key(key: SymmetricKey, material: KeyMaterial) -> None:
    assert repr(material.wrapped) not in repr(material)
    assert "XaesKey" not in repr(key)


KINDS = [(spec, usage) for spec, row in KEY_SPECS.items() if spec != SYMMETRIC_DEFAULT for usage in row.algorithms]


@pytest.fixture(scope="module")
def materials(key_store: KeyStore) -> dict[tuple[str, str], tuple[KmsKey, KeyMaterial]]:
    """A key of each other kind and its material."""
    keys = {kind: kms_key(*kind) for kind in KINDS}
    return {kind: (key, generate(key_store, key)) for kind, key in keys.items()}


def use(key_store: KeyStore, key: KmsKey, material: KeyMaterial, algorithm: str) -> None:
    """Use the secret half, and see that the public half, or a second use, fits."""
    spec, public = key.key_spec, material.public_key or b""
    match key.key_usage:
        case "GENERATE_VERIFY_MAC":
            mac = key_store.open_mac(key, material).generate(algorithm, b"message")
            key_store.open_mac(key, material).verify(algorithm, b"message", mac)
            assert len(mac) == MAC_BYTES[algorithm]
        case "SIGN_VERIFY":
            for message_type, length in MESSAGE_BYTES[algorithm].items():
                message = bytes(length or 4096)
                signature = key_store.open_signing(key, material).sign(algorithm, message_type, message)
                load_verifying_key(spec, public).verify(algorithm, message_type, message, signature)
        case "ENCRYPT_DECRYPT":
            plaintext = bytes(KEY_SPECS[spec].plaintext[algorithm])
            ciphertext = load_encryption_key(spec, public).encrypt(algorithm, plaintext)
            assert key_store.open_decryption(key, material).decrypt(algorithm, ciphertext) == plaintext
        case "KEY_AGREEMENT":
            theirs = generate_key_pair(spec)
            secret = key_store.open_agreement(key, material).shared_secret(theirs.public)
            assert load_agreement_key(spec, theirs.private).shared_secret(public) == secret
        case "ENCAPSULATE_DECAPSULATE":
            secret, ciphertext = load_encapsulation_key(spec, public).encapsulate()
            assert key_store.open_decapsulation(key, material).decapsulate(ciphertext) == secret


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind_is_made_and_used(
    key_store: KeyStore, materials: dict[tuple[str, str], tuple[KmsKey, KeyMaterial]], kind: tuple[str, str]
) -> None:
    key, material = materials[kind]
    for algorithm in KEY_SPECS[key.key_spec].algorithms[key.key_usage]:
        use(key_store, key, material, algorithm)
    key_store.forget(material.region, material.material_id)
    use(key_store, key, material, KEY_SPECS[key.key_spec].algorithms[key.key_usage][-1])


def opening(key_store: KeyStore, key_usage: str) -> Callable[[KmsKey, KeyMaterial], object]:
    return {
        "GENERATE_VERIFY_MAC": key_store.open_mac,
        "SIGN_VERIFY": key_store.open_signing,
        "ENCRYPT_DECRYPT": key_store.open_decryption,
        "KEY_AGREEMENT": key_store.open_agreement,
        "ENCAPSULATE_DECAPSULATE": key_store.open_decapsulation,
    }[key_usage]


@pytest.mark.parametrize("kind", KINDS)
def test_material_of_each_kind_opens_for_its_own_key_alone(
    key_store: KeyStore, materials: dict[tuple[str, str], tuple[KmsKey, KeyMaterial]], kind: tuple[str, str]
) -> None:
    key, material = materials[kind]
    usage = "SIGN_VERIFY" if key.key_usage != "SIGN_VERIFY" else "KEY_AGREEMENT"
    for other, altered in (
        (replace(key, key_usage=usage), material),
        (replace(key, key_spec="RSA_2048" if key.key_spec != "RSA_2048" else "RSA_3072"), material),
        (key, replace(material, key_id="00000000-12ab-34cd-56ef-1234567890ab")),
        (key, replace(material, wrapped=generate(key_store).wrapped)),
    ):
        key_store.forget(material.region, material.material_id)
        with pytest.raises(KeyUnavailable):
            opening(key_store, key.key_usage)(other, altered)


def test_a_mac_of_another_key_or_message_is_invalid(
    key_store: KeyStore, materials: dict[tuple[str, str], tuple[KmsKey, KeyMaterial]]
) -> None:
    key, material = materials["HMAC_256", "GENERATE_VERIFY_MAC"]
    mac_key = key_store.open_mac(key, material)
    mac = mac_key.generate("HMAC_SHA_256", b"message")
    other = key_store.open_mac(key, generate(key_store, key))
    for verifying, message, shown in (
        (other, b"message", mac),
        (mac_key, b"other", mac),
        (mac_key, b"message", mac[:-1]),
    ):
        with pytest.raises(KMSInvalidMac):
            verifying.verify("HMAC_SHA_256", message, shown)


@pytest.mark.parametrize("spec", sorted(spec for spec, row in KEY_SPECS.items() if row.pairs))
def test_data_key_pairs_are_made_of_each_spec(key_store: KeyStore, spec: str) -> None:
    first, second = key_store.generate_key_pair(spec), key_store.generate_key_pair(spec)
    assert first.private != second.private
    assert first.public != second.public
    assert repr(first) == "KeyPair()"
