"""Reading a chain back with the chain private key: which lines are good, and how the others came to be there.

A line is good if its MAC is right behind the line before it. The keys do not depend on what the lines say, so that
reading goes on behind a line that is not good: it is in *doubt*, and the next line decides what became of it. If that
is good behind the line *before* the one in doubt, that one does not belong there. If it is good behind the one in
doubt, taken for the record that should stand there, only that one was altered; taken for a later record, those between
were removed.

A segment whose header the installation did not sign is forged: no line of it is read. A genuine header says where its
segment begins, whatever became of the one before.
"""

import hmac
import sys
from collections.abc import Callable, Iterator
from enum import Enum, auto
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from strongroom.audit import chain
from strongroom.audit.chain import ChainState, Line
from strongroom.audit.damage import Damage, Place
from strongroom.audit.digests import load_public_key
from strongroom.audit.headers import SegmentHeader, decode_header, is_genuine, open_key
from strongroom.audit.segments import log_path, read_lines
from strongroom.model.installation import Installation

MAX_STEPS = 2**16
"""Missing lines that are stepped over in a chain; one farther ahead is taken for one that does not belong there."""

_END = sys.maxsize
"""The position behind the last line of a segment."""


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


class _Explanation(Enum):
    """How a line that is not good came to stand where it does."""

    CHANGED = auto()
    """It is the record that belongs there, altered."""
    AFTER_GAP = auto()
    """It is a later record; those between were removed."""
    MISPLACED = auto()
    """It does not belong there."""


class _Noise(NamedTuple):
    """Lines behind a record that have not the form of one: how many, and where the first is."""

    lines: int
    place: Place


