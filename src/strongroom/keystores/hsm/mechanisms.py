"""How each algorithm of KMS is asked of a token: mechanisms, and what they take and give.

Hashing is always done here: tokens differ in what they hash, and nothing secret is in it.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, Hash

from strongroom.crypto.rsa import MODULUS_BITS, PUBLIC_EXPONENT
from strongroom.crypto.xaes import masked_counters
from strongroom.errors import InvalidCiphertext
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.failures import NotPossibleError
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import secret_key
from strongroom.keystores.niceness import be_nice
from strongroom.model.key_specs import DIGEST

RSA_PKCS = Mechanism(p11.CKM_RSA_PKCS)
RAW_RSA = Mechanism(p11.CKM_RSA_X_509)
ECDSA = Mechanism(p11.CKM_ECDSA)


def _oaep(hash_: int, mask: int) -> Mechanism:
    return Mechanism(p11.CKM_RSA_PKCS_OAEP, p11.CK_RSA_PKCS_OAEP_PARAMS(hash_, mask, p11.CKZ_DATA_SPECIFIED, None, 0))


OAEP_MECHANISMS = {
    "RSAES_OAEP_SHA_1": _oaep(p11.CKM_SHA_1, p11.CKG_MGF1_SHA1),
    "RSAES_OAEP_SHA_256": _oaep(p11.CKM_SHA256, p11.CKG_MGF1_SHA256),
}

ENCRYPTED_ZERO = Template(
    {
        **secret_key(p11.CKK_GENERIC_SECRET),
        p11.CKA_SENSITIVE: False,
        p11.CKA_EXTRACTABLE: True,
        p11.CKA_VALUE_LEN: 16,
    }
)
"""The encryption of sixteen zero bytes, of which the subkey of XAES-256-GCM is made in the server."""

_HASHES = {"SHA_256": SHA256(), "SHA_384": SHA384(), "SHA_512": SHA512()}
_PSS = {
    "SHA_256": Mechanism(
        p11.CKM_RSA_PKCS_PSS, p11.CK_RSA_PKCS_PSS_PARAMS(p11.CKM_SHA256, p11.CKG_MGF1_SHA256, 32)
    ),
    "SHA_384": Mechanism(
        p11.CKM_RSA_PKCS_PSS, p11.CK_RSA_PKCS_PSS_PARAMS(p11.CKM_SHA384, p11.CKG_MGF1_SHA384, 48)
    ),
    "SHA_512": Mechanism(
        p11.CKM_RSA_PKCS_PSS, p11.CK_RSA_PKCS_PSS_PARAMS(p11.CKM_SHA512, p11.CKG_MGF1_SHA512, 64)
    ),
}  # fmt: skip
_DIGEST_INFO = {
    "SHA_256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "SHA_384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "SHA_512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the hash in PKCS #1 version 1.5 (RFC 8017, section 9.2)."""


def to_sign(algorithm: str, message_type: str, message: bytes) -> tuple[Mechanism, bytes]:
    """The mechanism of a signing algorithm, and what it signs of a message."""
    name = algorithm[-len("SHA_256") :]
    digest = message if message_type == DIGEST else _digest(name, message)
    if algorithm.startswith("ECDSA"):
        return ECDSA, digest
    if "PSS" in algorithm:
        return _PSS[name], digest
    return RSA_PKCS, _DIGEST_INFO[name] + digest


def ecdsa_to_der(signature: bytes) -> bytes:
    """A signature of a token (r and s side by side) as AWS gives it out (X9.62: ECDSA-Sig-Value)."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))


def ecdh(public_point: bytes) -> Mechanism:
    """The derivation of the raw secret shared with a point (X9.62, uncompressed)."""
    return Mechanism(
        p11.CKM_ECDH1_DERIVE,
        p11.CK_ECDH1_DERIVE_PARAMS(p11.CKD_NULL, 0, None, len(public_point), public_point),
    )


def wrapping_mechanism(number: int, iv: bytes) -> Mechanism:
    """The mechanism that wraps; RFC 5649 needs no initialization vector."""
    return Mechanism(number, iv if number == p11.CKM_AES_CBC_PAD else None)


def subkey(session: Session, key: int) -> int:
    """What XAES-256-GCM makes once of a key (`xaes.masked_counters`): it is kept while the key is open."""
    derived = session.derive_by_encryption(key, bytes(16), ENCRYPTED_ZERO)
    with session.holding(derived):
        (value,) = session.attributes(derived, [p11.CKA_VALUE])
    if value is None or len(value) != 16:  # noqa: PLR2004 — one block
        raise NotPossibleError("C_GetAttributeValue", 0x11)
    return masked_counters(value)


def shared_secret(session: Session, key: int, public_point: bytes, length: int) -> bytes:
    """The raw secret of a private key and a point: the x coordinate, as long as the field."""
    template = Template(
        {
            **secret_key(p11.CKK_GENERIC_SECRET),
            p11.CKA_SENSITIVE: False,
            p11.CKA_EXTRACTABLE: True,
            p11.CKA_VALUE_LEN: length,
        }
    )
    derived = session.derive(ecdh(public_point), key, template)
    with session.holding(derived):
        (value,) = session.attributes(derived, [p11.CKA_VALUE])
    if value is None or len(value) != length:
        raise NotPossibleError("C_GetAttributeValue", 0x11)
    return value


class OaepOpener:
    """Takes the padding of OAEP with SHA-256 off, for tokens that cannot.

    Nothing of it is written here: what the token's raw RSA gave back is encrypted, raw too, with a key of the same
    length that is made for this and never leaves, and OpenSSL decrypts that with OAEP: it takes the padding off in
    constant time, with one error for all that can be wrong (Manger's attack). A sound encoding begins with a zero byte,
    and so is smaller than any modulus of its length.
    """

    def __init__(self, bits: int) -> None:
        self._key = rsa.generate_private_key(PUBLIC_EXPONENT, bits)
        self._modulus = self._key.public_key().public_numbers().n
        self._padding = OAEP(MGF1(SHA256()), SHA256(), None)

    def open(self, encoded: bytes) -> bytes:
        """Return the message of an encoded one. Raises InvalidCiphertext."""
        encrypted = pow(int.from_bytes(encoded), PUBLIC_EXPONENT, self._modulus)
        try:
            return self._key.decrypt(encrypted.to_bytes(self._key.key_size // 8), self._padding)
        except ValueError:
            raise InvalidCiphertext from None


class OaepOpeners:
    """An opener for each length of RSA key, made when it is asked for first: that takes seconds."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="oaep", initializer=be_nice)
        self._made: dict[str, Future[OaepOpener]] = {}
        self._lock = Lock()

    def prepare(self) -> None:
        """Make all of them in the background."""
        for spec in MODULUS_BITS:
            self._begun(spec)

    def of(self, key_spec: str) -> OaepOpener:
        """The opener for keys of a spec; wait for it if need be."""
        return self._begun(key_spec).result()

    def _begun(self, key_spec: str) -> "Future[OaepOpener]":
        with self._lock:
            if key_spec not in self._made:
                self._made[key_spec] = self._thread.submit(OaepOpener, MODULUS_BITS[key_spec])
            return self._made[key_spec]


def _digest(name: str, message: bytes) -> bytes:
    hash_ = Hash(_HASHES[name])
    hash_.update(message)
    return hash_.finalize()
