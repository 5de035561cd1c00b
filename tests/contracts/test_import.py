"""What every key store fulfils with key material that is imported (strongroom/keystores/contract.py)."""

import hmac
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import associated_data, parse
from strongroom.crypto.key_pairs import generate_key_pair, load_agreement_key, load_encryption_key, load_verifying_key
from strongroom.crypto.xaes import XaesKey
from strongroom.errors import IncorrectKeyMaterial, InvalidCiphertext, KeyUnavailable
from strongroom.keystores.contract import KeyStore
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import EXTERNAL, KEY_SPECS, MAC_BYTES, RAW
from tests.importing import ALGORITHMS, import_key_of, imported, wrapped
from tests.keys import KEY, a_pair, kms_key

_KINDS = [
    (spec, usage)
    for spec, row in KEY_SPECS.items()
    for usage in row.algorithms
    if EXTERNAL in row.origins and spec.startswith(("ECC", "RSA"))
]
PAIRS = [
    (spec, usage, algorithm)
    for number, (spec, usage) in enumerate(_KINDS)
    for turn, algorithm in enumerate(ALGORITHMS)
    if spec in ("ECC_NIST_P256", "ECC_NIST_EDWARDS25519") or number % 2 == turn % 2
    if spec.startswith("ECC") or algorithm.startswith("RSA_AES")
]
"""Some kinds by all algorithms, the others by some. RSA keys are too long for OAEP: it is refused before."""


@pytest.fixture(scope="module")
def import_key(key_store: KeyStore) -> ImportKey:
    return key_store.new_import_key(KEY, "RSA_2048", "RSAES_OAEP_SHA_1")


@pytest.mark.parametrize(
    ("key_spec", "algorithm"),
    [("RSA_3072", ALGORITHMS[0]), ("RSA_4096", ALGORITHMS[3]), *(("RSA_2048", algorithm) for algorithm in ALGORITHMS)],
)
def test_imported_material_is_the_material_that_was_given(key_store: KeyStore, key_spec: str, algorithm: str) -> None:
    """And with it a ciphertext of any key store: they have one format."""
    secret = secrets.token_bytes(32)
    import_key = import_key_of(key_store, KEY, algorithm, key_spec)
    key = key_store.open_symmetric(KEY, imported(key_store, KEY, import_key, secret))
    blob = parse(key.encrypt(b"plaintext", {"a": "b"}))
    assert XaesKey(secret).open(blob.nonce, blob.ciphertext, associated_data(blob.header, {"a": "b"})) == b"plaintext"
    assert key.decrypt(blob, {"a": "b"}) == b"plaintext"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mac_algorithm", MAC_BYTES)
def test_an_imported_hmac_key_makes_the_macs_of_the_key_that_was_given(
    key_store: KeyStore, mac_algorithm: str, algorithm: str
) -> None:
    key = kms_key(mac_algorithm.replace("_SHA", ""), "GENERATE_VERIFY_MAC")
    import_key = import_key_of(key_store, key, algorithm)
    for length in (MAC_BYTES[mac_algorithm], 65, 128):
        secret = secrets.token_bytes(length)
        material = imported(key_store, key, import_key, secret)
        mac = key_store.open_mac(key, material).generate(mac_algorithm, b"message")
        assert mac == hmac.digest(secret, b"message", mac_algorithm[5:].replace("_", "").lower())


def use(key_store: KeyStore, key: KmsKey, material: KeyMaterial) -> None:
    """Use the private half with each algorithm, and see that the public half fits."""
    spec, public = key.key_spec, material.public_key or b""
    for algorithm in KEY_SPECS[spec].algorithms[key.key_usage]:
        match key.key_usage:
            case "SIGN_VERIFY":
                message_type, message = ("DIGEST", bytes(64)) if "_PH_" in algorithm else (RAW, b"message")
                signature = key_store.open_signing(key, material).sign(algorithm, message_type, message)
                load_verifying_key(spec, public).verify(algorithm, message_type, message, signature)
            case "ENCRYPT_DECRYPT":
                ciphertext = load_encryption_key(spec, public).encrypt(algorithm, b"plaintext")
                assert key_store.open_decryption(key, material).decrypt(algorithm, ciphertext) == b"plaintext"
            case _:
                theirs = generate_key_pair(spec)
                secret = key_store.open_agreement(key, material).shared_secret(theirs.public)
                assert load_agreement_key(spec, theirs.private).shared_secret(public) == secret


