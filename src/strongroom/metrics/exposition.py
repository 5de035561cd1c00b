"""The metrics of a node as Prometheus reads them (its text-based exposition format), by its own Python client."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from strongroom.metrics.memory import Memory
from strongroom.metrics.table import Kind, Measured, Metric

__all__ = ["CONTENT_TYPE", "exposition"]


def exposition(memory: Memory) -> bytes:
    """What all places come to, as it stands now."""
    return generate_latest(_Node(memory))


class _Node(Collector):
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def collect(self) -> Iterable[Family]:
        return [self._family(measured) for measured in self._memory.measured]

    def _family(self, measured: Measured) -> Family:
        metric, series = measured
        values = self._memory.values(metric, self._memory.first(metric, *series[0]), len(series) * metric.width)
        told = [
            (labels, cells)
            for labels, *cells in zip(series, *(values[at :: metric.width] for at in range(metric.width)), strict=True)
            if any(cells) or not metric.sparse
        ]
        return _FAMILIES[metric.kind](metric, told)


_Told = Sequence[tuple[tuple[str, ...], Sequence[int | None]]]
"""The labels of a series, and its cells."""


def _counter(metric: Metric, told: _Told) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, (value,) in told:
        family.add_metric(labels, value or 0)
    return family


def _gauge(metric: Metric, told: _Told) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, (value,) in told:
        if value is not None:
            family.add_metric(labels, value * metric.unit)
    return family


def _histogram(metric: Metric, told: _Told) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    bounds = [*map(str, metric.bounds), "+Inf"]
    for labels, cells in told:
        *counts, total = (cell or 0 for cell in cells)
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        family.add_metric(labels, buckets, total * metric.unit)
    return family


_FAMILIES = {
    Kind.COUNTER: _counter,
    Kind.HISTOGRAM: _histogram,
    Kind.SUM: _gauge,
    Kind.LEAST: _gauge,
    Kind.GREATEST: _gauge,
}
