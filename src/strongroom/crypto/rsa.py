"""RSA (RFC 8017): signatures in both forms, and OAEP encryption."""

import os

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512

from strongroom.errors import InvalidCiphertext, KMSInvalidSignature
from strongroom.model.key_specs import DIGEST, RAW

MODULUS_BITS = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}
PUBLIC_EXPONENT = 65537
_PROOF_BYTES = 32

_Hash = SHA256 | SHA384 | SHA512
_HASHES: dict[str, _Hash] = {"SHA_256": SHA256(), "SHA_384": SHA384(), "SHA_512": SHA512()}
_SIGNING: dict[str, tuple[AsymmetricPadding, _Hash]] = {
    **{f"RSASSA_PKCS1_V1_5_{name}": (PKCS1v15(), hash_) for name, hash_ in _HASHES.items()},
    **{f"RSASSA_PSS_{name}": (PSS(MGF1(hash_), hash_.digest_size), hash_) for name, hash_ in _HASHES.items()},
}
# SHA-1 is what the algorithm is made of; its weakness, collisions, does not touch OAEP.
_OAEP = {
    "RSAES_OAEP_SHA_1": OAEP(MGF1(SHA1()), SHA1(), None),  # noqa: S303
    "RSAES_OAEP_SHA_256": OAEP(MGF1(SHA256()), SHA256(), None),
}


class RsaPrivateKey:
    """Signs and decrypts. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def sign(self, algorithm: str, message_type: str, message: bytes) -> bytes:
        """Return a signature as long as the modulus. A DIGEST is as long as the algorithm's hash."""
        padding, hash_ = _SIGNING[algorithm]
        return self._key.sign(message, padding, Prehashed(hash_) if message_type == DIGEST else hash_)

    def decrypt(self, algorithm: str, ciphertext: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext."""
        try:
            return self._key.decrypt(ciphertext, _OAEP[algorithm])
        except ValueError:
            raise InvalidCiphertext from None


class RsaPublicKey:
    """Verifies and encrypts. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self._key = key

    def verify(self, algorithm: str, message_type: str, message: bytes, signature: bytes) -> None:
        """Raise KMSInvalidSignature unless the signature is the message's; the salt of PSS is as long as the hash."""
        padding, hash_ = _SIGNING[algorithm]
        try:
            self._key.verify(signature, message, padding, Prehashed(hash_) if message_type == DIGEST else hash_)
        except InvalidSignature:
            raise KMSInvalidSignature from None

    def encrypt(self, algorithm: str, plaintext: bytes) -> bytes:
        """Return a ciphertext as long as the modulus. The plaintext is no longer than the key spec's table says."""
        return self._key.encrypt(plaintext, _OAEP[algorithm])


def is_public(modulus: int, exponent: int) -> bool:
    """Whether these can be a public key: both odd, the exponent more than 16 bits and at most 256 (FIPS 186-5)."""
    return modulus % 2 == 1 and exponent % 2 == 1 and 2**16 < exponent < 2**256


def check_sound(key: rsa.RSAPrivateKey) -> None:
    """See that a private key that was made elsewhere is sound (RFC 8017, section 3.2; FIPS 186-5, appendix A.1.1).

    That the factors are prime is seen by a signature that verifies: with these exponents it is Fermat's test of each,
    to a random base. OpenSSL's own check takes a third of a second, in which no other thread runs. Raises ValueError.
    """
    numbers = key.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    half = key.key_size // 2
    belong = (
        is_public(n, e)
        and numbers.p * numbers.q == n
        and numbers.p.bit_length() == half
        and numbers.q.bit_length() == half
        and numbers.d * e % (numbers.p - 1) == 1
        and numbers.d * e % (numbers.q - 1) == 1
        and numbers.d % (numbers.p - 1) == numbers.dmp1
        and numbers.d % (numbers.q - 1) == numbers.dmq1
        and numbers.iqmp * numbers.q % numbers.p == 1
    )
    if not belong:
        raise ValueError("the parts of the key do not belong together")
    message = os.urandom(_PROOF_BYTES)
    algorithm = "RSASSA_PSS_SHA_256"
    try:
        signature = RsaPrivateKey(key).sign(algorithm, RAW, message)
        RsaPublicKey(key.public_key()).verify(algorithm, RAW, message, signature)
    except KMSInvalidSignature:
        raise ValueError("the key does not do what it should") from None
