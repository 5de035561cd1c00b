"""Follows a database that many nodes share: asks what is newer when somebody committed, and well within the lease."""

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor

from strongroom.errors import IntegrityError, RollbackError, StorageError
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.contract import Position, Storage

_OFTEN = 4
"""How often the database is asked in the time of a lease, if nobody commits."""
_LONGEST_PAUSE = 1.0
"""Seconds between two questions at most, however long the lease: other nodes' changes are not to wait for it."""


_NOTED_EVERY = 1.0
"""Seconds between two notes of how far the database has come: each is synced."""


async def follow_forever(
    state: LiveSnapshot,
    storage: Storage,
    thread: Executor,
    lease: float,
    *,
    note_seen: Callable[[Position], None],
    on_fatal: Callable[[str], None],
) -> None:
    """Follow until cancelled. `thread` is one that waits for notices, `lease` in seconds.

    `note_seen` is told of newer positions on that thread, at most once a second.

    A database that is away is told of once, and asked again. State that was altered, a database that is behind what
    was seen here, and a fault of our own are fatal.
    """
    pause = min(lease / _OFTEN, _LONGEST_PAUSE)
    failing = False
    seen: Position | None = None
    note_from = 0.0
    while True:
        try:
            await asyncio.get_running_loop().run_in_executor(thread, storage.await_change, pause)
            position = (await state.confirm()).position
            if position != seen and time.monotonic() >= note_from:
                note_from = time.monotonic() + _NOTED_EVERY
                await asyncio.get_running_loop().run_in_executor(thread, note_seen, position)
                seen = position
            if failing:
                sys.stderr.write("strongroom: the database is back\n")
            failing = False
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except StorageError as error:
            if not failing:
                sys.stderr.write(f"strongroom: the database is away: {error}\n")
            failing = True
            await asyncio.sleep(pause)
        except OSError as error:
            sys.stderr.write(f"strongroom: how far the database has come cannot be noted: {error}\n")
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the following of the database failed: {type(error).__name__}")
            return
