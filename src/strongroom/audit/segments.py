"""The files of the audit log: `<audit directory>/<chain id>/<segment>.log`, one directory per chain.

A segment begins with a header line, chained like every other, that carries the segment's first MAC key sealed to
the installation's chain public key: only the holder of the private key can recompute the chain.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from msgspec import Struct

from strongroom.audit import chain
from strongroom.crypto.sealing import open_sealed, seal_to

FORMAT = "strongroom-audit-log-1"
_SUFFIX = ".log"
_encoder = msgspec.json.Encoder()


class SegmentHeader(Struct, frozen=True, rename="camel"):
    """The first record of a segment. `sealed_key` opens to the key of this very line.

    In JSON, bytes are base64.
    """

    format: str
    installation_id: str
    chain_id: str
    segment: int
    previous_mac: bytes
    start_time: str
    sealed_key: bytes


class LogBrokenError(Exception):
    """The log file may not hold what it is believed to hold; nothing may be written after it."""


class LogFile:
    """A segment being written, for one thread. `size` in bytes and `digest` cover what was appended.

    `digest` is of the bytes handed over, not of the file: an edit of the file does not get signed.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """Create `path` (it must not exist) holding `data`, durably. Raises OSError; then there is no file."""
        self.path = path
        self.size = 0
        self.digest = sha256()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self.append(data)
            self.sync()
            sync_directory(path.parent)
        except OSError:
            os.close(self._file)
            try:
                path.unlink()
            except OSError as error:
                raise LogBrokenError(f"{path}: {error.strerror}") from error
            raise

    def append(self, data: bytes) -> None:
        """Write `data`, all or nothing. Raises OSError, or LogBrokenError if a part of it could not be removed."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            self._truncate()
            raise
        self.digest.update(data)
        self.size += len(data)

    def sync(self) -> None:
        """Make what was appended durable. Raises LogBrokenError: after a failed sync nobody knows what is on disk."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise LogBrokenError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def _truncate(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
        except OSError as error:
            raise LogBrokenError(f"{self.path}: {error.strerror}") from error


def log_path(chain_directory: Path, segment: int) -> Path:
    """Return the file of a segment; segments count from 1."""
    return chain_directory / f"{segment:08}{_SUFFIX}"


def segments(chain_directory: Path) -> list[int]:
    """Return the numbers of the segments in a chain's directory, ascending."""
    return numbered_files(chain_directory, _SUFFIX)


def numbered_files(chain_directory: Path, suffix: str) -> list[int]:
    """Return the numbers of the files `<segment><suffix>`, ascending."""
    names = (path.name for path in chain_directory.glob(f"*{suffix}"))
    numbers = (int(stem) for name in names if (stem := name.removesuffix(suffix)).isdecimal())
    return sorted(number for number in numbers if chain_directory.joinpath(f"{number:08}{suffix}").exists())


def first_sequence(chain_directory: Path, segment: int) -> int:
    """Return the sequence of a segment's first line, unverified; 0 if it has none."""
    line = chain.parse(next(read_lines(log_path(chain_directory, segment)), b""))
    return line.sequence if line is not None else 0


def chain_directories(directory: Path) -> list[Path]:
    """Return the directories of all chains in an audit directory that hold anything, by name."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.is_dir() and any(path.iterdir()))


def encode_header(header: SegmentHeader) -> bytes:
    """Return the header as a record."""
    return _encoder.encode(header)


def decode_header(record: bytes) -> SegmentHeader | None:
    """Read a record as a header; None if it is none."""
    try:
        header = msgspec.json.decode(record, type=SegmentHeader)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return header if header.format == FORMAT else None


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


def _sealing_info(installation_id: str, chain_id: str, segment: int) -> bytes:
    # Neither id holds a space.
    return f"strongroom audit segment key {installation_id} {chain_id} {segment}".encode()


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def lock_chain(chain_directory: Path) -> int | None:
    """Take a chain for this process: its writer holds it for life, so whose chain can be taken is gone.

    Returns a descriptor whose closing gives the chain back, or None if another has it. The kernel gives it back
    however a process ends.
    """
    lock = os.open(chain_directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a segment with their newlines; the last may lack it. Nothing if there is no file."""
    with contextlib.suppress(FileNotFoundError), path.open("rb", buffering=1024 * 1024) as file:
        yield from file
