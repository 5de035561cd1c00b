"""The copy of a chain in the database that nodes share: a record counts as kept once it is there.

While the database is away the chain's file alone has what is written, synced, and the copy falls behind; afterwards it
is caught up from the file. So a record is in the database before its answer, or else the database was away. A database
that lost lines, since a standby that had not got them took its place, is given them again.

After a crash each of the two may have lines that the other does not: the start that closes the chain gives both to
both (`reconcile`).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from strongroom.audit import chain
from strongroom.audit.digests import digest_path, digested_segments, read_digest, replace_file, signature_path
from strongroom.audit.segments import (
    LogBrokenError,
    chain_directories,
    first_sequence,
    log_path,
    read_lines,
    segments,
    sync_directory,
)
from strongroom.errors import StorageError
from strongroom.storage.audit_archive import AuditArchive, ChainEnd, Group, StoredDigest
from strongroom.storage.copying import TableCopy
from strongroom.storage.tables import AUDIT_DIGESTS, AUDIT_GROUPS, column_names

T = TypeVar("T")

_SECONDS = 2.0
"""How long a group waits for the database. Then it is taken to be away."""
_AT_ONCE = 4 * 1024 * 1024
"""Bytes of lines that are copied in one step. A line is shorter."""


class _Place(NamedTuple):
    """Where the first line is that the database does not have, or one before it."""

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

        Raises LogBrokenError if the chain was closed by another, RollbackError if the database does not know it.
        """
        if self._behind is None:
            try:
                if self._ask(partial(self._archive.put, Group(self._chain_id, first, last, segment, lines))):
                    return True
                self._behind = self._place_after(self._end().last)
            except StorageError:
                self._behind = _Place(segment, offset)
        return False

    def fall_behind(self, *, segment: int, offset: int) -> None:
        """Leave lines to be caught up."""
        if self._behind is None:
            self._behind = _Place(segment, offset)

    def catch_up(self) -> None:
        """Copy a part of what is not in the database from the files.

        Raises StorageError, LogBrokenError, RollbackError, OSError.
        """
        if self._behind is None:
            return
        segment, offset = self._behind
        lines = _whole_lines(log_path(self._directory, segment), offset)
        place = self._copied(lines, segment, offset) if lines else self._behind
        if place.offset == log_path(self._directory, place.segment).stat().st_size:
            following = log_path(self._directory, place.segment + 1).exists()
            self._behind = _Place(place.segment + 1, 0) if following else None  # nobody writes meanwhile
        else:
            self._behind = place

    def close(self) -> None:
        """Release the thread, without waiting for a database that does not answer."""
        self._thread.shutdown(wait=False)

    def _copied(self, lines: bytes, segment: int, offset: int) -> _Place:
        """Copy what of the lines is not there yet: the outcome of the last attempt may be unknown. Returns the next."""
        there = self._end().last
        group = _group(self._chain_id, segment, lines, after=there)
        if group is None or self._ask(partial(self._archive.put, group)):
            return _Place(segment, offset + len(lines))
        return self._place_after(self._end().last)

    def _end(self) -> ChainEnd:
        end = self._ask(partial(self._archive.end, self._chain_id))
        if end.ended:
            raise LogBrokenError(f"the chain {self._chain_id} was closed by another process")
        return end

    def _place_after(self, sequence: int) -> _Place:
        """The beginning of the segment that has the line after a sequence."""
        begun = [
            number for number in segments(self._directory) if first_sequence(self._directory, number) <= sequence + 1
        ]
        return _Place(max(begun, default=1), 0)

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

    Files are not synced while the database has their lines, so of a segment without a digest what the database has is
    written anew, and what it has not is the file's; what stands torn behind that goes into the database too. The caller
    holds the chain. Raises OSError, StorageError.
    """
    chain_id = directory.name
    signed = max(digested_segments(directory), default=0)
    digest = read_digest(directory, signed) if signed else None
    before = 0 if digest is None else digest.digest.last_sequence
    unsigned = 1 if digest is None else signed + 1
    there = archive.end(chain_id).last
    _rewrite(archive, directory, unsigned, before=before, there=there)
    for number in segments(directory):
        if number >= unsigned:
            _copy_segment(archive, directory, number)
    stored = {digest.segment for digest in archive.digests(chain_id)}
    for number in digested_segments(directory):
        if number not in stored:
            put_digest(archive, directory, number)
    _write_digests(archive, directory)


def export_chain(archive: AuditArchive, directory: Path) -> None:
    """Write a chain as the database has it into a directory, named like the chain, that is not there yet.

    Nothing is synced. Raises OSError, StorageError.
    """
    directory.mkdir(mode=0o700, parents=True)
    open_segment, file = 0, None
    try:
        for group in archive.groups(directory.name):
            if file is None or group.segment != open_segment:
                if file is not None:
                    file.close()
                open_segment, file = group.segment, _open_private(log_path(directory, group.segment))
            file.write(group.lines)
    finally:
        if file is not None:
            file.close()
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
            group = _group(directory.name, number, lines, after=0)
            if group is not None:
                last = group.last
                yield group
        with log_path(directory, number).open("rb") as file:
            file.seek(offset)
            torn = file.read()
        if torn:
            yield Group(directory.name, last + 1, last, number, torn)


def put_digest(archive: AuditArchive, directory: Path, segment: int) -> None:
    """Copy the digest of a segment to the database. Raises StorageError, OSError."""
    digest, signature = digest_path(directory, segment), signature_path(directory, segment)
    archive.put_digest(StoredDigest(directory.name, segment, digest.read_bytes(), signature.read_bytes()))


def _group(chain_id: str, segment: int, lines: bytes, *, after: int) -> Group | None:
    """The lines after a sequence, as a group; None if there are none. Lines that cannot be read are taken along."""
    newer: list[bytes] = []
    first = last = 0
    for line in lines.splitlines(keepends=True):
        parsed = chain.parse(line)
        if parsed is not None and parsed.sequence > after:
            first, last = first or parsed.sequence, parsed.sequence
        if first:
            newer.append(line)
    return Group(chain_id, first, last, segment, b"".join(newer)) if first else None


def _whole_lines(path: Path, offset: int) -> bytes:
    """Lines of a file from an offset on, not too many."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(_AT_ONCE)
    return data[: data.rfind(b"\n") + 1]


