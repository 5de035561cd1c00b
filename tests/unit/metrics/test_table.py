"""The metrics keep to Prometheus' conventions, and each is told of in the guide."""

import re
from pathlib import Path

import pytest

from strongroom.metrics import table
from strongroom.metrics.table import Kind, Metric

METRICS = [value for value in vars(table).values() if isinstance(value, Metric)]
GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "watch-a-server.md"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_and_units(metric: Metric) -> None:
    assert re.fullmatch("strongroom_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_seconds") or metric.kind is not Kind.HISTOGRAM
    assert (metric.bounds != ()) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert not {"account", "key", "caller", "le"} & set(metric.labels)


def test_the_guide_has_a_row_for_each_and_no_other() -> None:
    rows = re.findall(r"^\| `(strongroom_\w+)` \|([^|]*)\|", GUIDE.read_text(), re.MULTILINE)
    labels = {name: tuple(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
    assert labels == {metric.name: metric.labels for metric in METRICS}
