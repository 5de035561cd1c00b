"""Reading a chain back with the chain private key: which lines are good, and how the others came to be there.

A line is good if its MAC is right behind the line before it. The keys do not depend on what the lines say, so
that reading goes on behind a line that is not good: it is in *doubt*, and its sequence and MAC are believed until the
next line decides. If that is good behind the line in doubt, only that one was altered, or something before it
removed; if it is good behind the line *before* the one in doubt, that one does not belong there.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from strongroom.audit import chain
from strongroom.audit.chain import ChainState, Line
from strongroom.audit.damage import Damage
from strongroom.audit.segments import SegmentHeader, decode_header, log_path, open_key, read_lines

MAX_GAP = 2**24
"""Missing lines that are stepped over; a line farther ahead is taken for one that does not belong there."""


class SegmentReading(NamedTuple):
    """What a segment's file holds: good lines up to `last_sequence`, `size` bytes of this hex SHA-256.

    `torn` are the bytes behind the last newline. `start_time` is the header's, empty if there is no header.
    Without a good line, `last_sequence` is that before the first.
    """

    number: int
    start_time: str
    first_sequence: int
    last_sequence: int
    last_mac: bytes
    size: int
    sha256: str
    torn: bytes


class _Doubt(NamedTuple):
    """The newest line, not good: its sequence, the state before it, and the sequences it leaves out."""

    sequence: int
    before: ChainState
    missing: range


class ChainReader:
    """Reads the segments of one chain in order, from the first or from a later one; then `finish`.

    `on_record` hears every good line but the headers. A later segment to begin with is believed to follow what is
    not read: the caller must know a MAC in it from elsewhere, and asks for it with `watch`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        installation_id: str,
        chain_private_key: bytes,
        on_record: Callable[[Line], None],
        watch: int = 0,
    ) -> None:
        self.damage = Damage()
        self.lines = 0
        """Good lines, the headers included."""
        self.watched: bytes | None = None
        """MAC of the good line of sequence `watch`; of the beginning for 0."""
        self._directory = directory
        self._installation_id = installation_id
        self._private_key = chain_private_key
        self._on_record = on_record
        self._watch = watch
        self._state: ChainState | None = None
        self._doubt: _Doubt | None = None

    @property
    def last_sequence(self) -> int:
        """Sequence of the last line."""
        return 0 if self._state is None else self._state.sequence

    def read(self, number: int) -> SegmentReading:
        """Read the next segment."""
        content = sha256()
        size = 0
        torn = b""
        start_time = ""
        first = self.last_sequence + 1
        for position, line in enumerate(read_lines(log_path(self._directory, number))):
            content.update(line)
            size += len(line)
            if not line.endswith(b"\n"):
                torn = line
            elif position > 0:
                self._read_line(line)
            elif (header := self._read_header(number, line)) is not None:
                start_time = header.start_time
                first = self.last_sequence
        mac = bytes(chain.MAC_BYTES) if self._state is None else self._state.mac
        return SegmentReading(number, start_time, first, self.last_sequence, mac, size, content.hexdigest(), torn)

    def finish(self) -> None:
        """Settle what the last line left open."""
        self._settle()

    def _read_header(self, number: int, line: bytes) -> SegmentHeader | None:
        """Read the first line of a segment; None if the segment's key is not in it."""
        parsed = chain.parse(line)
        header = decode_header(parsed.record) if parsed else None
        if parsed is None or header is None:
            self.damage.say(f"segment {number} has no readable header")
            return None
        place = (header.installation_id, header.chain_id, header.segment)
        ours = place == (self._installation_id, self._directory.name, number)
        key = open_key(header, self._private_key) if ours else None
        if key is None:
            self.damage.say(f"the header of segment {number} was made for another place or installation")
            return None
        if self._state is None:
            self._begin(number, header, parsed.sequence, key)
        elif not hmac.compare_digest(key, self._key_of(parsed.sequence) or b""):
            self.damage.say(f"the key of segment {number} does not follow from the segment before it")
        self._read_line(line, is_header=True)
        return header

    def _begin(self, number: int, header: SegmentHeader, sequence: int, key: bytes) -> None:
        if number == 1:
            self._state = chain.beginning(self._directory.name, key)
            if self._watch == 0:
                self.watched = self._state.mac
        else:
            self._state = ChainState(sequence - 1, header.previous_mac, key)

    def _read_line(self, line: bytes, *, is_header: bool = False) -> None:
        if self._state is None:
            return  # There was no header to begin with, and that was said.
        parsed = chain.parse(line)
        if parsed is None:
            self.damage.say(f"behind record {self._state.sequence} stands a line that is not a record")
            return
        state = chain.follow(self._state, parsed)
        if state is not None:
            self._settle()
        elif self._doubt is not None and (state := chain.follow(self._doubt.before, parsed)) is not None:
            self.damage.misplaced.add(self._doubt.sequence)
            self._doubt = None
        else:
            self._read_bad_line(self._state, parsed)
            return
        self._state = state
        self.lines += 1
        if state.sequence == self._watch:
            self.watched = state.mac
        if not is_header:
            self._on_record(parsed)

    def _read_bad_line(self, state: ChainState, line: Line) -> None:
        key = self._key_of(line.sequence)
        if key is None:
            self.damage.misplaced.add(line.sequence)
            return
        self._settle()
        self._doubt = _Doubt(line.sequence, state, range(state.sequence + 1, line.sequence))
        self._state = ChainState(line.sequence, line.mac, chain.next_key(key))

    def _settle(self) -> None:
        """Decide that the line in doubt, if there is one, stands where it belongs."""
        if self._doubt is None:
            return
        if self._doubt.missing:
            self.damage.missing.add_range(self._doubt.missing)
        else:
            self.damage.changed.add(self._doubt.sequence)
        self._doubt = None

    def _key_of(self, sequence: int) -> bytes | None:
        """Return the key of a line ahead; None if it is behind, or too far ahead."""
        assert self._state is not None
        steps = sequence - self._state.sequence - 1
        if not 0 <= steps <= MAX_GAP:
            return None
        key = self._state.key
        for _ in range(steps):
            key = chain.next_key(key)
        return key
