"""A token that does less than SoftHSM: opencryptoki 3.8. It is used as far as the operator allows, and no further."""

import hmac
import secrets
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from strongroom.crypto.key_pairs import generate_key_pair, load_encryption_key, load_signing_key, load_verifying_key
from strongroom.errors import (
    HsmError,
    IncorrectKeyMaterial,
    IntegrityError,
    InvalidCiphertext,
    KeyUnavailable,
    KMSInvalidMac,
    UnsupportedOperation,
)
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS, Capabilities
from strongroom.keystores.hsm.domain_keys import TokenKeys
from strongroom.keystores.hsm.mechanisms import wrapping_mechanism
from strongroom.keystores.hsm.module import open_module
from strongroom.keystores.hsm.opening import (
    FIRST_VERSION,
    Hsm,
    Place,
    clear_token,
    open_hsm,
    prepare_token,
    probe_token,
)
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.recovery import RecoveryRoot
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.software_wrapping import encrypt_cbc
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.templates import secret_key
from strongroom.keystores.hsm.token import Lease
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import DIGEST, KEY_SPECS, RAW
from strongroom.testing.opencryptoki import LIBRARY, running_opencryptoki
from tests.hsm import IDS
from tests.importing import ALGORITHMS, imported
from tests.keys import generate, kms_key

NEEDED = ("cbc-wrap", "no-unwrap-template", "no-usage-limits")
SOFTWARE = {
    "ECC_NIST_EDWARDS25519": "software-ed25519",
    "ML_DSA_44": "software-ml-dsa",
    "ML_DSA_65": "software-ml-dsa",
    "ML_DSA_87": "software-ml-dsa",
    "ML_KEM_512": "software-ml-kem",
    "ML_KEM_768": "software-ml-kem",
    "ML_KEM_1024": "software-ml-kem",
}
IN_TOKEN = {
    *((spec, "GENERATE_VERIFY_MAC") for spec in ("HMAC_256", "HMAC_384", "HMAC_512")),
    *((f"RSA_{bits}", usage) for bits in (2048, 3072, 4096) for usage in ("SIGN_VERIFY", "ENCRYPT_DECRYPT")),
}

USED = [kind for kind in sorted(IN_TOKEN) if kind[0] not in ("RSA_3072", "RSA_4096")]
"""Those that do not take long to make."""
SHA_1, SHA_256 = "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_opencryptoki(tmp_path_factory.mktemp("opencryptoki")) as opencryptoki:
        yield Place(open_module(LIBRARY), opencryptoki.label, Pin(file=opencryptoki.pin_file))


@pytest.fixture(scope="module")
def can(place: Place) -> Capabilities:
    return probe_token(place)


@pytest.fixture(scope="module")
def installation_id(place: Place) -> Iterator[str]:
    """An installation whose domain keys are in the token."""
    installation_id = str(uuid.uuid4())
    prepare_token(place, installation_id, NEEDED)
    yield installation_id
    clear_token(place, installation_id)


@pytest.fixture
def hsm(place: Place, installation_id: str) -> Iterator[Hsm]:
    """The token, opened anew for each test."""
    hsm = open_hsm(place, installation_id, {FIRST_VERSION}, NEEDED)
    yield hsm
    hsm.token.close()


@pytest.fixture
def store(hsm: Hsm) -> HsmKeyStore:
    return store_of(hsm)


def store_of(hsm: Hsm, *allowed: str, recovery: bytes | None = None) -> HsmKeyStore:
    return HsmKeyStore(
        hsm.token,
        hsm.can,
        allowed=(*NEEDED, *allowed),
        count_use=lambda _: None,
        material_ids=IDS,
        recovery_public_key=recovery,
    )


