"""What one server process counts with: additions to its own cells. For the event loop's thread, but for `Tally`."""

import threading
from bisect import bisect_left
from typing import NamedTuple

from strongroom.errors import RequestError, code_of
from strongroom.metrics.memory import Cells, Memory, note_gone
from strongroom.metrics.table import REQUEST_DURATION, REQUESTS, SUCCESS, UNKNOWN, Metric

_NANOSECONDS = 1_000_000_000


class Meters:
    """Makes what a process counts with, of the cells of its place. Gauges of whoever had the place before are gone."""

    def __init__(self, memory: Memory, place: int) -> None:
        self.memory = memory
        self.cells = memory.place(place)
        note_gone(self.cells)

    def counter(self, metric: Metric, *labels: str) -> "Counter":
        """What counts one series."""
        return Counter(self.cells, self.memory.first(metric, *labels))

    def gauge(self, metric: Metric, *labels: str) -> "Gauge":
        """What says how much there is."""
        return Gauge(self.cells, self.memory.first(metric, *labels), metric.unit)

    def histogram(self, metric: Metric, *labels: str) -> "Histogram":
        """What counts durations."""
        return Histogram(self.cells, self.memory.first(metric, *labels), metric.bounds)

    def tally(self, metric: Metric) -> "Tally":
        """What counts by a metric's one label."""
        return Tally(self, metric)

    def requests(self) -> "Requests":
        """What counts requests."""
        return Requests(self)


class Counter:
    """Follows a count that this process keeps by itself."""

    def __init__(self, cells: Cells, cell: int) -> None:
        self._cells = cells
        self._cell = cell
        self._before = cells[cell]

    def follow(self, count: int) -> None:
        """Be as far along as a count that began at 0 with the process."""
        self._cells[self._cell] = self._before + count


class Gauge:
    """Says how much there is now."""

    def __init__(self, cells: Cells, cell: int, unit: float) -> None:
        self._cells = cells
        self._cell = cell
        self._unit = unit

    def set(self, value: float) -> None:
        """Say it, in the metric's unit."""
        self._cells[self._cell] = round(value / self._unit)


class Histogram:
    """Counts durations."""

    def __init__(self, cells: Cells, first: int, bounds: tuple[float, ...]) -> None:
        self._cells = cells
        self._first = first
        self._bounds = _in_nanoseconds(bounds)
        self._sum = first + len(bounds) + 1

    def add(self, nanoseconds: int) -> None:
        """Count one."""
        cells = self._cells
        cells[self._first + bisect_left(self._bounds, nanoseconds)] += 1
        cells[self._sum] += nanoseconds

    def observe(self, seconds: float) -> None:
        """Count one that was measured in seconds."""
        self.add(int(seconds * _NANOSECONDS))


class Tally:
    """Counts by one label. Any thread may."""

    def __init__(self, meters: Meters, metric: Metric) -> None:
        self._cells = meters.cells
        self._memory = meters.memory
        self._metric = metric
        self._lock = threading.Lock()

    def count(self, value: str) -> None:
        """Count one."""
        cell = self._memory.first(self._metric, value)
        with self._lock:
            self._cells[cell] += 1


class _Row(NamedTuple):
    """The cells of one operation: of success and of each error code, of the first bucket, and of the sum."""

    success: int
    errors: dict[str, int]
    buckets: int
    total: int


class Requests:
    """Counts requests, by what came of them, and how long they took. A few additions for each."""

    def __init__(self, meters: Meters) -> None:
        self._cells = meters.cells
        self._bounds = _in_nanoseconds(REQUEST_DURATION.bounds)
        outcomes: dict[tuple[str, str], dict[str, int]] = {}
        for service, operation, outcome in meters.memory.series(REQUESTS):
            cell = meters.memory.first(REQUESTS, service, operation, outcome)
            outcomes.setdefault((service, operation), {})[outcome] = cell
        self._rows: dict[tuple[str | None, str | None], _Row] = {}
        for named, errors in outcomes.items():
            buckets = meters.memory.first(REQUEST_DURATION, *named)
            self._rows[named] = _Row(errors.pop(SUCCESS), errors, buckets, buckets + len(self._bounds) + 1)

    def count(self, service: str | None, operation: str | None, error: RequestError | None, nanoseconds: int) -> None:
        """Count a request that was answered. Of what is not in the registry nothing is told."""
        row = self._rows.get((service, operation)) or self._rows[service or UNKNOWN, UNKNOWN]
        cells = self._cells
        cells[row.success if error is None else row.errors[code_of(error, service)]] += 1
        cells[row.buckets + bisect_left(self._bounds, nanoseconds)] += 1
        cells[row.total] += nanoseconds


def _in_nanoseconds(bounds: tuple[float, ...]) -> list[int]:
    return [round(bound * _NANOSECONDS) for bound in bounds]
