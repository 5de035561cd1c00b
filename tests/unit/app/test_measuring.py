"""Whatever can come of a request has a cell, and nothing else."""

import re
from pathlib import Path

import pytest

from strongroom import jobs
from strongroom.app.measuring import new_memory
from strongroom.config import Config
from strongroom.errors import XKS_PROXY, RequestError
from strongroom.jobs.calendar import EVENTS
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import READY, REQUESTS
from strongroom.operations.registry import OPERATIONS


def every_error(of: type[RequestError] = RequestError) -> list[type[RequestError]]:
    return [of, *(error for one in of.__subclasses__() for error in every_error(one))]


@pytest.mark.parametrize("service", ["kms", "iam", "sts", XKS_PROXY, None])
def test_every_error_can_be_counted_for_every_service(service: str | None) -> None:
    memory = new_memory(Config())
    requests = Meters(memory, 0).requests()
    errors = every_error()
    for error in errors:
        requests.count(service, None, error(""), 1)
    found = [series for series in memory.series(REQUESTS) if memory.value(REQUESTS, *series)]
    assert {(series[0], series[1]) for series in found} == {(service or "unknown", "unknown")}
    assert sum(memory.value(REQUESTS, *series) or 0 for series in found) == len(errors)


def test_every_operation_has_cells_of_its_own() -> None:
    memory = new_memory(Config())
    requests = Meters(memory, 0).requests()
    for service, name in OPERATIONS:
        requests.count(service, name, None, 1)
    found = [series for series in memory.series(REQUESTS) if memory.value(REQUESTS, *series)]
    assert found == [(service, name, "success") for service, name in OPERATIONS]


def test_what_jobs_record_can_be_told() -> None:
    sources = [path.read_text() for path in Path(jobs.__path__[0]).glob("*.py")]
    recorded = {name for source in sources for name in re.findall(r'\bevent\(\s*"(\w+)"', source)}
    assert {*recorded, "SynchronizeMultiRegionKey"} == set(EVENTS)


def test_the_parts_of_a_process(tmp_path: Path) -> None:
    assert [part for (part,) in new_memory(Config()).series(READY)] == ["storage", "audit", "key_store"]