def use(store: HsmKeyStore, key: KmsKey, material: KeyMaterial) -> None:
    """Use a key with each of its algorithms, and see that the answers are right."""
    spec, public = key.key_spec, material.public_key or b""
    for algorithm in KEY_SPECS[spec].algorithms[key.key_usage]:
        match key.key_usage:
            case "GENERATE_VERIFY_MAC":
                mac = store.open_mac(key, material)
                mac.verify(algorithm, b"message", mac.generate(algorithm, b"message"))
                with pytest.raises(KMSInvalidMac):
                    mac.verify(algorithm, b"messagE", mac.generate(algorithm, b"message"))
            case "SIGN_VERIFY":
                signing = store.open_signing(key, material)
                for message_type, message in ((RAW, b"message"), (DIGEST, bytes(int(algorithm[-3:]) // 8))):
                    signature = signing.sign(algorithm, message_type, message)
                    load_verifying_key(spec, public).verify(algorithm, message_type, message, signature)
            case _:
                ciphertext = load_encryption_key(spec, public).encrypt(algorithm, b"plaintext")
                assert store.open_decryption(key, material).decrypt(algorithm, ciphertext) == b"plaintext"


def test_the_token_wraps_with_cbc_and_keeps_to_no_template(can: Capabilities) -> None:
    assert can.description.startswith("IBM")
    assert can.wrap == p11.CKM_AES_CBC_PAD
    assert (can.unwrap_template, can.allowed_mechanisms) == (False, False)
    assert (can.sealing, can.integrity, can.unmodifiable) == (True, True, True)
    assert (can.gcm, can.xaes, can.extractable) == (False, False, False)
    assert can.needs() == list(NEEDED)


@pytest.mark.parametrize("kind", [(spec, usage) for spec, row in KEY_SPECS.items() for usage in row.algorithms])
def test_hmac_and_rsa_keys_are_in_the_token_and_others_in_software_or_nowhere(
    can: Capabilities, kind: tuple[str, str]
) -> None:
    assert can.way(*kind) == ("" if kind in IN_TOKEN else SOFTWARE.get(kind[0]))


@pytest.mark.parametrize("missing", NEEDED)
def test_without_leave_for_each_weaker_way_nothing_is_made_or_opened(
    place: Place, installation_id: str, missing: str
) -> None:
    allowed = set(NEEDED) - {missing}
    other = str(uuid.uuid4())
    with pytest.raises(HsmError, match=missing):
        prepare_token(place, other, allowed)
    with pytest.raises(HsmError, match="no key"):
        open_hsm(place, other, {FIRST_VERSION}, NEEDED)
    with pytest.raises(HsmError, match=missing):
        open_hsm(place, installation_id, {FIRST_VERSION}, allowed)


def test_domain_keys_are_made_once(place: Place, installation_id: str) -> None:
    with pytest.raises(HsmError, match="already"):
        prepare_token(place, installation_id, NEEDED)


@pytest.mark.parametrize("kind", USED)
def test_a_key_is_used_and_opened_again_and_after_the_token_was_closed(
    place: Place, installation_id: str, kind: tuple[str, str]
) -> None:
    key = kms_key(*kind)
    hsm = open_hsm(place, installation_id, {FIRST_VERSION}, NEEDED)
    try:
        store = store_of(hsm)
        material = generate(store, key)
        use(store, key, material)
        store.forget(material.region, material.material_id)
        use(store, key, material)
    finally:
        hsm.token.close()
    hsm = open_hsm(place, installation_id, {FIRST_VERSION}, NEEDED)
    try:
        use(store_of(hsm), key, material)
    finally:
        hsm.token.close()


def test_a_key_in_software_is_made_and_used_if_that_is_allowed(hsm: Hsm) -> None:
    key = kms_key("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    with pytest.raises(UnsupportedOperation):
        generate(store_of(hsm), key)
    store = store_of(hsm, "software-ed25519")
    material = generate(store, key)
    signature = store.open_signing(key, material).sign("ED25519_SHA_512", RAW, b"message")
    load_verifying_key(key.key_spec, material.public_key or b"").verify("ED25519_SHA_512", RAW, b"message", signature)


@pytest.mark.parametrize(
    "kind",
    [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        ("HMAC_224", "GENERATE_VERIFY_MAC"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("ECC_NIST_P384", "KEY_AGREEMENT"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
    ],
)
def test_what_the_token_does_not_do_is_refused_whatever_is_allowed(hsm: Hsm, kind: tuple[str, str]) -> None:
    store = store_of(hsm, "direct-gcm", "host-oaep-sha-256", *SOFTWARE.values())
    with pytest.raises(UnsupportedOperation):
        generate(store, kms_key(*kind))


def test_every_flipped_byte_of_wrapped_material_is_found(store: HsmKeyStore) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    material = generate(store, key)
    for position in range(len(material.wrapped)):
        altered = bytearray(material.wrapped)
        altered[position] ^= 1
        with pytest.raises(KeyUnavailable):
            store.open_mac(key, replace(material, wrapped=bytes(altered)))


def test_a_ciphertext_that_was_altered_is_invalid_and_the_token_goes_on(hsm: Hsm, store: HsmKeyStore) -> None:
    key = kms_key("RSA_2048", "ENCRYPT_DECRYPT")
    material = generate(store, key)
    public = load_encryption_key(key.key_spec, material.public_key or b"")
    for algorithm, other in ((SHA_1, SHA_256), (SHA_256, SHA_1)):
        ciphertext = public.encrypt(algorithm, b"plaintext")
        for altered in (
            ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]),
            public.encrypt(other, b"plaintext"),
            b"\xff" * 256,
        ):
            with pytest.raises(InvalidCiphertext):
                store.open_decryption(key, material).decrypt(algorithm, altered)
    assert hsm.token.quarantined is None
    use(store, key, material)


@pytest.mark.parametrize("algorithm", [SHA_1, SHA_256])
def test_material_is_imported(store: HsmKeyStore, algorithm: str) -> None:
    key, secret = kms_key("HMAC_256", "GENERATE_VERIFY_MAC"), secrets.token_bytes(32)
    import_key = store.new_import_key(key, "RSA_2048", algorithm)
    for length in (32, 33, 65, 128):
        secret = secrets.token_bytes(length)
        mac = store.open_mac(key, imported(store, key, import_key, secret)).generate("HMAC_SHA_256", b"message")
        assert mac == hmac.digest(secret, b"message", "sha256")
    for length in (1, 16, 31, 129):
        with pytest.raises(IncorrectKeyMaterial):
            imported(store, key, import_key, secrets.token_bytes(length))
    for wrong in (secrets.token_bytes(255), bytes(256), secrets.token_bytes(256)):
        with pytest.raises(InvalidCiphertext):
            store.import_material(key, import_key, wrong, created=1.5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_in_software_is_imported_by_every_algorithm(hsm: Hsm, algorithm: str) -> None:
    store, key = store_of(hsm, "software-ed25519"), kms_key("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    import_key = store.new_import_key(key, "RSA_2048", algorithm)
    pair = generate_key_pair(key.key_spec)
    material = imported(store, key, import_key, pair.private)
    assert material.public_key == pair.public
    signature = store.open_signing(key, material).sign("ED25519_SHA_512", RAW, b"message")
    load_verifying_key(key.key_spec, pair.public).verify("ED25519_SHA_512", RAW, b"message", signature)


@pytest.mark.parametrize("algorithm", ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"])
def test_what_is_wrapped_by_rfc_5649_is_not_taken_whatever_is_allowed(hsm: Hsm, algorithm: str) -> None:
    """The token cannot unwrap it, and the server does not do so for it."""
    for kind in (("HMAC_256", "GENERATE_VERIFY_MAC"), ("RSA_2048", "SIGN_VERIFY"), ("RSA_2048", "ENCRYPT_DECRYPT")):
        with pytest.raises(UnsupportedOperation):
            store_of(hsm, *WEAKER_WAYS).new_import_key(kms_key(*kind), "RSA_2048", algorithm)


@pytest.mark.parametrize("kind", [("HMAC_384", "GENERATE_VERIFY_MAC"), ("RSA_2048", "SIGN_VERIFY")])
def test_material_is_taken_over_with_the_recovery_key(hsm: Hsm, kind: tuple[str, str]) -> None:
    private = rsa.generate_private_key(65537, 3072)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = kms_key(*kind)
    material = generate(store_of(hsm, recovery=public), key)
    moved = HsmKeyStore.for_moving(hsm.token, hsm.can, ()).moved(key, material, RecoveryRoot(private))
    assert moved.wrapped != material.wrapped
    use(store_of(hsm), key, moved)


def test_data_key_pairs_are_made_of_rsa_alone(store: HsmKeyStore) -> None:
    pair = store.generate_key_pair("RSA_2048")
    signature = load_signing_key("RSA_2048", pair.private).sign("RSASSA_PSS_SHA_256", RAW, b"message")
    load_verifying_key("RSA_2048", pair.public).verify("RSASSA_PSS_SHA_256", RAW, b"message", signature)
    with pytest.raises(UnsupportedOperation):
        store.generate_key_pair("ECC_NIST_P256")


def test_the_root_encrypts_keys_of_the_service(hsm: Hsm) -> None:
    root = HsmRoot(hsm.token)
    wrapped = root.wrap(b"secret", ("a", "key"))
    assert root.unwrap(wrapped, ("a", "key")) == b"secret"
    with pytest.raises(IntegrityError):
        root.unwrap(wrapped, ("another", "key"))
    for position in range(len(wrapped)):
        altered = bytearray(wrapped)
        altered[position] ^= 1
        with pytest.raises(IntegrityError):
            root.unwrap(bytes(altered), ("a", "key"))


def test_random_bytes_are_the_tokens(store: HsmKeyStore) -> None:
    assert len({store.random_bytes(32) for _ in range(10)}) == 10


def test_keys_are_shared_between_threads(store: HsmKeyStore) -> None:
    keys = [kms_key("HMAC_256", "GENERATE_VERIFY_MAC"), kms_key("RSA_2048", "SIGN_VERIFY")]
    materials = [generate(store, key) for key in keys]

    def work(number: int) -> None:
        if number % 7 == 0:
            store.forget(materials[number % 2].region, materials[number % 2].material_id)
        use(store, keys[number % 2], materials[number % 2])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(100)))


def test_the_token_is_used_again_after_the_library_was_initialized_anew(hsm: Hsm, store: HsmKeyStore) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    material = generate(store, key)
    use(store, key, material)
    epoch = hsm.token.run(lambda lease: lease.session.epoch)
    hsm.token._renew()
    assert hsm.token.run(lambda lease: lease.session.epoch) != epoch
    use(store, key, material)


def test_opened_keys_can_be_read_whatever_the_token_is_told(hsm: Hsm) -> None:
    """This is what the operator allows with `no-unwrap-template`."""

    def read(lease: Lease[TokenKeys]) -> bytes | None:
        session: Session = lease.session
        kek = session.create(Template({**secret_key(p11.CKK_AES, p11.CKA_UNWRAP), p11.CKA_VALUE: bytes(32)}))
        wrapped = encrypt_cbc(bytes(32), bytes(16), b"k" * 32)
        hidden = Template(secret_key(p11.CKK_AES, p11.CKA_ENCRYPT))
        opened = session.unwrap(wrapping_mechanism(p11.CKM_AES_CBC_PAD, bytes(16)), kek, wrapped, hidden)
        (value,) = session.attributes(opened, [p11.CKA_VALUE])
        for handle in (kek, opened):
            session.destroy(handle)
        return value

    assert hsm.token.run(read) == b"k" * 32
