"""Once a second: what is new in the audit log is indexed, so that it can be looked up."""

import asyncio
import sys
import time
from concurrent.futures import Executor

from strongroom.audit.indexing import Indexer
from strongroom.audit.writer import AuditWriter
from strongroom.errors import OperatorError

_SECONDS = 1.0
_ROUNDS = 60
"""Rounds from one search for chains that ended to the next."""
_REST = 9
"""How many times as long as a batch takes nothing is done after it: requests go first, and what waits is in the log."""


async def index_forever(indexer: Indexer, audit: AuditWriter, pool: Executor) -> None:
    """Index until cancelled. A round that fails is told once and tried again: the log waits for it.

    Nothing that fails here is fatal: the index is a convenience, and can be made anew.
    """
    loop = asyncio.get_running_loop()
    failing = False
    searching_in = 0
    while True:
        try:
            if searching_in == 0:
                await loop.run_in_executor(pool, indexer.find_ended)
            searching_in = (searching_in or _ROUNDS) - 1
            begun = time.monotonic()
            while await loop.run_in_executor(pool, indexer.step, audit.registered, time.time()):
                await asyncio.sleep(_REST * (time.monotonic() - begun))
                begun = time.monotonic()
            failing = False
        except Exception as error:  # noqa: BLE001 — whatever it is, nobody else would hear of it
            if not failing:
                reason = str(error) if isinstance(error, OperatorError | OSError) else type(error).__name__
                sys.stderr.write(f"strongroom: the audit log's index falls behind: {reason}\n")
            failing = True
        await asyncio.sleep(_SECONDS)
