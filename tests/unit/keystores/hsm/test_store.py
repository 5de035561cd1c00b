"""The store: material opens for its own key as it was made, and weaker ways are gone only with leave."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import (
    ALGORITHM_AES_256_GCM,
    ALGORITHM_XAES_256_GCM,
    build_header,
    parse,
)
from strongroom.crypto.key_pairs import load_encryption_key
from strongroom.errors import (
    InvalidCiphertext,
    KeyUnavailable,
    KMSInternal,
    LimitExceeded,
    Throttling,
    UnsupportedOperation,
)
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import (
    DIRECT_GCM,
    HOST_OAEP_SHA_256,
    SOFTWARE_ED25519,
    SOFTWARE_ML_DSA,
    SOFTWARE_ML_KEM,
    WEAKER_WAYS,
)
from strongroom.keystores.hsm.domain_keys import SEEDS
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.materials import binding
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opened import OpenedMaterials
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.store import RSA_AT_ONCE, HsmKeyStore
from strongroom.keystores.hsm.templates import CLASSES
from strongroom.keystores.hsm.wrapping import BY_CBC, BY_RFC_5649, ENCRYPTED, Wrapping
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, opened_hsm
from tests.keys import generate, kms_key

OTHER_KEY = "00000000-12ab-34cd-56ef-1234567890ab"
KINDS = {
    "aes-xaes": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    "hmac": ("HMAC_256", "GENERATE_VERIFY_MAC"),
    "rsa-sign": ("RSA_2048", "SIGN_VERIFY"),
    "rsa-decrypt": ("RSA_2048", "ENCRYPT_DECRYPT"),
    "ec-sign": ("ECC_NIST_P256", "SIGN_VERIFY"),
    "ec-derive": ("ECC_NIST_P256", "KEY_AGREEMENT"),
    "seeds": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
}
"""Which domain key wraps it -> a kind of key."""

Held = tuple[KmsKey, KeyMaterial]


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults(load(str(LIBRARY)))


@pytest.fixture(scope="module")
def hsm(softhsm: SoftHsm, faults: Faults) -> Iterator[Hsm]:
    with opened_hsm(softhsm, Module(faults.functions)) as hsm:
        yield hsm


@pytest.fixture(autouse=True)
def without_faults(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


def store_of(hsm: Hsm, *allowed: str, count: Callable[[KeyMaterial], None] = lambda _: None) -> HsmKeyStore:
    return HsmKeyStore(hsm.token, hsm.can, allowed=allowed, count_use=count, material_ids=IDS)


@pytest.fixture(scope="module")
def store(hsm: Hsm) -> HsmKeyStore:
    return store_of(hsm, *WEAKER_WAYS)


@pytest.fixture(scope="module")
def held(store: HsmKeyStore) -> dict[str, Held]:
    keys = {name: kms_key(*kind) for name, kind in KINDS.items()}
    return {name: (key, generate(store, key)) for name, key in keys.items()}


def open_(store: HsmKeyStore, key: KmsKey, material: KeyMaterial) -> Any:
    """Open material as its key is used. What was kept of it is forgotten first."""
    store.forget(material.region, material.material_id)
    match key.key_usage:
        case "GENERATE_VERIFY_MAC":
            return store.open_mac(key, material)
        case "SIGN_VERIFY":
            return store.open_signing(key, material)
        case "KEY_AGREEMENT":
            return store.open_agreement(key, material)
        case "ENCAPSULATE_DECAPSULATE":
            return store.open_decapsulation(key, material)
        case _ if key.key_spec == "SYMMETRIC_DEFAULT":
            return store.open_symmetric(key, material)
        case _:
            return store.open_decryption(key, material)


def is_unavailable(store: HsmKeyStore, key: KmsKey, material: KeyMaterial) -> bool:
    with pytest.raises(KeyUnavailable):
        open_(store, key, material)
    return True


@pytest.mark.parametrize("name", KINDS)
def test_flipped_bits_of_wrapped_material_are_found(store: HsmKeyStore, held: dict[str, Held], name: str) -> None:
    key, material = held[name]
    open_(store, key, material)
    bits = 8 * len(material.wrapped)
    for bit in (*range(16), *range(16, bits, 97), *range(bits - 8, bits)):  # the header, a sample, and the end
        altered = bytearray(material.wrapped)
        altered[bit // 8] ^= 1 << bit % 8
        assert is_unavailable(store, key, replace(material, wrapped=bytes(altered)))
    for length in (0, 1, 2, 33, 34, 35, len(material.wrapped) - 1):
        assert is_unavailable(store, key, replace(material, wrapped=material.wrapped[:length]))
    assert is_unavailable(store, key, replace(material, wrapped=material.wrapped + b"\x00"))


@pytest.mark.parametrize("name", KINDS)
def test_material_opens_for_its_own_row_alone(store: HsmKeyStore, held: dict[str, Held], name: str) -> None:
    key, material = held[name]
    other = generate(store, key)
    for changed in (
        replace(material, wrapped=other.wrapped),
        replace(other, wrapped=material.wrapped),
        replace(material, material_id=other.material_id),
        replace(material, key_id=OTHER_KEY),
        replace(material, account="999999999999"),
        replace(material, region="eu-west-1"),
        replace(material, domain_key_version=2),
        replace(material, domain_key_version=0),
        replace(material, key_store="software"),
        replace(material, algorithm=material.algorithm + 1),
        replace(material, public_key=other.public_key if material.public_key else b"one"),
    ):
        if changed != material:
            assert is_unavailable(store, key, changed)
    open_(store, key, material)


@pytest.mark.parametrize("name", KINDS)
def test_the_bytes_of_any_other_kind_do_not_open(store: HsmKeyStore, held: dict[str, Held], name: str) -> None:
    key, material = held[name]
    for other_key, other in held.values():
        if other is not material:
            assert is_unavailable(store, key, replace(material, wrapped=other.wrapped))
            assert is_unavailable(store, key, other)
            assert is_unavailable(store, other_key, material)


def with_code(hsm: Hsm, purpose: str, how: int, body: bytes, held: Held) -> KeyMaterial:
    """Material that says how it is wrapped, with a code that is right: as a token would say that lies."""
    key, material = held
    unwrapped = replace(material, wrapped=b"")
    wrapped = hsm.token.run(lambda lease: Wrapping(*lease, purpose, 1)._with_code(how, body, binding(key, unwrapped)))
    return replace(material, wrapped=wrapped)


def test_material_in_the_token_and_seeds_are_not_taken_for_each_other(
    hsm: Hsm, store: HsmKeyStore, held: dict[str, Held]
) -> None:
    key, material = held["seeds"]
    body = material.wrapped[2:-32]
    open_(store, key, with_code(hsm, SEEDS, ENCRYPTED, body, held["seeds"]))
    for how in (0, BY_RFC_5649, BY_CBC, 4, 255):
        assert is_unavailable(store, key, with_code(hsm, SEEDS, how, body, held["seeds"]))
    for name in set(CLASSES) & set(KINDS):
        key, material = held[name]
        body = material.wrapped[2:-32]
        open_(store, key, with_code(hsm, name, BY_RFC_5649, body, held[name]))
        for how in (0, ENCRYPTED, 4, 255):
            assert is_unavailable(store, key, with_code(hsm, name, how, body, held[name]))


def test_what_is_whole_and_does_not_open_is_the_tokens_fault(
    hsm: Hsm, store: HsmKeyStore, held: dict[str, Held]
) -> None:
    key, _ = held["aes-xaes"]
    material = with_code(hsm, "aes-xaes", BY_RFC_5649, bytes(40), held["aes-xaes"])
    with pytest.raises(KMSInternal):
        open_(store, key, material)
    assert hsm.token.quarantined is None


def test_material_of_an_algorithm_that_is_none_is_unavailable(store: HsmKeyStore, held: dict[str, Held]) -> None:
    key, material = held["aes-xaes"]
    for algorithm in (0, 3, 255):
        assert is_unavailable(store, key, replace(material, algorithm=algorithm))


WAYS = {
    SOFTWARE_ED25519: ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    SOFTWARE_ML_DSA: ("ML_DSA_44", "SIGN_VERIFY"),
    SOFTWARE_ML_KEM: ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
    HOST_OAEP_SHA_256: ("RSA_2048", "ENCRYPT_DECRYPT"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_weaker_way_is_gone_with_leave_alone(hsm: Hsm, store: HsmKeyStore, way: str) -> None:
    key = kms_key(*WAYS[way])
    material = generate(store, key)
    open_(store_of(hsm, way), key, material)
    told = f"^{key.key_spec} keys for {key.key_usage} are not supported by this key store.$"
    for strict in (store_of(hsm), store_of(hsm, *set(WEAKER_WAYS) - {way})):
        with pytest.raises(UnsupportedOperation, match=told):
            generate(strict, key)
        with pytest.raises(UnsupportedOperation, match=told):
            open_(strict, key, material)


def test_what_the_token_does_itself_needs_no_leave(hsm: Hsm, held: dict[str, Held]) -> None:
    strict = store_of(hsm)
    for name in ("aes-xaes", "hmac", "rsa-sign", "ec-sign", "ec-derive"):
        key, material = held[name]
        open_(strict, key, material)
        open_(strict, key, generate(strict, key))


def test_a_way_that_a_token_has_lost_is_not_gone(hsm: Hsm, held: dict[str, Held]) -> None:
    key, material = held["ec-sign"]
    can = hsm.can._replace(done=hsm.can.done - {"ECC_NIST_P256 SIGN_VERIFY"})
    store = HsmKeyStore(hsm.token, can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)
    with pytest.raises(UnsupportedOperation):
        open_(store, key, material)


class Direct:
    """A store over a token that cannot derive."""

    def __init__(self, hsm: Hsm, *allowed: str) -> None:
        self.counted: list[str] = []
        can = hsm.can._replace(xaes=False)
        self.store = HsmKeyStore(
            hsm.token, can, allowed=allowed or (DIRECT_GCM,), count_use=self.count, material_ids=IDS
        )
        self.full = False

    def count(self, material: KeyMaterial) -> None:
        if self.full:
            raise LimitExceeded
        self.counted.append(material.material_id)


@pytest.fixture(scope="module")
def direct(hsm: Hsm) -> Direct:
    return Direct(hsm)


@pytest.fixture(scope="module")
def directly(direct: Direct) -> Held:
    key = kms_key()
    return key, generate(direct.store, key)


@pytest.mark.parametrize("plaintext", [b"", b"p", bytes(4096)])
def test_direct_encryption_decrypts_and_says_what_it_is(direct: Direct, directly: Held, plaintext: bytes) -> None:
    key, material = directly
    assert material.algorithm == ALGORITHM_AES_256_GCM == 2
    opened = direct.store.open_symmetric(key, material)
    blob = opened.encrypt(plaintext, {"a": "b"})
    assert len(blob) == len(plaintext) + 68
    assert parse(blob).algorithm == ALGORITHM_AES_256_GCM
    assert opened.decrypt(parse(blob), {"a": "b"}) == plaintext
    assert opened.encrypt(plaintext, {"a": "b"}) != blob


def test_direct_encryption_refuses_what_was_altered(direct: Direct, directly: Held) -> None:
    opened = direct.store.open_symmetric(*directly)
    blob = opened.encrypt(b"plaintext", {"a": "b"})
    with pytest.raises(InvalidCiphertext):
        opened.decrypt(parse(blob), {"a": "c"})
    for at in range(len(blob)):
        altered = bytearray(blob)
        altered[at] ^= 1
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(parse(bytes(altered)), {"a": "b"})


def test_neither_algorithm_opens_blobs_of_the_other(direct: Direct, directly: Held, store: HsmKeyStore) -> None:
    key, material = directly
    xaes = generate(store, key)
    for opened, material_id, algorithm, nonce in (
        (direct.store.open_symmetric(key, material), material.material_id, ALGORITHM_XAES_256_GCM, bytes(24)),
        (store.open_symmetric(key, xaes), xaes.material_id, ALGORITHM_AES_256_GCM, bytes(12)),
    ):
        blob = build_header(algorithm, material_id, nonce, 25) + bytes(25)
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(parse(blob), {})


def test_material_of_either_algorithm_is_not_taken_for_the_other(
    direct: Direct, directly: Held, store: HsmKeyStore, held: dict[str, Held]
) -> None:
    key, material = directly
    assert is_unavailable(direct.store, key, replace(material, algorithm=ALGORITHM_XAES_256_GCM))
    _, xaes = held["aes-xaes"]
    assert is_unavailable(store, key, replace(xaes, algorithm=ALGORITHM_AES_256_GCM))


def test_each_direct_encryption_is_counted_before_it_is_done(direct: Direct, directly: Held, faults: Faults) -> None:
    key, material = directly
    opened = direct.store.open_symmetric(key, material)
    direct.counted.clear()
    blob = opened.encrypt(b"plaintext", {})
    opened.encrypt(b"plaintext", {})
    opened.decrypt(parse(blob), {})
    assert direct.counted == [material.material_id] * 2
    encrypted = faults.calls["C_Encrypt"]
    direct.full = True
    try:
        with pytest.raises(LimitExceeded):
            opened.encrypt(b"plaintext", {})
    finally:
        direct.full = False
    assert faults.calls["C_Encrypt"] == encrypted
    assert opened.decrypt(parse(blob), {}) == b"plaintext"


def test_direct_encryption_needs_leave(hsm: Hsm, directly: Held) -> None:
    key, material = directly
    strict = Direct(hsm, SOFTWARE_ED25519).store
    with pytest.raises(UnsupportedOperation):
        generate(strict, key)
    with pytest.raises(UnsupportedOperation):
        open_(strict, key, material)


def test_more_rsa_key_pairs_at_once_than_there_is_room_for_are_told_to_wait(store: HsmKeyStore, faults: Faults) -> None:
    making = threading.Semaphore(0)
    go_on = threading.Event()

    def slowly(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        making.release()
        go_on.wait(20)
        return call(*arguments)

    faults.set("C_GenerateKeyPair", slowly)
    key = kms_key("RSA_2048", "SIGN_VERIFY")
    with ThreadPoolExecutor(RSA_AT_ONCE) as threads:
        made = [threads.submit(generate, store, key) for _ in range(RSA_AT_ONCE)]
        try:
            for _ in range(RSA_AT_ONCE):
                assert making.acquire(timeout=20)
            with pytest.raises(Throttling):
                generate(store, key)
            with pytest.raises(Throttling):
                store.generate_key_pair("RSA_2048")
            assert generate(store, kms_key()).wrapped
        finally:
            go_on.set()
        assert all(one.result().public_key for one in made)
    assert generate(store, key).public_key


def test_no_more_material_is_open_than_there_is_room_for(hsm: Hsm, store: HsmKeyStore) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    materials = [generate(store, key) for _ in range(6)]
    few = OpenedMaterials(hsm.token, store._open_plain, limit=2)
    before = session_objects(hsm)
    handles = [few.use(few.get(key, material), lambda _, handle, __: handle) for material in (*materials, materials[0])]
    few.sweep()
    assert session_objects(hsm) == before + 2
    assert handles[0] != handles[-1]
    for material in materials:
        few.forget(material.region, material.material_id)
    few.sweep()
    assert session_objects(hsm) == before


def test_material_that_is_in_use_is_destroyed_when_it_is_not(hsm: Hsm, store: HsmKeyStore) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    material = generate(store, key)
    few = OpenedMaterials(hsm.token, store._open_plain)
    before = session_objects(hsm)
    opened = few.get(key, material)

    def work(session: Session, handle: int, _: None) -> list[bytes | None]:
        few.forget(material.region, material.material_id)
        few.sweep()
        return session.attributes(handle, [p11.CKA_SIGN])

    assert few.use(opened, work) == [b"\x01"]
    assert session_objects(hsm) == before


def session_objects(hsm: Hsm) -> int:
    return len(hsm.token.run(lambda lease: lease.session.find(Template({p11.CKA_TOKEN: False}))))


def test_ciphertexts_of_another_length_or_padding_are_invalid(store: HsmKeyStore, held: dict[str, Held]) -> None:
    key, material = held["rsa-decrypt"]
    opened = open_(store, key, material)
    public = load_encryption_key(key.key_spec, material.public_key or b"")
    for algorithm, other in (
        ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"),
        ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"),
    ):
        ciphertext = public.encrypt(algorithm, b"plaintext")
        assert opened.decrypt(algorithm, ciphertext) == b"plaintext"
        for wrong in (ciphertext[:-1], ciphertext + b"\x00", bytes(256), b"\x01" * 256, b"\xff" * 256, b""):
            with pytest.raises(InvalidCiphertext):
                opened.decrypt(algorithm, wrong)
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(other, ciphertext)


def test_names_show_nothing(hsm: Hsm, held: dict[str, Held]) -> None:
    _, material = held["hmac"]
    assert repr(hsm) == "Hsm()"
    assert repr(material.wrapped) not in repr(material)


def test_material_that_many_open_at_once_is_open_once(hsm: Hsm, store: HsmKeyStore) -> None:
    """And nothing of it is left when it is forgotten, however much it was used meanwhile."""
    keys = [kms_key() for _ in range(30)]
    materials = [generate(store, key) for key in keys]
    store._sweep()
    before = objects_of(hsm)
    with ThreadPoolExecutor(4) as threads:
        for key, material in zip(keys, materials, strict=True):
            for done in [threads.submit(store.open_symmetric, key, material) for _ in range(4)]:
                done.result().encrypt(b"plaintext", {})
    assert objects_of(hsm) == before + len(keys)
    held = [store.open_symmetric(key, material) for key, material in zip(keys, materials, strict=True)]
    for material in materials:
        store.forget(material.region, material.material_id)
    for symmetric in held:
        symmetric.encrypt(b"plaintext", {})
    store._sweep()
    assert objects_of(hsm) == before


def objects_of(hsm: Hsm) -> int:
    """How many session objects this process has in the token."""
    return hsm.token.run(lambda lease: len(lease.session.find(Template({p11.CKA_TOKEN: False}))))


def test_a_token_without_room_gets_some(hsm: Hsm, store: HsmKeyStore, faults: Faults) -> None:
    """What was opened first is closed, and opened again when it is used again."""
    keys = [kms_key() for _ in range(10)]
    materials = [generate(store, key) for key in keys]
    store._sweep()
    before = objects_of(hsm)
    for key, material in zip(keys[:-1], materials[:-1], strict=True):
        store.open_symmetric(key, material)
    faults.fail("C_UnwrapKey", 0x31)  # DEVICE_MEMORY
    store.open_symmetric(keys[-1], materials[-1]).encrypt(b"plaintext", {})
    faults.clear()
    assert hsm.token.quarantined is None
    assert objects_of(hsm) < before + len(keys) - 2
    for key, material in zip(keys, materials, strict=True):
        store.open_symmetric(key, material).encrypt(b"plaintext", {})
