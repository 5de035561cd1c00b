"""The calendar: every few seconds each job does what is due (one file each: deletion, expiry, rotation).

Every server process looks. What a job does is one change for each key, decided on the records as they were: of two
processes that act at once one finds it done. What a killed process did not do, the next look does.
"""

import asyncio
import sys
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, Protocol, TypeVar

from strongroom.audit.record import Loggable, encode, key_event, synchronization_event
from strongroom.audit.writer import AuditWriter
from strongroom.clock import Clocks, doubt, note, read_clocks
from strongroom.errors import ConflictError, IntegrityError, OperatorError, RequestError, RollbackError
from strongroom.jobs.agenda import Agenda, agenda_of
from strongroom.model.key import KmsKey
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.contract import OutboxEntry, Storage, Write

SECONDS = 2.0
"""From one look to the next."""

R = TypeVar("R")


class Look(NamedTuple):
    """When somebody looked, in seconds since the epoch, and why the clock cannot be trusted, if it cannot."""

    now: float
    doubtful: str | None


class Job(Protocol):
    """One kind of work."""

    name: str

    async def run(self, look: Look) -> str | None:
        """Do what is due. Returns what has to wait and why, in plain words, if anything has."""
        ...


class Office:
    """What jobs work with. Runs on the event loop; storage is asked on the pool.

    Jobs act on the snapshot alone, which is proven: what is taken out of the database, or put back, does not count.
    """

    def __init__(self, state: LiveSnapshot, storage: Storage, audit: AuditWriter, pool: Executor) -> None:
        self.state = state
        self.storage = storage
        self._audit = audit
        self._pool = pool
        self._agenda: Agenda | None = None

    async def look(self, clocks: Clocks) -> Look:
        """Look at the clock, and note a time that can be trusted."""
        readings = self.state.current().clock_readings.values()
        doubtful = doubt(clocks, readings)
        if doubtful is None:
            await self.commit(note(clocks, readings), None)
        return Look(clocks.wall, doubtful)

    async def agenda(self) -> Agenda:
        """What there is to do, by the state as it is now."""
        snapshot = self.state.current()
        if self._agenda is None or self._agenda.snapshot is not snapshot:
            self._agenda = await self.in_pool(lambda: agenda_of(snapshot))
        return self._agenda

    async def commit_event(
        self, name: str, key: KmsKey, writes: Sequence[Write], details: Loggable, now: float
    ) -> None:
        """Commit what is done to a key with its audit record, and chain that."""
        event_id = str(uuid.uuid4())
        record = encode(key_event(name=name, event_id=event_id, now=now, key=key, details=details))
        await self.commit(writes, OutboxEntry(self._audit.chain_id, event_id, record))

    async def commit_synchronization(self, primary: KmsKey, writes: Sequence[Write], now: float) -> None:
        """Commit what replica keys take over from their primary key with its audit record, and chain that."""
        event_id, request_id = str(uuid.uuid4()), str(uuid.uuid4())
        record = encode(synchronization_event(event_id=event_id, request_id=request_id, now=now, primary=primary))
        await self.commit(writes, OutboxEntry(self._audit.chain_id, event_id, record))

    async def commit(self, writes: Sequence[Write], outbox: OutboxEntry | None) -> None:
        """Commit, and chain the record. Where another came first nothing is left, or the next look does it."""
        if not writes:
            return
        try:
            position = await self.in_pool(lambda: self.storage.commit(writes, outbox))
        except ConflictError:
            return
        if outbox is not None:
            await self._audit.write(outbox.record, change=position.number)

    async def in_pool(self, work: Callable[[], R]) -> R:
        """Do what may take long where it holds nobody up."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def keep_calendar(office: Office, jobs: Sequence[Job], *, on_fatal: Callable[[str], None]) -> None:
    """Do what is due until cancelled. What cannot be done now is told once, and tried again.

    State that was altered, and a fault of our own, are fatal.
    """
    told: dict[str, str | None] = {}
    while True:
        try:
            for job in jobs:  # each by the time when it begins: the one before may have taken long
                waits = await _waiting(job, await office.look(read_clocks()))
                if waits is not None and waits != told.get(job.name):
                    sys.stderr.write(f"strongroom: {waits}\n")
                told[job.name] = waits
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except (OperatorError, OSError) as error:
            sys.stderr.write(f"strongroom: the calendar waits: {error}\n")
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the calendar failed: {type(error).__name__}")
            return
        await asyncio.sleep(SECONDS)


async def _waiting(job: Job, look: Look) -> str | None:
    """Let a job run; return what waits, if it cannot. Raises what is fatal."""
    try:
        return await job.run(look)
    except (IntegrityError, RollbackError):
        raise
    except (OperatorError, RequestError, OSError) as error:
        return f"{job.name} waits: {error}"
