"""The writer of one audit chain: one per server process, on the event loop's thread.

Records go to the log in groups (`group_commit`). The database hears once a second how far the log has come, and
what is in the log then leaves the outbox. Segments are closed by the hour and signed.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from strongroom.audit import chain
from strongroom.audit.archiving import Archiving, put_digest
from strongroom.audit.chain import ChainState
from strongroom.audit.digests import DigestLink, write_digest
from strongroom.audit.group_commit import GroupCommit, Segment, Sync
from strongroom.audit.headers import FORMAT, SegmentHeader, encode_header, seal_key, sign_header
from strongroom.audit.record import utc_time
from strongroom.audit.segments import LogBrokenError, lock_chain, sync_directory
from strongroom.errors import ConfigurationError, DataDirectoryError, KMSInternal, StorageError
from strongroom.model.installation import Installation
from strongroom.storage.audit_archive import AuditArchive
from strongroom.storage.contract import AuditChain, Storage

SEGMENT_SECONDS = 3600
SEGMENT_BYTES = 256 * 1024 * 1024
"""A segment is closed after an hour or at this size, whichever comes first."""
_DOUBT_SECONDS = 10.0
"""How long the log is not well after a failure, if nothing is written: then it is for the next request to try."""

_LATE_SECONDS = 15.0
"""Without a tick for so long something holds up the threads that bookkeeping needs, and changes need."""
_DOUBT_LASTS = 60.0
"""Seconds after a commit whose outcome is not known in which it is looked for."""

T = TypeVar("T")
_NODE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class AuditLog(NamedTuple):
    """An installation's audit log: where it is, and what it takes to add a chain to it.

    `directory` holds one directory per chain. `node_id` is 1 to 64 letters, digits and hyphens. `archive` is where
    nodes keep their chains together; what is in `directory` is then this node's copy of its own.
    """

    directory: Path
    installation: Installation
    digest_key: RSAPrivateKey
    storage: Storage
    node_id: str
    archive: AuditArchive | None = None

    def is_own(self, chain_id: str) -> bool:
        """Whether a chain is for this node to close when its process is gone: others' processes are out of sight."""
        return self.archive is None or chain_id.startswith(f"{self.node_id}.")

    def __repr__(self) -> str:
        return f"AuditLog({self.directory})"


