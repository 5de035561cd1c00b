"""A backup as a file: a manifest that anybody can read, and the rows, sealed (docs/formats/backup.md).

    strongroom backup, version 1
    {"created": "2026-01-31T12:00:00Z", …}     the manifest, one line of JSON
    sealed chunks: the rows in MessagePack, table by table, under a fresh key that the root wraps

The root key is not in it, and neither are the audit log and the file `credentials`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from msgspec import Struct

from strongroom.crypto.sealed_stream import seal, unseal
from strongroom.errors import ConfigurationError, DataDirectoryError, IntegrityError
from strongroom.storage.contract import Position
from strongroom.storage.copying import TableCopy
from strongroom.storage.tables import Cell

_FIRST_LINE = b"strongroom backup, version 1\n"
_LONGEST_MANIFEST = 1 << 20
_LENGTH = 4
"""Bytes of the length that stands before each row."""

_encoder = msgspec.msgpack.Encoder()
_rows: msgspec.msgpack.Decoder[tuple[Cell, ...]] = msgspec.msgpack.Decoder(tuple[Any, ...])  # MessagePack has types


class CopiedTable(Struct, frozen=True):
    """What a table is called, its columns, and how many rows of it follow."""

    name: str
    columns: tuple[str, ...]
    rows: int


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a backup is of. Authenticated with the rows: until they were read to their end, nobody vouches for it.

    `change` and `chain` (hex) are the position. `hsm_versions` are the versions of the domain keys that are in a token;
    none where there is a root key. `wrapped_key` is the key of the rows, as the root
    wraps it (`key_binding`), and `recovery` the same for the holder of the recovery key.
    """

    created: str
    strongroom: str
    installation_id: str
    schema: str
    change: int
    chain: str
    records: int
    tables: tuple[CopiedTable, ...]
    hsm_versions: tuple[int, ...]
    wrapped_key: bytes
    recovery: bytes | None = None

    @property
    def position(self) -> Position:
        """The newest change in it."""
        return Position(self.change, bytes.fromhex(self.chain))


def key_binding(installation_id: str) -> tuple[str, ...]:
    """What the key of a backup is bound to as it is wrapped."""
    return ("backup", installation_id)


def write_backup(file: BinaryIO, manifest: Manifest, key: bytes, tables: Iterable[TableCopy]) -> str:
    """Write a backup; return the SHA-256 of the file, in hex. `key` is the one that is wrapped: 32 fresh bytes."""
    head = _FIRST_LINE + msgspec.json.encode(manifest) + b"\n"
    written = sha256()
    for part in chain([head], seal(key, _encoded(tables), sha256(head).digest())):
        written.update(part)
        file.write(part)
    return written.hexdigest()


class BackupReader(NamedTuple):
    """A backup that is open: its manifest, which nobody vouches for yet, and the sealed rows."""

    path: Path
    manifest: Manifest
    file: BinaryIO
    digest: bytes

    def tables(self, key: bytes) -> Iterator[TableCopy]:
        """Read the tables, each to its end. Raises IntegrityError unless all is as it was written, to the last byte."""
        content = _Unsealed(self.path, unseal(key, self.file.read, self.digest))
        for table in self.manifest.tables:
            yield TableCopy(table.name, table.columns, content.rows(table.rows))
        content.end()


@contextmanager
def open_backup(path: Path) -> Iterator[BackupReader]:
    """Read the manifest of a backup. Raises ConfigurationError if it is none, or DataDirectoryError."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise DataDirectoryError(f"cannot read the backup {path}: {error.strerror}") from error
    with opened as file:
        first = file.readline(len(_FIRST_LINE))
        if first != _FIRST_LINE:
            raise ConfigurationError(f"{path} is not a backup of version 1")
        line = file.readline(_LONGEST_MANIFEST)
        try:
            manifest = msgspec.json.decode(line, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise IntegrityError(f"{path}: the manifest of the backup is damaged") from None
        yield BackupReader(path, manifest, file, sha256(first + line).digest())


def _encoded(tables: Iterable[TableCopy]) -> Iterator[bytes]:
    for table in tables:
        for row in table.rows:
            encoded = _encoder.encode(row)
            yield len(encoded).to_bytes(_LENGTH) + encoded


class _Unsealed:
    """The plaintext of a backup, read row by row."""

    def __init__(self, path: Path, chunks: Iterator[bytes]) -> None:
        self._path = path
        self._chunks = chunks
        self._waiting = bytearray()

    def rows(self, count: int) -> Iterator[tuple[Cell, ...]]:
        """The next rows."""
        for _ in range(count):
            yield _rows.decode(self._take(int.from_bytes(self._take(_LENGTH))))

    def end(self) -> None:
        """See that nothing is left: the last chunk is the proof that nothing is missing."""
        if self._waiting or self._next_chunk():
            raise self._altered()

    def _take(self, length: int) -> bytes:
        while len(self._waiting) < length:
            chunk = self._next_chunk()
            if not chunk:
                raise self._altered()
            self._waiting += chunk
        taken = bytes(self._waiting[:length])
        del self._waiting[:length]
        return taken

    def _next_chunk(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except InvalidTag:
            raise self._altered() from None

    def _altered(self) -> IntegrityError:
        return IntegrityError(f"{self._path}: the backup is damaged, cut off or altered")
