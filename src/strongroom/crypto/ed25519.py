"""Ed25519 (RFC 8032): the pure form, and Ed25519ph, which PyNaCl does and cryptography does not."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from nacl import bindings
from nacl.exceptions import BadSignatureError

from strongroom.errors import KMSInvalidSignature
from strongroom.model.key_specs import ED25519

_SIGNATURE_LENGTH = 64


class Ed25519PrivateKey:
    """Signs. Safe to share between threads."""

    __slots__ = ("_key", "_nacl_key")

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        _, self._nacl_key = bindings.crypto_sign_seed_keypair(key.private_bytes_raw())

    def sign(self, algorithm: str, _message_type: str, message: bytes) -> bytes:
        """Return a signature of 64 bytes. Ed25519ph hashes what it is given, a digest too (FIPS 186-5, 7.8.1)."""
        if algorithm == ED25519:
            return self._key.sign(message)
        return bindings.crypto_sign_ed25519ph_final_create(_hashed(message), self._nacl_key)


class Ed25519PublicKey:
    """Verifies. Safe to share between threads."""

    __slots__ = ("_key", "_raw")

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        self._key = key
        self._raw = key.public_bytes_raw()

    def verify(self, algorithm: str, _message_type: str, message: bytes, signature: bytes) -> None:
        """Raise KMSInvalidSignature unless the signature is the message's."""
        try:
            if algorithm == ED25519:
                self._key.verify(signature, message)
            elif len(signature) != _SIGNATURE_LENGTH:
                raise KMSInvalidSignature
            else:
                bindings.crypto_sign_ed25519ph_final_verify(_hashed(message), signature, self._raw)
        except (InvalidSignature, BadSignatureError):
            raise KMSInvalidSignature from None


def _hashed(message: bytes) -> bindings.crypto_sign_ed25519ph_state:
    state = bindings.crypto_sign_ed25519ph_state()
    bindings.crypto_sign_ed25519ph_update(state, message)
    return state
