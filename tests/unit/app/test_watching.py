"""Readiness is what the parts know, of all processes that take requests; one that stops is never ready."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom import snapshot
from strongroom.app.measuring import new_memory
from strongroom.app.watching import Parts, Watch
from strongroom.config import Config, Postgresql
from strongroom.errors import StorageError
from strongroom.metrics import table
from strongroom.metrics.memory import Memory, note_taken
from strongroom.metrics.meters import Meters
from strongroom.snapshot import Lease
from strongroom.wire.asgi import application
from strongroom.wire.health import Readiness
from strongroom.wire.server import Server
from tests.composed import Composed, Run

ALONE, SHARING = Config(), Config(postgresql=Postgresql("postgresql://"))
WELL = {"storage": True, "audit": True, "key_store": True}


class Watched:
    """A process in the first place of a node of two; the other place is empty."""

    def __init__(self, parts: Composed, config: Config) -> None:
        self.composed = parts
        self.audit, self.strangers = parts.pipeline._audit, parts.pipeline._strangers
        self.server = Server(application(parts.pipeline))
        self.memory = Memory(new_memory(config).measured, 2)
        looked_at = Parts(parts.state, self.audit, self.strangers, parts.office, None, self.server)
        self.watch = Watch(looked_at, Meters(self.memory, 0))

    def value(self, metric: table.Metric, *labels: str) -> int | None:
        return self.memory.value(metric, *labels)


def watched(run: Run, test: Callable[[Watched], Awaitable[None]], config: Config = ALONE) -> None:
    async def with_watch(parts: Composed) -> None:
        await test(Watched(parts, config))

    run(with_watch)


def test_a_process_that_is_well_is_ready_until_it_stops(run: Run) -> None:
    async def test(process: Watched) -> None:
        assert process.watch.readiness() == Readiness(ready=True, stopping=False, parts=WELL)
        process.server.stop()
        assert process.watch.readiness() == Readiness(ready=False, stopping=True, parts=WELL)
        assert process.value(table.PROCESSES, "stopping") == 1
        assert process.value(table.PROCESSES, "serving") == 0

    watched(run, test)


def test_a_storage_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise StorageError("the disk is gone")

    async def looked(process: Watched) -> None:
        looking = asyncio.create_task(process.watch.look_forever())
        await asyncio.sleep(0)
        looking.cancel()

    async def test(process: Watched) -> None:
        now = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: now + 6)
            patch.setattr(process.composed.opened.storage, "version", away)
            await looked(process)
            assert process.watch.readiness().parts == {**WELL, "storage": False}
            age = process.value(table.SNAPSHOT_AGE)
            assert age is not None
            assert 5 < age / 1e9 < 7
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: now + 6)
            await looked(process)
            assert process.watch.readiness().ready

    watched(run, test)


def test_a_lease_that_is_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(process: Watched) -> None:
        process.composed.state.fresh()
        boot = snapshot._boot_seconds()
        with ThreadPoolExecutor(1) as thread, monkeypatch.context() as patch:
            process.composed.state._lease = Lease(60.0, thread)
            patch.setattr(snapshot, "_boot_seconds", lambda: boot + 50)
            assert process.watch.readiness().ready, "keys can be used"
            left = process.value(table.LEASE_LEFT)
            assert left is not None
            assert 5 < left / 1e9 < 11
            patch.setattr(snapshot, "_boot_seconds", lambda: boot + 70)
            assert process.watch.readiness().parts == {**WELL, "storage": False}
            assert (process.value(table.LEASE_LEFT), process.value(table.AUDIT_BEHIND)) == (0, 0)
            process.composed.state._lease = None

    watched(run, test, SHARING)


def test_an_audit_log_that_could_not_be_written_lately(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(process: Watched) -> None:
        groups = process.audit._groups
        groups.failed = time.monotonic()
        assert process.watch.readiness() == Readiness(ready=False, stopping=False, parts={**WELL, "audit": False})
        groups.failed -= 11
        assert process.watch.readiness().ready
        groups.left_over.append((1, b"{}"))
        assert not process.watch.readiness().ready
        assert process.value(table.AUDIT_LEFT_OVER) == 1
        groups.left_over.clear()
        groups.broken = True
        assert not process.watch.readiness().ready
        groups.broken = False

    watched(run, test)


def test_the_node_is_ready_if_all_are_that_take_requests(run: Run) -> None:
    async def test(process: Watched) -> None:
        other = Meters(process.memory, 1)
        assert process.watch.readiness().ready, "nobody is there"
        for part in WELL:
            other.gauge(table.READY, part).set(part != "audit")
        note_taken(other.cells)
        assert process.watch.readiness() == Readiness(ready=False, stopping=False, parts={**WELL, "audit": False})

    watched(run, test)


def test_a_process_that_stops_is_no_lack_of_the_node(run: Run) -> None:
    async def test(process: Watched) -> None:
        process.audit._groups.failed = time.monotonic()
        process.server.stop()
        process.watch.look()
        assert process.value(table.READY, "audit") == 1
        process.watch.leave()
        assert process.value(table.READY, "audit") is None

    watched(run, test)


def test_what_parts_count_is_followed(run: Run) -> None:
    async def test(process: Watched) -> None:
        process.strangers.refused += 3
        process.server.state.not_http += 2
        process.composed.office.events["RotateKey"] += 1
        process.composed.office.waiting.add("rotation")
        await process.composed.ask_kms("CreateKey")
        process.composed.state.fresh()
        for _ in range(2):  # once is counted once
            process.watch.look()
        assert process.value(table.STRANGERS) == 3
        assert process.value(table.NOT_HTTP) == 2
        assert process.value(table.JOB_EVENTS, "RotateKey") == 1
        assert (process.value(table.JOBS_WAITING, "rotation"), process.value(table.JOBS_WAITING, "expiry")) == (1, 0)
        assert process.value(table.SNAPSHOT_POSITION) == process.composed.opened.storage.position().number
        assert b"strongroom_strangers_refused_total 3.0\n" in process.watch.metrics()

    watched(run, test)