class AuditWriter:
    """Writes one chain. Made by `open`; every method is for the event loop's thread."""

    def __init__(self, log: AuditLog, chain_id: str, *, groups: GroupCommit, opened: float, executor: Executor) -> None:
        self.chain_id = chain_id
        self._log = log
        self._groups = groups
        self._opened = opened
        self._executor = executor
        self._lock: int | None = None
        self._registered = 0
        self._previous_digest: DigestLink | None = None
        self._bookkeeping = asyncio.Lock()
        self._closed = False
        self._committing: set[str] = set()
        self._doubtful_until = 0.0
        self._ticked = time.monotonic()

    @classmethod
    def open(
        cls,
        log: AuditLog,
        *,
        now: Callable[[], float],
        executor: Executor,
        on_fatal: Callable[[str], None],
        on_written: Callable[[float], None] = lambda _: None,
        sync: Sync = "always",
    ) -> "AuditWriter":
        """Register a new chain and create its first segment. Blocks; needs a running event loop.

        `now` gives seconds since the epoch. `executor` runs what waits for the database. `on_fatal` hears why the
        log can be trusted no more: then the process must end, and the next start recovers the chain. `on_written`
        hears how many seconds a group of records took.
        Raises ConfigurationError for an impossible node id, DataDirectoryError, StorageError.
        """
        if not _NODE_ID.fullmatch(log.node_id):
            raise ConfigurationError(f"the node id {log.node_id!r} is not 1 to 64 letters, digits and hyphens")
        opened = now()
        chain_id = f"{log.node_id}.{utc_time(int(opened)).replace('-', '').replace(':', '')}.{secrets.token_hex(8)}"
        directory = log.directory / chain_id
        first = chain.beginning(chain_id, secrets.token_bytes(chain.KEY_BYTES))
        groups = GroupCommit(
            directory,
            first,
            header=_header_maker(log, chain_id),
            now=now,
            on_fatal=on_fatal,
            on_written=on_written,
            sync=sync,
            archiving=None if log.archive is None else Archiving(log.archive, directory),
        )
        writer = cls(log, chain_id, groups=groups, opened=opened, executor=executor)
        try:
            writer._begin(directory, first.mac)
        except (OSError, LogBrokenError) as error:
            writer._release()
            raise DataDirectoryError(f"the audit log cannot be written: {error}") from error
        except BaseException:
            writer._release()
            raise
        return writer

    @property
    def registered(self) -> int:
        """The last sequence that the database knows: all lines up to it are on disk for good."""
        return self._registered

    @property
    def pending(self) -> int:
        """Records that are not on disk yet."""
        return self._groups.pending

    @property
    def left_over(self) -> int:
        """Records of changes that could not be written, and wait in the outbox."""
        return len(self._groups.left_over)

    @property
    def behind(self) -> bool:
        """Whether the database that nodes share lacks records that are on disk here."""
        return self._groups.behind

    @property
    def well(self) -> bool:
        """Whether records can be written, as far as that is known."""
        groups = self._groups
        now = time.monotonic()
        lately, late = now - groups.failed < _DOUBT_SECONDS, now - self._ticked > _LATE_SECONDS
        return not (groups.broken or groups.left_over or lately or late or self._closed)

    def write(self, record: bytes, change: int = 0) -> Awaitable[None]:
        """Chain a record (`record.encode`), of state change number `change` if it belongs to one.

        What is returned completes when the record is on disk, and raises KMSInternal if it could not be written;
        the record of a change then stays in the outbox, and is written as soon as anything is.
        """
        if self._closed:
            raise KMSInternal
        return self._groups.write(record, change)

    @contextmanager
    def committing(self, event_id: str) -> Iterator[None]:
        """Commit a change with the record of an event in a block, whose outcome may stay unknown.

        If it does, and the change was made, `tick` finds the record and writes it.
        """
        self._committing.add(event_id)
        try:
            yield
        except StorageError:
            self._doubtful_until = time.monotonic() + _DOUBT_LASTS
            raise
        finally:
            self._committing.discard(event_id)

    async def tick(self) -> None:
        """Do what is due; to be called once a second.

        Writes what was left over, begins a new segment, signs closed ones, registers how far the log has come.
        Raises StorageError or OSError if that cannot be done now; the next call tries again.
        """
        groups = self._groups
        if self._closed or groups.broken:
            return
        if groups.left_over:
            groups.retry()
        groups.catch_up()
        if groups.age >= SEGMENT_SECONDS or groups.size >= SEGMENT_BYTES:
            groups.begin_segment()
        await self._register(ended=False)
        self._ticked = time.monotonic()
        if time.monotonic() < self._doubtful_until:
            await self._hand_over()

    async def close(self) -> None:
        """Write everything, sign the last segment, register the clean end. Idempotent.

        Raises DataDirectoryError or StorageError if that cannot be done: the next start recovers the chain.
        """
        if self._closed:
            return
        self._closed = True
        groups = self._groups
        try:
            await groups.drain()
            groups.left_over += await self._run(self._never_handed_over)
            groups.retry()
            await groups.finish()
            if groups.left_over or groups.broken or groups.behind:
                raise DataDirectoryError("the audit log cannot be written to its end; the next start recovers it")
            await self._register(ended=True)
        except OSError as error:
            raise DataDirectoryError(f"the audit log cannot be written to its end: {error}") from error
        finally:
            self._release()

    def _begin(self, directory: Path, beginning: bytes) -> None:
        """Register before the first file is made, so that no chain is ever in the log but not registered."""
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(directory.parent.parent)
        directory.mkdir(mode=0o700)
        sync_directory(directory.parent)
        self._lock = lock_chain(directory)
        self._log.storage.register_chain(AuditChain(self.chain_id, self._opened, 0, beginning, ended=False))
        self._groups.begin()

    def _release(self) -> None:
        self._groups.release()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _hand_over(self) -> None:
        """Write records of changes that were made although their commits failed, as far as could be told."""
        waiting = await self._run(self._log.storage.outbox)
        known = self._groups.handed_over()
        for number, entry in waiting:
            if entry.chain_id == self.chain_id and number not in known and entry.event_id not in self._committing:
                self._groups.write(entry.record, number)

    def _never_handed_over(self) -> list[tuple[int, bytes]]:
        """Find records of our changes that were committed, and then lost by a request that was torn down."""
        known = self._groups.handed_over()
        return [
            (number, entry.record)
            for number, entry in self._log.storage.outbox()
            if entry.chain_id == self.chain_id and number not in known
        ]

    async def _register(self, *, ended: bool) -> None:
        """What is begun is finished, even if who waits for it is cancelled: no two threads ever do it at once."""
        await asyncio.shield(self._register_alone(ended=ended))

    async def _register_alone(self, *, ended: bool) -> None:
        async with self._bookkeeping:
            progress = await self._groups.durable()
            if progress is None or self._groups.behind:  # what others cannot read yet has not come so far for them
                return
            sequence, mac, chained = progress
            if ended or chained or sequence > self._registered or self._groups.closed_segments:
                await self._run(self._sign_closed_segments)
                chain_now = AuditChain(self.chain_id, self._opened, sequence, mac, ended)
                await self._run(lambda: self._log.storage.register_chain(chain_now, chained=chained))
                self._registered = sequence
                del self._groups.chained[: len(chained)]

    def _sign_closed_segments(self) -> None:
        """Digests go before the registration, so that every segment before a registered position has one."""
        closed = self._groups.closed_segments
        while closed:
            link = write_digest(
                self._log.directory / self.chain_id,
                closed[0],
                installation=self._log.installation,
                digest_key=self._log.digest_key,
                position=self._log.storage.position(),
                previous=self._previous_digest,
            )
            if self._log.archive is not None:
                put_digest(self._log.archive, self._log.directory / self.chain_id, closed[0].number)
            self._previous_digest = link
            del closed[0]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _header_maker(log: AuditLog, chain_id: str) -> Callable[[ChainState, Segment], bytes]:
    installation = log.installation

    def header(before: ChainState, segment: Segment) -> bytes:
        sealed_key = seal_key(
            before.key,
            chain_public_key=installation.chain_public_key,
            installation_id=installation.installation_id,
            chain_id=chain_id,
            segment=segment.number,
        )
        unsigned = SegmentHeader(
            format=FORMAT,
            installation_id=installation.installation_id,
            chain_id=chain_id,
            segment=segment.number,
            previous_mac=before.mac,
            start_time=utc_time(int(segment.started)),
            sealed_key=sealed_key,
        )
        return encode_header(sign_header(unsigned, log.digest_key))

    return header
