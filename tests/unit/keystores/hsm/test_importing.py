"""Import into a token: inside it as far as it can, with leave for the rest; who is to blame; and the same ids."""

import hmac
import secrets
from collections.abc import Callable, Iterator
from math import lcm

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM
from strongroom.crypto.key_pairs import generate_key_pair, load_verifying_key
from strongroom.errors import (
    IncorrectKeyMaterial,
    InvalidCiphertext,
    KeyUnavailable,
    KMSInternal,
    UnsupportedOperation,
)
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.capabilities import HOST_IMPORT, WEAKER_WAYS, unwraps
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.root_key import create_root_key
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import EXTERNAL, KEY_SPECS, RAW, SECRET_BYTES
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, opened_hsm
from tests.importing import ALGORITHMS, import_key_of, imported, wrapped
from tests.keys import a_pair, kms_key

SYMMETRIC = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
HMAC = ("HMAC_256", "GENERATE_VERIFY_MAC")
ED25519 = ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
KINDS = [(spec, usage) for spec, row in KEY_SPECS.items() for usage in row.algorithms if EXTERNAL in row.origins]
SOME_KINDS = [kind for kind in KINDS if kind[0] not in ("RSA_3072", "RSA_4096", "ECC_NIST_P384")]
"""The contract (tests/contracts/test_import.py) is for all."""
IN_TOKEN = ("RSAES_OAEP_SHA_1", "RSA_AES_KEY_WRAP_SHA_1")
THROUGH_HOST = ("RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_256")
GENERAL_ERROR, WRAPPED_KEY_INVALID, KEY_FUNCTION_NOT_PERMITTED = 0x05, 0x110, 0x68


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults(load(str(LIBRARY)))


