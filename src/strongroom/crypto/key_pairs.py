"""Key pairs of every asymmetric key spec: made, and opened for what their key usage allows.

Private keys are PKCS #8 (RFC 5958), those of ML-DSA and ML-KEM their seed alone; public keys are SubjectPublicKeyInfo
(RFC 5280). Both are DER, as AWS gives them out. To open a key of another spec than was said raises ValueError.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from strongroom.crypto import ml_kem
from strongroom.crypto.ecc import CURVES, EccPrivateKey, EccPublicKey
from strongroom.crypto.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from strongroom.crypto.ml_dsa import MlDsaPrivateKey, MlDsaPublicKey
from strongroom.crypto.rsa import MODULUS_BITS, PUBLIC_EXPONENT, RsaPrivateKey, RsaPublicKey, check_sound

_OPENED_PUBLIC_KEYS = 10_000
_ML_KEM_512 = "ML_KEM_512"


class VerifyingKey(Protocol):
    """Verifies signatures. Safe to share between threads."""

    def verify(self, algorithm: str, message_type: str, message: bytes, signature: bytes) -> None:
        """Raise KMSInvalidSignature unless the signature is the message's."""
        ...


class EncapsulationKey(Protocol):
    """Makes shared secrets for the owner of the private key. Safe to share between threads."""

    def encapsulate(self) -> tuple[bytes, bytes]:
        """Return a fresh shared secret and the ciphertext that carries it."""
        ...


class KeyPair(NamedTuple):
    """A key pair in DER: PKCS #8 and SubjectPublicKeyInfo."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        return "KeyPair()"


_Private = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
    | mlkem.MLKEM768PrivateKey
    | mlkem.MLKEM1024PrivateKey
)
_TYPES: dict[str, tuple[type[PrivateKeyTypes], type[PublicKeyTypes]]] = {
    **dict.fromkeys(MODULUS_BITS, (rsa.RSAPrivateKey, rsa.RSAPublicKey)),
    **dict.fromkeys(CURVES, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)),
    "ECC_NIST_EDWARDS25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "ML_DSA_44": (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
    "ML_DSA_65": (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
    "ML_DSA_87": (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
    "ML_KEM_768": (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    "ML_KEM_1024": (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
}


def _rsa(bits: int) -> Callable[[], _Private]:
    return lambda: rsa.generate_private_key(PUBLIC_EXPONENT, bits)


def _on_curve(curve: ec.EllipticCurve) -> Callable[[], _Private]:
    return lambda: ec.generate_private_key(curve)


_GENERATE: dict[str, Callable[[], _Private]] = {
    **{spec: _rsa(bits) for spec, bits in MODULUS_BITS.items()},
    **{spec: _on_curve(curve) for spec, curve in CURVES.items()},
    "ECC_NIST_EDWARDS25519": ed25519.Ed25519PrivateKey.generate,
    "ML_DSA_44": mldsa.MLDSA44PrivateKey.generate,
    "ML_DSA_65": mldsa.MLDSA65PrivateKey.generate,
    "ML_DSA_87": mldsa.MLDSA87PrivateKey.generate,
    "ML_KEM_768": mlkem.MLKEM768PrivateKey.generate,
    "ML_KEM_1024": mlkem.MLKEM1024PrivateKey.generate,
}
_FROM_SEED: dict[str, tuple[int, Callable[[bytes], _Private]]] = {
    "ECC_NIST_EDWARDS25519": (32, ed25519.Ed25519PrivateKey.from_private_bytes),
    "ML_DSA_44": (32, mldsa.MLDSA44PrivateKey.from_seed_bytes),
    "ML_DSA_65": (32, mldsa.MLDSA65PrivateKey.from_seed_bytes),
    "ML_DSA_87": (32, mldsa.MLDSA87PrivateKey.from_seed_bytes),
    "ML_KEM_768": (64, mlkem.MLKEM768PrivateKey.from_seed_bytes),
    "ML_KEM_1024": (64, mlkem.MLKEM1024PrivateKey.from_seed_bytes),
}
ASYMMETRIC = frozenset({*_GENERATE, _ML_KEM_512})
"""The key specs of key pairs."""


def generate_key_pair(key_spec: str) -> KeyPair:
    """Make a key pair. RSA takes from a tenth of a second to some seconds, during which other threads run."""
    if key_spec == _ML_KEM_512:
        return key_pair_from_seed(key_spec, os.urandom)
    return encoded(_GENERATE[key_spec]())


def key_pair_from_seed(key_spec: str, random_bytes: Callable[[int], bytes]) -> KeyPair:
    """Make a key pair of a spec whose private keys are seeds (RFC 8032, FIPS 203, FIPS 204), of random bytes given."""
    if key_spec == _ML_KEM_512:
        return KeyPair(*ml_kem.generate_512(random_bytes))
    length, from_seed = _FROM_SEED[key_spec]
    return encoded(from_seed(random_bytes(length)))


def encoded(key: _Private) -> KeyPair:
    """A key pair in DER."""
    return KeyPair(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def read_key_pair(key_spec: str, private: bytes) -> KeyPair:
    """Read a private key that was made elsewhere, as PKCS #8 in DER, and see that it is sound.

    Raises ValueError if it is not a key of the spec.
    """
    if not _is_pkcs8(private):
        raise _no(key_spec)
    key = _private_key(key_spec, private)
    if isinstance(key, rsa.RSAPrivateKey):
        check_sound(key)
    pair = encoded(key)  # type: ignore[arg-type]  # of a type in the table
    if _algorithm(private) != _algorithm(pair.private):  # a curve by its parameters, RSA for PSS alone
        raise _no(key_spec)
    return pair


def load_signing_key(
    key_spec: str, private: bytes
) -> RsaPrivateKey | EccPrivateKey | Ed25519PrivateKey | MlDsaPrivateKey:
    """Open the private key of a spec that signs."""
    match _private_key(key_spec, private):
        case rsa.RSAPrivateKey() as key:
            return RsaPrivateKey(key)
        case ec.EllipticCurvePrivateKey() as key:
            return EccPrivateKey(key)
        case ed25519.Ed25519PrivateKey() as key:
            return Ed25519PrivateKey(key)
        case mldsa.MLDSA44PrivateKey() | mldsa.MLDSA65PrivateKey() | mldsa.MLDSA87PrivateKey() as key:
            return MlDsaPrivateKey(key)
    raise _no(key_spec)


def load_decryption_key(key_spec: str, private: bytes) -> RsaPrivateKey:
    """Open the private key of a spec that encrypts with its public key."""
    key = _private_key(key_spec, private)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _no(key_spec)
    return RsaPrivateKey(key)


def load_agreement_key(key_spec: str, private: bytes) -> EccPrivateKey:
    """Open the private key of a spec that agrees on secrets."""
    key = _private_key(key_spec, private)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _no(key_spec)
    return EccPrivateKey(key)


def load_decapsulation_key(key_spec: str, private: bytes) -> ml_kem.MlKemPrivateKey | ml_kem.MlKem512PrivateKey:
    """Open the private key of a spec that encapsulates."""
    if key_spec == _ML_KEM_512:
        return ml_kem.load_private_512(private)
    key = _private_key(key_spec, private)
    if not isinstance(key, mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey):
        raise _no(key_spec)
    return ml_kem.MlKemPrivateKey(key)


@lru_cache(maxsize=_OPENED_PUBLIC_KEYS)
def load_verifying_key(key_spec: str, public: bytes) -> VerifyingKey:
    """Open the public key of a spec that signs; the last that were opened are kept."""
    match _public_key(key_spec, public):
        case rsa.RSAPublicKey() as key:
            return RsaPublicKey(key)
        case ec.EllipticCurvePublicKey() as key:
            return EccPublicKey(key)
        case ed25519.Ed25519PublicKey() as key:
            return Ed25519PublicKey(key)
        case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey() as key:
            return MlDsaPublicKey(key)
    raise _no(key_spec)


@lru_cache(maxsize=_OPENED_PUBLIC_KEYS)
def load_encryption_key(key_spec: str, public: bytes) -> RsaPublicKey:
    """Open the public key of a spec that encrypts with it; the last that were opened are kept."""
    key = _public_key(key_spec, public)
    if not isinstance(key, rsa.RSAPublicKey):
        raise _no(key_spec)
    return RsaPublicKey(key)


@lru_cache(maxsize=_OPENED_PUBLIC_KEYS)
def load_encapsulation_key(key_spec: str, public: bytes) -> EncapsulationKey:
    """Open the public key of a spec that encapsulates; the last that were opened are kept."""
    if key_spec == _ML_KEM_512:
        return ml_kem.load_public_512(public)
    key = _public_key(key_spec, public)
    if not isinstance(key, mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey):
        raise _no(key_spec)
    return ml_kem.MlKemPublicKey(key)


def _is_pkcs8(der: bytes) -> bool:
    """Whether a private key names its algorithm after its version (RFC 5958), as older forms do not."""
    start = _content(der)
    return der[start : start + 2] == b"\x02\x01" and der[start + 3 : start + 4] == b"\x30"


def _algorithm(pkcs8: bytes) -> bytes:
    """The algorithm of a private key in PKCS #8, with its parameters, in DER."""
    begin = _content(pkcs8) + 3
    return pkcs8[begin : begin + 2 + pkcs8[begin + 1]]


