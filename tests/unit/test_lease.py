"""The state of a database that nodes share: relied on for a lease, confirmed, and followed."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import pytest
from sqlalchemy import event

from strongroom.errors import IntegrityError, RollbackError, StorageError
from strongroom.jobs.following import follow_forever
from strongroom.model.principal import Account
from strongroom.snapshot import Lease, LiveSnapshot
from strongroom.storage.contract import Insert, Position
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import PostgresqlDatabase, create_storage, open_storage
from strongroom.testing.postgresql import Postgresql

ROW_KEY = bytes(range(32))


class Two(NamedTuple):
    """Storage as this node has it and as another has it, and a thread to ask on."""

    own: DatabaseStorage
    others: DatabaseStorage
    thread: ThreadPoolExecutor

    def live(self, seconds: float) -> LiveSnapshot:
        return LiveSnapshot(self.own, lambda _: "", lambda *_: None, Lease(seconds, self.thread))

    def commit(self, account: int) -> Position:
        return self.others.commit([Insert(Account(f"{account:012}", 1.0))], None)


@pytest.fixture
def two(postgresql: Postgresql) -> Iterator[Two]:
    with (
        postgresql.database() as url,
        ThreadPoolExecutor(1) as thread,
        closing(create_storage(url, ROW_KEY)) as own,
        closing(open_storage(url, ROW_KEY)) as others,
    ):
        yield Two(own, others, thread)


def accounts(state: LiveSnapshot) -> int:
    return len(state.current().directories)


def test_within_the_lease_nobody_is_asked_and_after_it_there_is_no_answer(two: Two) -> None:
    async def scenario() -> None:
        state, brief = two.live(60.0), two.live(0.05)
        two.commit(1)
        assert (state.stale, accounts(state)) == (False, 0)
        assert 0 < state.lease_left <= 60.0
        await asyncio.sleep(0.1)
        assert brief.stale
        with pytest.raises(StorageError, match="did not confirm in time"):
            brief.current()
        assert len((await brief.confirm()).directories) == 1

    asyncio.run(scenario())


def test_a_refusal_is_decided_again_if_there_is_something_newer(two: Two) -> None:
    async def scenario() -> None:
        state = two.live(60.0)
        decided = state.current()
        assert await state.newer_than(decided) is None
        two.commit(1)
        newer = await state.newer_than(decided)
        assert newer is not None
        assert (len(newer.directories), await state.newer_than(newer)) == (1, None)
        two.commit(2)
        await state.confirm()  # somebody else did
        assert await state.newer_than(newer) is state.current()

    asyncio.run(scenario())


def test_who_asks_shares_a_question_that_was_not_put_yet(two: Two) -> None:
    async def scenario() -> None:
        state = two.live(60.0)
        asked: list[int] = []
        version = two.own.version

        def counted() -> int:
            asked.append(1)
            return version()

        two.own.version = counted  # type: ignore[method-assign]
        two.commit(1)
        seen = await asyncio.gather(*(state.confirm() for _ in range(100)))
        assert {len(snapshot.directories) for snapshot in seen} == {1}
        assert len(asked) == 1
        first = asyncio.create_task(state.confirm())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is being asked: who comes now must not share its answer
        later = asyncio.create_task(state.confirm())
        await asyncio.gather(first, later)
        assert len(asked) == 3

    asyncio.run(scenario())


def test_a_database_that_does_not_answer_is_waited_for_for_a_while_only(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.snapshot._PATIENCE", 0.1)
    hangs = threading.Event()

    async def scenario() -> None:
        state = two.live(0.1)
        version = two.own.version
        two.own.version = lambda: (hangs.wait(), version())[1]  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="does not answer"):
            await state.confirm()
        with pytest.raises(StorageError, match="does not answer"):
            await state.confirm()
        hangs.set()
        await state.confirm()
        await state.settle()

    asyncio.run(scenario())


def test_a_lower_number_that_is_held_open_is_missed_by_nobody(two: Two) -> None:
    """A change takes its number, and is held open while another begins: that one waits, and nobody skips the first."""
    database = two.own.database
    assert isinstance(database, PostgresqlDatabase)
    holding, released = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        holding.set()
        assert released.wait(30)

    with closing(open_storage(database._url.render_as_string(hide_password=False), ROW_KEY)) as slow:
        assert isinstance(slow.database, PostgresqlDatabase)

        async def scenario() -> None:
            state = two.live(60.0)
            seen: list[int] = []
            event.listen(slow.database._engine, "commit", hold)  # type: ignore[attr-defined]
            with ThreadPoolExecutor(2) as pool:
                first = pool.submit(slow.commit, [Insert(Account("000000000001", 1.0))], None)
                assert await asyncio.to_thread(holding.wait, 30)
                second = pool.submit(two.commit, 2)
                for _ in range(20):
                    seen.append((await state.confirm()).position.number)
                    await asyncio.sleep(0.02)
                assert not second.done()
                released.set()
                assert (await asyncio.to_thread(first.result)).number == 1
                assert (await asyncio.to_thread(second.result)).number == 2
            assert seen == [0] * 20
            await state.confirm()
            assert (state.current().position.number, accounts(state)) == (2, 2)

        asyncio.run(scenario())


def test_a_follower_takes_over_what_others_commit_well_within_the_lease(two: Two) -> None:
    async def scenario() -> None:
        state = two.live(30.0)
        positions: list[Position] = []
        heard = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()

        def note(position: Position) -> None:
            positions.append(position)
            loop.call_soon_threadsafe(heard.release)

        with ThreadPoolExecutor(1) as hearing:
            following = asyncio.create_task(
                follow_forever(state, two.own, hearing, 30.0, note_seen=note, on_fatal=pytest.fail)
            )
            for number in range(1, 11):
                position = await asyncio.to_thread(two.commit, number)
                if number in (1, 10):  # between them it may be in a hurry
                    async with asyncio.timeout(10):
                        while position not in positions:
                            await heard.acquire()
            following.cancel()
            await asyncio.wait([following])
        assert accounts(state) == 10
        assert [position.number for position in positions] == sorted({position.number for position in positions})

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [IntegrityError("altered"), RollbackError("behind"), RuntimeError("ours")])
def test_what_cannot_be_trusted_ends_the_following(two: Two, error: Exception) -> None:
    async def scenario() -> list[str]:
        state = two.live(1.0)

        def fail() -> int:
            raise error

        two.own.version = fail  # type: ignore[method-assign]
        fatal: list[str] = []
        await follow_forever(state, two.own, two.thread, 1.0, note_seen=lambda _: None, on_fatal=fatal.append)
        return fatal

    assert len(asyncio.run(scenario())) == 1
