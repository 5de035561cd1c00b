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

BATCH_LINES = 500
"""Lines that are read, and indexed in one transaction."""


class Indexer:
    """Brings the index up to the log, batch by batch. For one thread at a time. All raise StorageError or OSError."""

    def __init__(self, index: AuditIndex, log: AuditLog, chain_id: str) -> None:
        """`log` is what this node writes and has, `chain_id` this process's own chain."""
        self._index = index
        self._log = log
        self._chain_id = chain_id
        self._behind: list[AuditChain] = []
        self._own_turn = False

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
        """Index a batch: of our own chain if it is behind its sequence `registered`, in turn with those that ended.

        Whether there is more to do.

        `now` is in seconds since the epoch.
        """
        own = self._index.position(self._chain_id).sequence < registered
        self._own_turn = own and not (self._own_turn and self._behind)
        if self._own_turn:
            more = self._extend(self._chain_id, registered, now)
            return more or bool(self._behind)
        if self._behind and not self._extend(self._behind[-1].chain_id, self._behind[-1].sequence, now):
            self._behind.pop()
        return bool(self._behind)

    def _extend(self, chain_id: str, up_to: int, now: float) -> bool:
        since = int(now) - KEPT_SECONDS
        read = partial(_read_lines, self._log.directory / chain_id, up_to=up_to, since=since)
        return self._index.extend(chain_id, read, forget_before=since)


def _read_lines(chain_directory: Path, position: LogPosition, *, up_to: int, since: int) -> IndexedLines:
    """Read the events of the next lines: those from `since` on, with a sequence of `up_to` at most.

    A segment that nobody wrote to since then is passed over, and a chain whose last one it is counts as read. A line
    counts once, and only behind those before it. What comes later is read later: the position is what was read.
    """
    events: list[AuditEvent] = []
    first, offset, sequence = position
    count = 0
    there = segments(chain_directory)
    recent = [segment for segment in there if log_path(chain_directory, segment).stat().st_mtime >= since]
    if there and not recent:
        return IndexedLines(events, position._replace(sequence=up_to), more=False)
    for segment in recent:
        if segment < first:
            continue
        if segment > first:
            first, offset = segment, 0
        path = log_path(chain_directory, segment)
        for line in read_lines(path, offset):
            parsed = chain.parse(line)
            if not line.endswith(b"\n") or (parsed is not None and parsed.sequence > up_to):
                return IndexedLines(events, LogPosition(segment, offset, sequence), more=False)
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
    return IndexedLines(events, LogPosition(first, offset, sequence), more=False)
