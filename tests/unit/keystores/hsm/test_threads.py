"""The threads that calls run on: every caller gets an answer, its own, and in time."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from strongroom.errors import DependencyTimeout
from strongroom.keystores.hsm import threads as threads_module
from strongroom.keystores.hsm.threads import CallThreads

LIMIT = 0.25
WAIT = 20


class Told:
    """What was told of calls that hang."""

    def __init__(self) -> None:
        self.overdue: list[str] = []
        self.all_hanging: list[str] = []

    def threads(self, count: int, limit: float = LIMIT, *, nice: bool = False) -> CallThreads:
        return CallThreads(
            count,
            limit,
            name="test",
            nice=nice,
            on_overdue=self.overdue.append,
            on_all_hanging=self.all_hanging.append,
        )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(threads_module, "_LOOK_SECONDS", 0.01)
    return Told()


def run(threads: CallThreads, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run work in a loop, and end the threads."""

    async def whole() -> None:
        async with asyncio.timeout(WAIT):
            await work()
        threads.stop()

    asyncio.run(whole())


async def timed_out(waiting: Awaitable[object]) -> None:
    with pytest.raises(DependencyTimeout) as refused:
        await waiting
    assert refused.value.message == "The system timed out while trying to fulfill the request."


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 — nothing tells
        await asyncio.sleep(0.005)


def test_how_long_each_caller_waited_is_told_whatever_came_of_it(told: Told) -> None:
    waited: list[float] = []
    never = threading.Event()
    threads = CallThreads(
        1, LIMIT, name="test", on_overdue=lambda _: None, on_all_hanging=lambda _: None, on_ended=waited.append
    )

    async def work() -> None:
        assert await threads.run(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0)
        await timed_out(threads.run(never.wait))
        never.set()

    run(threads, work)
    assert len(waited) == 3
    assert waited[2] >= LIMIT > 0 <= min(waited[:2])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_caller_gets_its_own_result(told: Told, count: int) -> None:
    threads = told.threads(count, WAIT, nice=count == 2)

    async def work() -> None:
        results = await asyncio.gather(*(threads.run(lambda a, b: a * b, number, 3) for number in range(2_000)))
        assert results == [3 * number for number in range(2_000)]

    run(threads, work)
    assert (told.overdue, told.all_hanging) == ([], [])


def test_one_thread_calls_in_the_order_of_asking(told: Told) -> None:
    threads = told.threads(1, WAIT)
    called: list[int] = []

    async def work() -> None:
        await asyncio.gather(*(threads.run(called.append, number) for number in range(500)))

    run(threads, work)
    assert called == list(range(500))


def test_calls_do_not_run_on_the_loops_thread_and_run_side_by_side(told: Told) -> None:
    threads = told.threads(3, WAIT)
    together = threading.Barrier(3)

    def call() -> str:
        together.wait(WAIT)
        return threading.current_thread().name

    async def work() -> None:
        names = await asyncio.gather(*(threads.run(call) for _ in range(3)))
        assert sorted(names) == ["test-0", "test-1", "test-2"]

    run(threads, work)


def test_what_a_call_raises_is_its_callers(told: Told) -> None:
    threads = told.threads(1, WAIT)

    def fail(error: BaseException) -> None:
        raise error

    async def work() -> None:
        for error in (ValueError("mine"), KeyboardInterrupt("mine too")):
            with pytest.raises(type(error)) as raised:
                await threads.run(fail, error)
            assert raised.value is error
        assert await threads.run(len, "still here") == 10

    run(threads, work)


def test_a_call_that_takes_too_long_lets_its_caller_go_and_its_late_result_is_dropped(told: Told) -> None:
    threads = told.threads(2)
    returns = threading.Event()

    async def work() -> None:
        began = time.monotonic()
        await timed_out(threads.run(returns.wait, WAIT))
        assert time.monotonic() - began < WAIT / 2
        assert told.overdue == ["a call has not come back within 0.25 s"]
        assert await threads.run(len, "beside it") == 9
        returns.set()
        for number in range(10):  # by both threads, the one that hung is one of them
            assert await threads.run(abs, -number) == number

    run(threads, work)
    assert told.all_hanging == []


def test_a_late_error_is_dropped_too(told: Told) -> None:
    threads = told.threads(1)
    returns = threading.Event()

    def fail() -> None:
        returns.wait(WAIT)
        raise ValueError

    async def work() -> None:
        await timed_out(threads.run(fail))
        returns.set()
        await asyncio.sleep(0.05)
        assert await threads.run(len, "well") == 4

    run(threads, work)


def test_a_call_that_waits_too_long_for_a_thread_is_never_made(told: Told) -> None:
    threads = told.threads(1)
    returns = threading.Event()
    called: list[str] = []

    async def work() -> None:
        first = asyncio.ensure_future(threads.run(returns.wait, WAIT))
        second = asyncio.ensure_future(threads.run(called.append, "late"))
        await timed_out(first)
        await timed_out(second)
        returns.set()
        await until(lambda: threads._hanging == 0)
        await threads.run(called.append, "in time")

    run(threads, work)
    assert called == ["in time"]
    assert len(told.overdue) == 1


def test_it_is_told_when_no_thread_is_left_and_not_before(told: Told) -> None:
    threads = told.threads(2)
    returns = threading.Event()

    async def work() -> None:
        await timed_out(threads.run(returns.wait, WAIT))
        await asyncio.sleep(0.05)
        assert told.all_hanging == []
        await timed_out(threads.run(returns.wait, WAIT))
        await until(lambda: told.all_hanging)
        assert told.all_hanging[0] == "all 2 threads wait for calls that do not come back"
        returns.set()
        await until(lambda: threads._hanging == 0)
        told.all_hanging.clear()
        await asyncio.sleep(0.05)
        assert told.all_hanging == []
        assert await threads.run(len, "well again") == 10

    run(threads, work)


def test_when_no_thread_is_left_calls_fail_at_once_until_one_comes_back(told: Told) -> None:
    threads = told.threads(2)
    returns = [threading.Event(), threading.Event()]
    called: list[str] = []

    async def work() -> None:
        await asyncio.gather(*(timed_out(threads.run(one.wait, WAIT)) for one in returns))
        began = time.monotonic()
        for _ in range(10):
            await timed_out(threads.run(called.append, "in vain"))
        assert time.monotonic() - began < LIMIT
        returns[0].set()
        await until(lambda: threads._hanging < 2)
        await threads.run(called.append, "by the one")
        returns[1].set()

    run(threads, work)
    assert called == ["by the one"]


def test_after_the_end_what_is_asked_for_is_done_and_nothing_more(told: Told) -> None:
    threads = told.threads(1, WAIT)
    goes_on = threading.Event()
    called: list[str] = []

    async def work() -> None:
        under_way = asyncio.ensure_future(threads.run(goes_on.wait, WAIT))
        asked = asyncio.ensure_future(threads.run(called.append, "asked for"))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(threads.stop)
        await timed_out(threads.run(called.append, "too late"))
        threads.soon(lambda: called.append("too late"))
        goes_on.set()
        await under_way
        await asked

    run(threads, work)
    assert called == ["asked for"]


def test_a_caller_that_goes_away_harms_nobody(told: Told) -> None:
    threads = told.threads(1, WAIT)
    returns = threading.Event()

    async def work() -> None:
        leaving = asyncio.ensure_future(threads.run(returns.wait, WAIT))
        staying = asyncio.ensure_future(threads.run(len, "staying"))
        await asyncio.sleep(0.02)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        returns.set()
        assert await staying == 7

    run(threads, work)
    assert told.overdue == []
