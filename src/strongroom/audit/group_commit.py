"""Group commit: records are chained at once, gathered, and written and synced together.

While one group is written on a thread of its own, the next one gathers. The records of a group share one future,
so that a record costs its hashes and little more.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Literal, NamedTuple

from strongroom.audit import chain
from strongroom.audit.archiving import Archiving
from strongroom.audit.chain import ChainState
from strongroom.audit.digests import ClosedSegment
from strongroom.audit.record import utc_time
from strongroom.audit.segments import LogBrokenError, LogFile, log_path
from strongroom.errors import KMSInternal, OperatorError, StorageError

SYNC_SECONDS = 0.1
"""In interval mode: how long a written record may wait for its sync to begin."""

Sync = Literal["always", "interval"]
"""always: a record is on disk before `write` completes. interval: it is written, and synced soon after."""


class Segment(NamedTuple):
    """A segment: its number, when it began (seconds since the epoch), and the sequence of its header."""

    number: int
    started: float
    first_sequence: int


class _SharedFuture(asyncio.Future[None]):
    """Shared by the requests of a group: one that is cancelled must not cancel it for the others.

    So a cancelled request goes on until its record is on disk, which is right: the record is chained.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 asyncio's signature
        return False


class _Group:
    """Lines written together, and the chain before and after them.

    A group that `opens` a segment begins with its header; `closes` is the file of the segment before.
    """

    __slots__ = ("after", "before", "changes", "closes", "done", "lines", "opens")

    def __init__(self, before: ChainState) -> None:
        self.before = self.after = before
        self.lines: list[bytes] = []
        self.changes: list[tuple[int, bytes]] = []
        self.opens: Segment | None = None
        self.closes: LogFile | None = None
        self.done = _SharedFuture()


class _Job(NamedTuple):
    """`work` for the writer's thread, and `then` for the loop's, which hears what was raised."""

    work: Callable[[], None]
    then: Callable[[Exception | None], None]