def _content(der: bytes) -> int:
    """Where the content of a value begins: after its tag and its length."""
    return 2 if der[1:2] < b"\x80" else 2 + (der[1] & 0x7F)


def _private_key(key_spec: str, private: bytes) -> PrivateKeyTypes:
    # That an RSA key is sound was seen when it was made or read; OpenSSL takes longer for it than for many signatures.
    try:
        key = load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm, InternalError):  # encrypted; not known; what OpenSSL does not name
        raise _no(key_spec) from None
    if key_spec not in _TYPES or not isinstance(key, _TYPES[key_spec][0]) or not _fits(key_spec, key):
        raise _no(key_spec)
    return key


def _public_key(key_spec: str, public: bytes) -> PublicKeyTypes:
    try:
        key = load_der_public_key(public)
    except UnsupportedAlgorithm:
        raise _no(key_spec) from None
    if key_spec not in _TYPES or not isinstance(key, _TYPES[key_spec][1]) or not _fits(key_spec, key):
        raise _no(key_spec)
    return key


def _fits(key_spec: str, key: PrivateKeyTypes | PublicKeyTypes) -> bool:
    """Whether a key of the right type has the spec's size or curve."""
    match key:
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return key.key_size == MODULUS_BITS[key_spec]
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return key.curve.name == CURVES[key_spec].name
    return True


def _no(key_spec: str) -> ValueError:
    return ValueError(f"not a key of spec {key_spec} that does this")
