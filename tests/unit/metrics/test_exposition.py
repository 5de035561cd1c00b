"""What Prometheus reads, by its own parser."""

from prometheus_client.parser import text_string_to_metric_families

from strongroom.errors import AccessDenied
from strongroom.metrics.exposition import exposition
from strongroom.metrics.memory import Memory, note_taken
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import (
    CONNECTIONS,
    NOT_HTTP,
    REQUEST_DURATION,
    REQUESTS,
    SNAPSHOT_AGE,
    XKS_CALLS,
    Measured,
)

NAMED = [("kms", "Encrypt"), ("kms", "Decrypt"), ("kms", "unknown")]
OUTCOMES = ("success", "AccessDeniedException")
MEMORY = [
    Measured(REQUESTS, [(*named, outcome) for named in NAMED for outcome in OUTCOMES]),
    Measured(REQUEST_DURATION, NAMED),
    Measured(NOT_HTTP),
    Measured(XKS_CALLS, [("success",), ("timed out",)]),
    Measured(CONNECTIONS),
    Measured(SNAPSHOT_AGE),
]

Series = tuple[str, frozenset[tuple[str, str]]]


def told(memory: Memory) -> dict[Series, float]:
    families = text_string_to_metric_families(exposition(memory).decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def series(name: str, **labels: str) -> Series:
    return name, frozenset(labels.items())


def test_nothing_is_told_of_what_there_is_not() -> None:
    assert told(Memory(MEMORY, 2)) == {
        series("strongroom_connections_not_http_total"): 0,
        series("strongroom_xks_proxy_calls_total", outcome="success"): 0,
        series("strongroom_xks_proxy_calls_total", outcome="timed out"): 0,
    }


def test_all_places_together() -> None:
    memory = Memory(MEMORY, 2)
    for place in (0, 1):
        meters = Meters(memory, place)
        meters.requests().count("kms", "Encrypt", None, 750_000)
        meters.requests().count("kms", "Encrypt", AccessDenied("no"), 3_000_000)
        meters.counter(NOT_HTTP).follow(2)
        meters.gauge(CONNECTIONS).set(3 + place)
        meters.gauge(SNAPSHOT_AGE).set(0.5 - place / 4)
        note_taken(meters.cells)
    found = told(memory)
    encrypt = {"service": "kms", "operation": "Encrypt"}
    assert found[series("strongroom_requests_total", **encrypt, outcome="success")] == 2
    assert found[series("strongroom_requests_total", **encrypt, outcome="AccessDeniedException")] == 2
    assert found[series("strongroom_connections_not_http_total")] == 4
    assert found[series("strongroom_connections")] == 7
    assert found[series("strongroom_snapshot_age_seconds")] == 0.5
    duration = "strongroom_request_duration_seconds"
    bounds = {"0.0005": 0, "0.001": 2, "0.0025": 2, "0.005": 4, "0.01": 4, "+Inf": 4}
    assert {bound: found[series(f"{duration}_bucket", **encrypt, le=bound)] for bound in bounds} == bounds
    assert found[series(f"{duration}_count", **encrypt)] == 4
    assert round(found[series(f"{duration}_sum", **encrypt)], 9) == 0.0075
    assert not any(("operation", "Decrypt") in labels for _, labels in found)
