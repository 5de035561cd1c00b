"""Whether imported material, open in the token, is of its key spec and works there, and which material it is."""

import sys

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.crypto.ecc import CURVES, EccPublicKey
from strongroom.crypto.key_pairs import load_encryption_key, load_verifying_key
from strongroom.crypto.rsa import MODULUS_BITS, PUBLIC_EXPONENT, is_public
from strongroom.errors import IncorrectKeyMaterial, KMSInvalidSignature
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.equivalence import told_by
from strongroom.keystores.hsm.making import OBJECT_IDENTIFIERS, told
from strongroom.keystores.hsm.mechanisms import OAEP_MECHANISMS, ecdsa_to_der, shared_secret, subkey, to_sign
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import (
    AES_XAES,
    CLASSES,
    EC_DERIVE,
    EC_SIGN,
    HMAC,
    RSA_SIGN,
    MaterialClass,
)
from strongroom.keystores.hsm.unwrapping import Wrapped
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import KEY_SPECS, RAW, SIGN_VERIFY, fits_secret

_MESSAGE = b"strongroom imported key material works"
_RSASSA = "RSASSA_PKCS1_V1_5_SHA_256"
_OAEP = "RSAES_OAEP_SHA_1"
_NONCE = 12


def answer(wrapped: Wrapped, kind: MaterialClass, key: KmsKey, can: Capabilities) -> bytes:
    """What a secret answers to its challenge (`material_ids`), after it was seen to work as one of its class.

    Raises IncorrectKeyMaterial if its length is known not to fit; Pkcs11Error, also if the token refuses it for that.
    """
    session = wrapped.session
    if wrapped.length is not None and not fits_secret(key.key_spec, wrapped.length):
        raise IncorrectKeyMaterial
    with wrapped.opened(Template(can.taken_attributes(kind))) as handle:
        _check_length(session, handle, key.key_spec)
        if kind.name == AES_XAES:
            subkey(session, handle)
        elif kind.name != HMAC:
            session.encrypt_gcm(handle, session.random(_NONCE), _MESSAGE, b"")
    with wrapped.opened(Template(can.opened_attributes(CLASSES[HMAC]))) as handle:
        return told_by(session, handle, key)


def public_half(wrapped: Wrapped, kind: MaterialClass, key: KmsKey, can: Capabilities) -> bytes:
    """The public half of a private key, in DER, after it was seen to fit.

    Raises IncorrectKeyMaterial if the key is of another size or curve, or does not do what its public half says;
    Pkcs11Error. Of an RSA key a token may use some parts only, and nobody sees whether the others are right.
    """
    with wrapped.opened(Template(can.taken_attributes(kind))) as handle:
        if kind.key_type == p11.CKK_EC:
            return _ec_public_half(wrapped, kind, handle, key.key_spec, can)
        return _rsa_public_half(wrapped.session, kind, handle, key.key_spec)


def _check_length(session: Session, handle: int, key_spec: str) -> None:
    """Refuse a secret of another length, as far as the token tells it (0: it does not)."""
    (length,) = session.attributes(handle, [p11.CKA_VALUE_LEN])
    number = 0 if length is None else int.from_bytes(length, sys.byteorder)
    if number and not fits_secret(key_spec, number):
        raise IncorrectKeyMaterial


def _rsa_public_half(session: Session, kind: MaterialClass, handle: int, key_spec: str) -> bytes:
    (modulus,) = told(session, handle, (p11.CKA_MODULUS,))
    (exponent,) = session.attributes(handle, [p11.CKA_PUBLIC_EXPONENT])
    # A token that does not tell the exponent is taken to have the usual one: what follows shows whether it has.
    n, e = int.from_bytes(modulus), PUBLIC_EXPONENT if exponent is None else int.from_bytes(exponent)
    # Before anything is done with it: there are tokens that a key with exponent 0 crashes, and the process with them.
    if n.bit_length() != MODULUS_BITS[key_spec] or not is_public(n, e):
        raise IncorrectKeyMaterial
    try:
        public = rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        encrypted = load_encryption_key(key_spec, public).encrypt(_OAEP, _MESSAGE)
    except ValueError:
        raise IncorrectKeyMaterial from None
    if kind.name == RSA_SIGN:
        fits = _signature_fits(session, handle, key_spec, public)
    else:
        fits = session.decrypt(OAEP_MECHANISMS[_OAEP], handle, encrypted) == _MESSAGE
    if not fits:
        raise IncorrectKeyMaterial
    return public


def _signature_fits(session: Session, handle: int, key_spec: str, public: bytes) -> bool:
    mechanism, data = to_sign(_RSASSA, RAW, _MESSAGE)
    try:
        load_verifying_key(key_spec, public).verify(_RSASSA, RAW, _MESSAGE, session.sign(mechanism, handle, data))
    except KMSInvalidSignature:
        return False
    return True


def _ec_public_half(wrapped: Wrapped, kind: MaterialClass, handle: int, key_spec: str, can: Capabilities) -> bytes:
    """Tokens do not tell the point of a private key. The key is opened a second time, as the class that it is not.

    The secret that it shares with the owner of private key 1 is the point's x coordinate, and of the two points that
    have it the one is its public half which fits a signature.
    """
    session, curve = wrapped.session, CURVES[key_spec]
    (parameters,) = told(session, handle, (p11.CKA_EC_PARAMS,))
    if parameters != bytes.fromhex(OBJECT_IDENTIFIERS[key_spec]):
        raise IncorrectKeyMaterial
    signs = kind.name == EC_SIGN
    with wrapped.opened(Template(can.opened_attributes(CLASSES[EC_DERIVE if signs else EC_SIGN]))) as other:
        signing, deriving = (handle, other) if signs else (other, handle)
        x = shared_secret(session, deriving, _generator(curve), (curve.key_size + 7) // 8)
        algorithm = KEY_SPECS[key_spec].algorithms[SIGN_VERIFY][0]
        mechanism, data = to_sign(algorithm, RAW, _MESSAGE)
        signature = ecdsa_to_der(session.sign(mechanism, signing, data))
    for sign in (b"\x02", b"\x03"):
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve, sign + x)
            EccPublicKey(public).verify(algorithm, RAW, _MESSAGE, signature)
        except (ValueError, KMSInvalidSignature):
            continue
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise IncorrectKeyMaterial


def _generator(curve: ec.EllipticCurve) -> bytes:
    """The generator of a curve, which is the point of private key 1."""
    return ec.derive_private_key(1, curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
