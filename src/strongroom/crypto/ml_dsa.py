"""ML-DSA (FIPS 204), hedged, with an empty context."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from strongroom.errors import KMSInvalidSignature
from strongroom.model.key_specs import EXTERNAL_MU

PrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey


class MlDsaPrivateKey:
    """Signs. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def sign(self, _algorithm: str, message_type: str, message: bytes) -> bytes:
        """Return a signature of a message, or of the 64 bytes that stand for one (mu: FIPS 204, algorithm 7)."""
        return self._key.sign_mu(message) if message_type == EXTERNAL_MU else self._key.sign(message)


class MlDsaPublicKey:
    """Verifies. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    def verify(self, _algorithm: str, message_type: str, message: bytes, signature: bytes) -> None:
        """Raise KMSInvalidSignature unless the signature is the message's."""
        try:
            if message_type == EXTERNAL_MU:
                self._key.verify_mu(signature, message)
            else:
                self._key.verify(signature, message)
        except InvalidSignature:
            raise KMSInvalidSignature from None
