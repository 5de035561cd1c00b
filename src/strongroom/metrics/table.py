"""Every metric, one row each (Prometheus: "Metric and label naming"). docs/how-to/watch-a-server.md tells them.

No label has the name of an account, a key or a caller in it, and every value of a label is known when the process
begins: nobody outside can make a series.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

REQUEST_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
WORK_SECONDS: Final = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, *REQUEST_SECONDS)
SUCCESS: Final = "success"
"""The outcome of what did not fail; the others are error codes."""
UNKNOWN: Final = "unknown"
"""The operation of a request that names none of ours, and its service, if it names none of those either."""


class Kind(Enum):
    """What a metric is, and how its values in several server processes become that of the node."""

    COUNTER = "the sum, of processes that are gone too"
    HISTOGRAM = "as a counter"
    SUM = "a gauge: the sum"
    LEAST = "a gauge: the least"
    GREATEST = "a gauge: the greatest"


class Metric(NamedTuple):
    """One metric. `bounds` are the upper ones of a histogram's buckets. What is in seconds is kept in nanoseconds.

    `sparse`: a series is told once it has counted something, since there can be many.
    """

    kind: Kind
    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    sparse: bool = False

    @property
    def unit(self) -> float:
        """What one of a cell is."""
        return 1e-9 if self.name.endswith("_seconds") else 1

    @property
    def width(self) -> int:
        """Cells of one series: of a histogram the buckets, those above them all, and the sum."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


class Measured(NamedTuple):
    """A metric, and the values that its labels can have: one tuple for each series."""

    metric: Metric
    series: Sequence[tuple[str, ...]] = ((),)


REQUESTS: Final = Metric(
    Kind.COUNTER,
    "strongroom_requests_total",
    "Requests that were answered, by what came of them: success or the error code.",
    ("service", "operation", "outcome"),
    sparse=True,
)
REQUEST_DURATION: Final = Metric(
    Kind.HISTOGRAM,
    "strongroom_request_duration_seconds",
    "From a whole request to its answer, its audit record on disk.",
    ("service", "operation"),
    REQUEST_SECONDS,
    sparse=True,
)
STRANGERS: Final = Metric(
    Kind.COUNTER,
    "strongroom_strangers_refused_total",
    "Requests refused because it is not known who calls.",
)
STRANGERS_LOST: Final = Metric(
    Kind.COUNTER,
    "strongroom_strangers_records_lost_total",
    "Records of strangers that could not be written.",
)
CONNECTIONS: Final = Metric(Kind.SUM, "strongroom_connections", "Connections of clients that are open.")
EVICTED: Final = Metric(
    Kind.COUNTER,
    "strongroom_connections_evicted_total",
    "Connections closed to make room for others.",
)
NO_ROOM: Final = Metric(
    Kind.COUNTER,
    "strongroom_connections_refused_total",
    "Connections refused because every other one was being answered.",
)
NOT_HTTP: Final = Metric(
    Kind.COUNTER,
    "strongroom_connections_not_http_total",
    "Connections that sent something else than HTTP.",
)
KEY_STORE_CALLS: Final = Metric(
    Kind.HISTOGRAM,
    "strongroom_key_store_call_duration_seconds",
    "The work of operations that use a key store, with the wait for a thread of it.",
    ("key_store",),
    WORK_SECONDS,
    sparse=True,
)
XKS_CALLS: Final = Metric(
    Kind.COUNTER,
    "strongroom_xks_proxy_calls_total",
    "Calls of external key store proxies, by what came of them.",
    ("outcome",),
)
CUSTOM_KEY_STORES: Final = Metric(
    Kind.GREATEST, "strongroom_custom_key_stores", "Custom key stores in each connection state.", ("state",)
)
SNAPSHOT_POSITION: Final = Metric(
    Kind.LEAST, "strongroom_snapshot_position", "The newest change that requests see, by number."
)
SNAPSHOT_AGE: Final = Metric(
    Kind.GREATEST,
    "strongroom_snapshot_age_seconds",
    "Since it was last known that requests can rely on what they see; asked once a second.",
)
LEASE_LEFT: Final = Metric(
    Kind.LEAST,
    "strongroom_lease_left_seconds",
    "For how long requests may be answered by what the database has confirmed; the least.",
)
AUDIT_PENDING: Final = Metric(
    Kind.SUM,
    "strongroom_audit_records_pending",
    "Audit records that are gathered and not on disk yet.",
)
AUDIT_LEFT_OVER: Final = Metric(
    Kind.SUM,
    "strongroom_audit_records_left_over",
    "Audit records of changes that could not be written, and wait in the outbox.",
)
AUDIT_BEHIND: Final = Metric(
    Kind.GREATEST,
    "strongroom_audit_behind",
    "1 if the database that nodes share lacks audit records that are on the disk of this one.",
)
AUDIT_WRITES: Final = Metric(
    Kind.HISTOGRAM,
    "strongroom_audit_write_duration_seconds",
    "To write a group of audit records, and to make it durable where audit.sync says so.",
    bounds=REQUEST_SECONDS,
)
JOB_EVENTS: Final = Metric(
    Kind.COUNTER,
    "strongroom_job_events_total",
    "What the calendar did, by the event that was recorded.",
    ("event",),
)
JOBS_WAITING: Final = Metric(
    Kind.GREATEST,
    "strongroom_job_waiting",
    "1 if something is due and cannot be done now; standard error says why.",
    ("job",),
)
ERASURES: Final = Metric(
    Kind.GREATEST,
    "strongroom_erasures_pending",
    "Deleted keys whose key material is not yet erased from where it was.",
)
PROCESSES: Final = Metric(
    Kind.SUM, "strongroom_server_processes", "Server processes, by what they do: serving or stopping.", ("state",)
)
READY: Final = Metric(
    Kind.LEAST, "strongroom_ready", "1 if a part is ready in all server processes that take requests.", ("part",)
)