@pytest.mark.parametrize(("spec", "usage", "algorithm"), PAIRS)
def test_an_imported_private_key_is_the_one_that_was_given(
    key_store: KeyStore, spec: str, usage: str, algorithm: str
) -> None:
    key, pair = kms_key(spec, usage), a_pair(spec)
    wrapping_spec = "RSA_3072" if (spec, algorithm[:5]) == ("ECC_NIST_P521", "RSAES") else "RSA_2048"
    import_key = import_key_of(key_store, key, algorithm, wrapping_spec)
    material = imported(key_store, key, import_key, pair.private)
    assert material.public_key == pair.public
    use(key_store, key, material)
    again = imported(key_store, key, import_key, pair.private)
    assert again.material_id == material.material_id
    key_store.forget(material.region, material.material_id)
    use(key_store, key, again)


def test_ids_follow_from_the_material_and_its_key(key_store: KeyStore, import_key: ImportKey) -> None:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    other = replace(KEY, key_id="00000000-12ab-34cd-56ef-1234567890ab")
    elsewhere = key_store.new_import_key(other, "RSA_2048", "RSAES_OAEP_SHA_1")
    known = imported(key_store, KEY, import_key, first)
    assert len(known.material_id) == 64
    assert imported(key_store, KEY, import_key, first).material_id == known.material_id
    assert imported(key_store, KEY, import_key, second).material_id != known.material_id
    assert imported(key_store, other, elsewhere, first).material_id != known.material_id


@pytest.mark.parametrize("length", [1, 16, 24, 31, 33, 40, 64])
def test_a_symmetric_key_of_another_length_is_not_imported(
    key_store: KeyStore, import_key: ImportKey, length: int
) -> None:
    with pytest.raises(IncorrectKeyMaterial):
        imported(key_store, KEY, import_key, secrets.token_bytes(length))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("spec", ["HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"])
