"""The index follows the log: what is registered as written is read from the files, and indexed in batches.

A server process follows its own chain, and takes over the chains that ended: those of processes that are gone, and of
commands. Nothing waits in memory, so that whatever is not indexed yet is found in the files, after a crash too.
"""

from functools import partial
from pathlib import Path

from strongroom.audit import chain
from strongroom.audit.events import read_event
from strongroom.audit.segments import log_path, read_lines, segments
from strongroom.audit.writer import AuditLog
from strongroom.storage.audit_events import BEGINNING, KEPT_SECONDS, AuditEvent, AuditIndex, IndexedLines, LogPosition
from strongroom.storage.contract import AuditChain

BATCH_LINES = 2_000
"""Lines that are read, and indexed in one transaction."""


class Indexer:
    """Brings the index up to the log, batch by batch. For one thread at a time. All raise StorageError or OSError."""

    def __init__(self, index: AuditIndex, log: AuditLog, chain_id: str) -> None:
        """`log` is what this node writes and has, `chain_id` this process's own chain."""
        self._index = index
        self._log = log
        self._chain_id = chain_id
        self._behind: list[AuditChain] = []

    def find_ended(self) -> None:
        """Look for chains that ended and are not wholly indexed; `step` goes on with them."""
        positions = self._index.positions()
        self._behind = [
            ended
            for ended in self._log.storage.chains()
            if ended.ended
            and self._log.is_own(ended.chain_id)
            and positions.get(ended.chain_id, BEGINNING).sequence < ended.sequence
        ]

    def step(self, registered: int, now: float) -> bool:
        """Index a batch, of our own chain if it is behind its sequence `registered`; whether there is more to do.

        `now` is in seconds since the epoch.
        """
        if self._index.position(self._chain_id).sequence < registered:
            self._extend(self._chain_id, registered, now)
            return True
        if self._behind and not self._extend(self._behind[-1].chain_id, self._behind[-1].sequence, now):
            self._behind.pop()
        return bool(self._behind)

    def _extend(self, chain_id: str, up_to: int, now: float) -> bool:
        since = int(now) - KEPT_SECONDS
        read = partial(_read_lines, self._log.directory / chain_id, up_to=up_to, since=since)
        return self._index.extend(chain_id, read, forget_before=since)


def _read_lines(chain_directory: Path, position: LogPosition, *, up_to: int, since: int) -> IndexedLines:
    """Read the events of the next lines: those from `since` on, with a sequence of `up_to` at most.

    A segment that nobody wrote to since then is passed over. A line counts once, and only behind those before it.
    """
    events: list[AuditEvent] = []
    first, offset, sequence = position
    count = 0
    for segment in segments(chain_directory):
        path = log_path(chain_directory, segment)
        if segment < first or path.stat().st_mtime < since:
            continue
        if segment > first:
            first, offset = segment, 0
        for line in read_lines(path, offset):
            parsed = chain.parse(line)
            if not line.endswith(b"\n") or (parsed is not None and parsed.sequence > up_to):
                break
            if count == BATCH_LINES:
                return IndexedLines(events, LogPosition(segment, offset, sequence), more=True)
            count += 1
            offset += len(line)
            if parsed is None or parsed.sequence <= sequence:
                continue
            sequence = parsed.sequence
            event = read_event(chain_directory.name, sequence, parsed.record)
            if event is not None and event.event_time >= since:
                events.append(event)
    return IndexedLines(events, LogPosition(first, offset, up_to), more=False)