@pytest.fixture(autouse=True)
def without_faults(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


@pytest.fixture(scope="module")
def hsm(softhsm: SoftHsm, faults: Faults) -> Iterator[Hsm]:
    with opened_hsm(softhsm, Module(faults.functions)) as hsm:
        yield hsm


def store_of(hsm: Hsm, *allowed: str) -> HsmKeyStore:
    return HsmKeyStore(hsm.token, hsm.can, allowed=allowed, count_use=lambda _: None, material_ids=IDS)


@pytest.fixture(scope="module")
def store(hsm: Hsm) -> HsmKeyStore:
    return store_of(hsm, *WEAKER_WAYS)


def material_of(key: KmsKey) -> bytes:
    length = SECRET_BYTES.get(key.key_spec)
    return a_pair(key.key_spec).private if length is None else secrets.token_bytes(length)


@pytest.fixture(scope="module")
def software(tmp_path_factory: pytest.TempPathFactory) -> SoftwareKeyStore:
    root_key = create_root_key(tmp_path_factory.mktemp("software") / "root.key")
    domain_keys = DomainKeys.open(root_key, "installation", generate_domain_keys(root_key, "installation", 0.0).records)
    domain_keys.material_ids = IDS
    return SoftwareKeyStore(domain_keys)


@pytest.mark.parametrize("kind", SOME_KINDS)
def test_ids_are_those_of_the_software_store(
    store: HsmKeyStore, software: SoftwareKeyStore, kind: tuple[str, str]
) -> None:
    """So that material which is imported again is known, wherever it was before."""
    key = kms_key(*kind)
    material = material_of(key)
    first, second = (
        imported(one, key, import_key_of(one, key, "RSA_AES_KEY_WRAP_SHA_1"), material) for one in (store, software)
    )
    assert first.material_id == second.material_id
    assert first.public_key == second.public_key


def test_an_rsa_key_of_another_exponent_is_imported(store: HsmKeyStore) -> None:
    key = kms_key("RSA_2048", "SIGN_VERIFY")
    primes = rsa.generate_private_key(65537, 2048).private_numbers()
    p, q, e = primes.p, primes.q, 65539
    d = pow(e, -1, lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    pkcs8 = numbers.private_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    material = imported(store, key, store.new_import_key(key, "RSA_2048", "RSA_AES_KEY_WRAP_SHA_1"), pkcs8)
    signature = store.open_signing(key, material).sign("RSASSA_PSS_SHA_256", RAW, b"message")
    load_verifying_key("RSA_2048", material.public_key or b"").verify("RSASSA_PSS_SHA_256", RAW, b"message", signature)


@pytest.mark.parametrize("kind", [kind for kind in SOME_KINDS if kind != ED25519])
def test_what_the_token_unwraps_itself_needs_no_leave(hsm: Hsm, kind: tuple[str, str]) -> None:
    strict = store_of(hsm, "host-oaep-sha-256") if kind[1] == "ENCRYPT_DECRYPT" else store_of(hsm)
    key = kms_key(*kind)
    for algorithm in IN_TOKEN[KINDS.index(kind) % 2 :]:
        if algorithm != "RSAES_OAEP_SHA_1" or not key.key_spec.startswith("RSA"):
            wrapping_key_spec = "RSA_3072" if key.key_spec == "ECC_NIST_P521" else "RSA_2048"
            import_key = strict.new_import_key(key, wrapping_key_spec, algorithm)
            assert imported(strict, key, import_key, material_of(key)).present


@pytest.mark.parametrize("algorithm", THROUGH_HOST)
@pytest.mark.parametrize("kind", [SYMMETRIC, HMAC, ("ECC_NIST_P256", "SIGN_VERIFY")])
def test_what_passes_through_the_server_needs_leave(
    hsm: Hsm, store: HsmKeyStore, kind: tuple[str, str], algorithm: str
) -> None:
    key = kms_key(*kind)
    import_key = store.new_import_key(key, "RSA_2048", algorithm)
    told = f"^{key.key_spec} keys wrapped with {algorithm} are not supported by this key store.$"
    for strict in (store_of(hsm), store_of(hsm, *set(WEAKER_WAYS) - {HOST_IMPORT})):
        with pytest.raises(UnsupportedOperation, match=told):
            strict.new_import_key(key, "RSA_2048", algorithm)
        with pytest.raises(UnsupportedOperation, match=told):
            imported(strict, key, import_key, material_of(key))
    assert imported(store_of(hsm, HOST_IMPORT), key, import_key, material_of(key)).present


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_that_is_used_in_software_needs_its_own_leave_and_no_other(hsm: Hsm, algorithm: str) -> None:
    key = kms_key(*ED25519)
    store = store_of(hsm, "software-ed25519")
    import_key = store.new_import_key(key, "RSA_2048", algorithm)
    assert imported(store, key, import_key, material_of(key)).present
    with pytest.raises(UnsupportedOperation):
        imported(store_of(hsm, HOST_IMPORT), key, import_key, material_of(key))


def test_an_import_key_is_opened_as_what_it_was_made_as(hsm: Hsm, store: HsmKeyStore) -> None:
    """A token that was found to unwrap less, or more, than before makes keys of another class."""
    key = kms_key(*SYMMETRIC)
    less = hsm.can._replace(done=hsm.can.done - {unwraps("RSAES_OAEP_SHA_1")})
    other = HsmKeyStore(hsm.token, less, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)
    for algorithm in IN_TOKEN:
        for ours, theirs in ((store, other), (other, store)):
            import_key = ours.new_import_key(key, "RSA_2048", algorithm)
            assert imported(ours, key, import_key, bytes(32)).present
            with pytest.raises(KeyUnavailable):
                imported(theirs, key, import_key, bytes(32))


def test_a_token_that_wraps_with_cbc_takes_what_is_encrypted_directly(hsm: Hsm) -> None:
    can = hsm.can._replace(wrap=p11.CKM_AES_CBC_PAD)
    for algorithm in ALGORITHMS:
        way = can.import_way("HMAC_256", algorithm.replace("RSA_AES_KEY_WRAP", "RSAES_OAEP"), two_steps=True)
        assert way is None
    assert can.import_way("HMAC_256", "RSAES_OAEP_SHA_1", two_steps=False) == ""
    assert can.import_way("HMAC_256", "RSAES_OAEP_SHA_256", two_steps=False) == HOST_IMPORT
    assert can.import_way("ECC_NIST_EDWARDS25519", "RSAES_OAEP_SHA_256", two_steps=True) == "software-ed25519"


def test_the_way_of_an_import_follows_from_what_was_proven(hsm: Hsm) -> None:
    can, sha_1, sha_256 = hsm.can, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"
    assert unwraps(sha_1) in can.done
    assert unwraps(sha_256) not in can.done
    for lost, oaep, way in (
        ({unwraps(sha_1)}, sha_1, HOST_IMPORT),
        ({unwraps(sha_1), sha_1}, sha_1, None),  # the server takes the padding of SHA-256 off alone
        ({"RAW_RSA"}, sha_256, None),
        ({"ECC_NIST_P256 KEY_AGREEMENT"}, sha_1, None),
        ({"ECC_NIST_P256 SIGN_VERIFY"}, sha_1, None),
        ({"RAW_RSA"}, sha_1, ""),
    ):
        assert can._replace(done=can.done - lost).import_way("ECC_NIST_P256", oaep, two_steps=False) == way


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_material_that_encrypts_directly_is_imported(hsm: Hsm, algorithm: str) -> None:
    can, key, secret = hsm.can._replace(xaes=False), kms_key(*SYMMETRIC), secrets.token_bytes(32)
    store = HsmKeyStore(hsm.token, can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)
    import_key = import_key_of(store, key, algorithm)
    material = imported(store, key, import_key, secret)
    assert material.algorithm == ALGORITHM_AES_256_GCM
    assert store.open_symmetric(key, material).encrypt(b"plaintext", {})
    for length in (16, 24, 31, 33):
        with pytest.raises(IncorrectKeyMaterial):
            imported(store, key, import_key, secrets.token_bytes(length))


@pytest.mark.parametrize("spec", ["HMAC_224", "HMAC_256"])
def test_a_mac_key_that_the_token_would_wrap_as_another_needs_leave(hsm: Hsm, store: HsmKeyStore, spec: str) -> None:
    """SoftHSM fills it up with zero bytes. Up to the block of the hash it is the same key."""
    key, strict = kms_key(spec, HMAC[1]), store_of(hsm)
    import_key = strict.new_import_key(key, "RSA_2048", "RSAES_OAEP_SHA_1")
    for length in (33, 63, 64, 72, 128):
        assert imported(strict, key, import_key, secrets.token_bytes(length)).present
    for length in (65, 71, 127):
        secret = secrets.token_bytes(length)
        with pytest.raises(UnsupportedOperation, match=rf"^{spec} keys of this length are not supported"):
            imported(strict, key, import_key, secret)
        mac = store.open_mac(key, imported(store, key, import_key, secret)).generate(spec.replace("_", "_SHA_"), b"m")
        assert mac == hmac.digest(secret, b"m", spec.replace("HMAC_", "sha"))


def test_a_token_that_hashes_no_keys_refuses_it(store: HsmKeyStore, faults: Faults) -> None:
    key = kms_key(*HMAC)
    import_key = store.new_import_key(key, "RSA_2048", "RSAES_OAEP_SHA_1")
    faults.fail("C_DigestKey", KEY_FUNCTION_NOT_PERMITTED)
    with pytest.raises(UnsupportedOperation):
        imported(store, key, import_key, secrets.token_bytes(65))
    faults.clear()
    assert imported(store, key, import_key, secrets.token_bytes(65)).present


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["C_UnwrapKey", "C_Sign", "C_DeriveKey"])
@pytest.mark.parametrize("code", [GENERAL_ERROR, WRAPPED_KEY_INVALID, KEY_FUNCTION_NOT_PERMITTED])
def test_a_token_that_fails_once_is_asked_again(
    hsm: Hsm, store: HsmKeyStore, faults: Faults, algorithm: str, name: str, code: int
) -> None:
    """After it was seen to open what is known to be right."""
    key = kms_key("ECC_NIST_P256", "SIGN_VERIFY")
    import_key = import_key_of(store, key, algorithm)
    pair = generate_key_pair(key.key_spec)
    calls: list[int] = []

    def second(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        calls.append(1)  # the first opens the import key, or is its code
        answered = call(*arguments) if name == "C_Sign" else None  # which ends with it, whatever it says
        return code if len(calls) == 2 else call(*arguments) if answered is None else answered

    faults.set(name, second if name != "C_DeriveKey" else first_of(code))
    assert imported(store, key, import_key, pair.private).public_key == pair.public
    assert hsm.token.quarantined is None


def first_of(code: int) -> Callable[[Callable[..., int], tuple[object, ...]], int]:
    left = [code]
    return lambda call, arguments: left.pop() if left else call(*arguments)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("code", [GENERAL_ERROR, WRAPPED_KEY_INVALID, KEY_FUNCTION_NOT_PERMITTED])
def test_a_token_that_opens_nothing_is_to_blame_and_not_the_wrapping(
    hsm: Hsm, store: HsmKeyStore, faults: Faults, algorithm: str, code: int
) -> None:
    key = kms_key(*SYMMETRIC)
    import_key = import_key_of(store, key, algorithm)
    opened: list[int] = []

    def fail(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        opened.append(1)
        return call(*arguments) if len(opened) == 1 else code  # but the import key

    faults.set("C_UnwrapKey", fail)
    with pytest.raises(KMSInternal):
        imported(store, key, import_key, bytes(32))
    faults.clear()
    assert hsm.token.quarantined is None
    with pytest.raises(InvalidCiphertext):
        store.import_material(key, import_key, bytes(256) + bytes(40) * import_key.two_steps, created=1.5)
    assert imported(store, key, import_key, bytes(32)).present


@pytest.mark.parametrize("algorithm", THROUGH_HOST)
def test_a_token_that_decrypts_nothing_is_to_blame(store: HsmKeyStore, faults: Faults, algorithm: str) -> None:
    key = kms_key(*SYMMETRIC)
    import_key = import_key_of(store, key, algorithm)

    def garble(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        call(*arguments)
        return GENERAL_ERROR

    faults.set("C_Decrypt", garble)
    with pytest.raises(KMSInternal):
        imported(store, key, import_key, bytes(32))


def test_material_that_was_deleted_is_unavailable(store: HsmKeyStore) -> None:
    for kind, open_ in ((SYMMETRIC, store.open_symmetric), (HMAC, store.open_mac), (ED25519, store.open_signing)):
        key = kms_key(*kind)
        material = imported(store, key, store.new_import_key(key, "RSA_2048", ALGORITHMS[2]), material_of(key))
        deleted: KeyMaterial = replace(material, wrapped=b"", recovery=None)
        store.forget(material.region, material.material_id)
        assert not deleted.present
        with pytest.raises(KeyUnavailable):
            open_(key, deleted)
        open_(key, material)


def test_empty_material_is_none(store: HsmKeyStore) -> None:
    for kind in (SYMMETRIC, HMAC, ("ECC_NIST_P256", "SIGN_VERIFY"), ED25519):
        key = kms_key(*kind)
        for algorithm in ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"):
            import_key = store.new_import_key(key, "RSA_2048", algorithm)
            with pytest.raises((IncorrectKeyMaterial, InvalidCiphertext)):
                store.import_material(key, import_key, wrapped(import_key, b""), created=1.5)


def test_a_kind_that_is_not_protected_is_neither_made_nor_imported(hsm: Hsm, store: HsmKeyStore) -> None:
    strict = store_of(hsm)
    for kind in (ED25519, ("RSA_2048", "ENCRYPT_DECRYPT"), ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE")):
        store.check_kind(*kind)
        with pytest.raises(UnsupportedOperation, match=f"^{kind[0]} keys for {kind[1]} are not supported"):
            strict.check_kind(*kind)
    strict.check_kind(*SYMMETRIC)
