"""Stores when KMS keys and access keys were last used.

Every server process notes its uses in memory (`operations/uses.py`). Once a minute the job stores those that are the
first of their key in an hour (UTC), and of hours that are over the last, so that a key which is used all the time is
written once an hour, or twice; when the process ends it stores the others too. So every process knows of the first use
in an hour after a minute, and of the last a minute after that hour. Where several processes used a key, the newest use
stays.

A process that is killed loses what it noted in the last minute, and of hours from which a use is stored the later ones,
which change no count of days (`trailing_days`). These changes have no audit records: each use has one already.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from strongroom.errors import ConflictError, IntegrityError, OperatorError, RollbackError, StorageError
from strongroom.model.key_usage import KeyUsage
from strongroom.model.numbered import Numbered
from strongroom.model.principal import AccessKeyUsage
from strongroom.operations.uses import Uses
from strongroom.snapshot import LiveSnapshot, Snapshot
from strongroom.storage.contract import Delete, Insert, Keep, Replace, Storage, Write

_SECONDS = 60.0
_HOUR = 3_600.0
_ATTEMPTS = 10
"""How often a change is decided again when others keep coming first."""
_AT_ONCE = 200
"""Writes in one change, about: every process takes a change over in one step, in which it answers nobody."""

R = TypeVar("R")


class UsageJob:
    """What a run needs. Runs on the event loop; storage is asked on the pool."""

    def __init__(
        self, state: LiveSnapshot, storage: Storage, uses: Uses, pool: Executor, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives seconds since the epoch."""
        self._clock = clock
        self._state = state
        self._storage = storage
        self._uses = uses
        self._pool = pool

    async def run(self, *, ending: bool = False) -> None:
        """Store what is due, and everything if the process is `ending`. Raises OperatorError: try again later."""
        conflicts = 0
        while conflicts < _ATTEMPTS:
            snapshot, noted = await self._state.confirm(), self._uses.noted()
            writes, settled = await self._in_pool(partial(due, snapshot, noted, now=self._clock(), ending=ending))
            if writes:
                try:
                    await self._in_pool(partial(self._storage.commit, writes, None))
                except ConflictError:
                    conflicts += 1
                    continue
                await self._state.confirm()  # before it is forgotten here: no request may see it in neither place
            self._uses.forget(settled)
            if len(writes) < _AT_ONCE:
                return
        raise StorageError("other processes keep storing uses of the same keys")

    async def _in_pool(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def store_forever(job: UsageJob, *, on_fatal: Callable[[str], None]) -> None:
    """Store uses until cancelled. What cannot be stored now is told once, and tried again.

    State that was altered, and a fault of our own, are fatal.
    """
    failing = False
    while True:
        await asyncio.sleep(_SECONDS)
        try:
            await job.run()
            failing = False
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except (OperatorError, OSError) as error:
            if not failing:
                sys.stderr.write(f"strongroom: the uses of KMS keys are not stored yet: {error}\n")
            failing = True
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the storing of the uses of KMS keys failed: {type(error).__name__}")
            return


async def store_last(job: UsageJob) -> None:
    """Store what is left when the process ends, or say that it could not be stored."""
    try:
        await job.run(ending=True)
    except (OperatorError, OSError) as error:
        sys.stderr.write(f"strongroom: the last uses of KMS keys are not stored: {error}\n")


Usage = KeyUsage | AccessKeyUsage


def due(snapshot: Snapshot, noted: Sequence[Usage], *, now: float, ending: bool) -> tuple[list[Write], list[Usage]]:
    """Decide what to write of the uses that were noted by `now`, as much as one change takes.

    Returns the writes, and the uses that need not be remembered once they are made. The uses of access keys that are
    gone go too.
    """
    stored_uses = snapshot.access_key_usages.items()
    gone = [Delete(*usage) for access_key_id, usage in stored_uses if snapshot.held_key(access_key_id) is None]
    writes: list[Write] = [*gone[:_AT_ONCE]]
    settled: list[Usage] = []
    for usage in noted:
        if len(writes) >= _AT_ONCE:
            break
        used, stored = _used(snapshot, usage)
        if used is not None and stored is None:
            writes += [used, Insert(usage)]  # a key that was deleted must not get a row
        elif stored is not None and usage.used > stored.record.used:
            goes_on = now // _HOUR == usage.used // _HOUR
            if usage.hour == stored.record.hour and goes_on and not ending:
                continue
            writes.append(Replace(usage, stored.number))
        settled.append(usage)
    return writes, settled


def _used(snapshot: Snapshot, usage: Usage) -> tuple[Keep | None, Numbered[KeyUsage] | Numbered[AccessKeyUsage] | None]:
    """What was used, as it must still be, or None if it is gone; and its use that is stored."""
    if isinstance(usage, AccessKeyUsage):
        held = snapshot.held_key(usage.access_key_id)
        kept = None if held is None else Keep(held.record, held.number)
        return kept, snapshot.access_key_usages.get(usage.access_key_id)
    entry = snapshot.keys.get((usage.region, usage.account, usage.key_id))
    return (None, None) if entry is None else (Keep(entry.key, entry.number), entry.usage)
