"""What a process counts with."""

import threading

import pytest

from strongroom.errors import AccessDenied, InvalidSignature, UnknownOperation
from strongroom.metrics.memory import Memory
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import AUDIT_WRITES, REQUEST_DURATION, REQUESTS, XKS_CALLS, Measured

NAMED = [("kms", "Encrypt"), ("kms", "unknown"), ("iam", "GetUser"), ("iam", "unknown"), ("unknown", "unknown")]
OUTCOMES = ("success", "AccessDenied", "AccessDeniedException", "InvalidAction", "UnknownOperationException")
MEMORY = [
    Measured(REQUESTS, [(*named, outcome) for named in NAMED for outcome in OUTCOMES]),
    Measured(REQUEST_DURATION, NAMED),
    Measured(AUDIT_WRITES),
    Measured(XKS_CALLS, [("success",)]),
]


def counted(memory: Memory) -> dict[tuple[str, ...], int]:
    """The series of requests that counted any."""
    values = {series: memory.value(REQUESTS, *series) for series in memory.series(REQUESTS)}
    return {series: value for series, value in values.items() if value}


def buckets(memory: Memory, first: int) -> tuple[list[int], int]:
    """The bounds' own counts, that of all above them last, and the sum."""
    *counts, total = memory.place(0)[first : first + AUDIT_WRITES.width]
    return counts, total


def test_a_request_is_counted_by_what_its_caller_is_told() -> None:
    memory = Memory(MEMORY, 1)
    requests = Meters(memory, 0).requests()
    requests.count("kms", "Encrypt", None, 1)
    requests.count("kms", "Encrypt", None, 1)
    requests.count("kms", "Encrypt", AccessDenied("no"), 1)
    requests.count("iam", "GetUser", AccessDenied("no"), 1)
    assert counted(memory) == {
        ("kms", "Encrypt", "success"): 2,
        ("kms", "Encrypt", "AccessDeniedException"): 1,
        ("iam", "GetUser", "AccessDenied"): 1,
    }


def test_what_is_not_ours_is_told_as_unknown_whatever_it_was() -> None:
    memory = Memory(MEMORY, 1)
    requests = Meters(memory, 0).requests()
    for name in ("DropTables", "", None):
        requests.count("kms", name, UnknownOperation(), 1)
    requests.count("iam", "Encrypt", UnknownOperation(), 1)
    requests.count(None, "GetUser", UnknownOperation(), 1)
    assert counted(memory) == {
        ("kms", "unknown", "UnknownOperationException"): 3,
        ("iam", "unknown", "InvalidAction"): 1,
        ("unknown", "unknown", "InvalidAction"): 1,
    }


def test_a_request_without_a_cell_for_its_error_fails_loudly() -> None:
    requests = Meters(Memory(MEMORY, 1), 0).requests()
    with pytest.raises(KeyError, match="InvalidSignatureException"):
        requests.count("kms", "Encrypt", InvalidSignature(), 1)


def test_durations_go_into_the_bucket_whose_bound_they_do_not_pass() -> None:
    memory = Memory(MEMORY, 1)
    meters = Meters(memory, 0)
    durations = (0, 500_000, 500_001, 5_000_000_000, 5_000_000_001)
    for nanoseconds in durations:
        meters.requests().count("kms", "Encrypt", None, nanoseconds)
        meters.histogram(AUDIT_WRITES).add(nanoseconds)
    expected = [2, 1, *[0] * 10, 1, 1], sum(durations)
    assert buckets(memory, memory.first(REQUEST_DURATION, "kms", "Encrypt")) == expected
    assert buckets(memory, memory.first(AUDIT_WRITES)) == expected


def test_what_was_measured_in_seconds() -> None:
    memory = Memory(MEMORY, 1)
    Meters(memory, 0).histogram(AUDIT_WRITES).observe(0.25)
    counts, total = buckets(memory, memory.first(AUDIT_WRITES))
    assert (counts.index(1), total) == (AUDIT_WRITES.bounds.index(0.25), 250_000_000)


def test_threads_that_tally_lose_nothing() -> None:
    memory = Memory(MEMORY, 1)
    tally = Meters(memory, 0).tally(XKS_CALLS)

    def count() -> None:
        for _ in range(5000):
            tally.count("success")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.value(XKS_CALLS, "success") == 20_000
