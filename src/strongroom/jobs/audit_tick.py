"""Once a second: the audit log's bookkeeping (positions registered, segments closed, digests signed)."""

import asyncio
import sys
import time

from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.errors import StorageError

_SECONDS = 1.0


async def tick_forever(audit: AuditWriter, strangers: StrangersLog) -> None:
    """Tick until cancelled. A tick that fails is told once and tried again: the next one does all that was left."""
    failing = False
    while True:
        await asyncio.sleep(_SECONDS)
        strangers.tick(time.time())
        try:
            await audit.tick()
            failing = False
        except (StorageError, OSError) as error:
            if not failing:
                sys.stderr.write(f"strongroom: the audit log's bookkeeping waits: {error}\n")
            failing = True
