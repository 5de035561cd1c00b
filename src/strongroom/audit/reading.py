"""Reading a chain back with the chain private key: which lines are good, and how the others came to be there.

A line is good if its MAC is right behind the line before it. The keys do not depend on what the lines say, so
that reading goes on behind a line that is not good: it is in *doubt*, and its sequence and MAC are believed until the
next line decides. If that is good behind the line in doubt, only that one was altered, or something before it
removed; if it is good behind the line *before* the one in doubt, that one does not belong there.

A segment whose header the installation did not sign is forged: no line of it is read. A genuine header says where its
segment begins, whatever became of the one before.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from strongroom.audit import chain
from strongroom.audit.chain import ChainState, Line
from strongroom.audit.damage import Damage
from strongroom.audit.digests import load_public_key
from strongroom.audit.headers import SegmentHeader, decode_header, is_genuine, open_key
from strongroom.audit.segments import log_path, read_lines
from strongroom.model.installation import Installation

MAX_STEPS = 2**16
"""Missing lines that are stepped over in a chain; one farther ahead is taken for one that does not belong there."""


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
        installation: Installation,
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
        self._public_key = load_public_key(installation.digest_public_key)
        self._private_key = chain_private_key
        self._on_record = on_record
        self._watch = watch
        self._state: ChainState | None = None
        self._doubt: _Doubt | None = None
        self._steps_left = MAX_STEPS

    @property
    def last_sequence(self) -> int:
        """Sequence of the last line."""
        return 0 if self._state is None else self._state.sequence

    @property
    def last_mac(self) -> bytes:
        """MAC of the last line; zeros if there is none."""
        return bytes(chain.MAC_BYTES) if self._state is None else self._state.mac

    def read(self, number: int) -> SegmentReading:
        """Read the next segment."""
        content = sha256()
        size = 0
        torn = b""
        header: SegmentHeader | None = None
        first = self.last_sequence + 1
        for position, line in enumerate(read_lines(log_path(self._directory, number))):
            content.update(line)
            size += len(line)
            if not line.endswith(b"\n"):
                torn = line
            elif position == 0:
                header = self._read_header(number, line)
                first = self.last_sequence if header is not None else first
            elif header is not None:
                self._read_line(line)
        start_time = "" if header is None else header.start_time
        return SegmentReading(
            number, start_time, first, self.last_sequence, self.last_mac, size, content.hexdigest(), torn
        )

    def finish(self) -> None:
        """Settle what the last line left open."""
        self._settle()

    def _read_header(self, number: int, line: bytes) -> SegmentHeader | None:
        """Read the first line of a segment; None if the installation did not write it there."""
        parsed = chain.parse(line)
        header = decode_header(parsed.record) if parsed else None
        before = self._before(parsed, header, number) if parsed and header else None
        after = chain.follow(before, parsed) if parsed and before else None
        if before is None or after is None:
            self.damage.say(f"segment {number} does not begin with a header of this installation", kind="forged")
            return None
        self._join(number, before)
        if number == 1 and self._watch == 0:
            self.watched = before.mac
        self._advance(after)
        return header

    def _before(self, line: Line, header: SegmentHeader, number: int) -> ChainState | None:
        """Return the state before a segment as its header has it; None if the header is not genuine."""
        if not is_genuine(header, chain_id=self._directory.name, segment=number, public_key=self._public_key):
            return None
        key = open_key(header, self._private_key)
        if key is None:
            return None
        before = ChainState(line.sequence - 1, header.previous_mac, key)
        if number == 1 and not _same(before, chain.beginning(self._directory.name, key)):
            return None
        return before

    def _join(self, number: int, before: ChainState) -> None:
        """Go on at the beginning of a segment, and say so if it is not the end of what was read."""
        if self._doubt is not None and _same(self._doubt.before, before):
            self.damage.misplaced.add(self._doubt.sequence)
            self._state, self._doubt = before, None
        in_doubt = self._doubt is not None
        self._settle()
        if self._state is not None and not _same(self._state, before):
            if before.sequence > self.last_sequence:
                self.damage.missing.add_range(range(self.last_sequence + 1, before.sequence + 1))
            elif before.sequence < self.last_sequence:
                self.damage.misplaced.add_range(range(before.sequence + 1, self.last_sequence + 1))
            elif not in_doubt:
                self.damage.say(f"segment {number} does not follow the one before it")
        self._state = before

    def _read_line(self, line: bytes) -> None:
        assert self._state is not None
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
        self._advance(state)
        self._on_record(parsed)

    def _advance(self, state: ChainState) -> None:
        """Take a good line."""
        self._state = state
        self.lines += 1
        if state.sequence == self._watch:
            self.watched = state.mac

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
        if not 0 <= steps <= self._steps_left:
            return None
        self._steps_left -= steps
        key = self._state.key
        for _ in range(steps):
            key = chain.next_key(key)
        return key


def _same(one: ChainState, other: ChainState) -> bool:
    return one.sequence == other.sequence and hmac.compare_digest(one.mac + one.key, other.mac + other.key)
