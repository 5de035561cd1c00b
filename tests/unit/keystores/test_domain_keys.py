from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.crypto.sealing import open_sealed, seal_to
from strongroom.errors import IntegrityError, RootKeyError
from strongroom.keystores.domain_keys import (
    AUDIT_CHAIN,
    AUDIT_DIGEST,
    KEY_MATERIAL,
    ROW_AUTHENTICATION,
    SEALED_SECRETS,
    DomainKeys,
    NewDomainKeys,
    generate_domain_keys,
)
from strongroom.keystores.root_key import RootKey, create_root_key
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.model.domain_key import DomainKey
from tests.keys import KEY, generate

INSTALLATION = "11111111-2222-3333-4444-555555555555"
PURPOSES = [KEY_MATERIAL, ROW_AUTHENTICATION, SEALED_SECRETS, AUDIT_DIGEST, AUDIT_CHAIN]
NAMES = {"account": "111122223333", "access_key_id": "AKIAIOSFODNN7EXAMPLE"}


@pytest.fixture(scope="module")
def new(root_key: RootKey) -> NewDomainKeys:
    return generate_domain_keys(root_key, INSTALLATION, 1_700_000_000.5)


@pytest.fixture(scope="module")
def domain_keys(root_key: RootKey, new: NewDomainKeys) -> DomainKeys:
    return DomainKeys.open(root_key, INSTALLATION, new.records)


def second_version(root_key: RootKey, purpose: str, secret: bytes) -> DomainKey:
    binding = ("domain-key", INSTALLATION, purpose, "2")
    return DomainKey(purpose=purpose, version=2, created=0.0, wrapped=root_key.wrap(secret, binding))


def test_makes_version_1_of_every_purpose(new: NewDomainKeys) -> None:
    assert [(record.purpose, record.version, record.created) for record in new.records] == [
        (purpose, 1, 1_700_000_000.5) for purpose in PURPOSES
    ]


def test_opens_three_different_32_byte_keys(root_key: RootKey, new: NewDomainKeys) -> None:
    secrets = {
        root_key.unwrap(record.wrapped, ("domain-key", INSTALLATION, record.purpose, "1")) for record in new.records[:3]
    }
    assert [len(secret) for secret in secrets] == [32, 32, 32]


def test_the_row_authentication_key_stays_the_same(root_key: RootKey, new: NewDomainKeys) -> None:
    opened = [DomainKeys.open(root_key, INSTALLATION, new.records) for _ in range(2)]
    assert opened[0].row_authentication == opened[1].row_authentication
    assert len(opened[0].row_authentication) == 32


def test_the_digest_keys_belong_together(new: NewDomainKeys, domain_keys: DomainKeys) -> None:
    public_key = load_der_public_key(new.digest_public_key)
    assert isinstance(public_key, RSAPublicKey)
    assert public_key.key_size == 2048
    signature = domain_keys.digest_signing_key.sign(b"digest", PKCS1v15(), SHA256())
    public_key.verify(signature, b"digest", PKCS1v15(), SHA256())


def test_the_chain_keys_belong_together(new: NewDomainKeys, domain_keys: DomainKeys) -> None:
    sealed = seal_to(new.chain_public_key, b"starting key", b"chain")
    assert open_sealed(domain_keys.chain_private_key, sealed, b"chain") == b"starting key"


def test_the_chain_private_key_can_be_dropped(root_key: RootKey, new: NewDomainKeys) -> None:
    domain_keys = DomainKeys.open(root_key, INSTALLATION, new.records)
    chain_private_key = domain_keys.chain_private_key
    domain_keys.drop_chain_private_key()
    domain_keys.drop_chain_private_key()
    with pytest.raises(ValueError, match="dropped"):
        _ = domain_keys.chain_private_key
    assert chain_private_key not in vars(domain_keys).values()


