"""The log of requests whose caller is not authenticated: bounded in size and rate, not chained, not synced.

Anybody with a socket can cause these records, so they must not fill the disk, slow the service, or take the
space of the chained log. Two files of 16 MB at most; past 20 records a second from one address, one record a
second with the number of those left out. The lines are CloudTrail records without sequence and MAC.
"""

import errno
import fcntl
import os
from pathlib import Path

import msgspec

from strongroom.audit.record import CloudTrailRecord, encode

MAX_FILE = 16 * 1024 * 1024
"""Bytes at which the file is renamed to `.1`, over the one before."""
MAX_PER_SECOND = 20
"""Records a second from one source address."""
MAX_SOURCES = 256
"""Source addresses counted apart within a second; all further ones share one count."""

_FLUSH_AT = 64 * 1024
_MAX_BUFFER = 1024 * 1024
_FURTHER_SOURCES = ""


class StrangersLog:
    """Writes `strangers.log` in a directory of its own, which the server processes of a node share.

    For the event loop's thread. A disk that is full or broken makes no method raise: `lost` counts. `refused` counts
    all that it was told of.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / "strangers.log"
        # Held for the moment of a write: it keeps two server processes from rotating at once.
        self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._second = 0
        self._counts: dict[str, int] = {}
        self._last_suppressed: dict[str, CloudTrailRecord] = {}
        self.refused = 0
        self.lost = 0
        """Records that could not be written."""

    def write(self, record: CloudTrailRecord, now: float) -> None:
        """Take a record at `now`, seconds since the epoch. Past the rate of its source it is only counted."""
        self.refused += 1
        if int(now) != self._second:
            self._start_second(int(now))
        source = record.source_ip_address
        if source not in self._counts and len(self._counts) >= MAX_SOURCES:
            source = _FURTHER_SOURCES
        count = self._counts.get(source, 0) + 1
        self._counts[source] = count
        if count > MAX_PER_SECOND:
            self._last_suppressed[source] = record
        else:
            self._append(record)

    def tick(self, now: float) -> None:
        """Write what is buffered. Call it once a second."""
        if int(now) != self._second:
            self._start_second(int(now))
        self._flush()

    def close(self) -> None:
        """Write what is buffered and counted, and close."""
        self._start_second(0)
        self._flush()
        os.close(self._lock)

    def _start_second(self, second: int) -> None:
        """Summarize what the last second left out, in the shape of the last record left out per source."""
        for source, record in self._last_suppressed.items():
            suppressed = {
                "suppressedRequests": self._counts[source] - MAX_PER_SECOND,
                "severalSources": source == _FURTHER_SOURCES,
            }
            self._append(msgspec.structs.replace(record, additional_event_data=suppressed))
        self._last_suppressed.clear()
        self._counts.clear()
        self._second = second

    def _append(self, record: CloudTrailRecord) -> None:
        line = encode(record) + b"\n"
        if self._buffered + len(line) > _MAX_BUFFER:
            self.lost += 1
            return
        self._buffer.append(line)
        self._buffered += len(line)
        if self._buffered >= _FLUSH_AT:
            self._flush()

    def _flush(self) -> None:
        if not self._buffer:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # Another server process writes just now; the buffer waits.
        try:
            self._write_out(b"".join(self._buffer))
        except OSError:
            self.lost += len(self._buffer)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._buffer.clear()
        self._buffered = 0

    def _write_out(self, data: bytes) -> None:
        """Append `data`, all or nothing, to a file that stays within its size."""
        file = self._open()
        try:
            size = os.fstat(file).st_size
            if size and size + len(data) > MAX_FILE:
                self._path.rename(self._path.with_suffix(".log.1"))
                full, file = file, self._open()
                os.close(full)
                size = 0
            if os.write(file, data) != len(data):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, "short write")
        finally:
            os.close(file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
