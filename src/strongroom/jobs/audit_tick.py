"""Once a second: bookkeeping (chain positions registered, segments closed, digests signed, checkpoints, strangers)."""

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor

from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.errors import IntegrityError, OperatorError, RollbackError
from strongroom.storage.contract import Storage

_SECONDS = 1.0


async def tick_forever(
    storage: Storage,
    audit: AuditWriter,
    strangers: StrangersLog,
    pool: Executor,
    *,
    note_position: Callable[[], None],
    on_fatal: Callable[[str], None],
) -> None:
    """Tick until cancelled. A tick that fails is told once and tried again: the next one does all that was left.

    `note_position` remembers, on the pool, how far the database has come.

    What must not go on unseen is fatal: state that was altered, and a fault of our own. A server without its
    bookkeeping would let the log be cut.
    """
    failing = False
    while True:
        await asyncio.sleep(_SECONDS)
        try:
            strangers.tick(time.time())
            await audit.tick()
            await asyncio.get_running_loop().run_in_executor(pool, storage.checkpoint)
            await asyncio.get_running_loop().run_in_executor(pool, note_position)
            failing = False
        except (IntegrityError, RollbackError) as error:
            on_fatal(str(error))
            return
        except (OperatorError, OSError) as error:
            if not failing:
                sys.stderr.write(f"strongroom: the audit log's bookkeeping waits: {error}\n")
            failing = True
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            on_fatal(f"the audit log's bookkeeping failed: {type(error).__name__}")
            return
