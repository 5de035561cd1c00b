"""The root key and its file (docs/formats/wrapped-keys.md). It wraps the domain keys and nothing else.

    strongroom root key, version 1
    id <16 hex digits>
    key <64 hex digits>
    checksum <16 hex digits>

The id is random and not secret: it tells a wrong root key from damaged data. The checksum is the beginning of the
SHA-256 of the lines before it: it tells a damaged file from a wrong one. Whoever can read the checksum has the key.
"""

import hashlib
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag

from strongroom.crypto import wrapping
from strongroom.crypto.xaes import KEY_LENGTH, NONCE_LENGTH, XaesKey
from strongroom.errors import DataDirectoryError, IntegrityError, RootKeyError
from strongroom.keystores.private_file import read_private_file, read_private_into

_ID_LENGTH = 8
_KEY_DIGITS = 2 * KEY_LENGTH
_FILE = re.compile(rb"(strongroom root key, version 1\nid ([0-9a-f]{16})\nkey [0-9a-f]{64}\n)checksum ([0-9a-f]{16})\n")
_FILE_LENGTH = 146


class RootKey:
    """The root key, ready for use, until it is closed. Use it to open the domain keys, then close it."""

    def __init__(self, root_key_id: str, key: XaesKey) -> None:
        self.root_key_id = root_key_id
        """16 hex digits, random, not secret."""
        self._key: XaesKey | None = key

    def __repr__(self) -> str:
        return f"RootKey({self.root_key_id})"

    def wrap(self, secret: bytes, binding: tuple[str, ...]) -> bytes:
        """Wrap `secret` for storage, with the root key's id before it. Draws a fresh nonce."""
        wrapped = wrapping.wrap(self._open_key(), secret, binding, os.urandom(NONCE_LENGTH))
        return bytes.fromhex(self.root_key_id) + wrapped

    def unwrap(self, wrapped: bytes, binding: tuple[str, ...]) -> bytes:
        """Return what `wrap` was given.

        Raises RootKeyError if another root key wrapped it, IntegrityError if it is not as this one wrapped it.
        """
        wrapped_by = wrapped[:_ID_LENGTH]
        if len(wrapped_by) == _ID_LENGTH and wrapped_by.hex() != self.root_key_id:
            raise RootKeyError(
                "the root key does not open this installation's domain keys: "
                f"its id is {self.root_key_id}, they were wrapped by {wrapped_by.hex()}"
            )
        try:
            return wrapping.unwrap(self._open_key(), wrapped[_ID_LENGTH:], binding)
        except InvalidTag:
            raise IntegrityError(f"a key that the root key wraps was altered: {' '.join(binding)}") from None

    def close(self) -> None:
        """Drop the key: OpenSSL overwrites its copy as it is freed. Idempotent; no other call works afterwards."""
        self._key = None

    def _open_key(self) -> XaesKey:
        if self._key is None:
            raise ValueError("the root key is closed")
        return self._key


def create_root_key(path: Path) -> RootKey:
    """Make a root key and its file, which is on disk when this returns. An existing file is never overwritten.

    Raises RootKeyError if the file exists, DataDirectoryError if it cannot be written; then there is no file.
    """
    lines = f"strongroom root key, version 1\nid {os.urandom(_ID_LENGTH).hex()}\nkey {os.urandom(KEY_LENGTH).hex()}\n"
    write_root_key_file(path, f"{lines}checksum {_checksum(lines.encode())}\n".encode())
    return read_root_key(path)


def write_root_key_file(path: Path, content: bytes) -> None:
    """Make a root key file with what another one holds, durably. Raises as `create_root_key`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise RootKeyError(f"the root key file {path} exists already; it is never overwritten") from None
    except OSError as error:
        raise DataDirectoryError(f"the root key file {path} cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DataDirectoryError(f"the root key file {path} cannot be written: {error.strerror}") from None


def read_root_key_file(path: Path) -> bytes:
    """Read what a root key file holds, for a copy of it. Raises as `read_root_key`."""
    read_root_key(path)
    return read_private_file(path, "the root key file", _FILE_LENGTH)


def read_root_key(path: Path) -> RootKey:
    """Read the root key file.

    Raises RootKeyError if it is missing or malformed, DataDirectoryError if it cannot be read or is open to others.
    """
    content = bytearray(_FILE_LENGTH + 1)
    try:
        return _parse(path, content, read_private_into(path, "the root key file", content))
    except FileNotFoundError:
        raise RootKeyError(f"the root key file {path} does not exist") from None
    finally:
        content[:] = bytes(len(content))


def _parse(path: Path, content: bytearray, length: int) -> RootKey:
    """Read the first `length` bytes of `content`, leaving no copy of the key in memory that cannot be overwritten."""
    match = _FILE.fullmatch(content, 0, length)
    if match is None:
        raise RootKeyError(f"the root key file {path} is damaged: it is not a root key file of version 1")
    with memoryview(content)[: match.end(1)] as lines:
        checksum = _checksum(lines)
    if checksum != match[3].decode():
        raise RootKeyError(f"the root key file {path} is damaged: its checksum is wrong")
    digits = range(match.end(1) - _KEY_DIGITS - 1, match.end(1) - 1, 2)
    key = bytearray(int(content[position : position + 2], 16) for position in digits)
    try:
        return RootKey(match[2].decode(), XaesKey(key))
    finally:
        key[:] = bytes(len(key))


def _checksum(lines: bytes | memoryview) -> str:
    return hashlib.sha256(lines).hexdigest()[:16]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
