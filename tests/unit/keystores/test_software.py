import pytest
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import associated_data, build_header, parse
from strongroom.crypto.wrapping import wrap
from strongroom.crypto.xaes import XaesKey
from strongroom.errors import InvalidCiphertext, KeyUnavailable
from strongroom.keystores import software
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys
from strongroom.keystores.root_key import RootKey
from strongroom.keystores.software import SoftwareKeyStore, SoftwareSymmetricKey
from tests.keys import KEY, generate

MATERIAL_ID = "ab" * 32
NONCE = bytes(24)


@pytest.fixture(scope="module")
def domain_keys(root_key: RootKey) -> DomainKeys:
    return DomainKeys.open(root_key, "installation", generate_domain_keys(root_key, "installation", 0.0).records)


@pytest.fixture
def key_store(domain_keys: DomainKeys) -> SoftwareKeyStore:
    return SoftwareKeyStore(domain_keys)


def test_decrypts_a_blob_put_together_by_the_format_document() -> None:
    header = bytes.fromhex("01 01 20" + MATERIAL_ID + "18" + NONCE.hex() + "00000019")
    label_header_and_context = (
        b"strongroom ciphertext blob\x00" + header + bytes.fromhex("00000002 00000001 61 00000001 62")
    )
    ciphertext = XaesKey(b"\x01" * 32).seal(NONCE, b"plaintext", label_header_and_context)
    key = SoftwareSymmetricKey(MATERIAL_ID, XaesKey(b"\x01" * 32))
    assert key.decrypt(parse(header + ciphertext), {"a": "b"}) == b"plaintext"


def test_refuses_another_material_even_of_the_same_bytes() -> None:
    sealing = SoftwareSymmetricKey("cd" * 32, XaesKey(b"\x01" * 32))
    opening = SoftwareSymmetricKey(MATERIAL_ID, XaesKey(b"\x01" * 32))
    with pytest.raises(InvalidCiphertext):
        opening.decrypt(parse(sealing.encrypt(b"plaintext", {})), {})


def test_refuses_another_algorithm_even_if_it_authenticates() -> None:
    header = build_header(2, MATERIAL_ID, NONCE, 25)
    ciphertext = XaesKey(b"\x01" * 32).seal(NONCE, b"plaintext", associated_data(header, {}))
    accepted = build_header(1, MATERIAL_ID, NONCE, 25)
    blob = replace(parse(accepted + ciphertext), algorithm=2, header=header)
    key = SoftwareSymmetricKey(MATERIAL_ID, XaesKey(b"\x01" * 32))
    with pytest.raises(InvalidCiphertext):
        key.decrypt(blob, {})
    assert key.decrypt(replace(blob, algorithm=1), {}) == b"plaintext"


@pytest.mark.parametrize(("algorithm", "name"), [("2", "software"), ("1", "hsm")])
def test_opens_nothing_that_is_not_its_own_even_if_it_unwraps(
    domain_keys: DomainKeys, key_store: SoftwareKeyStore, algorithm: str, name: str
) -> None:
    material = generate(key_store)
    binding = (
        "key-material",
        "111122223333",
        "us-east-1",
        KEY.key_id,
        material.material_id,
        algorithm,
        name,
        "1",
    )
    wrapped = wrap(domain_keys.key_material[1], bytes(32), binding, NONCE)
    with pytest.raises(KeyUnavailable):
        key_store.open_symmetric(KEY, replace(material, algorithm=int(algorithm), key_store=name, wrapped=wrapped))


def test_opens_material_wrapped_by_the_format_document(domain_keys: DomainKeys, key_store: SoftwareKeyStore) -> None:
    material = generate(key_store)
    binding = (
        "key-material",
        "111122223333",
        "us-east-1",
        KEY.key_id,
        material.material_id,
        "1",
        "software",
        "1",
    )
    wrapped = wrap(domain_keys.key_material[1], b"\x01" * 32, binding, NONCE)
    opened = key_store.open_symmetric(KEY, replace(material, wrapped=wrapped))
    same = SoftwareSymmetricKey(material.material_id, XaesKey(b"\x01" * 32))
    assert opened.decrypt(parse(same.encrypt(b"plaintext", {})), {}) == b"plaintext"


def test_keeps_opened_material_until_it_is_forgotten(key_store: SoftwareKeyStore) -> None:
    material = generate(key_store)
    opened = key_store.open_symmetric(KEY, material)
    assert key_store.open_symmetric(KEY, material) is opened
    key_store.forget(material.region, material.material_id)
    assert key_store.open_symmetric(KEY, material) is not opened


def test_keeps_no_more_than_its_limit(domain_keys: DomainKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "OPENED_LIMIT", 2)
    key_store = SoftwareKeyStore(domain_keys)
    materials = [generate(key_store) for _ in range(3)]
    opened = [key_store.open_symmetric(KEY, material) for material in materials]
    assert key_store.open_symmetric(KEY, materials[1]) is opened[1]
    assert key_store.open_symmetric(KEY, materials[2]) is opened[2]
    assert key_store.open_symmetric(KEY, materials[0]) is not opened[0]


def test_the_wrapped_material_has_the_documented_size(key_store: SoftwareKeyStore) -> None:
    assert len(generate(key_store).wrapped) == 73
    assert generate(key_store).algorithm == 1
