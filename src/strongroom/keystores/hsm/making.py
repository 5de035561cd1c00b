"""Keys that are made in the token: key material, as session objects that can be wrapped, and data key pairs."""

from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.crypto.ecc import CURVES
from strongroom.crypto.key_pairs import KeyPair, encoded
from strongroom.crypto.rsa import MODULUS_BITS, PUBLIC_EXPONENT
from strongroom.errors import UnsupportedOperation
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.failures import NotPossibleError
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import MaterialClass, private_key, public_key

OBJECT_IDENTIFIERS = {
    "ECC_NIST_P256": "06082a8648ce3d030107",
    "ECC_NIST_P384": "06052b81040022",
    "ECC_NIST_P521": "06052b81040023",
    "ECC_SECG_P256K1": "06052b8104000a",
}
"""Key spec -> DER object identifier of its curve."""
_RSA_COMPONENTS = (
    p11.CKA_PRIME_1, p11.CKA_PRIME_2, p11.CKA_PRIVATE_EXPONENT, p11.CKA_EXPONENT_1, p11.CKA_EXPONENT_2,
    p11.CKA_COEFFICIENT,
)  # fmt: skip
_AES = Mechanism(p11.CKM_AES_KEY_GEN)
_SECRET = Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN)
_RSA = Mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN)
_EC = Mechanism(p11.CKM_EC_KEY_PAIR_GEN)


def make_secret(session: Session, kind: MaterialClass, length: int, can: Capabilities) -> int:
    """Make a secret key of so many bytes that can be wrapped. Raises Pkcs11Error."""
    mechanism = _AES if kind.key_type == p11.CKK_AES else _SECRET
    return session.generate_key(mechanism, Template({**can.made_attributes(kind), p11.CKA_VALUE_LEN: length}))


def make_pair(session: Session, kind: MaterialClass, key_spec: str, can: Capabilities) -> tuple[int, bytes]:
    """Make a key pair; return the private key, which can be wrapped, and the public half in DER. Raises Pkcs11Error."""
    mechanism, public = _pair_of(key_spec)
    public_handle, handle = session.generate_pair(mechanism, public, Template(can.made_attributes(kind)))
    try:
        return handle, _public_der(session, key_spec, public_handle)
    finally:
        session.destroy(public_handle)


def make_data_key_pair(session: Session, key_spec: str) -> KeyPair:
    """Make an RSA or elliptic curve pair to be given away, and take it out of the token.

    Raises UnsupportedOperation if the token makes no such pairs or keeps them; Pkcs11Error.
    """
    mechanism, public = _pair_of(key_spec)
    key_type = p11.CKK_RSA if key_spec in MODULUS_BITS else p11.CKK_EC
    given_away: dict[int, Value] = {**private_key(key_type, p11.CKA_SIGN, extractable=True), p11.CKA_SENSITIVE: False}
    try:
        handles = session.generate_pair(mechanism, public, Template(given_away))
        try:
            return _rsa_pair(session, *handles) if key_type == p11.CKK_RSA else _ec_pair(session, key_spec, handles[1])
        finally:
            for handle in handles:
                session.destroy(handle)
    except NotPossibleError:
        raise UnsupportedOperation("Data key pairs of this spec are not supported by this key store.") from None


def _rsa_pair(session: Session, public: int, private: int) -> KeyPair:
    (modulus,) = told(session, public, (p11.CKA_MODULUS,))
    components = told(session, private, _RSA_COMPONENTS)
    p, q, d, dmp1, dmq1, iqmp = map(int.from_bytes, components)
    numbers = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, int.from_bytes(modulus))
    return encoded(rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, numbers).private_key())


def _ec_pair(session: Session, key_spec: str, private: int) -> KeyPair:
    (value,) = told(session, private, (p11.CKA_VALUE,))
    return encoded(ec.derive_private_key(int.from_bytes(value), CURVES[key_spec]))


def _pair_of(key_spec: str) -> tuple[Mechanism, Template]:
    """The mechanism that makes pairs of a spec, and the template of their public halves."""
    if key_spec in MODULUS_BITS:
        exponent = PUBLIC_EXPONENT.to_bytes(3)
        return _RSA, Template(
            public_key(p11.CKK_RSA, CKA_MODULUS_BITS=MODULUS_BITS[key_spec], CKA_PUBLIC_EXPONENT=exponent)
        )
    return _EC, Template(public_key(p11.CKK_EC, CKA_EC_PARAMS=bytes.fromhex(OBJECT_IDENTIFIERS[key_spec])))


def _public_der(session: Session, key_spec: str, handle: int) -> bytes:
    """The public half as AWS gives it out: a DER SubjectPublicKeyInfo."""
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    if key_spec in MODULUS_BITS:
        (modulus,) = told(session, handle, (p11.CKA_MODULUS,))
        key = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, int.from_bytes(modulus)).public_key()
    else:
        (point,) = told(session, handle, (p11.CKA_EC_POINT,))
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[key_spec], _point(CURVES[key_spec], point))
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _point(curve: ec.EllipticCurve, told: bytes) -> bytes:
    """The uncompressed point, which the standard puts into a DER OCTET STRING and some tokens do not."""
    return told[-(1 + 2 * ((curve.key_size + 7) // 8)) :]


def told(session: Session, handle: int, kinds: Collection[int]) -> list[bytes]:
    """Values of attributes. Raises NotPossibleError if the token does not give one out; other Pkcs11Error."""
    values = [value for value in session.attributes(handle, list(kinds)) if value is not None]
    if len(values) != len(kinds):
        raise NotPossibleError("C_GetAttributeValue", 0x11)
    return values
