"""Memory that processes share: each has a place, counts are summed, gauges are those of processes that are there."""

import multiprocessing
import os
import signal
import time

import pytest

from strongroom.metrics.memory import Memory, note_gone, note_taken
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import (
    CONNECTIONS,
    NOT_HTTP,
    READY,
    SNAPSHOT_AGE,
    XKS_CALLS,
    Measured,
)

MEASURED = [
    Measured(NOT_HTTP),
    Measured(XKS_CALLS, [("success",), ("unreachable",)]),
    Measured(CONNECTIONS),
    Measured(SNAPSHOT_AGE),
    Measured(READY, [("storage",), ("audit",)]),
]


@pytest.fixture
def memory() -> Memory:
    return Memory(MEASURED, places=3)


def take(memory: Memory, place: int, connections: int, age: float, ready: int) -> Meters:
    meters = Meters(memory, place)
    meters.gauge(CONNECTIONS).set(connections)
    meters.gauge(SNAPSHOT_AGE).set(age)
    meters.gauge(READY, "audit").set(ready)
    note_taken(meters.cells)
    return meters


def test_counts_are_summed_and_each_series_has_its_own(memory: Memory) -> None:
    for place in range(3):
        for _ in range(place + 1):
            Meters(memory, place).tally(XKS_CALLS).count("success")
    assert memory.value(XKS_CALLS, "success") == 6
    assert memory.value(XKS_CALLS, "unreachable") == 0
    assert memory.value(NOT_HTTP) == 0


def test_gauges_are_the_sum_the_least_or_the_greatest_of_those_who_take_them(memory: Memory) -> None:
    assert memory.value(CONNECTIONS) is None
    take(memory, 0, 5, 0.25, 1)
    take(memory, 2, 7, 1.5, 0)
    assert memory.value(CONNECTIONS) == 12
    assert memory.value(SNAPSHOT_AGE) == 1_500_000_000
    assert (memory.value(READY, "audit"), memory.value(READY, "storage")) == (0, 0)
    note_gone(memory.place(2))
    assert memory.value(CONNECTIONS) == 5
    assert memory.value(READY, "audit") == 1


def test_gauges_that_are_not_taken_any_more_are_nobodys(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    take(memory, 0, 5, 0.25, 1)
    later = time.monotonic_ns() + 6 * 10**9
    monkeypatch.setattr(time, "monotonic_ns", lambda: later)
    take(memory, 1, 2, 0.25, 1)
    assert memory.value(CONNECTIONS) == 2


def test_whoever_takes_a_place_counts_on_and_has_no_gauges_yet(memory: Memory) -> None:
    take(memory, 0, 5, 0.25, 1).counter(NOT_HTTP).follow(4)
    successor = Meters(memory, 0)
    assert memory.value(CONNECTIONS) is None
    successor.counter(NOT_HTTP).follow(1)
    assert memory.value(NOT_HTTP) == 5


def count_until_killed(memory: Memory, place: int) -> None:
    for _ in range(1000):
        Meters(memory, place).tally(XKS_CALLS).count("success")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_nothing_that_it_counted(memory: Memory) -> None:
    spawning = multiprocessing.get_context("spawn")
    for place in (1, 2, 1):  # one is replaced
        process = spawning.Process(target=count_until_killed, args=(memory, place))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()
    assert memory.value(XKS_CALLS, "success") == 3000


def test_a_series_that_is_not_known_is_none(memory: Memory) -> None:
    with pytest.raises(KeyError):
        Meters(memory, 0).tally(XKS_CALLS).count("anything")
