"""What stands between a writer of the database and the state: message authentication codes. Pure.

Every code is HMAC-SHA256 under the installation's row-authentication key, over the injective encoding (`encode`) of
a list that begins with a label. No two uses share a label, so a code of one use is never valid for another.
The formats are specified in docs/formats/storage.md.
"""

import hmac
import struct
from collections.abc import Iterable
from typing import NamedTuple

from strongroom.storage.tables import Cell, Row

_INTEGER = struct.Struct(">q").pack
_FLOAT = struct.Struct(">d").pack
_LENGTH = struct.Struct(">Q").pack


class FeedRow(NamedTuple):
    """A row of the feed: change `number`, which came after change `previous`.

    `entries` is JSON (`proof.Entry`), `record_hash` the hash of the change's audit record if it has one, and `chain`
    the 32-byte chain value after the change.
    """

    number: int
    previous: int
    entries: str
    record_hash: bytes | None
    chain: bytes


class FeedHead(NamedTuple):
    """The newest change and its chain value, and what is known of the audit tables.

    `pending` is a JSON list of the changes whose records are in the outbox; `audit_chains` counts the chains that
    were ever registered.
    """

    number: int
    chain: bytes
    pending: str
    audit_chains: int


class Checkpoint(NamedTuple):
    """The whole state after change `number`, as a JSON `listing` of every row's table, primary key and number.

    The feed is kept from the change after `floor_number` on; `floor_chain` is the chain value before it.
    """

    number: int
    chain: bytes
    floor_number: int
    floor_chain: bytes
    listing: str


def encode(values: Iterable[Cell]) -> bytes:
    """Encode a list so that no two lists have the same encoding: a type letter, a length, and the value, of each.

    Integers must fit 64 bits, and text must be encodable as UTF-8, as in the databases themselves.
    """
    parts: list[bytes] = []
    for value in values:
        if isinstance(value, str):
            body = value.encode()
            parts += (b"T", _LENGTH(len(body)), body)
        elif isinstance(value, bytes):
            parts += (b"B", _LENGTH(len(value)), value)
        elif isinstance(value, bool):  # before int, of which it is a subclass
            parts += (b"L", _LENGTH(1), b"\x01" if value else b"\x00")
        elif isinstance(value, int):
            parts += (b"I", _LENGTH(8), _INTEGER(value))
        elif isinstance(value, float):
            parts += (b"F", _LENGTH(8), _FLOAT(value))
        else:
            parts += (b"N", _LENGTH(0))
    return b"".join(parts)


def matches(expected: bytes, stored: object) -> bool:
    """Whether a code as read from the database is the expected one. Constant time; other types never match."""
    return isinstance(stored, bytes) and hmac.compare_digest(expected, stored)


def _code(key: bytes, label: str, *values: Cell) -> bytes:
    return hmac.digest(key, encode((label, *values)), "sha256")


def row_mac(key: bytes, table: str, row: Row) -> bytes:
    """Code of a row: over its table, its columns' names, and its cells, the primary key's and `number` among them.

    `mac` itself is left out, and so are cells that are NULL: a migration that adds a column in which the rows that
    are there have NULL leaves their codes valid.
    """
    cells = {name: value for name, value in row.items() if name != "mac" and value is not None}
    return _code(key, "strongroom row", table, " ".join(cells), *cells.values())


def genesis(key: bytes) -> bytes:
    """Chain value before the first change."""
    return _code(key, "strongroom feed genesis")


def chain_value(key: bytes, before: bytes, row: FeedRow) -> bytes:
    """Chain value after the change of a feed row, from the value `before` it. `row.chain` is left out."""
    return _code(key, "strongroom feed", before, row.number, row.previous, row.entries, row.record_hash)


def head_mac(key: bytes, head: FeedHead) -> bytes:
    """Code of the feed head."""
    return _code(key, "strongroom feed head", *head)


def checkpoint_mac(key: bytes, checkpoint: Checkpoint) -> bytes:
    """Code of a checkpoint."""
    return _code(key, "strongroom checkpoint", *checkpoint)
