"""The first line of a segment: chained like every other, and signed by the installation.

It carries the segment's first MAC key, sealed to the installation's chain public key: only the holder of the private
key can recompute the chain. Anybody can seal; the signature of the digest key says that the installation did.
"""

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from strongroom.crypto.sealing import open_sealed, seal_to

FORMAT = "strongroom-audit-log-1"
_SIGNED = b"strongroom audit segment header\n"
_encoder = msgspec.json.Encoder()


class SegmentHeader(Struct, frozen=True, rename="camel"):
    """The first record of a segment. `sealed_key` opens to the key of this very line.

    `signature` is RSA PKCS #1 v1.5 with SHA-256 over all other members. In JSON, bytes are base64.
    """

    format: str
    installation_id: str
    chain_id: str
    segment: int
    previous_mac: bytes
    start_time: str
    sealed_key: bytes
    signature: bytes = b""


def encode_header(header: SegmentHeader) -> bytes:
    """Return the header as a record."""
    return _encoder.encode(header)


def decode_header(record: bytes) -> SegmentHeader | None:
    """Read a record as a header; None if it is none. Nothing is verified."""
    try:
        header = msgspec.json.decode(record, type=SegmentHeader)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return header if header.format == FORMAT else None


def sign_header(header: SegmentHeader, digest_key: RSAPrivateKey) -> SegmentHeader:
    """Return the header with the installation's signature."""
    return msgspec.structs.replace(header, signature=digest_key.sign(_signed_text(header), PKCS1v15(), SHA256()))


def is_genuine(header: SegmentHeader, *, chain_id: str, segment: int, public_key: RSAPublicKey) -> bool:
    """Return whether the installation signed this header, for this place."""
    if (header.chain_id, header.segment) != (chain_id, segment):
        return False
    try:
        public_key.verify(header.signature, _signed_text(header), PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def seal_key(key: bytes, *, chain_public_key: bytes, installation_id: str, chain_id: str, segment: int) -> bytes:
    """Seal a segment's first key to the holder of the chain private key, for that place only."""
    return seal_to(chain_public_key, key, _sealing_info(installation_id, chain_id, segment))


def open_key(header: SegmentHeader, chain_private_key: bytes) -> bytes | None:
    """Open a segment's first key; None if it was not sealed to us, or for another place."""
    info = _sealing_info(header.installation_id, header.chain_id, header.segment)
    try:
        return open_sealed(chain_private_key, header.sealed_key, info)
    except InvalidTag:
        return None


def _signed_text(header: SegmentHeader) -> bytes:
    """Return the header's JSON with an empty signature, behind a line that nothing else signed begins with."""
    return _SIGNED + _encoder.encode(msgspec.structs.replace(header, signature=b""))


def _sealing_info(installation_id: str, chain_id: str, segment: int) -> bytes:
    # Neither id holds a space.
    return f"strongroom audit segment key {installation_id} {chain_id} {segment}".encode()
