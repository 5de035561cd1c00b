"""The feed's tables: the head, the rows, and the checkpoint. The connection is in a transaction already.

Nothing here is particular to one database system.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from strongroom.errors import ConflictError
from strongroom.storage.contract import Position
from strongroom.storage.proof import Numbers, altered, encode_listing, follow
from strongroom.storage.row_authentication import (
    Checkpoint,
    FeedHead,
    FeedRow,
    chain_value,
    checkpoint_mac,
    genesis,
    head_mac,
    matches,
)
from strongroom.storage.tables import CHECKPOINT, FEED, FEED_HEAD

CHECKPOINT_AFTER = 1_000
"""Changes after the last checkpoint that make the next one due."""
FEED_KEPT = 1_000
"""Changes that the feed keeps at least: how far behind a running process may fall and still follow."""

_ONLY_ROW = {table: select(table) for table in (FEED_HEAD, CHECKPOINT)}
_READ_LAST = select(FEED).order_by(FEED.c.number.desc()).limit(1)
_READ_AFTER = select(FEED).where(FEED.c.number > bindparam("after")).order_by(FEED.c.number)
_COUNT_SINCE_CHECKPOINT = (
    select(func.count()).select_from(FEED).where(FEED.c.number > select(CHECKPOINT.c.number).scalar_subquery())
)
_APPEND = insert(FEED)
_ADVANCE = update(FEED_HEAD).where(FEED_HEAD.c.number == bindparam("before")).returning(FEED_HEAD.c.number)
_TRIM = delete(FEED).where(FEED.c.number <= bindparam("floor"))
_WRITE_CHECKPOINT = update(CHECKPOINT)
_WRITE_HEAD = update(FEED_HEAD)
_NUMBERS = msgspec.json.Decoder(list[int])


def begin(connection: Connection, row_key: bytes) -> None:
    """Fill the tables of a new database: no change yet, and a checkpoint of nothing."""
    start = genesis(row_key)
    head = FeedHead(0, start, "[]", 0)
    connection.execute(insert(FEED_HEAD), head._asdict() | {"mac": head_mac(row_key, head)})
    checkpoint = Checkpoint(0, start, 0, start, encode_listing({}))
    connection.execute(insert(CHECKPOINT), checkpoint._asdict() | {"mac": checkpoint_mac(row_key, checkpoint)})


def pending(head: FeedHead) -> list[int]:
    """The changes whose audit records are in the outbox, in order."""
    return _NUMBERS.decode(head.pending)


def read_head(connection: Connection, row_key: bytes) -> FeedHead:
    """Read the head and verify that it is authentic and where the feed ends. Raises IntegrityError."""
    *cells, mac = _only_row(connection, FEED_HEAD)
    head = FeedHead(*cells)
    if not matches(head_mac(row_key, head), mac):
        raise altered("feed head: its authentication code does not match")
    last = connection.execute(_READ_LAST).one_or_none()
    end, chain = (0, genesis(row_key)) if last is None else (last.number, last.chain)
    if head.number != end:
        raise altered(f"the feed head stands at change {head.number}, but the change feed ends at change {end!a}")
    if not matches(head.chain, chain):
        raise altered(f"feed row {head.number}: its chain value is not the one that the feed head has")
    return head


def _only_row(connection: Connection, table: Table) -> Sequence[Any]:  # of any types, until it is verified
    rows = connection.execute(_ONLY_ROW[table]).all()
    if len(rows) != 1:
        raise altered(f"{table.name} has {len(rows)} rows and not one")
    return rows[0]


def read_after(connection: Connection, number: int) -> list[FeedRow]:
    """Read the feed's rows after change `number`, in order, not verified."""
    return [FeedRow(*row) for row in connection.execute(_READ_AFTER, {"after": number})]