class _Doubt(NamedTuple):
    """The newest line, not good: where it stands, the state before it, and the noise between.

    `ahead` is the state behind it if it is a later record, None if it cannot be.
    """

    line: Line
    place: Place
    before: ChainState
    noise: _Noise | None
    ahead: ChainState | None

    def explanations(self) -> Iterator[tuple[_Explanation, ChainState]]:
        """Yield each way to explain the line, with the state behind it, which the next line may prove."""
        before, line = self.before, self.line
        yield _Explanation.MISPLACED, before
        there, key = before.sequence + 1, chain.next_key(before.key)
        # Either its MAC is still the right one, or all but its MAC.
        yield _Explanation.CHANGED, ChainState(there, line.mac, key)
        yield _Explanation.CHANGED, ChainState(there, chain.mac_of(before, line.change, line.record), key)
        if self.ahead is not None:
            yield _Explanation.AFTER_GAP, self.ahead

    def likely(self) -> tuple[_Explanation, ChainState]:
        """Return the explanation to take where nothing proves one: the line's own sequence is believed."""
        if self.line.sequence == self.before.sequence + 1:
            state = ChainState(self.line.sequence, self.line.mac, chain.next_key(self.before.key))
            return _Explanation.CHANGED, state
        if self.ahead is not None:
            return _Explanation.AFTER_GAP, self.ahead
        return _Explanation.MISPLACED, self.before


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
        self.behind = 0
        """Sequence of the last line that was not read: that before the first segment whose header is genuine."""
        self.watched: bytes | None = None
        """MAC of the good line of sequence `watch`; of the beginning for 0."""
        self._directory = directory
        self._public_key = load_public_key(installation.digest_public_key)
        self._private_key = chain_private_key
        self._on_record = on_record
        self._watch = watch
        self._state: ChainState | None = None
        self._doubt: _Doubt | None = None
        self._noise: _Noise | None = None
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
                self._read_line(line, Place(number, position))
        start_time = "" if header is None else header.start_time
        return SegmentReading(
            number, start_time, first, self.last_sequence, self.last_mac, size, content.hexdigest(), torn
        )

    def finish(self, sequence: int = 0, mac: bytes = b"") -> None:
        """Settle what the last line left open, by the chain's end as it is known from elsewhere, if it is."""
        self._settle(lambda state: (state.sequence, state.mac) == (sequence, mac))
        self._tell_noise(self._take_noise(), self.last_sequence)

    def _read_header(self, number: int, line: bytes) -> SegmentHeader | None:
        """Read the first line of a segment; None if the installation did not write it there."""
        parsed = chain.parse(line)
        header = decode_header(parsed.record) if parsed else None
        before = self._before(parsed, header, number) if parsed and header else None
        after = chain.follow(before, parsed) if parsed and before else None
        if before is None or after is None:
            self._settle(lambda _: False)
            message = f"segment {number} does not begin with a header of this installation"
            self.damage.say(message, Place(number, 0), sequence=self.last_sequence + 1, kind="forged")
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
        in_doubt = self._doubt is not None
        self._settle(lambda state: _same(state, before))
        place = Place(number - 1, _END)
        if self._state is not None and not _same(self._state, before):
            if before.sequence > self.last_sequence:
                self._miss(range(self.last_sequence + 1, before.sequence + 1), place, self._take_noise())
            elif before.sequence < self.last_sequence:
                self.damage.misplaced.add(range(before.sequence + 1, self.last_sequence + 1), place)
            elif not in_doubt:
                message = f"segment {number} does not follow the one before it"
                self.damage.say(message, Place(number, 0), sequence=before.sequence + 1)
        self._tell_noise(self._take_noise(), self.last_sequence)
        if self._state is None:
            self.behind = before.sequence
        self._state = before

    def _read_line(self, line: bytes, place: Place) -> None:
        assert self._state is not None
        parsed = chain.parse(line)
        if parsed is None:
            self._noise = _Noise(self._noise.lines + 1, self._noise.place) if self._noise else _Noise(1, place)
            return
        state = chain.follow(self._state, parsed) if self._doubt is None else None
        if state is None and self._doubt is not None:
            self._settle(lambda behind: chain.follow(behind, parsed) is not None)
            state = chain.follow(self._state, parsed)
        if state is None:
            ahead = self._ahead(self._state, parsed)
            self._doubt = _Doubt(parsed, place, self._state, self._take_noise(), ahead)
            return
        self._tell_noise(self._take_noise(), self.last_sequence)
        self._advance(state)
        self._on_record(parsed)

    def _advance(self, state: ChainState) -> None:
        """Take a good line."""
        self._state = state
        self.lines += 1
        if state.sequence == self._watch:
            self.watched = state.mac

    def _settle(self, proven: Callable[[ChainState], bool]) -> None:
        """Decide how the line in doubt, if there is one, came to stand there; `proven` knows the state behind it."""
        doubt, self._doubt = self._doubt, None
        if doubt is None:
            return
        explained = next((way for way in doubt.explanations() if proven(way[1])), None) or doubt.likely()
        explanation, self._state = explained
        there = doubt.before.sequence + 1
        if explanation is _Explanation.AFTER_GAP:
            self._miss(range(there, doubt.line.sequence), doubt.place, doubt.noise)
            return
        self._tell_noise(doubt.noise, there - 1)
        if explanation is _Explanation.CHANGED:
            self.damage.changed.add(range(there, there + 1), doubt.place)
        else:
            self.damage.misplaced.add(range(doubt.line.sequence, doubt.line.sequence + 1), doubt.place)

    def _miss(self, missing: range, place: Place, noise: _Noise | None) -> None:
        """Note records that are missing. As many as there is noise in their place are taken for altered, not gone."""
        if noise is not None:
            altered = missing[: noise.lines]
            self.damage.changed.add(altered, noise.place)
            missing = missing[len(altered) :]
        if missing:
            self.damage.missing.add(missing, place)

    def _take_noise(self) -> _Noise | None:
        """Return the noise behind the newest line, which is dealt with then."""
        noise, self._noise = self._noise, None
        return noise

    def _tell_noise(self, noise: _Noise | None, behind: int) -> None:
        """Note lines behind a record that are not in the place of any."""
        if noise is None:
            return
        what = "stands a line that is not a record" if noise.lines == 1 else f"stand {noise.lines} lines that are none"
        self.damage.say(f"behind record {behind} {what}", noise.place, sequence=behind + 1)

    def _ahead(self, state: ChainState, line: Line) -> ChainState | None:
        """Return the state behind a line ahead, its MAC believed; None if it is not ahead, or too far."""
        steps = line.sequence - state.sequence - 1
        if not 0 < steps <= self._steps_left:
            return None
        self._steps_left -= steps
        key = state.key
        for _ in range(steps + 1):
            key = chain.next_key(key)
        return ChainState(line.sequence, line.mac, key)


def _same(one: ChainState, other: ChainState) -> bool:
    return one.sequence == other.sequence and hmac.compare_digest(one.mac + one.key, other.mac + other.key)
