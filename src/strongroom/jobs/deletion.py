"""Deletes the KMS keys whose waiting period is over, for good (AWS: "Deleting AWS KMS keys").

Steps, each of which a killed process leaves to the next:
1. Only with a clock that can be trusted (`clock.py`).
2. One change deletes the key, all its key material and its aliases, and notes what is to be erased. Its record is the
   event DeleteKey. A key that was saved meanwhile (CancelKeyDeletion) stays: the change conflicts.
3. The deleted bytes are erased from the database's files. Only then the note is dropped.
"""

import asyncio
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from strongroom.audit.record import encode, key_event
from strongroom.audit.writer import AuditWriter
from strongroom.errors import ConflictError, IntegrityError, OperatorError, RequestError, RollbackError
from strongroom.jobs.clock import Clocks, doubt, note, read_clocks
from strongroom.model.clock_reading import ClockReading
from strongroom.model.erasure import PendingErasure
from strongroom.model.key_states import PENDING_DELETION
from strongroom.snapshot import KeyEntry, LiveSnapshot, Snapshot
from strongroom.storage.contract import Delete, Insert, OutboxEntry, Storage, Write

SECONDS = 5.0
"""From one look at what is due to the next."""

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
        if waits is not None and told is None:
            sys.stderr.write(f"strongroom: {waits}\n")
        told = waits
        await asyncio.sleep(SECONDS)


class DeletionJob:
    """What a run needs. Runs on the event loop; storage is asked on the pool."""

    def __init__(self, state: LiveSnapshot, storage: Storage, audit: AuditWriter, pool: Executor) -> None:
        self._state = state
        self._storage = storage
        self._audit = audit
        self._pool = pool

    async def run(self, now: Clocks) -> str | None:
        """Delete what is due and erase what was deleted. Returns why keys that are due have to wait, if they have."""
        await self._erase()
        readings = await self._in_pool(lambda: self._storage.find_all(ClockReading))
        doubtful = doubt(now, readings)
        if doubtful is None:
            await self._commit(note(now, readings), None)
        snapshot = self._state.current()
        due = await self._in_pool(lambda: due_keys(snapshot, now.wall))
        if not due:
            return None
        if doubtful is not None:
            return f"{len(due)} KMS keys are due for deletion and wait for `strongroom confirm-time`: {doubtful}"
        for entry in due:
            await self._delete(snapshot, entry, now.wall)
        await self._erase()
        return None

    async def _delete(self, snapshot: Snapshot, entry: KeyEntry, now: float) -> None:
        """Step 2."""
        key = entry.key
        aliases = [snapshot.aliases[key.region, key.account, name] for name in sorted(entry.aliases)]
        writes: list[Write] = [Delete(key, entry.number)]
        writes += [Delete(material, number) for material, number in entry.materials.values()]
        writes += [Delete(alias, number) for alias, number in aliases]
        writes.append(Insert(PendingErasure(key.account, key.region, key.key_id, now)))
        event_id = str(uuid.uuid4())
        record = encode(key_event(name="DeleteKey", event_id=event_id, now=now, key=key, details={"keyId": key.arn}))
        await self._commit(writes, OutboxEntry(self._audit.chain_id, event_id, record))

    async def _erase(self) -> None:
        """Step 3."""
        pending = await self._in_pool(lambda: self._storage.find_all(PendingErasure))
        if pending:
            await self._in_pool(self._storage.erase)
            await self._commit([Delete(erased, number) for erased, number in pending], None)

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


def due_keys(snapshot: Snapshot, now: float) -> list[KeyEntry]:
    """The keys whose waiting period is over at `now` (seconds since the epoch)."""
    return [
        entry
        for entry in snapshot.keys.values()
        if entry.key.state == PENDING_DELETION
        and entry.key.deletion_date is not None
        and entry.key.deletion_date <= now
    ]
