"""Checking the signed digests of a chain. It takes the digest public key and the files, nothing else."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from strongroom.audit.digests import (
    HASH_ALGORITHM,
    SIGNATURE_ALGORITHM,
    DigestLink,
    SignedDigest,
    digested_segments,
    is_signed,
    read_digest,
)
from strongroom.audit.segments import log_path, segments

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
    open_end: bool,
) -> Iterator[tuple[str, str]]:
    """Yield kind and sentence of whatever is wrong with the digests of a chain and with the files they sign.

    `files` are the segments that are there. With `open_end` the newest may still be without a digest.
    """
    signed_segments = digested_segments(chain_directory)
    previous: DigestLink | None = None
    last = 0
    for number in sorted({*files, *signed_segments}):
        if number > last + 1:
            missing = f"of segments {last + 1} to {number - 1}"
            yield "missing-segment", f"the logs {missing} are missing"
            yield "missing-digest", f"the digests {missing} are missing"
            previous = None
        last = number
        if number not in files:
            yield "missing-segment", f"the log of segment {number} is missing"
        signed = read_digest(chain_directory, number)
        if signed is None:
            # A running server signs a closed segment within a second or so, when the next one has begun.
            if not (open_end and number >= max(files, default=0) - 1):
                yield "missing-digest", f"segment {number} has no readable digest"
            previous = None
            continue
        if not is_signed(signed, public_key):
            yield "bad-signature", f"the digest of segment {number} is not signed by this installation"
            previous = None
            continue
        yield from _check_digest(signed, chain_directory, number, files.get(number), installation_id)
        if number == 1 or previous is not None:
            yield from _check_link(signed, number, previous)
        previous = signed.link


def _check_digest(
    signed: SignedDigest, chain_directory: Path, number: int, file: FileFacts | None, installation_id: str | None
) -> Iterator[tuple[str, str]]:
    digest = signed.digest
    place = (chain_directory.name, number, log_path(chain_directory, number).name)
    if (digest.chain_id, digest.segment, digest.log_file.name) != place:
        yield "bad-digest", f"the digest of segment {number} was made for another place"
    if installation_id is not None and digest.installation_id != installation_id:
        yield "bad-digest", f"the digest of segment {number} is of another installation"
    if (digest.digest_signature_algorithm, digest.log_file.hash_algorithm) != (SIGNATURE_ALGORITHM, HASH_ALGORITHM):
        yield "bad-digest", f"the digest of segment {number} names algorithms that are not ours"
    if file is not None and file != (digest.log_file.size, digest.log_file.hash_value):
        yield "changed-segment", f"the log of segment {number} is not the one that was signed"


def _check_link(signed: SignedDigest, number: int, previous: DigestLink | None) -> Iterator[tuple[str, str]]:
    digest = signed.digest
    named = (digest.previous_digest_hash_value, digest.previous_digest_signature)
    if named != (previous if previous is not None else (None, None)):
        yield "bad-digest", f"the digest of segment {number} does not follow the one before it"


def file_facts(chain_directory: Path) -> dict[int, FileFacts]:
    """Hash all segments of a chain."""
    return {number: read_facts(log_path(chain_directory, number)) for number in segments(chain_directory)}
