"""A copy of the root key under a passphrase, to be kept elsewhere (docs/formats/wrapped-keys.md).

    strongroom root key export, version 1
    id <16 hex digits>                        that of the root key
    argon2id <KiB of memory> <iterations> <lanes>
    salt <32 hex digits>
    wrapped <374 hex digits>                  the root key file, wrapped by the key that Argon2id derives

The lines before the last are bound into it: if one is altered it does not open.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from strongroom.crypto import wrapping
from strongroom.crypto.xaes import KEY_LENGTH, NONCE_LENGTH, XaesKey
from strongroom.errors import DataDirectoryError, RootKeyError
from strongroom.keystores.root_key import read_root_key, read_root_key_file, write_root_key_file

SHORTEST_PASSPHRASE = 12
"""Bytes of a passphrase, at least. Argon2id makes guessing dear, and nothing makes a short one good."""

_MEMORY, _ITERATIONS, _LANES = 256 * 1024, 3, 4  # RFC 9106, section 4, between its two recommendations: a second or so
_MOST = (1024 * 1024, 16, 16)
"""Parameters that a file may ask for, at most: nobody knows where it is from."""
_SALT_LENGTH = 16
_TITLE = "strongroom root key export, version 1\n"
_FILE = re.compile(
    rf"({_TITLE}id [0-9a-f]{{16}}\nargon2id ([0-9]{{1,9}}) ([0-9]{{1,9}}) ([0-9]{{1,9}})\nsalt ([0-9a-f]{{32}})\n)"
    r"wrapped ([0-9a-f]{374})\n"
)
_LENGTH_LIMIT = 1024


def export_root_key(path: Path, passphrase: bytes) -> tuple[str, bytes]:
    """Return the id of the root key of a file, and its copy under a passphrase. Takes a second and 256 MiB.

    Raises RootKeyError, also for a passphrase that is too short; DataDirectoryError if the file cannot be read.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise RootKeyError(f"the passphrase is shorter than {SHORTEST_PASSPHRASE} characters")
    root_key = read_root_key(path)
    root_key.close()
    salt = os.urandom(_SALT_LENGTH)
    head = f"{_TITLE}id {root_key.root_key_id}\nargon2id {_MEMORY} {_ITERATIONS} {_LANES}\nsalt {salt.hex()}\n"
    key = _derived(passphrase, salt, _MEMORY, _ITERATIONS, _LANES)
    wrapped = wrapping.wrap(key, read_root_key_file(path), _binding(head), os.urandom(NONCE_LENGTH))
    return root_key.root_key_id, f"{head}wrapped {wrapped.hex()}\n".encode()


def place_root_key(source: Path, path: Path, ask_passphrase: Callable[[], bytes]) -> None:
    """Make a root key file at `path` from a copy: an export, whose passphrase is asked for, or a root key file.

    An existing file is left as it is if it holds this root key, and never overwritten. Raises RootKeyError,
    DataDirectoryError.
    """
    exported = _read_export(source)
    content = read_root_key_file(source) if exported is None else _opened(source, exported, ask_passphrase())
    if path.exists() and read_root_key_file(path) == content:
        return
    write_root_key_file(path, content)


def _read_export(source: Path) -> re.Match[str] | None:
    """Read an export; None if the file does not call itself one. Raises RootKeyError if it is damaged."""
    try:
        with source.open("rb") as file:
            text = file.read(_LENGTH_LIMIT).decode("ascii", errors="replace")
    except OSError as error:
        raise DataDirectoryError(f"{source} cannot be read: {error.strerror}") from None
    if not text.startswith(_TITLE):
        return None
    exported = _FILE.fullmatch(text)
    if exported is None or any(int(exported[2 + place]) > most for place, most in enumerate(_MOST)):
        raise RootKeyError(f"{source} is damaged: it is not an export of version 1")
    return exported


def _opened(source: Path, exported: re.Match[str], passphrase: bytes) -> bytes:
    head, memory, iterations, lanes, salt, wrapped = exported.groups()
    try:
        key = _derived(passphrase, bytes.fromhex(salt), int(memory), int(iterations), int(lanes))
        return wrapping.unwrap(key, bytes.fromhex(wrapped), _binding(head))
    except InvalidTag:
        raise RootKeyError(f"the passphrase does not open {source}, or the file was altered") from None
    except (ValueError, MemoryError):
        raise RootKeyError(f"{source} asks for parameters of Argon2id that cannot be had") from None


def _derived(passphrase: bytes, salt: bytes, memory: int, iterations: int, lanes: int) -> XaesKey:
    kdf = Argon2id(salt=salt, length=KEY_LENGTH, iterations=iterations, lanes=lanes, memory_cost=memory)
    return XaesKey(kdf.derive(passphrase))


def _binding(head: str) -> tuple[str, ...]:
    return ("root-key-export", head)