def test_another_root_key_is_refused(new: NewDomainKeys, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = create_root_key(tmp_path_factory.mktemp("other") / "root.key")
    with pytest.raises(RootKeyError, match=r"\Athe root key does not open this installation's domain keys: .*\Z"):
        DomainKeys.open(other, INSTALLATION, new.records)


def test_another_installations_keys_are_refused(root_key: RootKey, new: NewDomainKeys) -> None:
    with pytest.raises(IntegrityError, match="was altered"):
        DomainKeys.open(root_key, INSTALLATION.replace("1", "9"), new.records)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_missing_purpose_is_named(root_key: RootKey, new: NewDomainKeys, purpose: str) -> None:
    records = [record for record in new.records if record.purpose != purpose]
    with pytest.raises(IntegrityError, match=purpose):
        DomainKeys.open(root_key, INSTALLATION, records)


@pytest.mark.parametrize(
    "alter",
    [
        lambda record: replace(record, purpose=SEALED_SECRETS),
        lambda record: replace(record, version=2),
        lambda record: replace(record, wrapped=record.wrapped[:-1]),
        lambda record: replace(record, wrapped=b""),
    ],
    ids=["purpose", "version", "cut", "emptied"],
)
def test_an_altered_record_is_refused(
    root_key: RootKey, new: NewDomainKeys, alter: Callable[[DomainKey], DomainKey]
) -> None:
    with pytest.raises(IntegrityError):
        DomainKeys.open(root_key, INSTALLATION, [alter(new.records[0]), *new.records[1:]])


@given(st.binary(max_size=100))
def test_opens_sealed_secrets(domain_keys: DomainKeys, secret: bytes) -> None:
    sealed = domain_keys.seal_secret(secret, **NAMES)
    assert sealed[:4] == bytes.fromhex("00000001")
    assert len(sealed) == len(secret) + 45
    assert domain_keys.open_secret(sealed, **NAMES) == secret


@given(st.integers(min_value=64), st.integers(min_value=0, max_value=7))
def test_finds_altered_sealed_secrets(domain_keys: DomainKeys, position: int, bit: int) -> None:
    altered = bytearray(domain_keys.seal_secret(b"secret", **NAMES))
    altered[position % len(altered)] ^= 1 << bit
    with pytest.raises(IntegrityError, match="AKIAIOSFODNN7EXAMPLE"):
        domain_keys.open_secret(bytes(altered), **NAMES)


@pytest.mark.parametrize(
    ("account", "access_key_id"),
    [("999999999999", NAMES["access_key_id"]), (NAMES["account"], "AKIAIOSFODNN7EXAMPL2")],
)
def test_finds_moved_sealed_secrets(domain_keys: DomainKeys, account: str, access_key_id: str) -> None:
    sealed = domain_keys.seal_secret(b"secret", **NAMES)
    with pytest.raises(IntegrityError):
        domain_keys.open_secret(sealed, account=account, access_key_id=access_key_id)


@pytest.mark.parametrize("length", [0, 3, 4, 5, 44])
def test_finds_cut_sealed_secrets(domain_keys: DomainKeys, length: int) -> None:
    with pytest.raises(IntegrityError):
        domain_keys.open_secret(domain_keys.seal_secret(b"secret", **NAMES)[:length], **NAMES)


def test_the_newest_version_does_new_work_and_the_older_ones_still_open(
    root_key: RootKey, new: NewDomainKeys, domain_keys: DomainKeys
) -> None:
    rotated = DomainKeys.open(
        root_key,
        INSTALLATION,
        [
            second_version(root_key, ROW_AUTHENTICATION, b"r" * 32),
            second_version(root_key, SEALED_SECRETS, b"s" * 32),
            second_version(root_key, KEY_MATERIAL, b"m" * 32),
            *new.records,
        ],
    )
    assert rotated.row_authentication == b"r" * 32
    assert sorted(rotated.key_material) == [1, 2]
    assert rotated.newest_key_material_version == 2

    sealed_before, sealed_after = domain_keys.seal_secret(b"old", **NAMES), rotated.seal_secret(b"new", **NAMES)
    assert sealed_after[:4] == bytes.fromhex("00000002")
    assert rotated.open_secret(sealed_before, **NAMES) == b"old"
    assert rotated.open_secret(sealed_after, **NAMES) == b"new"
    with pytest.raises(IntegrityError):
        domain_keys.open_secret(sealed_after, **NAMES)

    material_before = generate(SoftwareKeyStore(domain_keys))
    material_after = generate(SoftwareKeyStore(rotated))
    assert (material_before.domain_key_version, material_after.domain_key_version) == (1, 2)
    SoftwareKeyStore(rotated).open_symmetric(KEY, material_before)
    SoftwareKeyStore(rotated).open_symmetric(KEY, material_after)


def test_shows_no_secret(domain_keys: DomainKeys, new: NewDomainKeys) -> None:
    assert repr(domain_keys) == "DomainKeys()"
    assert repr(new.records[0].wrapped) not in repr(new)
