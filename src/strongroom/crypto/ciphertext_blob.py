"""The ciphertext blob that Encrypt and its kin return (docs/formats/ciphertext-blob.md). It knows no keys.

    offset  size  field
    0       1     format version, 1
    1       1     algorithm: 1 = XAES-256-GCM, 2 = AES-256-GCM (HSMs that cannot derive), 3 = external key
    2       1     length of the material id, 32
    3       32    material id
    35      1     length of the nonce: 24 for XAES-256-GCM, 12 for AES-256-GCM, 12 or 16 for an external key
    36      n     nonce
    36+n    4     length of the ciphertext, big-endian
    40+n    m     ciphertext and its tag; nothing follows

Everything before the ciphertext is the header. The header and the encryption context are authenticated with it.
"""

from struct import Struct, error

from msgspec import Struct as Record

from strongroom.crypto.encryption_context import canonical_bytes
from strongroom.errors import InvalidCiphertext

VERSION = 1
"""The only format version so far."""
ALGORITHM_XAES_256_GCM = 1
"""XAES-256-GCM with a 24-byte random nonce (crypto/xaes.py)."""
ALGORITHM_AES_256_GCM = 2
"""AES-256-GCM with a 12-byte random nonce, for 2^32 messages: in HSMs that cannot derive the keys of messages."""
ALGORITHM_EXTERNAL = 3
"""Double encryption under an external key (keystores/external/layers.py): the nonce is the external key manager's."""
NO_ALGORITHM = 0
"""Of key material that makes no blobs."""
MATERIAL_ID_LENGTH = 32
"""Bytes of a material id; as text it is twice as many lower-case hex digits."""

_NONCE_LENGTHS = {ALGORITHM_XAES_256_GCM: (24,), ALGORITHM_AES_256_GCM: (12,), ALGORITHM_EXTERNAL: (12, 16)}
_LABEL = b"strongroom ciphertext blob\x00"
_FIXED = Struct(f">BBB{MATERIAL_ID_LENGTH}sB")
_LENGTH = Struct(">I")


class CiphertextBlob(Record, frozen=True):
    """A parsed blob. Its form is checked; nothing in it is authenticated before it is decrypted.

    `material_id` is 64 lower-case hex digits. `ciphertext` ends with the tag. `header` is what comes before it.
    """

    algorithm: int
    material_id: str
    nonce: bytes
    ciphertext: bytes
    header: bytes


def build_header(algorithm: int, material_id: str, nonce: bytes, ciphertext_length: int) -> bytes:
    """Return the header that, followed by `ciphertext_length` bytes of ciphertext with its tag, is a blob."""
    return (
        _FIXED.pack(VERSION, algorithm, MATERIAL_ID_LENGTH, bytes.fromhex(material_id), len(nonce))
        + nonce
        + _LENGTH.pack(ciphertext_length)
    )


def associated_data(header: bytes, encryption_context: dict[str, str]) -> bytes:
    """Return what the cipher authenticates beside the ciphertext.

    Injective: the label is fixed, a header shows its own end, and so does the encoded context.
    """
    return _LABEL + header + canonical_bytes(encryption_context)


def parse(blob: bytes) -> CiphertextBlob:
    """Take a blob apart. Raises InvalidCiphertext, without a message as AWS, for whatever is no blob of ours."""
    try:
        version, algorithm, id_length, material_id, nonce_length = _FIXED.unpack_from(blob)
        nonce_end = _FIXED.size + nonce_length
        (ciphertext_length,) = _LENGTH.unpack_from(blob, nonce_end)
    except error:
        raise InvalidCiphertext from None
    header_end = nonce_end + _LENGTH.size
    if (
        version != VERSION
        or nonce_length not in _NONCE_LENGTHS.get(algorithm, ())
        or id_length != MATERIAL_ID_LENGTH
        or len(blob) != header_end + ciphertext_length
    ):
        raise InvalidCiphertext
    return CiphertextBlob(
        algorithm=algorithm,
        material_id=material_id.hex(),
        nonce=blob[_FIXED.size : nonce_end],
        ciphertext=blob[header_end:],
        header=blob[:header_end],
    )
