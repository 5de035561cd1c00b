"""The recovery key: whoever holds it can move everything to another token, and nobody else can read anything."""

import os
import secrets
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import generate_key_pair, load_encryption_key, load_verifying_key
from strongroom.errors import HsmError, KeyUnavailable, KMSInternal
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.recovery import (
    RecoveryRoot,
    for_holder,
    opened,
    read_private_key,
    read_public_key,
    rsa_public_key,
)
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import KEY_SPECS, SECRET_BYTES
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, new_token, opened_hsm
from tests.importing import imported
from tests.keys import generate, kms_key

ALTERED = r"^a key that is wrapped for the holder of the recovery key was altered$"
ANOTHER = r"^the recovery key is not the one that this installation was made with$"


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def other() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 32, 64, 1200])
def test_its_holder_opens_what_was_wrapped_for_it(private: rsa.RSAPrivateKey, length: int) -> None:
    secret = os.urandom(length)
    wrapped = for_holder(private.public_key(), secret)
    assert opened(private, wrapped) == secret
    assert for_holder(private.public_key(), secret) != wrapped


def test_another_key_opens_nothing(private: rsa.RSAPrivateKey, other: rsa.RSAPrivateKey) -> None:
    with pytest.raises(HsmError, match=ANOTHER):
        opened(other, for_holder(private.public_key(), b"secret"))


def test_whatever_is_altered_does_not_open(private: rsa.RSAPrivateKey) -> None:
    wrapped = for_holder(private.public_key(), bytes(32))
    header, body = range(8 * 4), range(8 * (4 + 384), 8 * len(wrapped))
    for bit in (*header, *range(header.stop, body.start, 511), *body):
        altered = bytearray(wrapped)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(HsmError, match=f"{ALTERED}|{ANOTHER}"):
            opened(private, bytes(altered))
    for length in (0, 1, 3, 4, 100, 388, 390, len(wrapped) - 8, len(wrapped) - 1):
        with pytest.raises(HsmError, match=f"{ALTERED}|{ANOTHER}"):
            opened(private, wrapped[:length])


def test_a_public_half_is_read_if_it_is_large_enough(private: rsa.RSAPrivateKey) -> None:
    der = read_public_key(public_pem(private))
    assert rsa_public_key(der).public_numbers() == private.public_key().public_numbers()


def test_what_is_no_large_rsa_key_is_refused(private: rsa.RSAPrivateKey) -> None:
    small = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    for key in (small, curve):
        with pytest.raises(HsmError, match=r"^the recovery key is not an RSA key of 3072 bits or more$"):
            read_public_key(public_pem(key))
    for content in (b"", b"no key", public_pem(private)[:200], pem(private)):
        with pytest.raises(HsmError, match=r"^the recovery key is not a public key in PEM$"):
            read_public_key(content)
    with pytest.raises(HsmError, match=r"^the recovery key is not an RSA key$"):
        read_private_key(pem(curve), None)


def test_a_private_half_is_read_with_its_own_passphrase(private: rsa.RSAPrivateKey) -> None:
    locked = pem(private, BestAvailableEncryption(b"passphrase"))
    for content, passphrase in ((locked, b"passphrase"), (pem(private), None)):
        assert read_private_key(content, passphrase).private_numbers() == private.private_numbers()
    told = r"^the recovery key is not a private key in PEM, or its passphrase is another one$"
    for content, passphrase in (
        (locked, b"another"), (locked, None), (pem(private), b"none"), (public_pem(private), None), (b"", None),
    ):  # fmt: skip
        with pytest.raises(HsmError, match=told):
            read_private_key(content, passphrase)


def test_it_shows_nothing(private: rsa.RSAPrivateKey) -> None:
    assert repr(RecoveryRoot(private)) == "RecoveryRoot()"


@pytest.fixture(scope="module")
def both(softhsm: SoftHsm) -> Iterator[list[Hsm]]:
    """Two tokens, which have no key in common."""
    module = Module(load(str(LIBRARY)))
    labels = [new_token(softhsm), new_token(softhsm)]
    with opened_hsm(softhsm, module, label=labels[0]) as first, opened_hsm(softhsm, module, label=labels[1]) as second:
        yield [first, second]


@pytest.fixture(scope="module")
def first(both: list[Hsm], private: rsa.RSAPrivateKey) -> HsmKeyStore:
    """The store that is lost: it wraps for the holder too."""
    return HsmKeyStore(
        both[0].token,
        both[0].can,
        allowed=WEAKER_WAYS,
        count_use=lambda _: None,
        material_ids=IDS,
        recovery_public_key=read_public_key(public_pem(private)),
    )


@pytest.fixture(scope="module")
def second(both: list[Hsm]) -> HsmKeyStore:
    return HsmKeyStore(both[1].token, both[1].can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)


@pytest.fixture(scope="module")
def moving(both: list[Hsm]) -> HsmKeyStore:
    return HsmKeyStore.for_moving(both[1].token, both[1].can, WEAKER_WAYS)


