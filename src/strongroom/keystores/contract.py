"""Where key material lives and is used: the contract that every key store fulfils.

One test suite (`tests/contracts/test_key_store.py`) runs on every implementation.
"""

from typing import Protocol

from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.model.key import KeyMaterial


class SymmetricKey(Protocol):
    """Key material of a symmetric encryption key, ready for use. Safe to share between threads."""

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob (docs/formats/ciphertext-blob.md). Draws fresh randomness."""
        ...

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        ...


class KeyStore(Protocol):
    """Makes key material, wraps it for storage, and opens it for use."""

    name: str
    """Stored with each key material: which store can open it."""
    blocking: bool
    """Whether calls may wait for something outside the process and must not run on the event loop."""

    def generate_symmetric(self, *, account: str, region: str, key_id: str, created: float) -> KeyMaterial:
        """Make new 256-bit material with a fresh material id, wrapped for storage. Stores nothing itself."""
        ...

    def open_symmetric(self, material: KeyMaterial) -> SymmetricKey:
        """Unwrap `material` for use; opened material is kept, so that a repeated call costs a lookup.

        Raises KeyUnavailable if it does not unwrap: altered, or wrapped for another key.
        """
        ...

    def forget(self, material_id: str) -> None:
        """Drop opened material. Idempotent."""
        ...

    def random_bytes(self, length: int) -> bytes:
        """Return `length` bytes fit for keys, from the store's own generator."""
        ...
