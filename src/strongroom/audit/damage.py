"""What is wrong with a chain, in the order of its lines, and how to say it."""

from collections.abc import Iterator
from typing import NamedTuple

from strongroom.audit.segments import log_name

MAX_RANGES = 1000
"""Ranges of sequences, and sentences, kept per kind of damage: who damages more is told of this much."""


class Place(NamedTuple):
    """Where in a chain: a segment, and the position of a line in its file, from 0."""

    segment: int
    position: int


class Fault(NamedTuple):
    """Something wrong with a chain: in which file, and with which record first; 0 if it concerns no record."""

    kind: str
    message: str
    file: str
    sequence: int = 0


class _Part(NamedTuple):
    """Sequences, and where they are wrong."""

    place: Place
    sequences: range


class Sequences:
    """Sequences in the order they came up, neighbors joined."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def __iter__(self) -> Iterator[_Part]:
        return iter(self._parts)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, new: range, place: Place) -> None:
        """Add all sequences of a range that is not empty."""
        if self._parts and self._parts[-1].sequences.stop == new.start:
            last = self._parts[-1]
            self._parts[-1] = _Part(last.place, range(last.sequences.start, new.stop))
        elif len(self._parts) < MAX_RANGES:
            self._parts.append(_Part(place, new))

    def without(self, others: "Sequences") -> "Sequences":
        """Return what is left when the sequences of `others` are taken out."""
        left = Sequences()
        taken = sorted((part.sequences for part in others), key=lambda sequences: sequences.start)
        for place, sequences in self._parts:
            start = sequences.start
            for other in taken:
                if other.start < sequences.stop and other.stop > start:
                    if other.start > start:
                        left.add(range(start, other.start), place)
                    start = other.stop
            if start < sequences.stop:
                left.add(range(start, sequences.stop), place)
        return left

    def place_of(self, sequence: int) -> Place:
        """Return where a sequence is wrong, which must be among them."""
        return next(part.place for part in self._parts if sequence in part.sequences)


class Damage:
    """What is wrong with a chain. `misplaced` lines stand where they do not belong."""

    def __init__(self) -> None:
        self.changed = Sequences()
        self.misplaced = Sequences()
        self.missing = Sequences()
        self._sentences: list[tuple[Place, Fault]] = []

    def __bool__(self) -> bool:
        return bool(self.changed or self.misplaced or self.missing or self._sentences)

    def say(self, sentence: str, place: Place, *, sequence: int, kind: str = "damaged") -> None:
        """Note what is wrong at a place where the record `sequence` should begin."""
        if len(self._sentences) < MAX_RANGES:
            self._sentences.append((place, _fault(kind, sentence, place, sequence)))

    def faults(self) -> list[Fault]:
        """Return each damage (changed, removed, reordered, inserted, damaged, forged), the first in the log first.

        A sequence that is missing in one place and stands in another was moved.
        """
        removed = self.missing.without(self.misplaced)
        found = [*self._sentences]
        for place, part in self.changed:
            found.append((place, _fault("changed", f"{_named(part)} changed or forged", place, part.start)))
        for place, part in removed:
            sentence = f"{_named(part)} removed; the one behind cannot be checked"
            found.append((place, _fault("removed", sentence, place, part.start)))
        for place, part in self.misplaced.without(self.missing):
            found.append((place, _fault("inserted", f"{_named(part)} there once too often", place, part.start)))
        for missed, part in self.missing.without(removed):
            place = min(missed, self.misplaced.place_of(part.start))
            found.append((place, _fault("reordered", f"{_named(part)} moved", place, part.start)))
        return [fault for _, fault in sorted(found, key=lambda one: one[0])]


def _fault(kind: str, sentence: str, place: Place, sequence: int) -> Fault:
    return Fault(kind, sentence, log_name(place.segment), sequence)


def _named(sequences: range) -> str:
    if len(sequences) == 1:
        return f"record {sequences.start} was"
    return f"records {sequences.start} to {sequences.stop - 1} were"
