"""Elliptic curves in Weierstrass form: ECDSA (FIPS 186-5) and ECDH (NIST SP 800-56A)."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from strongroom.errors import KMSInvalidSignature, Validation
from strongroom.model.key_specs import DIGEST, RAW

CURVES: dict[str, ec.EllipticCurve] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}

_Hash = SHA256 | SHA384 | SHA512
_HASHES: dict[str, _Hash] = {"ECDSA_SHA_256": SHA256(), "ECDSA_SHA_384": SHA384(), "ECDSA_SHA_512": SHA512()}
_SIGNING: dict[tuple[str, str], ec.ECDSA] = {
    (algorithm, message_type): ec.ECDSA(Prehashed(hash_) if message_type == DIGEST else hash_)
    for algorithm, hash_ in _HASHES.items()
    for message_type in (RAW, DIGEST)
}


class EccPrivateKey:
    """Signs, or agrees on secrets. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, algorithm: str, message_type: str, message: bytes) -> bytes:
        """Return a signature in DER (X9.62: ECDSA-Sig-Value). A DIGEST is as long as the algorithm's hash."""
        return self._key.sign(message, _SIGNING[algorithm, message_type])

    def shared_secret(self, public_key: bytes) -> bytes:
        """Return the x coordinate of the shared point, as long as the curve's field (NIST SP 800-56A, 5.7.1.2).

        `public_key` is the other side's, a DER SubjectPublicKeyInfo. Raises Validation, as AWS without a text, if it is
        none, of another curve, or not a point of it.
        """
        return self._key.exchange(ec.ECDH(), load_peer(public_key, self._key.curve))


def load_peer(public_key: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    """Open the other side's public key. Raises Validation, without a text, as `EccPrivateKey.shared_secret`."""
    try:
        theirs = load_der_public_key(public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Validation from None
    if not isinstance(theirs, ec.EllipticCurvePublicKey) or theirs.curve.name != curve.name:
        raise Validation
    return theirs


class EccPublicKey:
    """Verifies. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def verify(self, algorithm: str, message_type: str, message: bytes, signature: bytes) -> None:
        """Raise KMSInvalidSignature unless the signature, in DER, is the message's."""
        try:
            self._key.verify(signature, message, _SIGNING[algorithm, message_type])
        except InvalidSignature:
            raise KMSInvalidSignature from None