KINDS = [
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ("HMAC_224", "GENERATE_VERIFY_MAC"),
    ("HMAC_512", "GENERATE_VERIFY_MAC"),
    ("RSA_2048", "SIGN_VERIFY"),
    ("RSA_2048", "ENCRYPT_DECRYPT"),
    ("ECC_NIST_P521", "SIGN_VERIFY"),
    ("ECC_SECG_P256K1", "SIGN_VERIFY"),
    ("ECC_NIST_P256", "KEY_AGREEMENT"),
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    ("ML_DSA_44", "SIGN_VERIFY"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_material_of_each_kind_moves_and_is_the_same(
    first: HsmKeyStore, second: HsmKeyStore, moving: HsmKeyStore, private: rsa.RSAPrivateKey, kind: tuple[str, str]
) -> None:
    key = kms_key(*kind)
    material = generate(first, key)
    with pytest.raises(KeyUnavailable):
        use(second, key, material, second, material)
    moved = moving.moved(key, material, RecoveryRoot(private))
    assert moved.wrapped != material.wrapped
    assert replace(moved, wrapped=material.wrapped) == material
    use(first, key, material, second, moved)
    with pytest.raises(KeyUnavailable):
        use(first, key, replace(moved, material_id="00" * 32), second, moved)


def use(ours: HsmKeyStore, key: KmsKey, material: KeyMaterial, theirs: HsmKeyStore, moved: KeyMaterial) -> None:
    """Use material in one store, and see that it fits what the other store does with it."""
    spec, public = key.key_spec, material.public_key or b""
    algorithm = KEY_SPECS[spec].algorithms[key.key_usage][0]
    match key.key_usage:
        case "ENCRYPT_DECRYPT" if spec == "SYMMETRIC_DEFAULT":
            blob = ours.open_symmetric(key, material).encrypt(b"plaintext", {})
            assert theirs.open_symmetric(key, moved).decrypt(parse(blob), {}) == b"plaintext"
        case "ENCRYPT_DECRYPT":
            ours.open_decryption(key, material)
            ciphertext = load_encryption_key(spec, public).encrypt(algorithm, b"plaintext")
            assert theirs.open_decryption(key, moved).decrypt(algorithm, ciphertext) == b"plaintext"
        case "GENERATE_VERIFY_MAC":
            mac = ours.open_mac(key, material).generate(algorithm, b"message")
            theirs.open_mac(key, moved).verify(algorithm, b"message", mac)
        case "KEY_AGREEMENT":
            secret = ours.open_agreement(key, material).shared_secret(public)
            assert theirs.open_agreement(key, moved).shared_secret(public) == secret
        case _:
            ours.open_signing(key, material)
            signature = theirs.open_signing(key, moved).sign(algorithm, "RAW", b"message")
            load_verifying_key(spec, public).verify(algorithm, "RAW", b"message", signature)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind[0].startswith("ML_")])
def test_imported_material_moves_and_is_the_same(
    first: HsmKeyStore, second: HsmKeyStore, moving: HsmKeyStore, private: rsa.RSAPrivateKey, kind: tuple[str, str]
) -> None:
    key = kms_key(*kind)
    import_key = first.new_import_key(key, "RSA_2048", "RSA_AES_KEY_WRAP_SHA_1")
    secret = secrets.token_bytes(SECRET_BYTES.get(key.key_spec, 0))
    material = imported(first, key, import_key, secret or generate_key_pair(key.key_spec).private)
    moved = moving.moved(key, material, RecoveryRoot(private))
    assert replace(moved, wrapped=material.wrapped) == material
    use(first, key, material, second, moved)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3], KINDS[8]])
def test_without_the_key_or_with_another_nothing_moves(
    first: HsmKeyStore, second: HsmKeyStore, moving: HsmKeyStore, other: rsa.RSAPrivateKey,
    private: rsa.RSAPrivateKey, kind: tuple[str, str],
) -> None:  # fmt: skip
    key = kms_key(*kind)
    with pytest.raises(HsmError, match=ANOTHER):
        moving.moved(key, generate(first, key), RecoveryRoot(other))
    told = f"^the material of {key.arn} is not wrapped for the holder of the recovery key$"
    with pytest.raises(HsmError, match=told):
        moving.moved(key, generate(second, key), RecoveryRoot(private))


def test_material_that_was_altered_does_not_move(
    first: HsmKeyStore, moving: HsmKeyStore, private: rsa.RSAPrivateKey
) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    material = generate(first, key)
    assert material.recovery is not None
    for at in (0, 100, len(material.recovery) - 1):
        altered = bytearray(material.recovery)
        altered[at] ^= 1
        with pytest.raises((HsmError, KMSInternal)):
            moving.moved(key, replace(material, recovery=bytes(altered)), RecoveryRoot(private))


def test_moved_material_is_as_strict_as_any_other(
    both: list[Hsm], first: HsmKeyStore, second: HsmKeyStore, moving: HsmKeyStore, private: rsa.RSAPrivateKey
) -> None:
    """It can be wrapped while it moves, and never again."""
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    moved = moving.moved(key, generate(first, key), RecoveryRoot(private))
    second.open_mac(key, moved)
    opened_now = second._plain.get(key, moved)
    told = second._plain.use(opened_now, lambda session, handle, _: session.attributes(handle, [0x162, 0x103, 0x11]))
    assert told == [b"\x00", b"\x01", None]
