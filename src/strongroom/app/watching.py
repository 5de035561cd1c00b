"""What a server process tells of itself and of its node: readiness, gauges, and the metrics of all its processes.

Everything is read from what the parts know already: whoever asks waits for nothing, and has nobody else asked.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from strongroom.app.measuring import AUDIT, CONNECTION_STATES, HSM, JOBS, KEY_STORE, SERVING, STOPPING, STORAGE
from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.errors import OperatorError
from strongroom.jobs.calendar import EVENTS, Office
from strongroom.keystores.hsm.opening import Hsm
from strongroom.metrics import table
from strongroom.metrics.exposition import CONTENT_TYPE, exposition
from strongroom.metrics.memory import note_gone, note_taken
from strongroom.metrics.meters import Counter as Following
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import Metric
from strongroom.snapshot import LiveSnapshot
from strongroom.wire.health import Readiness
from strongroom.wire.server import Server

TOLD_FOR_SECONDS = 0.25
"""How long metrics that were written are told to whoever asks."""
_SECONDS = 1.0
"""From one look at the parts to the next, at most."""
_UNKNOWN_SECONDS = 5.0
"""For how long the storage may not say whether what requests see is the newest. It is asked once a second."""


class Parts(NamedTuple):
    """What is looked at."""

    state: LiveSnapshot
    audit: AuditWriter
    strangers: StrangersLog
    office: Office
    hsm: Hsm | None
    server: Server


class Watch:
    """Looks at the parts of one server process. Implements `Watched`."""

    metrics_type = CONTENT_TYPE

    def __init__(self, parts: Parts, meters: Meters) -> None:
        self._parts = parts
        self._relied = time.monotonic()
        self._text = b""
        self._told = -math.inf
        """When requests could last rely on what they see, as far as was looked."""
        self._meters = meters
        strangers, connections = parts.strangers, parts.server.state
        self._followed: list[tuple[Following, Callable[[], int]]] = [
            (meters.counter(table.STRANGERS), lambda: strangers.refused),
            (meters.counter(table.STRANGERS_LOST), lambda: strangers.lost),
            (meters.counter(table.EVICTED), lambda: connections.room.evicted),
            (meters.counter(table.NO_ROOM), lambda: connections.room.refused),
            (meters.counter(table.NOT_HTTP), lambda: connections.not_http),
            *(
                (meters.counter(table.JOB_EVENTS, name), partial(parts.office.events.__getitem__, name))
                for name in EVENTS
            ),
        ]

    def readiness(self) -> Readiness:
        """Whether requests can be served: by all processes of the node that take any, and not by one that stops."""
        self.look()
        stopping = self._parts.server.stopping
        of_node = {part: bool(self._meters.memory.value(table.READY, part)) for part in self._well()}
        return Readiness(all(of_node.values()) and not stopping, stopping, of_node)

    def metrics(self) -> bytes:
        """The metrics of all processes of the node, as of a moment ago: to write them takes time from requests."""
        if time.monotonic() - self._told > TOLD_FOR_SECONDS:
            self.look()
            self._text = exposition(self._meters.memory)
            self._told = time.monotonic()
        return self._text

    async def look_forever(self) -> None:
        """Look once a second until cancelled, so that the others can tell of this process."""
        while True:
            with suppress(OperatorError):  # the calendar asks too, and knows what is fatal
                self._parts.state.current()
                self._relied = time.monotonic()
            self.look()
            await asyncio.sleep(_SECONDS)

    def look(self) -> None:
        """Take all gauges, and the counts that the parts keep."""
        for counter, count in self._followed:
            counter.follow(count())
        for (metric, *labels), value in self._gauges().items():
            self._meters.gauge(metric, *labels).set(value)
        note_taken(self._meters.cells)

    def leave(self) -> None:
        """Say that the process ends."""
        note_gone(self._meters.cells)

    def _gauges(self) -> dict[tuple[Metric, *tuple[str, ...]], float]:
        state, audit, _, office, _, server = self._parts
        snapshot, stopping = state.last, server.stopping
        stores = Counter(store.state for store, _ in snapshot.custom_key_stores.values())
        return {
            (table.CONNECTIONS,): len(server.state.room),
            (table.SNAPSHOT_POSITION,): snapshot.position.number,
            (table.SNAPSHOT_AGE,): time.monotonic() - self._relied,
            **({} if state.lease_left == math.inf else self._of_nodes()),
            (table.AUDIT_PENDING,): audit.pending,
            (table.AUDIT_LEFT_OVER,): audit.left_over,
            (table.ERASURES,): len(snapshot.erasures),
            **{(table.JOBS_WAITING, label): name in office.waiting for label, name in JOBS.items()},
            **{(table.CUSTOM_KEY_STORES, known): stores[known] for known in CONNECTION_STATES},
            (table.PROCESSES, SERVING): not stopping,
            (table.PROCESSES, STOPPING): stopping,
            # A process that stops takes no requests: what it lacks is not the node's lack.
            **{(table.READY, part): well or stopping for part, well in self._well().items()},
        }

    def _of_nodes(self) -> dict[tuple[Metric, *tuple[str, ...]], float]:
        """What there is only where nodes share a database."""
        return {
            (table.LEASE_LEFT,): max(0.0, self._parts.state.lease_left),
            (table.AUDIT_BEHIND,): self._parts.audit.behind,
        }

    def _well(self) -> dict[str, bool]:
        """Whether each part of this process is ready."""
        state, audit, _, _, hsm, _ = self._parts
        storage = not state.stale and time.monotonic() - self._relied < _UNKNOWN_SECONDS
        keys = {KEY_STORE: True} if hsm is None else {HSM: hsm.token.quarantined is None}
        return {STORAGE: storage, AUDIT: audit.well, **keys}
