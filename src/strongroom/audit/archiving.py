"""The copy of a chain in the database that nodes share: a record counts as kept once it is there.

While the database is away the chain's file alone has what is written, synced, and the copy falls behind; afterwards it
is caught up from the file. So a record is in the database before its answer, or else the database was away.

After a crash each of the two may have lines that the other does not: the start that closes the chain gives both to
both (`reconcile`).
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from strongroom.audit import chain
from strongroom.audit.digests import digest_path, digested_segments, signature_path
from strongroom.audit.segments import (
    LogBrokenError,
    chain_directories,
    log_path,
    read_lines,
    segments,
    sync_directory,
)
from strongroom.errors import StorageError
from strongroom.storage.audit_archive import AuditArchive, Group, StoredDigest
from strongroom.storage.copying import TableCopy
from strongroom.storage.tables import AUDIT_DIGESTS, AUDIT_GROUPS, column_names

T = TypeVar("T")

_SECONDS = 2.0
"""How long a group waits for the database. Then it is taken to be away."""
_AT_ONCE = 4 * 1024 * 1024
"""Bytes of lines that are caught up in one step."""
_STEPS = 4
"""Steps of catching up at a time: what is written meanwhile waits for them."""


class _Place(NamedTuple):
    """Where the first line is that the database does not have."""

    segment: int
    offset: int


class Archiving:
    """Keeps the copy of the chain in `directory`. For the thread that writes the chain."""

    def __init__(self, archive: AuditArchive, directory: Path) -> None:
        self._archive = archive
        self._directory = directory
        self._chain_id = directory.name
        self._behind: _Place | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-archive")
        self._asked: Future[Any] | None = None

    @property
    def behind(self) -> bool:
        """Whether lines are in the file that the database does not have."""
        return self._behind is not None

    def put(self, lines: bytes, *, segment: int, offset: int, first: int, last: int) -> bool:
        """Copy lines that were appended to a segment at an offset; whether they are in the database now.

        Raises LogBrokenError if somebody else wrote the chain, or closed it.
        """
        if self._behind is None:
            try:
                if self._ask(partial(self._archive.put, Group(self._chain_id, first, last, segment, lines))):
                    return True
                raise LogBrokenError(f"the chain {self._chain_id} was closed by another process")
            except StorageError:
                self._behind = _Place(segment, offset)
        return False

    def fall_behind(self, *, segment: int, offset: int) -> None:
        """Leave lines to be caught up."""
        if self._behind is None:
            self._behind = _Place(segment, offset)

    def catch_up(self) -> None:
        """Copy from the files what is not in the database, or a part of it.

        Raises StorageError, LogBrokenError, OSError.
        """
        for _ in range(_STEPS):
            if self._behind is None:
                return
            segment, offset = self._behind
            lines = _whole_lines(log_path(self._directory, segment), offset)
            if lines:
                self._copy(segment, lines)
                self._behind = _Place(segment, offset + len(lines))
            elif log_path(self._directory, segment + 1).exists():
                self._behind = _Place(segment + 1, 0)
            else:
                self._behind = None

    def close(self) -> None:
        """Release the thread, without waiting for a database that does not answer."""
        self._thread.shutdown(wait=False)

    def _copy(self, segment: int, lines: bytes) -> None:
        """Copy lines, or what of them is not there yet: the outcome of the last attempt may be unknown."""
        newest = partial(self._archive.last_sequence, self._chain_id)
        there = self._ask(newest)
        group = _group(self._chain_id, segment, lines.splitlines(keepends=True), after=there)
        if group is not None and not self._ask(partial(self._archive.put, group)):
            if self._ask(newest) == there:
                raise LogBrokenError(f"the chain {self._chain_id} was closed by another process")
            raise StorageError("the database has taken lines whose outcome was not known")  # look again

    def _ask(self, work: Callable[[], T]) -> T:
        """Wait for the database for a while only. Raises StorageError."""
        if self._asked is not None and not self._asked.done():
            raise StorageError("the database does not answer")
        asked = self._thread.submit(work)
        self._asked = asked
        try:
            return asked.result(_SECONDS)
        except TimeoutError:
            raise StorageError("the database does not answer") from None


def reconcile(archive: AuditArchive, directory: Path) -> None:
    """Give the files and the database all lines and digests that one of them has of a chain whose process is gone.

    What stands torn behind the last line of the files goes into the database too, unless it has that line. Raises
    OSError, StorageError.
    """
    chain_id = directory.name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    there, here = archive.last_sequence(chain_id), _last_sequence(directory)
    if there > here:
        _cut_torn_end(directory)
        _write(archive, directory, after=here)
    for number in segments(directory):
        lines = list(read_lines(log_path(directory, number)))
        group = _group(chain_id, number, [line for line in lines if line.endswith(b"\n")], after=there)
        if group is not None:
            archive.put(group)
        if lines and not lines[-1].endswith(b"\n"):
            archive.put(Group(chain_id, max(there, here) + 1, max(there, here), number, lines[-1]))
    stored = {digest.segment for digest in archive.digests(chain_id)}
    put_digests(archive, directory, but=stored)
    _write_digests(archive, directory)


def export_chain(archive: AuditArchive, directory: Path) -> None:
    """Write a chain as the database has it into a directory, named like the chain, that is not there yet.

    Raises OSError, StorageError.
    """
    directory.mkdir(mode=0o700, parents=True)
    _write(archive, directory, after=0)
    _write_digests(archive, directory)


def log_tables(directory: Path) -> Iterator[TableCopy]:
    """The files of an audit log as the rows that a database which nodes share has of them. Rows are read as they go."""
    chains = chain_directories(directory)
    groups = (group for chain_directory in chains for group in _groups(chain_directory))
    digests = (
        (one.name, number, digest_path(one, number).read_bytes(), signature_path(one, number).read_bytes())
        for one in chains
        for number in digested_segments(one)
    )
    yield TableCopy(str(AUDIT_GROUPS.name), column_names(AUDIT_GROUPS), groups)
    yield TableCopy(str(AUDIT_DIGESTS.name), column_names(AUDIT_DIGESTS), digests)


def _groups(directory: Path) -> Iterator[Group]:
    """The lines of a chain whose process is gone, and what stands torn behind the last."""
    last = 0
    for number in segments(directory):
        offset = 0
        while lines := _whole_lines(log_path(directory, number), offset):
            offset += len(lines)
            group = _group(directory.name, number, lines.splitlines(keepends=True), after=0)
            if group is not None:
                last = group.last
                yield group
        with log_path(directory, number).open("rb") as file:
            file.seek(offset)
            torn = file.read()
        if torn:
            yield Group(directory.name, last + 1, last, number, torn)


def put_digests(archive: AuditArchive, directory: Path, *, but: set[int] | None = None) -> None:
    """Copy the digests of a chain to the database, but for those of some segments. Raises StorageError, OSError."""
    for number in digested_segments(directory):
        if number not in (but or ()):
            digest, signature = digest_path(directory, number), signature_path(directory, number)
            archive.put_digest(StoredDigest(directory.name, number, digest.read_bytes(), signature.read_bytes()))


def _group(chain_id: str, segment: int, lines: list[bytes], *, after: int) -> Group | None:
    """The lines after a sequence, as a group; None if there are none. Lines that cannot be read are taken along."""
    newer = [line for line in lines if (parsed := chain.parse(line)) is None or parsed.sequence > after]
    sequences = [parsed.sequence for line in newer if (parsed := chain.parse(line)) is not None]
    if not sequences:
        return None
    return Group(chain_id, sequences[0], sequences[-1], segment, b"".join(newer))


def _whole_lines(path: Path, offset: int) -> bytes:
    """Lines of a file from an offset on, not too many."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(_AT_ONCE)
    return data[: data.rfind(b"\n") + 1]


