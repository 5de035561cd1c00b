"""Files that hold a secret: read only if nobody but their owner can."""

import os
import stat
from pathlib import Path

from strongroom.errors import DataDirectoryError

_GROUP_READ = 0o040


def read_private_file(path: Path, what: str, limit: int) -> bytes:
    """Read up to `limit` bytes of a file. `what` it is, with its article, begins the texts of errors.

    Raises DataDirectoryError if it is missing, cannot be read, or is open to others.
    """
    content = bytearray(limit)
    try:
        return bytes(content[: read_private_into(path, what, content)])
    except FileNotFoundError:
        raise DataDirectoryError(f"{what} {path} does not exist") from None
    finally:
        content[:] = bytes(len(content))


def read_private_into(path: Path, what: str, content: bytearray) -> int:
    """Fill `content`, so that the caller can overwrite it; return how much there was. As `read_private_file`.

    Raises FileNotFoundError if there is no file.
    """
    try:
        # O_NONBLOCK: a named pipe is refused below, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_if_exposed(path, what, os.fstat(descriptor))
            return os.readv(descriptor, [content])
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataDirectoryError(f"{what} {path} cannot be read: {error.strerror}") from None


def _refuse_if_exposed(path: Path, what: str, status: os.stat_result) -> None:
    """Raise DataDirectoryError unless the file is a regular one that only its owner, this user or root, may use."""
    if not stat.S_ISREG(status.st_mode):
        raise DataDirectoryError(f"{what} {path} is not a regular file")
    if status.st_uid not in {0, os.geteuid()}:
        raise DataDirectoryError(f"{what} {path} belongs to another user")
    forbidden = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == status.st_gid == 0 != os.geteuid():
        # A systemd credential belongs to root; the service is let in by an access control list, whose mask stands where
        # the group's permissions would (https://github.com/systemd/systemd/issues/29435).
        forbidden &= ~_GROUP_READ
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise DataDirectoryError(f"{what} {path} is open to others: its mode is {mode:04o}, not 0600")
