"""The software key store: key material is wrapped by a domain key and used in this process. The embedded default."""

import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from msgspec.structs import replace

from strongroom.crypto import wrapping
from strongroom.crypto.ciphertext_blob import (
    ALGORITHM_XAES_256_GCM,
    NO_ALGORITHM,
    CiphertextBlob,
    associated_data,
    build_header,
)
from strongroom.crypto.key_pairs import (
    ASYMMETRIC,
    KeyPair,
    load_agreement_key,
    load_decapsulation_key,
    load_decryption_key,
    load_signing_key,
    read_key_pair,
)
from strongroom.crypto.macs import MacKey
from strongroom.crypto.xaes import NONCE_LENGTH, TAG_LENGTH, XaesKey
from strongroom.errors import IncorrectKeyMaterial, InvalidCiphertext, KeyUnavailable
from strongroom.keystores import import_wrapping
from strongroom.keystores.contract import AgreementKey, DecapsulationKey, DecryptionKey, SigningKey
from strongroom.keystores.domain_keys import KEY_MATERIAL, DomainKeys
from strongroom.keystores.generation import KeyPairGenerator
from strongroom.keystores.material_ids import challenge
from strongroom.keystores.opened_keys import OpenedKeys
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import SECRET_BYTES, SYMMETRIC_DEFAULT, fits_secret

OPENED_LIMIT = 100_000
"""Opened keys of symmetric usages kept, 1.4 KB each. Opening one again costs about as much as using it twice."""

_Key = TypeVar("_Key")


