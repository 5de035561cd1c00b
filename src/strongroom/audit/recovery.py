"""What a start does before it serves: it closes the chains of processes that are gone.

1. Take every registered chain that has not ended and whose writer's lock is free; so no two starts recover one.
2. Read each from its registered position on, with the chain private key.
3. Chain, in the new process's chain, the outbox records that no undamaged dead chain holds.
4. Chain a recovery record for each, which names its last good line and the bytes of a torn one behind it.
5. Sign its unsigned segments, if nothing is wrong with them.
6. Register its end.

A crash in between leaves the chain to the next start: what was chained in step 3 is then found in step 2.
"""

import contextlib
import os
import uuid
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from strongroom.audit.archiving import put_digest, reconcile
from strongroom.audit.chain import Line
from strongroom.audit.digests import ClosedSegment, digested_segments, read_digest, write_digest
from strongroom.audit.reading import ChainReader, SegmentReading
from strongroom.audit.record import encode, service_event, utc_time
from strongroom.audit.segments import first_sequence, lock_chain, segments
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.errors import DataDirectoryError, KMSInternal, StorageError
from strongroom.storage.contract import AuditChain, PendingRecord

RECOVERY_EVENT = "RecoverAuditChain"


class RecoveryDetails(Struct, frozen=True, rename="camel"):
    """The serviceEventDetails of a recovery record: the dead chain's last good line, and what stood behind it.

    `torn_bytes` counts the bytes of a last line without newline, `torn_sha256` is their hash in hex.
    `damage` says what else was wrong, `chained` which changes' records were taken over.
    """

    chain_id: str
    last_sequence: int
    last_mac: str
    torn_bytes: int
    torn_sha256: str
    damage: list[str]
    chained: list[int]


class _DeadChain(NamedTuple):
    """A chain to be closed, as read: where it ends, what stood behind that, and what is wrong with it.

    `held` are the changes of the outbox whose records it holds: none if anything is wrong with it.
    """

    registered: AuditChain
    segments: list[SegmentReading]
    sequence: int
    mac: bytes
    torn: bytes
    damage: list[str]
    held: frozenset[int]


async def recover(log: AuditLog, writer: AuditWriter, *, chain_private_key: bytes, now: float) -> list[RecoveryDetails]:
    """Close the chains of processes that are gone; returns what it recorded of each. `now`: seconds since the epoch.

    An altered chain is recorded as such and stops nothing. Blocks on disk: to be called before anything is served.
    Raises StorageError, IntegrityError or DataDirectoryError if it cannot be done now; nothing is lost then.
    """
    try:
        with contextlib.ExitStack() as locks:
            return await _recover(log, writer, _take_dead_chains(log, writer, locks), chain_private_key, now)
    except (KMSInternal, OSError) as error:
        reason = str(error) or "the disk is full, or fails"
        raise DataDirectoryError(f"the audit log of an earlier process cannot be recovered: {reason}") from error


async def _recover(
    log: AuditLog, writer: AuditWriter, registered: list[AuditChain], chain_private_key: bytes, now: float
) -> list[RecoveryDetails]:
    left_over = _left_over(log, {chain.chain_id for chain in registered})
    if log.archive is not None:
        for gone in registered:
            reconcile(log.archive, log.directory / gone.chain_id)
    dead = [_read_dead_chain(log, chain, chain_private_key, left_over) for chain in registered]
    held = frozenset[int]().union(*(chain.held for chain in dead))
    unwritten = [pending for pending in left_over if pending.number not in held]
    for pending in unwritten:
        await writer.write(pending.entry.record, pending.number)
    recovered = []
    for chain in dead:
        details = _details(chain, unwritten)
        event = service_event(name=RECOVERY_EVENT, event_id=str(uuid.uuid4()), now=now, details=details)
        await writer.write(encode(event))
        recovered.append(details)
    # Whatever the sync mode, the records are on disk before a chain counts as ended.
    await writer.tick()
    if writer.behind:
        raise StorageError("the database that nodes share does not take the audit log: start again when it does")
    for chain in dead:
        _end(log, chain, [pending.number for pending in _of(chain, left_over)], now)
    return recovered


