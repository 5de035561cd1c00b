"""Checking the signed digests of a chain. It takes the digest public key and the files, nothing else."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from strongroom.audit.damage import Fault
from strongroom.audit.digests import (
    HASH_ALGORITHM,
    SIGNATURE_ALGORITHM,
    DigestLink,
    SignedDigest,
    digest_name,
    digested_segments,
    is_signed,
    read_digest,
)
from strongroom.audit.segments import log_name, log_path, segments

_PIECE = 1024 * 1024


class FileFacts(NamedTuple):
    """What is in a segment's file: `size` in bytes, hex SHA-256."""

    size: int
    sha256: str


def read_facts(path: Path) -> FileFacts:
    """Hash a file piece by piece."""
    content = sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
            size += len(piece)
    return FileFacts(size, content.hexdigest())


def check_digests(
    chain_directory: Path,
    public_key: RSAPublicKey,
    files: dict[int, FileFacts],
    *,
    installation_id: str | None,
    signed_before: int,
) -> Iterator[Fault]:
    """Yield whatever is wrong with the digests of a chain and with the files they sign.

    `files` are the segments that are there; those before segment `signed_before` must have a digest.
    """
    signed_segments = digested_segments(chain_directory)
    previous: DigestLink | None = None
    last = 0
    for number in sorted({*files, *signed_segments}):
        if number > last + 1:
            missing = f"of segments {last + 1} to {number - 1}"
            yield Fault("missing-segment", f"the logs {missing} are missing", log_name(last + 1))
            yield Fault("missing-digest", f"the digests {missing} are missing", digest_name(last + 1))
            previous = None
        last = number
        if number not in files:
            yield Fault("missing-segment", f"the log of segment {number} is missing", log_name(number))
        signed = read_digest(chain_directory, number)
        if signed is None:
            if number < signed_before or number in signed_segments:
                yield Fault("missing-digest", f"segment {number} has no readable digest", digest_name(number))
            previous = None
            continue
        if not is_signed(signed, public_key):
            message = f"the digest of segment {number} is not signed by this installation"
            yield Fault("bad-signature", message, digest_name(number))
            previous = None
            continue
        yield from _check_digest(signed, chain_directory, number, files.get(number), installation_id)
        if number == 1 or previous is not None:
            yield from _check_link(signed, number, previous)
        previous = signed.link


def _check_digest(
    signed: SignedDigest, chain_directory: Path, number: int, file: FileFacts | None, installation_id: str | None
) -> Iterator[Fault]:
    digest, name = signed.digest, digest_name(number)
    if (digest.chain_id, digest.segment, digest.log_file.name) != (chain_directory.name, number, log_name(number)):
        yield Fault("bad-digest", f"the digest of segment {number} was made for another place", name)
    if installation_id is not None and digest.installation_id != installation_id:
        yield Fault("bad-digest", f"the digest of segment {number} is of another installation", name)
    if (digest.digest_signature_algorithm, digest.log_file.hash_algorithm) != (SIGNATURE_ALGORITHM, HASH_ALGORITHM):
        yield Fault("bad-digest", f"the digest of segment {number} names algorithms that are not ours", name)
    if file is not None and file != (digest.log_file.size, digest.log_file.hash_value):
        yield Fault("changed-segment", f"the log of segment {number} is not the one that was signed", log_name(number))


def _check_link(signed: SignedDigest, number: int, previous: DigestLink | None) -> Iterator[Fault]:
    digest = signed.digest
    named = (digest.previous_digest_hash_value, digest.previous_digest_signature)
    if named != (previous if previous is not None else (None, None)):
        message = f"the digest of segment {number} does not follow the one before it"
        yield Fault("bad-digest", message, digest_name(number))


def file_facts(chain_directory: Path) -> dict[int, FileFacts]:
    """Hash all segments of a chain."""
    return {number: read_facts(log_path(chain_directory, number)) for number in segments(chain_directory)}
