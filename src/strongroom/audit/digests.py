"""Signed digests of closed segments, in the way of CloudTrail's log file validation.

A digest is a JSON file `<segment>.digest`; its signature stands beside it in `<segment>.digest.sig` (hex). Signed
with RSA PKCS#1 v1.5 and SHA-256 are four lines without a last newline, as CloudTrail does it:

    <digestEndTime>
    <chain id>/<segment>.digest
    <hex SHA-256 of the digest file>
    <hex signature of the chain's digest before, or null>

Whoever has the public key can verify them, on any machine, without asking Strongroom anything.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Struct

from strongroom.audit.segments import log_path, numbered_files, sync_directory
from strongroom.model.installation import Installation
from strongroom.storage.contract import Position

SIGNATURE_ALGORITHM = "SHA256withRSA"
HASH_ALGORITHM = "SHA-256"


class ClosedSegment(NamedTuple):
    """What a digest says of a segment. Times are as `utc_time` writes them, `size` bytes, `sha256` hex."""

    number: int
    start_time: str
    end_time: str
    first_sequence: int
    last_sequence: int
    last_mac: bytes
    size: int
    sha256: str


class DatabasePosition(Struct, frozen=True):
    """The newest change of the database when the digest was made, and the feed's chain value in hex."""

    number: int
    chain: str


class DigestedFile(Struct, frozen=True, rename="camel"):
    """The segment's file: `size` in bytes, `hash_value` in hex."""

    name: str
    size: int
    hash_value: str
    hash_algorithm: str


class Digest(Struct, frozen=True, rename="camel"):
    """The contents of a digest file. The first digest of a chain has no previous one."""

    installation_id: str
    chain_id: str
    segment: int
    digest_start_time: str
    digest_end_time: str
    digest_public_key_fingerprint: str
    digest_signature_algorithm: str
    log_file: DigestedFile
    first_sequence: int
    last_sequence: int
    last_mac: str
    database_position: DatabasePosition
    previous_digest_hash_value: str | None
    previous_digest_hash_algorithm: str | None
    previous_digest_signature: str | None


class DigestLink(NamedTuple):
    """What the next digest of a chain says of this one: its SHA-256 and its signature, in hex."""

    sha256: str
    signature: str


class SignedDigest(NamedTuple):
    """A digest as read: unverified. `content` is the file as it is, `place` is `<chain id>/<segment>.digest`."""

    digest: Digest
    content: bytes
    signature: str
    place: str

    @property
    def link(self) -> DigestLink:
        """What the chain's next digest must say of this one."""
        return DigestLink(hashlib.sha256(self.content).hexdigest(), self.signature)


def digest_path(chain_directory: Path, segment: int) -> Path:
    """Return the digest file of a segment."""
    return chain_directory / digest_name(segment)


def digest_name(segment: int) -> str:
    """Return the name of a segment's digest file."""
    return f"{segment:08}.digest"


def digested_segments(chain_directory: Path) -> list[int]:
    """Return the numbers of the segments that have a digest, ascending."""
    return numbered_files(chain_directory, ".digest")


def signature_path(chain_directory: Path, segment: int) -> Path:
    """Return the signature file of a segment's digest."""
    return log_path(chain_directory, segment).with_suffix(".digest.sig")


def fingerprint(public_key_der: bytes) -> str:
    """Return the hex SHA-256 of a DER SubjectPublicKeyInfo."""
    return hashlib.sha256(public_key_der).hexdigest()


def write_digest(
    chain_directory: Path,
    segment: ClosedSegment,
    *,
    installation: Installation,
    digest_key: RSAPrivateKey,
    position: Position,
    previous: DigestLink | None,
) -> DigestLink:
    """Sign a closed segment, durably, over whatever digest it had. Raises OSError."""
    digest = Digest(
        installation_id=installation.installation_id,
        chain_id=chain_directory.name,
        segment=segment.number,
        digest_start_time=segment.start_time,
        digest_end_time=segment.end_time,
        digest_public_key_fingerprint=fingerprint(installation.digest_public_key),
        digest_signature_algorithm=SIGNATURE_ALGORITHM,
        log_file=DigestedFile(
            log_path(chain_directory, segment.number).name, segment.size, segment.sha256, HASH_ALGORITHM
        ),
        first_sequence=segment.first_sequence,
        last_sequence=segment.last_sequence,
        last_mac=segment.last_mac.hex(),
        database_position=DatabasePosition(position.number, position.chain.hex()),
        previous_digest_hash_value=previous and previous.sha256,
        previous_digest_hash_algorithm=previous and HASH_ALGORITHM,
        previous_digest_signature=previous and previous.signature,
    )
    content = msgspec.json.format(msgspec.json.encode(digest)) + b"\n"
    path = digest_path(chain_directory, segment.number)
    signed = SignedDigest(digest, content, "", f"{chain_directory.name}/{path.name}")
    signature = digest_key.sign(_signed_text(signed), PKCS1v15(), SHA256()).hex()
    # The signature goes first, so that a digest is never without one.
    replace_file(signature_path(chain_directory, segment.number), signature.encode() + b"\n")
    replace_file(path, content)
    sync_directory(chain_directory)
    return signed._replace(signature=signature).link


def read_digest(chain_directory: Path, segment: int) -> SignedDigest | None:
    """Read a digest and its signature; None if either is missing or has not the form of one."""
    path = digest_path(chain_directory, segment)
    try:
        content = path.read_bytes()
        signature = signature_path(chain_directory, segment).read_text("ascii").removesuffix("\n")
        digest = msgspec.json.decode(content, type=Digest)
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError, msgspec.DecodeError):
        return None
    return SignedDigest(digest, content, signature, f"{chain_directory.name}/{path.name}")


def is_signed(signed: SignedDigest, public_key: RSAPublicKey) -> bool:
    """Return whether the signature is the key's, over this digest in this place, in the one form that we write."""
    try:
        if bytes.fromhex(signed.signature).hex() != signed.signature:
            return False
        public_key.verify(bytes.fromhex(signed.signature), _signed_text(signed), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def load_public_key(public_key_der: bytes) -> RSAPublicKey:
    """Read the installation's digest public key, a DER SubjectPublicKeyInfo. Raises ValueError."""
    key = load_der_public_key(public_key_der)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the digest public key is not an RSA key")  # noqa: TRY004 the value is wrong, not the type
    return key


def _signed_text(signed: SignedDigest) -> bytes:
    """Return what is signed, as CloudTrail's "Custom implementations of log file integrity validation" has it."""
    digest_hash = hashlib.sha256(signed.content).hexdigest()
    previous = signed.digest.previous_digest_signature or "null"
    return f"{signed.digest.digest_end_time}\n{signed.place}\n{digest_hash}\n{previous}".encode()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside `path`, durably, then give it its name."""
    temporary = path.with_name(path.name + ".new")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