def _take_dead_chains(log: AuditLog, writer: AuditWriter, locks: contextlib.ExitStack) -> list[AuditChain]:
    """Lock the chains whose process is gone until `locks` is left."""
    taken = set()
    for chain in log.storage.chains():
        if chain.ended or chain.chain_id == writer.chain_id or not log.is_own(chain.chain_id):
            continue
        if log.archive is not None:  # files that were lost are made again, by one
            (log.directory / chain.chain_id).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = lock_chain(log.directory / chain.chain_id)
        except FileNotFoundError:
            taken.add(chain.chain_id)
        else:
            if lock is not None:
                locks.callback(os.close, lock)
                taken.add(chain.chain_id)
    # Read again: another start may have closed one before we got its lock.
    return [chain for chain in log.storage.chains() if chain.chain_id in taken and not chain.ended]


def _read_dead_chain(
    log: AuditLog, registered: AuditChain, chain_private_key: bytes, left_over: list[PendingRecord]
) -> _DeadChain:
    """Read a chain from its registered position on, and find which records of the outbox it holds."""
    directory = log.directory / registered.chain_id
    hashes = {pending.number: sha256(pending.entry.record).digest() for pending in left_over}
    held: set[int] = set()

    def take(line: Line) -> None:
        if line.change in hashes and hashes[line.change] == sha256(line.record).digest():
            held.add(line.change)

    reader = ChainReader(
        directory,
        installation=log.installation,
        chain_private_key=chain_private_key,
        on_record=take,
        watch=registered.sequence,
    )
    readings = [reader.read(number) for number in _segments_from(directory, registered.sequence)]
    reader.finish()
    damage = [fault.message for fault in reader.damage.faults()]
    damage += [f"segment {reading.number} ends in a torn line" for reading in readings[:-1] if reading.torn]
    if reader.lines == 0 and registered.sequence > 0:
        damage.append(f"the log does not reach record {registered.sequence}, where the chain was registered")
    elif reader.lines > 0 and reader.watched != registered.mac:
        damage.append(f"the log does not hold record {registered.sequence} as it was registered")
    torn = readings[-1].torn if readings else b""
    if damage or not reader.lines:
        return _DeadChain(registered, readings, registered.sequence, registered.mac, torn, damage, frozenset())
    return _DeadChain(registered, readings, reader.last_sequence, reader.last_mac, torn, damage, frozenset(held))


def _segments_from(directory: Path, sequence: int) -> list[int]:
    """Return the segments from the one that should hold the line `sequence` on."""
    numbers = segments(directory)
    begun = [number for number in numbers if 0 < first_sequence(directory, number) <= sequence]
    return [number for number in numbers if not begun or number >= begun[-1]]


def _left_over(log: AuditLog, gone: set[str]) -> list[PendingRecord]:
    """Return the outbox without what living processes will still chain themselves."""
    alive = {chain.chain_id for chain in log.storage.chains() if not chain.ended} - gone
    return [pending for pending in log.storage.outbox() if pending.entry.chain_id not in alive]


def _of(chain: _DeadChain, pending: list[PendingRecord]) -> list[PendingRecord]:
    return [record for record in pending if record.entry.chain_id == chain.registered.chain_id]


def _details(chain: _DeadChain, written: list[PendingRecord]) -> RecoveryDetails:
    return RecoveryDetails(
        chain_id=chain.registered.chain_id,
        last_sequence=chain.sequence,
        last_mac=chain.mac.hex(),
        torn_bytes=len(chain.torn),
        torn_sha256=sha256(chain.torn).hexdigest(),
        damage=chain.damage,
        chained=[record.number for record in _of(chain, written)],
    )


def _end(log: AuditLog, chain: _DeadChain, changes: list[int], now: float) -> None:
    """Sign what is unsigned and whole, and register the end."""
    directory = log.directory / chain.registered.chain_id
    for reading in chain.segments if not chain.damage else ():
        if read_digest(directory, reading.number) is not None:
            continue
        before = read_digest(directory, reading.number - 1)
        write_digest(
            directory,
            ClosedSegment(
                number=reading.number,
                start_time=reading.start_time or utc_time(int(now)),
                end_time=utc_time(int(now)),
                first_sequence=reading.first_sequence,
                last_sequence=reading.last_sequence,
                last_mac=reading.last_mac,
                size=reading.size,
                sha256=reading.sha256,
            ),
            installation=log.installation,
            digest_key=log.digest_key,
            position=log.storage.position(),
            previous=before.link if before is not None else None,
        )
    if log.archive is not None:
        for number in digested_segments(directory):
            put_digest(log.archive, directory, number)
    registered = chain.registered
    log.storage.register_chain(
        AuditChain(registered.chain_id, registered.opened, chain.sequence, chain.mac, ended=True), chained=changes
    )