def _rewrite(archive: AuditArchive, directory: Path, unsigned: int, *, before: int, there: int) -> None:
    """Write the segments from `unsigned` on anew: the database's lines, and behind them what only files have."""
    stored = _by_segment(archive.groups(directory.name, after=before), unsigned)
    number = unsigned
    found = next(stored, None)
    last = segments(directory)
    while found is not None or number <= max(last, default=0):
        path = log_path(directory, number)
        building = path.with_suffix(".log.new")
        with _open_private(building) as file:
            while found is not None and found.segment == number:
                file.write(found.lines)
                found = next(stored, None)
            for line in _beyond(path, there, begun=file.tell() > 0):
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
        number += 1
    sync_directory(directory)


def _by_segment(groups: Iterator[Group], unsigned: int) -> Iterator[Group]:
    return (group for group in groups if group.segment >= unsigned and group.last >= group.first)


def _beyond(path: Path, there: int, *, begun: bool) -> Iterator[bytes]:
    """What a file has behind the last line of the database: whole lines, and a torn one, unless that is there whole.

    `begun` says whether the database has lines of this segment.
    """
    newest = 0 if begun else there
    for line in read_lines(path):
        parsed = chain.parse(line) if line.endswith(b"\n") else None
        newest = newest if parsed is None else parsed.sequence
        if newest > there or (parsed is None and newest == there):
            yield line


def _copy_segment(archive: AuditArchive, directory: Path, number: int) -> None:
    """Bring to the database what it does not have of a segment. Raises StorageError if it takes something else."""
    chain_id, path, offset = directory.name, log_path(directory, number), 0
    while lines := _whole_lines(path, offset):
        offset += len(lines)
        group = _group(chain_id, number, lines, after=archive.end(chain_id).last)
        if group is not None and not archive.put(group):
            raise StorageError(f"the database is still being given lines of the audit chain {chain_id}: start again")
    with path.open("rb") as file:
        file.seek(offset)
        torn = file.read()
    last = archive.end(chain_id).last
    if torn:
        archive.put(Group(chain_id, last + 1, last, number, torn))


def _write_digests(archive: AuditArchive, directory: Path) -> None:
    """Write the digests that the files do not have yet, the signature first."""
    for stored in archive.digests(directory.name):
        path = digest_path(directory, stored.segment)
        if not path.exists():
            replace_file(signature_path(directory, stored.segment), stored.signature)
            replace_file(path, stored.digest)


def _open_private(path: Path) -> Any:  # noqa: ANN401 — a binary file
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))
