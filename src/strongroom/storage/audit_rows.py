"""The audit's tables in the database: the outbox and the registered chains. The connection is in a transaction already.

The feed head knows which records are in the outbox and how many chains there are, so that none can be taken away.
Functions that take a head are given the verified one of their transaction.
Nothing here is particular to one database system.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from strongroom.errors import IntegrityError
from strongroom.storage import feed
from strongroom.storage.contract import AuditChain, OutboxEntry, PendingRecord
from strongroom.storage.proof import RowName, altered, unauthentic
from strongroom.storage.row_authentication import FeedHead, matches, row_mac
from strongroom.storage.tables import AUDIT_CHAINS, AUDIT_OUTBOX, Cell, column_names

_OUTBOX = str(AUDIT_OUTBOX.name)
_OUTBOX_COLUMNS = column_names(AUDIT_OUTBOX)
_PUT = insert(AUDIT_OUTBOX)
_READ_OUTBOX = select(AUDIT_OUTBOX).order_by(AUDIT_OUTBOX.c.number)
_DROP = delete(AUDIT_OUTBOX).where(AUDIT_OUTBOX.c.number == bindparam("which"))

_CHAINS = str(AUDIT_CHAINS.name)
_CHAINS_COLUMNS = column_names(AUDIT_CHAINS)
_REGISTER = insert(AUDIT_CHAINS)
_UPDATE = update(AUDIT_CHAINS).where(AUDIT_CHAINS.c.chain_id == bindparam("which"))
_KNOWN = select(AUDIT_CHAINS.c.serial, AUDIT_CHAINS.c.ended).where(AUDIT_CHAINS.c.chain_id == bindparam("which"))
_READ_CHAINS = select(AUDIT_CHAINS).order_by(AUDIT_CHAINS.c.serial)


def put(connection: Connection, row_key: bytes, number: int, entry: OutboxEntry) -> None:
    """Put the audit record of change `number` into the outbox."""
    row: dict[str, Cell] = {"number": number, **entry._asdict()}
    connection.execute(_PUT, row | {"mac": row_mac(row_key, _OUTBOX, row)})


def read_outbox(connection: Connection, row_key: bytes, head: FeedHead) -> list[PendingRecord]:
    """Read the outbox and verify that it holds what the feed says, no more and no less. Raises IntegrityError."""
    hashes = {row.number: row.record_hash for row in feed.read_feed(connection, row_key, head).rows}
    waiting = set(feed.pending(head))
    records: list[PendingRecord] = []
    found: list[str] = []
    for cells in connection.execute(_READ_OUTBOX):
        row = dict(zip(_OUTBOX_COLUMNS, cells, strict=True))
        number, entry = row["number"], OutboxEntry(row["chain_id"], row["event_id"], row["record"])
        name = RowName(_OUTBOX, (number,))
        if not matches(row_mac(row_key, _OUTBOX, row), row["mac"]):
            found.append(unauthentic(name))
        elif number not in waiting:
            found.append(f"{name}: it was put back after its record was chained")
        elif not matches(hashlib.sha256(entry.record).digest(), hashes.get(number)):
            found.append(f"{name}: it is not the record that the change feed names")
        records.append(PendingRecord(number, entry))
    missing = waiting - {record.number for record in records}
    found += [f"{RowName(_OUTBOX, (number,))}: it is missing" for number in sorted(missing)]
    if found:
        raise altered(*found)
    return records


def register_chain(
    connection: Connection, row_key: bytes, head: FeedHead, *, chain: AuditChain, chained: Sequence[int]
) -> None:
    """Insert or update a chain, and drop the records of `chained` changes. Raises IntegrityError if it has ended."""
    known_as = connection.execute(_KNOWN, {"which": chain.chain_id}).one_or_none()
    serial = None if known_as is None else int(known_as.serial)
    if known_as is not None and known_as.ended and not chain.ended:
        raise IntegrityError(f"the audit chain {chain.chain_id} was closed by another process")
    if serial is None:
        row = _chain_row(row_key, chain, head.audit_chains + 1)
        connection.execute(_REGISTER, row)
    else:
        row = _chain_row(row_key, chain, serial)
        connection.execute(_UPDATE, row | {"which": chain.chain_id})
    for number in chained:
        connection.execute(_DROP, {"which": number})
    if chained or serial is None:
        dropped = set(chained)
        waiting = [number for number in feed.pending(head) if number not in dropped]
        known = head.audit_chains + (1 if serial is None else 0)
        feed.write_audit_state(connection, row_key, head, waiting=waiting, audit_chains=known)


def _chain_row(row_key: bytes, chain: AuditChain, serial: int) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "chain_id": chain.chain_id,
        "serial": serial,
        "opened": float(chain.opened),
        "sequence": chain.sequence,
        "chain_mac": chain.mac,
        "ended": chain.ended,
    }
    return row | {"mac": row_mac(row_key, _CHAINS, row)}


def read_chains(connection: Connection, row_key: bytes, head: FeedHead) -> list[AuditChain]:
    """Read all registered chains in the order in which they were registered. Raises IntegrityError."""
    known = head.audit_chains
    chains: dict[int, AuditChain] = {}
    found: list[str] = []
    for cells in connection.execute(_READ_CHAINS):
        row = dict(zip(_CHAINS_COLUMNS, cells, strict=True))
        if matches(row_mac(row_key, _CHAINS, row), row["mac"]):
            chains[row["serial"]] = AuditChain(
                row["chain_id"], row["opened"], row["sequence"], row["chain_mac"], ended=row["ended"]
            )
        else:
            found.append(unauthentic(RowName(_CHAINS, (row["chain_id"],))))
    missing = known - len(chains) - len(found)
    if missing:
        found.append(f"{_CHAINS}: {known} chains were registered, {missing} of them are missing")
    if found:
        raise altered(*found)
    return list(chains.values())
