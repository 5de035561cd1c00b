"""A change of state that a person makes on the command line: committed with its audit record, as a caller's is."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from strongroom.audit.record import CloudTrailRecord, encode
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.errors import ConflictError, RequestError, StorageError
from strongroom.storage.contract import OutboxEntry, Position, Write

Commit = Callable[[Sequence[Write], OutboxEntry], Position]


def commit_recorded(log: AuditLog, record: CloudTrailRecord, writes: Sequence[Write], commit: Commit) -> Position:
    """Commit `writes` through `commit` with `record` in the outbox, and chain the record in a chain of its own.

    Raises OperatorError if the change cannot be made, or if it is made and its record waits for the next start.
    """

    async def run() -> Position:
        with ThreadPoolExecutor(1) as executor:
            writer = AuditWriter.open(log, now=time.time, executor=executor, on_fatal=_report)
            encoded = encode(record)
            try:
                position = _commit(commit, writes, OutboxEntry(writer.chain_id, record.event_id, encoded))
                await _chain(writer, encoded, position.number)
            finally:
                await writer.close()
        return position

    return asyncio.run(run())


def _commit(commit: Commit, writes: Sequence[Write], outbox: OutboxEntry) -> Position:
    try:
        return commit(writes, outbox)
    except ConflictError as error:
        raise StorageError("the installation was changed meanwhile: nothing was done, try again") from error


async def _chain(writer: AuditWriter, encoded: bytes, number: int) -> None:
    try:
        await writer.write(encoded, number)
    except RequestError as error:
        raise StorageError(
            f"change {number} is made, but its audit record could not be written: the next start of the server will"
        ) from error


def _report(reason: str) -> None:
    sys.stderr.write(f"strongroom: {reason}\n")
