"""Deletes the KMS keys whose waiting period is over, for good (AWS: "Deleting AWS KMS keys").

Steps, each of which a killed process leaves to the next:
1. Only with a clock that can be trusted (`clock.py`). Waiting periods that were asked for while it could not be
   trusted begin now.
2. One change deletes the key, all its key material, its aliases, its grants and its last use, and notes what is to
   be erased. Its
   record is the event DeleteKey. A key that was saved meanwhile (CancelKeyDeletion) stays: the change conflicts.
3. The deleted bytes are erased from the database's files. Only then the note is dropped.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from msgspec.structs import replace

from strongroom.audit.record import Loggable, encode, key_event, shown_time
from strongroom.audit.writer import AuditWriter
from strongroom.clock import Clocks, doubt, note, read_clocks
from strongroom.errors import ConflictError, IntegrityError, OperatorError, RequestError, RollbackError
from strongroom.model.erasure import PendingErasure
from strongroom.model.key_states import PENDING_DELETION
from strongroom.operations.kms.deletion import end_of_waiting
from strongroom.snapshot import KeyEntry, LiveSnapshot, Snapshot
from strongroom.storage.contract import Delete, Insert, OutboxEntry, Replace, Storage, Write

SECONDS = 5.0
"""From one look at what is due to the next."""
_LONGEST_PAUSE = 600.0
"""Seconds between two attempts to erase, at most: each that fails doubles the pause, since it holds up others."""

R = TypeVar("R")


async def delete_forever(
    state: LiveSnapshot, storage: Storage, audit: AuditWriter, pool: Executor, *, on_fatal: Callable[[str], None]
) -> None:
    """Delete what is due until cancelled. What cannot be done now is told once, and tried again.

    State that was altered, and a fault of our own, are fatal.
    """
    job = DeletionJob(state, storage, audit, pool)
    told: str | None = None
    while True:
        waits: str | None
        try:
            waits = await job.run(read_clocks())
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except (OperatorError, RequestError, OSError) as error:
            waits = f"deletion waits: {error}"
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the deletion of keys failed: {type(error).__name__}")
            return
        if waits is not None and waits != told:
            sys.stderr.write(f"strongroom: {waits}\n")
        told = waits
        await asyncio.sleep(SECONDS)


class DeletionJob:
    """What a run needs. Runs on the event loop; storage is asked on the pool.

    It acts on the snapshot alone, which is proven: what is taken out of the database or put back does not count.
    """

    def __init__(self, state: LiveSnapshot, storage: Storage, audit: AuditWriter, pool: Executor) -> None:
        self._state = state
        self._storage = storage
        self._audit = audit
        self._pool = pool
        self._pause = SECONDS
        self._erase_from = 0.0  # on the monotonic clock
        self._unerased: str | None = None

    async def run(self, now: Clocks) -> str | None:
        """Delete what is due and erase what was deleted. Returns what has to wait and why, if anything has."""
        await self._erase()
        snapshot = self._state.current()
        pending = await self._in_pool(lambda: pending_keys(snapshot))
        readings = snapshot.clock_readings.values()
        doubtful = doubt(now, readings)
        if doubtful is None:
            await self._commit(note(now, readings), None)
            for entry in pending:
                await self._begin_or_delete(snapshot, entry, now.wall)
            await self._erase()
        elif any(is_due(entry, now.wall) for entry in pending):
            return f"KMS keys wait to be deleted until `strongroom confirm-time`: {doubtful}"
        return self._unerased

    async def _begin_or_delete(self, snapshot: Snapshot, entry: KeyEntry, now: float) -> None:
        """Steps 1 and 2."""
        if entry.key.deletion_date is None:
            await self._begin(entry, now)
        elif is_due(entry, now):
            await self._delete(snapshot, entry, now)

    async def _begin(self, entry: KeyEntry, now: float) -> None:
        key = entry.key
        assert key.pending_window_in_days is not None, "a key without a date has a waiting period"
        date = end_of_waiting(now, key.pending_window_in_days)
        dated = replace(key, deletion_date=date, pending_window_in_days=None)
        details = {"keyId": key.arn, "deletionDate": shown_time(date)}
        await self._commit_event("BeginKeyDeletionWindow", entry, [Replace(dated, entry.number)], details, now)

    async def _delete(self, snapshot: Snapshot, entry: KeyEntry, now: float) -> None:
        key = entry.key
        aliases = [snapshot.aliases[key.region, key.account, name] for name in sorted(entry.aliases)]
        writes: list[Write] = [Delete(key, entry.number)]
        writes += [Delete(material, number) for material, number in entry.materials.values()]
        writes += [Delete(alias, number) for alias, number in aliases]
        if entry.usage is not None:
            writes.append(Delete(*entry.usage))
        writes += [Delete(grant, number) for grant, number in entry.grants.by_id.values()]
        writes.append(Insert(PendingErasure(key.account, key.region, key.key_id, now)))
        await self._commit_event("DeleteKey", entry, writes, {"keyId": key.arn}, now)

    async def _erase(self) -> None:
        """Step 3. What cannot be erased now is tried again after a pause."""
        erasures = list(self._state.current().erasures.values())
        if not erasures or time.monotonic() < self._erase_from:
            return
        try:
            await self._in_pool(self._storage.erase)
        except (IntegrityError, RollbackError):
            raise
        except OperatorError as error:
            self._unerased = f"deleted keys are not erased from the files yet: {error}"
            self._erase_from = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return
        self._unerased, self._pause = None, SECONDS
        await self._commit([Delete(erased, number) for erased, number in erasures], None)

    async def _commit_event(
        self, name: str, entry: KeyEntry, writes: list[Write], details: Loggable, now: float
    ) -> None:
        event_id = str(uuid.uuid4())
        record = encode(key_event(name=name, event_id=event_id, now=now, key=entry.key, details=details))
        await self._commit(writes, OutboxEntry(self._audit.chain_id, event_id, record))

    async def _commit(self, writes: list[Write], outbox: OutboxEntry | None) -> None:
        """Commit, and chain the record. Where another came first there is nothing left to do."""
        if not writes:
            return
        try:
            position = await self._in_pool(lambda: self._storage.commit(writes, outbox))
        except ConflictError:
            return
        if outbox is not None:
            await self._audit.write(outbox.record, change=position.number)

    async def _in_pool(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def pending_keys(snapshot: Snapshot) -> list[KeyEntry]:
    """The keys that are to be deleted."""
    return [entry for entry in snapshot.keys.values() if entry.key.state == PENDING_DELETION]


def is_due(entry: KeyEntry, now: float) -> bool:
    """Whether the waiting period of a key is over at `now` (seconds since the epoch)."""
    return entry.key.deletion_date is not None and entry.key.deletion_date <= now