def test_an_hmac_key_that_is_too_short_or_too_long_is_not_imported(
    key_store: KeyStore, spec: str, algorithm: str
) -> None:
    key = kms_key(spec, "GENERATE_VERIFY_MAC")
    import_key = import_key_of(key_store, key, algorithm)
    for length in (1, int(spec[5:]) // 8 - 1, 129):
        with pytest.raises(IncorrectKeyMaterial):
            imported(key_store, key, import_key, secrets.token_bytes(length))


def no_keys_of(spec: str) -> dict[str, bytes]:
    """What is not a private key of a spec, in PKCS #8."""
    pkcs8 = a_pair(spec).private
    other = {"ECC_NIST_P256": "ECC_NIST_P384", "RSA_2048": "RSA_3072", "ECC_NIST_EDWARDS25519": "ECC_NIST_P256"}[spec]
    found = {
        "of another spec": a_pair(other).private,
        "random bytes": secrets.token_bytes(len(pkcs8)),
        "cut": pkcs8[:-1],
        "a secret": secrets.token_bytes(32),
        "its public half": a_pair(spec).public,
    }
    if spec == "ECC_NIST_P256":
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = ec.generate_private_key(ec.SECP256R1())
    elif spec == "RSA_2048":
        key = rsa.generate_private_key(65537, 2048)
    else:
        return found
    found["of an older form"] = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    found["a public key"] = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


@pytest.mark.parametrize("kind", [("ECC_NIST_P256", "SIGN_VERIFY"), ("ECC_NIST_P256", "KEY_AGREEMENT"),
                                  ("RSA_2048", "SIGN_VERIFY"), ("RSA_2048", "ENCRYPT_DECRYPT"),
                                  ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")])  # fmt: skip
def test_what_is_no_private_key_of_the_spec_is_not_imported(key_store: KeyStore, kind: tuple[str, str]) -> None:
    key = kms_key(*kind)
    import_key = import_key_of(key_store, key, "RSA_AES_KEY_WRAP_SHA_256")
    for name, material in no_keys_of(kind[0]).items():
        with pytest.raises(IncorrectKeyMaterial):
            pytest.fail(f"{name}: {imported(key_store, key, import_key, material)}")


def der(tag: int, *parts: bytes) -> bytes:
    """A value in DER (X.690)."""
    content = b"".join(parts)
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    long_form = bytes([128 + len(length)]) if len(content) >= 128 else b""
    return bytes([tag]) + long_form + length + content


def rsa_pkcs8(*numbers: int) -> bytes:
    """A private key of these numbers: n, e, d, p, q, d mod p-1, d mod q-1, 1/q mod p (RFC 8017, appendix A.1.2)."""
    integers = [der(2, number.to_bytes(number.bit_length() // 8 + 1)) for number in (0, *numbers)]
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    return der(0x30, der(2, b"\0"), algorithm, der(4, der(0x30, *integers)))


PARTS = ("n", "e", "d", "p", "q", "dmp1", "dmq1", "iqmp")


@pytest.fixture(scope="module")
def rsa_numbers() -> dict[str, int]:
    key = load_der_private_key(a_pair("RSA_2048").private, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    numbers = key.private_numbers()
    public = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e}
    return public | {name: getattr(numbers, name) for name in PARTS[2:]}


@pytest.mark.parametrize("usage", ["SIGN_VERIFY", "ENCRYPT_DECRYPT"])
@pytest.mark.parametrize(
    ("part", "value"),
    [*(("e", value) for value in (0, 1, 2, 3, 65536, 2**300 + 1)), ("n", 0), ("n", 2**2047), ("n", 2**2048 - 2),
     ("d", 0), ("p", 0), ("q", 0), ("dmp1", 0), ("dmq1", 0)],
)  # fmt: skip
def test_an_rsa_key_that_is_none_is_not_imported(
    key_store: KeyStore,
    rsa_numbers: dict[str, int],
    rsa_import_keys: dict[str, ImportKey],
    part: str,
    value: int,
    usage: str,
) -> None:
    """Also of a token, which such a key may crash."""
    key = kms_key("RSA_2048", usage)
    material = rsa_pkcs8(*(rsa_numbers | {part: value}).values())
    with pytest.raises(IncorrectKeyMaterial):
        imported(key_store, key, rsa_import_keys[usage], material)


@pytest.fixture(scope="module")
def rsa_import_keys(key_store: KeyStore) -> dict[str, ImportKey]:
    """An import key for each usage of RSA keys."""
    algorithm = "RSA_AES_KEY_WRAP_SHA_1"
    return {
        usage: key_store.new_import_key(kms_key("RSA_2048", usage), "RSA_2048", algorithm)
        for usage in ("SIGN_VERIFY", "ENCRYPT_DECRYPT")
    }


def test_an_rsa_key_whose_parts_do_not_belong_together_is_not_imported(key_store: KeyStore) -> None:
    key = kms_key("RSA_2048", "SIGN_VERIFY")
    mine, other = (rsa.generate_private_key(65537, 2048).private_numbers() for _ in range(2))
    sound = mine.private_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    unsound = sound.replace(mine.public_numbers.n.to_bytes(256), other.public_numbers.n.to_bytes(256))
    assert unsound != sound
    import_key = import_key_of(key_store, key, "RSA_AES_KEY_WRAP_SHA_1")
    with pytest.raises(IncorrectKeyMaterial):
        imported(key_store, key, import_key, unsound)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_not_wrapped_under_the_import_key_is_not_imported(key_store: KeyStore, algorithm: str) -> None:
    import_key = import_key_of(key_store, KEY, algorithm)
    whole = wrapped(import_key, secrets.token_bytes(32))
    other = key_store.new_import_key(KEY, "RSA_2048", algorithm)
    flipped = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 255, len(whole) - 1)]
    for encrypted in (
        bytes(256), secrets.token_bytes(256), secrets.token_bytes(255), b"\0", whole[:-1], whole + b"\0",
        wrapped(other, secrets.token_bytes(32)), *flipped,
    ):  # fmt: skip
        with pytest.raises(InvalidCiphertext):
            key_store.import_material(KEY, import_key, encrypted, created=1.5)


@pytest.mark.parametrize("algorithm", ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"])
def test_the_key_between_is_of_256_bits(key_store: KeyStore, algorithm: str) -> None:
    import_key = import_key_of(key_store, KEY, algorithm)
    for length in (16, 24):
        encrypted = wrapped(import_key, secrets.token_bytes(32), secrets.token_bytes(length))
        with pytest.raises(InvalidCiphertext):
            key_store.import_material(KEY, import_key, encrypted, created=1.5)


def test_an_import_key_is_for_one_kms_key_and_algorithm(key_store: KeyStore, import_key: ImportKey) -> None:
    other = replace(KEY, key_id="00000000-12ab-34cd-56ef-1234567890ab")
    altered = bytes([*import_key.wrapped[:-1], import_key.wrapped[-1] ^ 1])
    for key, wrong in (
        (other, import_key),
        (KEY, replace(import_key, wrapped=altered)),
        (KEY, replace(import_key, algorithm="RSA_AES_KEY_WRAP_SHA_1")),
        (KEY, replace(import_key, key_store="elsewhere")),
        (KEY, replace(import_key, domain_key_version=7)),
    ):
        with pytest.raises(KeyUnavailable):
            imported(key_store, key, wrong, secrets.token_bytes(32))
