"""What is measured: the metrics (`metrics/table.py`), with the values that their labels can have here."""

from collections.abc import Iterator

from strongroom.config import Config
from strongroom.errors import RequestError, code_of
from strongroom.jobs.calendar import EVENTS
from strongroom.jobs.custom_key_stores import CustomKeyStoreJob
from strongroom.jobs.deletion import DeletionJob
from strongroom.jobs.expiry import ExpiryJob
from strongroom.jobs.multi_region import MultiRegionJob
from strongroom.jobs.rotation import RotationJob
from strongroom.keystores.external.failures import Kind as ProxyFailure
from strongroom.metrics import table
from strongroom.metrics.memory import Memory
from strongroom.metrics.table import SUCCESS, UNKNOWN, Measured
from strongroom.model.custom_key_store import CONNECTED, CONNECTING, DISCONNECTED, DISCONNECTING, FAILED
from strongroom.operations.registry import OPERATIONS

STORAGE = "storage"
AUDIT = "audit"
KEY_STORE = "key_store"
HSM = "hsm"
SOFTWARE = "software"
HSM_GENERATION = "hsm_generation"
CLUSTER = "cluster"
EXTERNAL = "external"
SERVING = "serving"
STOPPING = "stopping"
CONNECTION_STATES = (CONNECTED, CONNECTING, DISCONNECTED, DISCONNECTING, FAILED)
JOBS = {
    "custom_key_stores": CustomKeyStoreJob.name,
    "deletion": DeletionJob.name,
    "expiry": ExpiryJob.name,
    "multi_region": MultiRegionJob.name,
    "rotation": RotationJob.name,
}
"""Label -> the job that it stands for."""


def parts(config: Config) -> tuple[str, str, str]:
    """The parts of a server process that are ready or not."""
    return STORAGE, AUDIT, KEY_STORE if config.hsm is None else HSM


def new_memory(config: Config) -> Memory:
    """The memory that the server processes of a node count in."""
    operations = _operations()
    outcomes = {service: _outcomes(service) for service, _ in operations}
    requests = [(service, name, outcome) for service, name in operations for outcome in outcomes[service]]
    measured = [
        Measured(table.REQUESTS, requests),
        Measured(table.REQUEST_DURATION, operations),
        Measured(table.STRANGERS),
        Measured(table.STRANGERS_LOST),
        Measured(table.CONNECTIONS),
        Measured(table.EVICTED),
        Measured(table.NO_ROOM),
        Measured(table.NOT_HTTP),
        Measured(table.KEY_STORE_CALLS, _each(SOFTWARE, HSM, HSM_GENERATION, CLUSTER, EXTERNAL)),
        Measured(table.XKS_CALLS, _each(SUCCESS, *ProxyFailure)),
        Measured(table.CUSTOM_KEY_STORES, _each(*CONNECTION_STATES)),
        Measured(table.SNAPSHOT_POSITION),
        Measured(table.SNAPSHOT_AGE),
        *([] if config.postgresql is None else [Measured(table.LEASE_LEFT), Measured(table.AUDIT_BEHIND)]),
        Measured(table.AUDIT_PENDING),
        Measured(table.AUDIT_LEFT_OVER),
        Measured(table.AUDIT_WRITES),
        Measured(table.JOB_EVENTS, _each(*EVENTS)),
        Measured(table.JOBS_WAITING, _each(*JOBS)),
        Measured(table.ERASURES),
        Measured(table.PROCESSES, _each(SERVING, STOPPING)),
        Measured(table.READY, _each(*parts(config))),
    ]
    return Memory(measured, config.workers)


def _operations() -> list[tuple[str, str]]:
    """Services and their operations, and what stands for those that there are not."""
    services = {service: None for service, _ in OPERATIONS}
    return [*OPERATIONS, *((service, UNKNOWN) for service in (*services, UNKNOWN))]


def _outcomes(service: str) -> list[str]:
    """What can come of requests to a service."""
    codes = {code_of(error(""), None if service == UNKNOWN else service) for error in _leaves(RequestError)}
    return [SUCCESS, *sorted(codes)]


def _leaves(of: type[RequestError]) -> Iterator[type[RequestError]]:
    yield of
    for error in of.__subclasses__():
        yield from _leaves(error)


def _each(*values: str) -> list[tuple[str]]:
    return [(str(value),) for value in values]
