"""The files of the audit log: `<audit directory>/<chain id>/<segment>.log`, one directory per chain."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from strongroom.audit import chain

_SUFFIX = ".log"


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
    return chain_directory / log_name(segment)


def log_name(segment: int) -> str:
    """Return the name of a segment's file."""
    return f"{segment:08}{_SUFFIX}"


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


def read_lines(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of a segment from a byte on, with newlines; the last may lack it. Nothing if there is no file."""
    with contextlib.suppress(FileNotFoundError), path.open("rb", buffering=1024 * 1024) as file:
        file.seek(offset)
        yield from file
