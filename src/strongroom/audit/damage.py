"""What is wrong with a chain, by sequence, and how to say it."""

from collections.abc import Iterator

MAX_RANGES = 1000
"""Ranges of sequences, and sentences, kept per kind of damage: who damages more is told of this much."""


class Sequences:
    """Sequences in the order they came up, neighbors joined."""

    def __init__(self) -> None:
        self._ranges: list[range] = []

    def __iter__(self) -> Iterator[range]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, sequence: int) -> bool:
        return any(sequence in part for part in self._ranges)

    def add(self, sequence: int) -> None:
        """Add one sequence."""
        self.add_range(range(sequence, sequence + 1))

    def add_range(self, new: range) -> None:
        """Add all sequences of a range that is not empty."""
        if self._ranges and self._ranges[-1].stop == new.start:
            self._ranges[-1] = range(self._ranges[-1].start, new.stop)
        elif len(self._ranges) < MAX_RANGES:
            self._ranges.append(new)

    def without(self, others: "Sequences") -> Iterator[range]:
        """Yield what is left when the sequences of `others` are taken out."""
        for part in self._ranges:
            start = part.start
            for other in sorted(others, key=lambda taken: taken.start):
                if other.start < part.stop and other.stop > start:
                    if other.start > start:
                        yield range(start, other.start)
                    start = other.stop
            if start < part.stop:
                yield range(start, part.stop)


class Damage:
    """What is wrong with a chain. `misplaced` lines stand where they do not belong."""

    def __init__(self) -> None:
        self.changed = Sequences()
        self.misplaced = Sequences()
        self.missing = Sequences()
        self._sentences: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self.changed or self.misplaced or self.missing or self._sentences)

    def say(self, sentence: str, *, kind: str = "damaged") -> None:
        """Note what has no sequence."""
        if len(self._sentences) < MAX_RANGES:
            self._sentences.append((kind, sentence))

    def findings(self) -> Iterator[tuple[str, str]]:
        """Yield kind (changed, removed, reordered, inserted, damaged, forged) and sentence of each damage.

        A sequence that is missing in one place and stands in another was moved.
        """
        for part in self.changed:
            yield "changed", f"{_named(part)} changed or forged"
        for part in self.missing.without(self.misplaced):
            yield "removed", f"{_named(part)} removed; the one behind cannot be checked"
        for part in self.misplaced.without(self.missing):
            yield "inserted", f"{_named(part)} there once too often"
        removed = Sequences()
        for part in self.missing.without(self.misplaced):
            removed.add_range(part)
        for part in self.missing.without(removed):
            yield "reordered", f"{_named(part)} moved"
        yield from self._sentences


def _named(sequences: range) -> str:
    if len(sequences) == 1:
        return f"record {sequences.start} was"
    return f"records {sequences.start} to {sequences.stop - 1} were"