class GroupCommit:
    """Writes the lines of one chain into its segments. Every method is for the event loop's thread.

    `header` makes the first record of a segment from the state before it. `on_fatal` hears why the log can be
    trusted no more; nothing is written from then on.
    """

    def __init__(  # noqa: PLR0913 — the writer names every part
        self,
        directory: Path,
        beginning: ChainState,
        *,
        header: Callable[[ChainState, Segment], bytes],
        now: Callable[[], float],
        on_fatal: Callable[[str], None],
        on_written: Callable[[float], None],
        sync: Sync,
        archiving: Archiving | None = None,
    ) -> None:
        self.segment = Segment(0, 0.0, 0)
        self.broken = False
        self.closed_segments: list[ClosedSegment] = []
        """Segments that still need a digest, oldest first; the owner removes them."""
        self.chained: list[int] = []
        """Changes whose records were acknowledged, oldest first; the owner removes them."""
        self.left_over: list[tuple[int, bytes]] = []
        """Changes and their records that could not be written; they go before anything newer."""
        self._directory = directory
        self._header = header
        self._now = now
        self.failed = -math.inf
        """When a group could not be written, on the monotonic clock, if none was since."""
        self._on_fatal = on_fatal
        self._on_written = on_written
        self._sync: Sync = sync
        self._archiving = archiving
        self._catching_up = False
        self._loop = asyncio.get_running_loop()
        self._file: LogFile | None = None
        self._chain = self._acknowledged = beginning
        self._gathering = _Group(beginning)
        self._writing: _Group | None = None
        self._flush_due = False
        self._segment_due = False
        self._sync_timer: asyncio.TimerHandle | None = None
        # Jobs for the writer's thread: an executor costs several times as much per job.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="audit-log", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Bytes in the segment being written."""
        return 0 if self._file is None else self._file.size

    @property
    def behind(self) -> bool:
        """Whether the database that nodes share does not have all that is written."""
        return self._archiving is not None and self._archiving.behind

    @property
    def pending(self) -> int:
        """Records that are gathered or being written."""
        return len(self._gathering.lines) + (0 if self._writing is None else len(self._writing.lines))

    @property
    def age(self) -> float:
        """Seconds since the segment being written began."""
        return self._now() - self.segment.started

    def begin(self) -> None:
        """Create the first segment. Blocks. Raises OSError or LogBrokenError."""
        self._segment_due = True
        group = self._next_group()
        self._write_out(group)
        self._acknowledge(group)

    def write(self, record: bytes, change: int = 0) -> asyncio.Future[None]:
        """Chain a record. The future completes when it is on disk, or fails with KMSInternal."""
        if self.broken:
            raise KMSInternal
        if self.left_over:
            self._gather_left_over()
        self._gather(record, change)
        if not self._flush_due:
            self._flush_soon()
        return self._gathering.done

    def handed_over(self) -> set[int]:
        """The changes whose records were given to be written, and may still be in the outbox."""
        groups = [group for group in (self._writing, self._gathering) if group is not None]
        pending = [number for group in groups for number, _ in group.changes]
        return {*self.chained, *pending, *(number for number, _ in self.left_over)}

    def retry(self) -> None:
        """Write what could not be written before."""
        if not self.broken:
            self._gather_left_over()
            self._flush_soon()

    def catch_up(self) -> None:
        """Bring to the database what it does not have."""
        archiving = self._archiving
        if archiving is not None and archiving.behind and not self.broken and not self._catching_up:
            self._catching_up = True
            self._jobs.put(_Job(archiving.catch_up, self._caught_up))

    def begin_segment(self) -> None:
        """Begin a new segment with the next group, even an empty one; nothing if one is being begun already."""
        if not self.broken and not any(group.opens for group in (self._writing, self._gathering) if group):
            self._segment_due = True
            self._gather_header()
            self._flush_soon()

    async def durable(self) -> tuple[int, bytes, list[int]] | None:
        """Return sequence and MAC of the last line on disk, and `chained` up to there; None if the log is broken."""
        sequence, mac, chained = self._acknowledged.sequence, self._acknowledged.mac, self.chained.copy()
        if self._sync == "interval":
            await self._sync_now()
        return None if self.broken else (sequence, mac, chained)

    async def drain(self) -> None:
        """Wait until nothing is gathered or being written."""
        while pending := [group.done for group in (self._writing, self._gathering) if group and group.lines]:
            await asyncio.wait(pending)

    async def finish(self) -> None:
        """Write what is gathered and close the last segment, which then needs a digest. The end of writing."""
        await self.drain()
        self._segment_due = False
        await self._sync_now()
        self.catch_up()
        await self._sync_now()
        if self._file is not None and not self.broken:
            self.closed_segments.append(self._closed_segment(self._file, self._acknowledged))

    def release(self) -> None:
        """Release file and thread. Idempotent."""
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        self._jobs.put(None)
        self._thread.join()
        if self._archiving is not None:
            self._archiving.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    # Gathering.

    def _gather(self, record: bytes, change: int) -> None:
        self._chain, line = chain.extend(self._chain, record, change)
        self._gathering.lines.append(line)
        if change:
            self._gathering.changes.append((change, record))

    def _gather_left_over(self) -> None:
        left_over, self.left_over = self.left_over, []
        for change, record in left_over:
            self._gather(record, change)

    def _gather_header(self) -> None:
        """Let the gathering group begin a new segment if one is due and nothing older is in the group."""
        if not self._segment_due or self._gathering.lines:
            return
        self._segment_due = False
        segment = Segment(self.segment.number + 1, self._now(), self._chain.sequence + 1)
        self._gathering.opens = segment
        self._gather(self._header(self._chain, segment), 0)

    def _next_group(self) -> _Group:
        """Take what is gathered."""
        self._gather_header()
        group = self._gathering
        group.after = self._chain
        self._gathering = _Group(self._chain)
        self._gather_header()
        return group

    # Writing.

    def _flush_soon(self) -> None:
        """Flush once the loop has run what is ready, so that it can join the group."""
        if not self._flush_due and not self.broken:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Hand the next group to the writer's thread, or rest."""
        group = None if self.broken else self._next_group()
        if group is not None and group.lines:
            self._writing = group
            self._jobs.put(_Job(partial(self._write_out, group), partial(self._written, group, time.monotonic())))
        else:
            self._flush_due = False

    def _work(self) -> None:
        """Do jobs, on the writer's thread, until there comes None."""
        while (job := self._jobs.get()) is not None:
            error = None
            try:
                job.work()
            except Exception as raised:  # noqa: BLE001 whatever it is, no request may wait for ever
                error = raised
            self._loop.call_soon_threadsafe(job.then, error)
            del job, error  # They hold chain keys that must be forgotten.

    def _write_out(self, group: _Group) -> None:
        data = b"".join(group.lines)
        file = self._file
        if group.opens is not None:
            # The old segment first: what is durable must never have a gap before it.
            if file is not None:
                file.sync()
            self._file = LogFile(log_path(self._directory, group.opens.number), data)
            if file is not None:
                file.close()
                group.closes = file
        else:
            assert file is not None
            file.append(data)
        if not self._archived(group, data) and self._sync == "always" and group.opens is None:
            assert file is not None
            file.sync()

    def _archived(self, group: _Group, data: bytes) -> bool:
        """Copy what was appended to the database that nodes share; whether it is there, so that no sync is needed."""
        archiving, file = self._archiving, self._file
        if archiving is None or file is None:
            return False
        segment, offset = self.segment.number if group.opens is None else group.opens.number, file.size - len(data)
        if self._sync == "interval":
            archiving.fall_behind(segment=segment, offset=offset)
            return False
        first, last = group.before.sequence + 1, group.after.sequence
        return archiving.put(data, segment=segment, offset=offset, first=first, last=last)

    def _written(self, group: _Group, began: float, error: Exception | None) -> None:
        self._writing = None
        now = time.monotonic()
        self._on_written(now - began)
        if error is None and not self.broken:
            self.failed = -math.inf
            self._acknowledge(group)
            self._flush()
            return
        self._flush_due = False
        self.failed = now
        if isinstance(error, OSError):
            # The disk is full, say. The file is as it was before the group, and so is the chain.
            self._chain = group.before
        else:
            self._break(error)
        self._fail(group, self._gathering)

    def _acknowledge(self, group: _Group) -> None:
        if group.closes is not None:
            self.closed_segments.append(self._closed_segment(group.closes, group.before))
        if group.opens is not None:
            self.segment = group.opens
        self._acknowledged = group.after
        self.chained += [number for number, _ in group.changes]
        if self._sync == "interval" and self._sync_timer is None:
            self._sync_timer = self._loop.call_later(SYNC_SECONDS, self._sync_now)
        group.done.set_result(None)

    def _closed_segment(self, file: LogFile, last: ChainState) -> ClosedSegment:
        return ClosedSegment(
            number=self.segment.number,
            start_time=utc_time(int(self.segment.started)),
            end_time=utc_time(int(self._now())),
            first_sequence=self.segment.first_sequence,
            last_sequence=last.sequence,
            last_mac=last.mac,
            size=file.size,
            sha256=file.digest.hexdigest(),
        )

    def _fail(self, *groups: _Group) -> None:
        """Fail everything pending: what was being written, if anything, and what was gathered after it."""
        for failed in groups:
            self.left_over += failed.changes
            failed.done.set_exception(KMSInternal())
            failed.done.exception()  # Nobody may be waiting; asyncio need not complain.
        self._gathering = _Group(self._chain)

    def _caught_up(self, error: Exception | None) -> None:
        """Go on behind what is to be written, one step at a time."""
        self._catching_up = False
        if error is None:
            self.catch_up()
        elif not isinstance(error, StorageError):  # which the next tick may mend
            self._break(error)
            if self._writing is None:
                self._fail(self._gathering)

    def _break(self, error: Exception | None) -> None:
        if not self.broken:
            self.broken = True
            self._on_fatal(str(error) if isinstance(error, LogBrokenError | OperatorError) else repr(error))

    # Syncing apart from writing.

    def _sync_now(self) -> asyncio.Future[None]:
        self._sync_timer = None
        done = _SharedFuture()
        self._jobs.put(_Job(self._sync_file, partial(self._synced, done)))
        return done

    def _sync_file(self) -> None:
        if self._file is not None:
            self._file.sync()
        if self._sync == "interval" and self._archiving is not None:
            with suppress(StorageError):  # the next tick tries again
                self._archiving.catch_up()

    def _synced(self, done: asyncio.Future[None], error: Exception | None) -> None:
        if error is not None:
            self._break(error)
            if self._writing is None:
                self._fail(self._gathering)
        done.set_result(None)