def read_checkpoint(connection: Connection, row_key: bytes) -> Checkpoint:
    """Read the checkpoint and verify it. Raises IntegrityError."""
    *cells, mac = _only_row(connection, CHECKPOINT)
    checkpoint = Checkpoint(*cells)
    if not matches(checkpoint_mac(row_key, checkpoint), mac):
        raise altered("checkpoint: its authentication code does not match")
    return checkpoint


class Feed(NamedTuple):
    """The verified feed: `rows` from the checkpoint's floor to the head."""

    head: FeedHead
    checkpoint: Checkpoint
    rows: list[FeedRow]


def read_feed(connection: Connection, row_key: bytes, head: FeedHead) -> Feed:
    """Read the whole feed and verify its chain from the checkpoint's floor to the verified `head`.

    Raises IntegrityError.
    """
    checkpoint = read_checkpoint(connection, row_key)
    rows = read_after(connection, checkpoint.floor_number)
    end = follow(row_key, Position(checkpoint.floor_number, checkpoint.floor_chain), rows)
    if end.number != head.number:
        raise altered(f"the change feed ends at change {end.number}, but its head stands at {head.number}")
    passed = {row.number: row.chain for row in rows} | {checkpoint.floor_number: checkpoint.floor_chain}
    if not matches(checkpoint.chain, passed.get(checkpoint.number)):
        raise altered(f"checkpoint: change {checkpoint.number} is not one of this change feed")
    return Feed(head, checkpoint, rows)


def append(connection: Connection, row_key: bytes, head: FeedHead, row: FeedRow) -> Position:
    """Append a change after the verified `head` and advance it: the last statements of a transaction.

    `row.chain` is not looked at. Raises ConflictError if the head was moved meanwhile.
    """
    linked = row._replace(chain=chain_value(row_key, head.chain, row))
    connection.execute(_APPEND, linked._asdict())
    waiting = pending(head) + ([row.number] if row.record_hash is not None else [])
    advanced = head._replace(number=row.number, chain=linked.chain, pending=_as_json(waiting))
    cells = advanced._asdict() | {"mac": head_mac(row_key, advanced), "before": head.number}
    if connection.execute(_ADVANCE, cells).scalar_one_or_none() != row.number:
        raise ConflictError("another change came between")
    return Position(advanced.number, advanced.chain)


def write_audit_state(
    connection: Connection, row_key: bytes, head: FeedHead, *, waiting: Sequence[int], audit_chains: int
) -> None:
    """Note what the audit tables hold now, beside the verified `head`."""
    noted = head._replace(pending=_as_json(waiting), audit_chains=audit_chains)
    connection.execute(_WRITE_HEAD, noted._asdict() | {"mac": head_mac(row_key, noted)})


def checkpoint_is_due(connection: Connection) -> bool:
    """Whether enough changes were made since the last checkpoint. Nothing is verified."""
    return int(connection.execute(_COUNT_SINCE_CHECKPOINT).scalar_one()) >= CHECKPOINT_AFTER


def write_checkpoint(connection: Connection, row_key: bytes, head: FeedHead, *, proved: Feed, numbers: Numbers) -> None:
    """Replace the checkpoint by one of the proved state `numbers`, and trim the feed.

    The newest FEED_KEPT changes are kept, and those whose audit records are in the outbox, as the verified `head`
    has it: it may have gone on since the proof.
    """
    if read_checkpoint(connection, row_key) != proved.checkpoint:
        return  # another process wrote one meanwhile
    kept_from = min([row.number for row in proved.rows[-FEED_KEPT:]] + pending(head))
    floor = Position(proved.checkpoint.floor_number, proved.checkpoint.floor_chain)
    for row in proved.rows:
        if row.number < kept_from:
            floor = Position(row.number, row.chain)
    renewed = Checkpoint(proved.head.number, proved.head.chain, *floor, encode_listing(numbers))
    connection.execute(_TRIM, {"floor": floor.number})
    connection.execute(_WRITE_CHECKPOINT, renewed._asdict() | {"mac": checkpoint_mac(row_key, renewed)})


def _as_json(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(numbers).decode()
