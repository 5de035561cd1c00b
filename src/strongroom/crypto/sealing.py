"""Sealing to a public key: whoever seals cannot open (HPKE, RFC 9180, base mode).

The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: RFC 9180's identifiers 0x0020, 0x0001, 0x0002.

    sealed = format version (1 byte, 1) || encapsulated key (32 bytes) || ciphertext and tag (plaintext + 16 bytes)
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

_VERSION = b"\x01"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def public_key_of(private_key: bytes) -> bytes:
    """Return the raw 32-byte public key that belongs to a raw 32-byte private key."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def seal_to(public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal `plaintext` to a raw 32-byte public key, bound to `info`. The ephemeral key is drawn inside.

    The result is 49 bytes longer than the plaintext. Raises ValueError if the public key has another length.
    """
    return _VERSION + _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)


def open_sealed(private_key: bytes, sealed: bytes, info: bytes) -> bytes:
    """Return what was sealed to the public key of `private_key` with the same `info`.

    Raises cryptography's InvalidTag for anything else: altered, cut, of another version, to another key or info.
    """
    if sealed[:1] != _VERSION:
        raise InvalidTag
    return _SUITE.decrypt(sealed[1:], X25519PrivateKey.from_private_bytes(private_key), info)