def _last_sequence(directory: Path) -> int:
    """The sequence of the last whole line in the files of a chain; 0 if there is none."""
    for number in reversed(segments(directory)):
        last = 0
        for line in read_lines(log_path(directory, number)):
            parsed = chain.parse(line)
            last = last if parsed is None else parsed.sequence
        if last:
            return last
    return 0


def _cut_torn_end(directory: Path) -> None:
    """Take off what stands behind the last newline: the database has that line whole."""
    for number in segments(directory)[-1:]:
        path = log_path(directory, number)
        torn = [line for line in read_lines(path) if not line.endswith(b"\n")]
        if torn:
            os.truncate(path, path.stat().st_size - len(torn[0]))


def _write(archive: AuditArchive, directory: Path, *, after: int) -> None:
    """Append to the files of a chain what the database has after a sequence."""
    with contextlib.ExitStack() as files:
        open_segment, file = 0, None
        for group in archive.groups(directory.name, after=after):
            if group.segment != open_segment:
                open_segment = group.segment
                file = files.enter_context(open(log_path(directory, open_segment), "ab", opener=_private))
            assert file is not None, "opened with its first group"
            file.write(b"".join(_after(group, after)))
            file.flush()
            os.fdatasync(file.fileno())
    sync_directory(directory)


def _after(group: Group, after: int) -> Iterator[bytes]:
    for line in group.lines.splitlines(keepends=True):
        parsed = chain.parse(line)
        if parsed is None or parsed.sequence > after:
            yield line


def _write_digests(archive: AuditArchive, directory: Path) -> None:
    """Write the digests that the files do not have yet, the signature first."""
    for stored in archive.digests(directory.name):
        path = digest_path(directory, stored.segment)
        if not path.exists():
            _write_private(signature_path(directory, stored.segment), stored.signature)
            _write_private(path, stored.digest)


def _write_private(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=_private) as file:
        file.write(content)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
