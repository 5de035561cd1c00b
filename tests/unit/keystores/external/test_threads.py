"""The threads of an external key store: a bound on the calls that are in, and a limit in time for each."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from strongroom.errors import DependencyTimeout, Throttling
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.external import threads as threads_module
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.keystores.external.threads import ProxyThreads
from strongroom.keystores.hsm import threads as limits
from tests.xks.keys import external_key, opened, used_for

BUSY = r"^You have exceeded the rate at which you may call KMS\. Reduce the frequency"
WAIT = 20


class Gate:
    """What calls wait for."""

    def __init__(self) -> None:
        self.running = 0
        self.opened = threading.Event()
        self._lock = threading.Lock()

    def wait(self, number: int = 0) -> int:
        with self._lock:
            self.running += 1
        assert self.opened.wait(WAIT)
        return number


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit in time is short."""
    monkeypatch.setattr(threads_module, "_CALL_SECONDS", 0.2)
    monkeypatch.setattr(limits, "_LOOK_SECONDS", 0.01)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(WAIT):
            await work()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 — a thread makes it so
        await asyncio.sleep(0.005)


def living() -> int:
    return sum(thread.name.startswith("xks-") for thread in threading.enumerate())


async def ended() -> None:
    await until(lambda: living() == 0)


def test_runs_32_calls_beside_one_another_and_has_64_in(gate: Gate) -> None:
    async def work() -> None:
        threads = ProxyThreads()
        calls = [asyncio.create_task(threads.run(gate.wait, number)) for number in range(64)]
        await until(lambda: gate.running == 32)
        await asyncio.sleep(0.05)
        assert gate.running == 32
        for _ in range(3):
            with pytest.raises(Throttling, match=BUSY):
                await threads.run(gate.wait, 64)
        gate.opened.set()
        assert await asyncio.gather(*calls) == list(range(64))
        assert await threads.run(gate.wait, 65) == 65
        threads.stop()
        await ended()

    run(work)


def test_there_is_room_again_after_calls_that_failed_or_were_given_up(gate: Gate) -> None:
    async def work() -> None:
        threads = ProxyThreads()
        for _ in range(4):
            failed = await asyncio.gather(*(threads.run(int, "x") for _ in range(32)), return_exceptions=True)
            assert all(isinstance(error, ValueError) for error in failed)
        calls = [asyncio.create_task(threads.run(gate.wait)) for _ in range(64)]
        await asyncio.sleep(0)
        calls.pop().cancel()
        await asyncio.sleep(0)
        calls.append(asyncio.create_task(threads.run(gate.wait, 7)))
        await asyncio.sleep(0)
        gate.opened.set()
        assert (await asyncio.gather(*calls))[-1] == 7
        threads.stop()
        await ended()

    run(work)


@pytest.mark.usefixtures("hasty")
def test_calls_that_hang_are_let_go_and_when_all_hang_others_fail_at_once(gate: Gate) -> None:
    async def work() -> None:
        threads = ProxyThreads()
        hanging = await asyncio.gather(*(threads.run(gate.wait) for _ in range(64)), return_exceptions=True)
        assert all(isinstance(error, DependencyTimeout) for error in hanging)
        began = time.monotonic()
        for _ in range(100):  # they take no room either
            with pytest.raises(DependencyTimeout):
                await threads.run(gate.wait)
        assert time.monotonic() - began < 0.2
        assert gate.running == 32
        gate.opened.set()
        while True:
            try:
                assert await threads.run(gate.wait, 3) == 3
                break
            except DependencyTimeout:
                await asyncio.sleep(0.01)
        threads.stop()
        await ended()

    run(work)


def test_threads_do_not_keep_the_process_and_there_are_none_before_they_are_needed(store: ExternalKeyStore) -> None:
    async def work() -> None:
        assert store.calls is store.calls
        assert living() == 0
        assert (await store.calls.run(threading.current_thread)).daemon
        store.close()
        store.close()
        await ended()

    run(work)


def test_calls_that_are_in_when_a_store_is_closed_are_done(store: ExternalKeyStore, gate: Gate) -> None:
    key = opened(store)

    def encrypt() -> int:
        gate.wait()
        return len(key.encrypt(b"plaintext", {}))

    async def work() -> None:
        calls = [asyncio.create_task(store.calls.run(encrypt)) for _ in range(40)]
        await until(lambda: gate.running == 32)
        store.close()
        with pytest.raises(DependencyTimeout):
            await store.calls.run(gate.wait)
        gate.opened.set()
        assert all(await asyncio.gather(*calls))
        await ended()

    run(work)


@pytest.mark.usefixtures("hasty")
def test_a_default_key_store_that_hangs_holds_up_nobody_for_long(
    default: KeyStore, proxy: Proxy, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ExternalKeyStore(default, proxy)
    material = store.new_material(used_for("CreateKey"), external_key(), material_id="0" * 64, created=0.0)
    monkeypatch.setattr(default, "open_symmetric", lambda *_: gate.wait())

    async def work() -> None:
        with pytest.raises(DependencyTimeout):
            await store.calls.run(store.open_symmetric, used_for("Encrypt"), external_key(), material)
        gate.opened.set()
        store.close()
        await ended()

    run(work)
