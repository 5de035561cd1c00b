"""The memory that is counted in: a place for each server process of a node, of the same cells.

All of them can read all of it. A process that is killed loses nothing that it counted, and the one that takes its place
counts on. Gauges are worth something while whoever has the place keeps taking them.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import c_uint64

from strongroom.metrics.table import Kind, Measured, Metric

_STALE_SECONDS = 5
"""After which gauges that were not taken anew are nobody's: they are taken once a second."""
_TAKEN = 0
"""The cell that says when gauges were taken, in nanoseconds of the monotonic clock; 0 if they are nobody's."""

_TOGETHER: Mapping[Kind, Callable[[Iterable[int]], int]] = {
    Kind.COUNTER: sum,
    Kind.HISTOGRAM: sum,
    Kind.SUM: sum,
    Kind.LEAST: min,
    Kind.GREATEST: max,
}
"""What the cells of several places are together."""

Cells = memoryview
"""Of unsigned numbers of 64 bits."""


class Memory:
    """The cells of all places, and where each series has its own. Can be handed to a process that is spawned."""

    def __init__(self, measured: Sequence[Measured], places: int) -> None:
        self.measured = measured
        self._places = places
        self._first: dict[str, dict[tuple[str, ...], int]] = {}
        size = _TAKEN + 1
        for metric, series in measured:
            self._first[metric.name] = {labels: size + number * metric.width for number, labels in enumerate(series)}
            size += len(series) * metric.width
        self._size = size
        self._array = multiprocessing.get_context("spawn").RawArray(c_uint64, size * places)

    def place(self, number: int) -> Cells:
        """The cells of a place."""
        every = memoryview(self._array).cast("B").cast("Q")
        return every[number * self._size : (number + 1) * self._size]

    def first(self, metric: Metric, *labels: str) -> int:
        """The first cell of a series in a place. Raises KeyError if there is no such series."""
        return self._first[metric.name][labels]

    def series(self, metric: Metric) -> Iterable[tuple[str, ...]]:
        """The labels of all series of a metric."""
        return self._first[metric.name]

    def value(self, metric: Metric, *labels: str) -> int | None:
        """What a series comes to in all places, in the unit of its cells; None of a gauge that nobody takes."""
        return self.values(metric, self.first(metric, *labels), 1)[0]

    def values(self, metric: Metric, first: int, count: int) -> Sequence[int | None]:
        """What `count` cells of a metric come to in all places."""
        together = _TOGETHER[metric.kind]
        places = [self.place(number) for number in range(self._places)]
        if metric.kind not in (Kind.COUNTER, Kind.HISTOGRAM):
            oldest = time.monotonic_ns() - _STALE_SECONDS * 10**9
            places = [place for place in places if place[_TAKEN] > oldest]
        if not places:
            return [None] * count
        return [together(cells) for cells in zip(*(place[first : first + count] for place in places), strict=True)]


def note_taken(cells: Cells) -> None:
    """Say that the gauges of a place were taken just now."""
    cells[_TAKEN] = time.monotonic_ns()


def note_gone(cells: Cells) -> None:
    """Say that the gauges of a place are nobody's."""
    cells[_TAKEN] = 0
