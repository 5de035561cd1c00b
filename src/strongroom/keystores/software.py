"""The software key store: key material is wrapped by a domain key and used in this process. The embedded default."""

import os
from threading import Lock

from cryptography.exceptions import InvalidTag
from msgspec.structs import replace

from strongroom.crypto import wrapping
from strongroom.crypto.ciphertext_blob import (
    ALGORITHM_XAES_256_GCM,
    MATERIAL_ID_LENGTH,
    CiphertextBlob,
    associated_data,
    build_header,
)
from strongroom.crypto.xaes import KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH, XaesKey
from strongroom.errors import InvalidCiphertext, KeyUnavailable
from strongroom.keystores.domain_keys import KEY_MATERIAL, DomainKeys
from strongroom.model.key import KeyMaterial

OPENED_LIMIT = 100_000
"""Opened materials kept, 1.4 KB each. Opening one again costs about as much as using it twice."""


class SoftwareSymmetricKey:
    """Opened material of a symmetric encryption key. Implements `SymmetricKey`."""

    __slots__ = ("_key", "_material_id")

    def __init__(self, material_id: str, key: XaesKey) -> None:
        self._material_id = material_id
        self._key = key

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob, 80 bytes longer than `plaintext`. Draws a fresh nonce."""
        nonce = os.urandom(NONCE_LENGTH)
        header = build_header(ALGORITHM_XAES_256_GCM, self._material_id, nonce, len(plaintext) + TAG_LENGTH)
        return header + self._key.seal(nonce, plaintext, associated_data(header, encryption_context))

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        # XAES-256-GCM is not key-committing: only the material that the header names is ever tried.
        if blob.material_id != self._material_id or blob.algorithm != ALGORITHM_XAES_256_GCM:
            raise InvalidCiphertext
        try:
            return self._key.open(blob.nonce, blob.ciphertext, associated_data(blob.header, encryption_context))
        except InvalidTag:
            raise InvalidCiphertext from None


class SoftwareKeyStore:
    """Implements `KeyStore` over the domain keys of purpose `key-material`."""

    name = "software"
    blocking = False

    def __init__(self, domain_keys: DomainKeys) -> None:
        self._domain_keys = domain_keys
        self._opened: dict[str, tuple[KeyMaterial, SoftwareSymmetricKey]] = {}
        self._eviction = Lock()

    def generate_symmetric(self, *, account: str, region: str, key_id: str, created: float) -> KeyMaterial:
        """Make new 256-bit material with a fresh material id, wrapped for storage. Stores nothing itself."""
        version = self._domain_keys.newest_key_material_version
        unwrapped = KeyMaterial(
            account=account,
            region=region,
            key_id=key_id,
            material_id=os.urandom(MATERIAL_ID_LENGTH).hex(),
            algorithm=ALGORITHM_XAES_256_GCM,
            key_store=self.name,
            domain_key_version=version,
            wrapped=b"",
            created=created,
        )
        wrapped = wrapping.wrap(
            self._domain_keys.key_material[version],
            os.urandom(KEY_LENGTH),
            _binding(unwrapped),
            os.urandom(NONCE_LENGTH),
        )
        return replace(unwrapped, wrapped=wrapped)

    def open_symmetric(self, material: KeyMaterial) -> SoftwareSymmetricKey:
        """Unwrap `material` for use, or return it as opened before.

        Raises KeyUnavailable if it does not unwrap: altered, or wrapped for another key.
        """
        opened = self._opened.get(material.material_id)
        # The whole record is compared: an altered copy of an opened material must not pass for it.
        if opened is not None and opened[0] == material:
            return opened[1]
        key = SoftwareSymmetricKey(material.material_id, self._unwrap(material))
        with self._eviction:
            if len(self._opened) >= OPENED_LIMIT:
                del self._opened[next(iter(self._opened))]
            self._opened[material.material_id] = (material, key)
        return key

    def forget(self, material_id: str) -> None:
        """Drop opened material. Idempotent."""
        with self._eviction:
            self._opened.pop(material_id, None)

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes of the operating system's generator."""
        return os.urandom(length)

    def _unwrap(self, material: KeyMaterial) -> XaesKey:
        domain_key = self._domain_keys.key_material.get(material.domain_key_version)
        if domain_key is None or material.key_store != self.name or material.algorithm != ALGORITHM_XAES_256_GCM:
            raise KeyUnavailable
        try:
            return XaesKey(wrapping.unwrap(domain_key, material.wrapped, _binding(material)))
        except InvalidTag:
            raise KeyUnavailable from None


def _binding(material: KeyMaterial) -> tuple[str, ...]:
    """Return everything that fixes what a material is and whose, for its wrapping to authenticate."""
    return (
        KEY_MATERIAL,
        material.account,
        material.region,
        material.key_id,
        material.material_id,
        str(material.algorithm),
        material.key_store,
        str(material.domain_key_version),
    )
