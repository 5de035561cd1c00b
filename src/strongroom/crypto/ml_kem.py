"""ML-KEM (FIPS 203). Private keys are kept as seeds, 64 bytes, for all parameter sets.

cryptography has no ML-KEM-512: pycryptodome makes, reads and expands its keys, and pqcrypto encapsulates and
decapsulates with them (docs/decisions/ml-kem-512.md).
"""

from collections.abc import Callable

from Crypto.PublicKey import MLKEM
from cryptography.hazmat.primitives.asymmetric import mlkem
from pqcrypto.kem import ml_kem_512

from strongroom.errors import InvalidCiphertext

_CIPHERTEXT_768, _CIPHERTEXT_1024 = 1088, 1568


class MlKemPrivateKey:
    """Decapsulates with ML-KEM-768 or -1024. Safe to share between threads."""

    __slots__ = ("_ciphertext_length", "_key")

    def __init__(self, key: mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey) -> None:
        self._key = key
        self._ciphertext_length = _CIPHERTEXT_768 if isinstance(key, mlkem.MLKEM768PrivateKey) else _CIPHERTEXT_1024

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret, 32 bytes: for a ciphertext of another key, other bytes (implicit rejection).

        Raises InvalidCiphertext for one of another length.
        """
        if len(ciphertext) != self._ciphertext_length:
            raise InvalidCiphertext
        return self._key.decapsulate(ciphertext)


class MlKem512PrivateKey:
    """Decapsulates with ML-KEM-512. Safe to share between threads."""

    __slots__ = ("_expanded",)

    def __init__(self, expanded: bytes) -> None:
        self._expanded = expanded

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """As `MlKemPrivateKey.decapsulate`."""
        if len(ciphertext) != ml_kem_512.CIPHERTEXT_SIZE:
            raise InvalidCiphertext
        return bytes(ml_kem_512.decaps(self._expanded, ciphertext))


class MlKemPublicKey:
    """Encapsulates with ML-KEM-768 or -1024. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey) -> None:
        self._key = key

    def encapsulate(self) -> tuple[bytes, bytes]:
        """Return a fresh shared secret, 32 bytes, and the ciphertext that carries it."""
        return self._key.encapsulate()


class MlKem512PublicKey:
    """Encapsulates with ML-KEM-512. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encapsulate(self) -> tuple[bytes, bytes]:
        """As `MlKemPublicKey.encapsulate`."""
        ciphertext, shared_secret = ml_kem_512.encaps(self._key)
        return bytes(shared_secret), bytes(ciphertext)


def generate_512(random_bytes: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Return the ML-KEM-512 key pair of a seed of random bytes, in DER (RFC 9935).

    PKCS #8, its seed alone, and SubjectPublicKeyInfo.
    """
    key = MLKEM.generate(param_set=MLKEM.ML_KEM_512, randfunc=random_bytes)
    return key.export_key(), key.public_key().export_key()


def load_private_512(private: bytes) -> MlKem512PrivateKey:
    """Open the PKCS #8 of an ML-KEM-512 key. Raises ValueError."""
    return MlKem512PrivateKey(_read_512(private).expanded_dk)  # a public key has none: ValueError


def load_public_512(public: bytes) -> MlKem512PublicKey:
    """Open the SubjectPublicKeyInfo of an ML-KEM-512 key. Raises ValueError."""
    key = _read_512(public)
    if key.has_private():
        raise ValueError("a private key")
    return MlKem512PublicKey(key.ek)


def _read_512(der: bytes) -> MLKEM.MLKEMKey:
    key = MLKEM.import_key(der)
    if key.param_set is not MLKEM.ML_KEM_512:
        raise ValueError("not an ML-KEM-512 key")
    return key
