"""What a reader of the database proves about it, on values already read. Pure.

The feed is a chain: each row's code covers the one before (`follow`). Replaying it over the checkpoint's listing
says which change wrote every row that should exist (`replay`); `faults` names each row that is otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from strongroom.errors import IntegrityError, RollbackError
from strongroom.storage.contract import Position
from strongroom.storage.row_authentication import Checkpoint, FeedRow, chain_value, matches
from strongroom.storage.tables import Key

_NAMED = 5
"""How many faults an error names; it counts the rest."""


class RowName(NamedTuple):
    """A row by its table and primary key."""

    table: str
    key: Key

    def __str__(self) -> str:
        text = "/".join(map(str, self.key)).encode("unicode_escape").decode()
        return f"{self.table} row {text}"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One row in a change: the number of the change that wrote it before and the one that wrote it now, if any."""

    table: str
    key: Key
    old: int | None
    new: int | None

    @property
    def name(self) -> RowName:
        """The row."""
        return RowName(self.table, self.key)


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """One row in a checkpoint: the change that wrote it."""

    table: str
    key: Key
    number: int


Numbers = dict[RowName, int]
"""Row -> the number of the change that wrote it."""

_ENTRIES = msgspec.json.Decoder(list[Entry])
_LISTING = msgspec.json.Decoder(list[Listed])


def encode_entries(entries: Sequence[Entry]) -> str:
    """The `entries` of a feed row."""
    return msgspec.json.encode(entries).decode()


def decode_entries(row: FeedRow) -> list[Entry]:
    """The entries of a feed row that was verified."""
    return _ENTRIES.decode(row.entries)


def encode_listing(numbers: Numbers) -> str:
    """The `listing` of a checkpoint: sorted, so that one state has one listing."""
    rows = sorted((_sortable(name), number) for name, number in numbers.items())
    return msgspec.json.encode([(table, key, number) for (table, key), number in rows]).decode()


def _sortable(name: RowName) -> tuple[str, Key]:
    return name.table, name.key


def altered(*found: str) -> IntegrityError:
    """The error that names, in one line, the faults that were found."""
    rest = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return IntegrityError("the database was altered: " + "; ".join(found[:_NAMED]) + rest)


def unauthentic(name: RowName) -> str:
    """The fault of a row whose code does not match: edited, copied or moved."""
    return f"{name}: its authentication code does not match"


def refuse_older(found: Position, made: Position) -> None:
    """Raise RollbackError if a database that stands at `found` is behind the change `made`."""
    if found.number < made.number:
        raise RollbackError(f"the database stands at change {found.number}, but change {made.number} was made already")


def follow(key: bytes, start: Position, rows: Iterable[FeedRow]) -> Position:
    """Verify that feed rows continue from `start`, each from the one before. Returns where they end."""
    end = start
    for row in rows:
        if row.previous != end.number:
            raise altered(f"the change feed does not go on from change {end.number} to change {row.number!a}")
        if not matches(chain_value(key, end.chain, row), row.chain):
            raise altered(f"feed row {row.number!a}: its chain value does not match")
        end = Position(row.number, row.chain)
    return end


def replay(checkpoint: Checkpoint, rows: Iterable[FeedRow]) -> tuple[Numbers, Numbers, list[str]]:
    """Carry a verified checkpoint forward over the verified feed rows that follow it.

    Returns the rows that should exist, the removed ones with the change that removed them, and the faults: a change
    that was made on another row than the change before it had left.
    """
    expected = {RowName(row.table, row.key): row.number for row in _LISTING.decode(checkpoint.listing)}
    removed: Numbers = {}
    found: list[str] = []
    for row in rows:
        for entry in decode_entries(row):
            name = entry.name
            if expected.get(name) != entry.old:
                found.append(f"{name}: it was put back or removed before change {row.number} was made")
            if entry.new is None:
                expected.pop(name, None)
                removed[name] = row.number
            else:
                expected[name] = entry.new
                removed.pop(name, None)
    return expected, removed, found


def faults(expected: Numbers, removed: Numbers, actual: Mapping[RowName, int], edited: Iterable[RowName]) -> list[str]:
    """Name each row that is missing, older or newer than it should be, or that should not be there.

    `edited` rows are there but are not authentic: they are not `actual`, and not missing either.
    """
    there = {*actual, *edited}
    found = [
        f"{name}: change {number} wrote it, but it is missing" for name, number in expected.items() if name not in there
    ]
    for name, number in actual.items():
        should = expected.get(name)
        if should is None and name in removed:
            found.append(f"{name}: it was put back after change {removed[name]} removed it")
        elif should is None:
            found.append(f"{name}: the change feed does not know of it")
        elif number < should:
            found.append(f"{name}: it was put back from before, as change {number} wrote it and not {should}")
        elif number > should:
            found.append(f"{name}: change {number} wrote it, which the change feed does not have")
    return found
