"""The calendar: every few seconds each job does what is due (one file each).

Every server process looks. What a job does is one change for each key, decided on the records as they are: of two
processes that act at once one finds it done. What a killed process did not do, the next look does.
"""

import asyncio
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, Protocol, TypeVar

from strongroom.audit.record import CloudTrailRecord, Loggable, encode, key_event
from strongroom.audit.writer import AuditWriter
from strongroom.clock import Clocks, doubt, note, read_clocks
from strongroom.errors import ConflictError, IntegrityError, OperatorError, RequestError, RollbackError
from strongroom.jobs.agenda import Agenda, agenda_of
from strongroom.model.erasure import PendingErasure
from strongroom.model.key import KmsKey
from strongroom.snapshot import KeyEntry, LiveSnapshot, Snapshot
from strongroom.storage.contract import OutboxEntry, Storage, Write

SECONDS = 2.0
"""From one look to the next, at most."""
EVENTS = ("BeginKeyDeletionWindow", "DeleteExpiredKeyMaterial", "DeleteKey", "RotateKey", "SynchronizeMultiRegionKey")
"""What jobs record."""
_ATTEMPTS = 10
"""How often a change is decided again in one look."""
_PAUSE = 0.005
"""Seconds by which the pause before each new attempt grows at most."""

R = TypeVar("R")


class Look(NamedTuple):
    """When somebody looked, in seconds since the epoch, and why the clock cannot be trusted, if it cannot."""

    now: float
    doubtful: str | None


class Done(NamedTuple):
    """What a job does to a key: the writes, and the record of the event, if it is one."""

    writes: Sequence[Write]
    record: CloudTrailRecord | None


def event(name: str, key: KmsKey | PendingErasure, details: Loggable, now: float) -> CloudTrailRecord:
    """The record of what a job does to a key, with a fresh id."""
    return key_event(name=name, event_id=str(uuid.uuid4()), now=now, key=key, details=details)


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
        self._hurried = asyncio.Event()
        self.events: Counter[str] = Counter()
        """What was done, by the name of the event."""
        self.waiting: set[str] = set()
        """The jobs of which something is due and has to wait."""

    def hurry(self) -> None:
        """Have the calendar look at once: something was asked for."""
        self._hurried.set()

    async def rest(self) -> None:
        """Wait until it is time for the next look."""
        try:
            await asyncio.wait_for(self._hurried.wait(), SECONDS)
        except TimeoutError:
            return
        finally:
            self._hurried.clear()

    async def look(self, clocks: Clocks) -> Look:
        """Look at the clock, and note a time that can be trusted."""
        readings = (await self.state.confirm()).clock_readings.values()
        doubtful = doubt(clocks, readings)
        if doubtful is None:
            await self.commit(note(clocks, readings), None)
        return Look(clocks.wall, doubtful)

    async def agenda(self) -> Agenda:
        """What there is to do, by the state as it is now."""
        snapshot = await self.state.confirm()
        if self._agenda is None or self._agenda.snapshot is not snapshot:
            self._agenda = await self.in_pool(lambda: agenda_of(snapshot))
        return self._agenda

    async def change(self, key: KmsKey, decide: Callable[[Snapshot, KeyEntry], Done | None]) -> None:
        """Change a key as `decide` says by the state as it is now, and again by newer state if another came first.

        Others who keep changing the key, or what is related to it, hold this up for a while, but not for good.
        """
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(attempt * random.uniform(0, _PAUSE))  # noqa: S311 — so that not all come at once
            snapshot = await self.state.confirm()
            entry = snapshot.keys.get((key.region, key.account, key.key_id))
            done = None if entry is None else decide(snapshot, entry)
            if done is None or await self.commit(done.writes, done.record):
                return

    async def commit(self, writes: Sequence[Write], record: CloudTrailRecord | None) -> bool:
        """Commit, and chain the record, if there is one; whether nobody came first."""
        if not writes:
            return True
        outbox = None if record is None else OutboxEntry(self._audit.chain_id, record.event_id, encode(record))
        try:
            with self._audit.committing("" if record is None else record.event_id):
                position = await self.in_pool(lambda: self.storage.commit(writes, outbox))
        except ConflictError:
            return False
        if record is not None and outbox is not None:
            self.events[record.event_name] += 1
            await self._audit.write(outbox.record, change=position.number)
        return True

    async def in_pool(self, work: Callable[[], R]) -> R:
        """Do what may take long where it holds nobody up."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def keep_calendar(office: Office, jobs: Sequence[Job], *, on_fatal: Callable[[str], None]) -> None:
    """Do what is due until cancelled. What cannot be done now is told once, and tried again.

    State that was altered, and a fault of our own, are fatal.
    """
    told: dict[str, str | None] = {}

    def tell(of: str, waits: str | None) -> None:
        if waits is not None and waits != told.get(of):
            sys.stderr.write(f"strongroom: {waits}\n")
        told[of] = waits

    while True:
        try:
            for job in jobs:  # each by the time when it begins: the one before may have taken long
                waits = await _waiting(job, await office.look(read_clocks()))
                (office.waiting.discard if waits is None else office.waiting.add)(job.name)
                tell(job.name, waits)
            tell("calendar", None)
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except (OperatorError, OSError) as error:
            tell("calendar", f"the calendar waits: {error}")
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the calendar failed: {type(error).__name__}")
            return
        await office.rest()


async def _waiting(job: Job, look: Look) -> str | None:
    """Let a job run; return what waits, if it cannot. Raises what is fatal."""
    try:
        return await job.run(look)
    except (IntegrityError, RollbackError):
        raise
    except (OperatorError, RequestError, OSError) as error:
        return f"{job.name} waits: {error}"