class SoftwareSymmetricKey:
    """Opened material of a symmetric encryption key. Implements `RawSymmetricKey`."""

    __slots__ = ("_key", "_material_id")

    algorithm = ALGORITHM_XAES_256_GCM

    def __init__(self, material_id: str, key: XaesKey) -> None:
        self._material_id = material_id
        self._key = key

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob, 80 bytes longer than `plaintext`. Draws a fresh nonce."""
        nonce = os.urandom(NONCE_LENGTH)
        header = build_header(ALGORITHM_XAES_256_GCM, self._material_id, nonce, len(plaintext) + TAG_LENGTH)
        return header + self.seal(nonce, plaintext, associated_data(header, encryption_context))

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        # XAES-256-GCM is not key-committing: only the material that the header names is ever tried.
        if blob.material_id != self._material_id or blob.algorithm != ALGORITHM_XAES_256_GCM:
            raise InvalidCiphertext
        return self.unseal(blob.nonce, blob.ciphertext, associated_data(blob.header, encryption_context))

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext and its 16-byte tag. `nonce` is 24 bytes, never used before with this key."""
        return self._key.seal(nonce, plaintext, associated_data)

    def unseal(self, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was sealed."""
        if len(nonce) != NONCE_LENGTH:
            raise InvalidCiphertext
        try:
            return self._key.open(nonce, ciphertext, associated_data)
        except InvalidTag:
            raise InvalidCiphertext from None


class SoftwareKeyStore:
    """Implements `KeyStore` over the domain keys of purpose `key-material`."""

    name = "software"
    calls = None
    generation = None

    def __init__(self, domain_keys: DomainKeys) -> None:
        self._domain_keys = domain_keys
        self._generator = KeyPairGenerator()
        self._symmetric = OpenedKeys(self._load_symmetric, OPENED_LIMIT)
        self._mac = OpenedKeys(lambda key, material: MacKey(self._unwrap(key, material)), OPENED_LIMIT)
        self._signing = OpenedKeys(partial(self._load, load_signing_key))
        self._decryption = OpenedKeys(partial(self._load, load_decryption_key))
        self._agreement = OpenedKeys(partial(self._load, load_agreement_key))
        self._decapsulation = OpenedKeys(partial(self._load, load_decapsulation_key))

    def check_kind(self, key_spec: str, key_usage: str) -> None:
        """Take all kinds."""

    def generate(self, key: KmsKey, *, material_id: str, created: float) -> KeyMaterial:
        """Make new material for a key of any spec, wrapped for storage. Raises Throttling."""
        secret, public = self._new(key)
        return self._wrapped(key, secret, public, material_id, created)

    def new_import_key(self, key: KmsKey, key_spec: str, algorithm: str) -> ImportKey:
        """Make an RSA key pair, its private half wrapped. Raises Throttling."""
        pair = self._generator.generate(key_spec)
        version = self._domain_keys.newest_key_material_version
        made = ImportKey(key_spec, algorithm, self.name, version, b"", pair.public)
        domain_key = self._domain_keys.key_material[version]
        wrapped = wrapping.wrap(domain_key, pair.private, _import_binding(key, made), os.urandom(NONCE_LENGTH))
        return replace(made, wrapped=wrapped)

    def import_material(self, key: KmsKey, import_key: ImportKey, encrypted: bytes, *, created: float) -> KeyMaterial:
        """Take over material that was wrapped under an import key."""
        domain_key = self._domain_keys.key_material.get(import_key.domain_key_version)
        if domain_key is None or import_key.key_store != self.name:
            raise KeyUnavailable
        try:
            private = wrapping.unwrap(domain_key, import_key.wrapped, _import_binding(key, import_key))
        except InvalidTag:
            raise KeyUnavailable from None
        secret, public = _read(key, import_wrapping.unwrap(import_key, private, encrypted))
        known_by = MacKey(secret).generate(*challenge(key)) if public is None else public
        return self._wrapped(key, secret, public, self._domain_keys.material_ids.name(key, known_by), created)

    def generate_key_pair(self, key_spec: str) -> KeyPair:
        """Make a data key pair. Raises Throttling."""
        return self._generator.generate(key_spec)

    def open_symmetric(self, key: KmsKey, material: KeyMaterial) -> SoftwareSymmetricKey:
        """Open the material of a symmetric encryption key."""
        return self._symmetric.get(key, material)

    def open_mac(self, key: KmsKey, material: KeyMaterial) -> MacKey:
        """Open the material of an HMAC key."""
        return self._mac.get(key, material)

    def open_signing(self, key: KmsKey, material: KeyMaterial) -> SigningKey:
        """Open the private key of a signing key."""
        return self._signing.get(key, material)

    def open_decryption(self, key: KmsKey, material: KeyMaterial) -> DecryptionKey:
        """Open the private key of an asymmetric encryption key."""
        return self._decryption.get(key, material)

    def open_agreement(self, key: KmsKey, material: KeyMaterial) -> AgreementKey:
        """Open the private key of a key agreement key."""
        return self._agreement.get(key, material)

    def open_decapsulation(self, key: KmsKey, material: KeyMaterial) -> DecapsulationKey:
        """Open the private key of a key encapsulation key."""
        return self._decapsulation.get(key, material)

    def forget(self, region: str, material_id: str) -> None:
        """Drop opened material of a key in a Region. Idempotent."""
        for opened in (
            self._symmetric, self._mac, self._signing, self._decryption, self._agreement, self._decapsulation,
        ):  # fmt: skip
            opened.forget(region, material_id)

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes of the operating system's generator."""
        return os.urandom(length)

    def _wrapped(
        self, key: KmsKey, secret: bytes, public: bytes | None, material_id: str, created: float
    ) -> KeyMaterial:
        unwrapped = KeyMaterial(
            account=key.account,
            region=key.region,
            key_id=key.key_id,
            material_id=material_id,
            algorithm=ALGORITHM_XAES_256_GCM if key.key_spec == SYMMETRIC_DEFAULT else NO_ALGORITHM,
            key_store=self.name,
            domain_key_version=self._domain_keys.newest_key_material_version,
            wrapped=b"",
            created=created,
            public_key=public,
        )
        domain_key = self._domain_keys.key_material[unwrapped.domain_key_version]
        wrapped = wrapping.wrap(domain_key, secret, _binding(key, unwrapped), os.urandom(NONCE_LENGTH))
        return replace(unwrapped, wrapped=wrapped)

    def _new(self, key: KmsKey) -> tuple[bytes, bytes | None]:
        """Return new secret material for a key, and of a key pair the public half."""
        if key.key_spec in ASYMMETRIC:
            return self._generator.generate(key.key_spec)
        return os.urandom(SECRET_BYTES[key.key_spec]), None

    def _load_symmetric(self, key: KmsKey, material: KeyMaterial) -> SoftwareSymmetricKey:
        if material.algorithm != ALGORITHM_XAES_256_GCM:
            raise KeyUnavailable
        return SoftwareSymmetricKey(material.material_id, XaesKey(self._unwrap(key, material)))

    def _load(self, load: Callable[[str, bytes], _Key], key: KmsKey, material: KeyMaterial) -> _Key:
        return load(key.key_spec, self._unwrap(key, material))

    def _unwrap(self, key: KmsKey, material: KeyMaterial) -> bytes:
        domain_key = self._domain_keys.key_material.get(material.domain_key_version)
        if domain_key is None or material.key_store != self.name:
            raise KeyUnavailable
        try:
            return wrapping.unwrap(domain_key, material.wrapped, _binding(key, material))
        except InvalidTag:
            raise KeyUnavailable from None


def _read(key: KmsKey, material: bytes) -> tuple[bytes, bytes | None]:
    """Imported material as it is kept, and of a key pair the public half. Raises IncorrectKeyMaterial."""
    if key.key_spec in ASYMMETRIC:
        try:
            return read_key_pair(key.key_spec, material)
        except ValueError:
            raise IncorrectKeyMaterial from None
    if not fits_secret(key.key_spec, len(material)):
        raise IncorrectKeyMaterial
    return material, None


def _import_binding(key: KmsKey, import_key: ImportKey) -> tuple[str, ...]:
    names = ("import-key", key.account, key.region, key.key_id, key.key_spec, key.key_usage)
    return (*names, import_key.key_spec, import_key.algorithm, str(import_key.domain_key_version))


def _binding(key: KmsKey, material: KeyMaterial) -> tuple[str, ...]:
    """Return everything that fixes what a material is and whose, for its wrapping to authenticate."""
    # Until there were others, all material was that of symmetric encryption keys, and not said to be.
    kind = () if key.key_spec == SYMMETRIC_DEFAULT else (key.key_spec, key.key_usage)
    return (
        KEY_MATERIAL,
        material.account,
        material.bound_region(key),
        material.key_id,
        material.material_id,
        str(material.algorithm),
        material.key_store,
        str(material.domain_key_version),
        *kind,
    )
