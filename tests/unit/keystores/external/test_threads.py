import asyncio
import gc
import threading

import pytest

from strongroom.errors import Throttling
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.keystores.external.threads import CallThreads


@pytest.fixture
def threads() -> CallThreads:
    return CallThreads()


def test_runs_32_calls_beside_one_another_and_has_64_in(threads: CallThreads) -> None:
    go, running = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> int:
        running.release()
        go.wait(10)
        return number

    futures = [threads.submit(work, number) for number in range(64)]
    for _ in range(32):
        assert running.acquire(timeout=10)
    assert not running.acquire(timeout=0.05)
    with pytest.raises(
        Throttling, match=r"^You have exceeded the rate at which you may call KMS\. Reduce the frequency"
    ):
        threads.submit(work, 64)
    go.set()
    assert [future.result() for future in futures] == list(range(64))
    threads.shutdown()
    assert sum(thread.name.startswith("xks") for thread in threading.enumerate()) == 0


def test_there_is_room_again_after_calls_that_failed(threads: CallThreads) -> None:
    for _ in range(4):
        failed = [threads.submit(int, "x") for _ in range(32)]
        assert all(isinstance(future.exception(), ValueError) for future in failed)
    threads.shutdown()


def test_threads_end_with_their_key_store() -> None:
    threads = CallThreads()
    thread = threads.submit(threading.current_thread).result()
    del threads
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_event_loop_is_told_of_too_many_calls(threads: CallThreads) -> None:
    go = threading.Event()

    async def ask() -> list[object]:
        loop = asyncio.get_running_loop()
        waiting = [loop.run_in_executor(threads, go.wait, 10) for _ in range(64)]
        with pytest.raises(Throttling):
            await loop.run_in_executor(threads, go.wait, 10)
        waiting.pop().cancel()  # one that waits: it gives its room back
        await asyncio.sleep(0)
        waiting.append(loop.run_in_executor(threads, go.wait, 10))
        go.set()
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(ask()) == [True] * 64
    threads.shutdown()


def test_each_key_store_has_threads_of_its_own_and_none_before_they_are_needed(store: ExternalKeyStore) -> None:
    assert isinstance(store.calls, CallThreads)
    assert store.calls is store.calls
    assert not any(thread.name.startswith("xks_") for thread in threading.enumerate())
    store.close()
    store.close()
