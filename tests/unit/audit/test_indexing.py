"""The index follows the log: by batches, up to what is registered, and over whatever a crash or an editor left."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.audit import indexing
from strongroom.audit.indexing import Indexer
from strongroom.audit.record import user_identity
from strongroom.audit.segments import log_path
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.storage.audit_events import KEPT_SECONDS, EventQuery
from strongroom.storage.audit_index import SqliteAuditIndex
from tests.unit.audit.chains import write_chain
from tests.unit.audit.test_events import ACCOUNT, ALICE, REGION, record

NOW = 1_790_000_000.0
EVERYTHING = EventQuery(ACCOUNT, REGION, 0, 2 * int(NOW), None, "", 1_000, None)
IDENTITY = user_identity(ALICE)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteAuditIndex]:
    index = SqliteAuditIndex(tmp_path / "audit-index.db")
    yield index
    index.close()


@pytest.fixture
def indexer(log: AuditLog, index: SqliteAuditIndex) -> Indexer:
    """One whose own chain is not there."""
    return Indexer(index, log, "node1.nothing")


def chain_of(log: AuditLog, *event_ids: str) -> Path:
    """A chain that ended, with these events; its directory."""
    return write_chain(log, lambda _: [(record(IDENTITY, event_id=event_id), 0) for event_id in event_ids], now=NOW)


def catch_up(indexer: Indexer, registered: int = 0, now: float = NOW) -> int:
    """Index all that there is; how many batches it took."""
    indexer.find_ended()
    steps = 1
    while indexer.step(registered, now):
        steps += 1
    return steps


def indexed(index: SqliteAuditIndex) -> list[tuple[int, str]]:
    """Sequences and ids of the events that are found, oldest first."""
    found = [(event.place.sequence, event.record) for event in index.look_up(EVERYTHING).events]
    return sorted(
        (sequence, written.partition(b'"eventID":"')[2].partition(b'"')[0].decode()) for sequence, written in found
    )


def test_chains_that_ended_are_indexed_once(log: AuditLog, index: SqliteAuditIndex, indexer: Indexer) -> None:
    chain_of(log, "a", "b")
    catch_up(indexer)
    assert indexed(index) == [(2, "a"), (3, "b")]  # the first line is the segment's header

    chain_of(log, "c")
    catch_up(indexer)
    assert indexed(index) == [(2, "a"), (2, "c"), (3, "b")]


def test_batches_miss_nothing(
    log: AuditLog, index: SqliteAuditIndex, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BATCH_LINES", 3)
    names = [f"event-{number:02}" for number in range(10)]
    chain_of(log, *names)

    assert catch_up(indexer) == 4  # eleven lines
    assert [name for _, name in indexed(index)] == names


def test_our_own_chain_is_indexed_as_far_as_it_is_registered(
    log: AuditLog, index: SqliteAuditIndex, open_writer: Callable[..., AuditWriter]
) -> None:
    async def main() -> None:
        writer = open_writer()
        indexer = Indexer(index, log, writer.chain_id)
        await writer.write(record(IDENTITY, event_id="a"))
        catch_up(indexer, writer.registered)
        assert indexed(index) == []
        await writer.tick()
        await writer.write(record(IDENTITY, event_id="b"))
        catch_up(indexer, writer.registered)
        assert indexed(index) == [(2, "a")]
        await writer.tick()
        catch_up(indexer, writer.registered)
        assert indexed(index) == [(2, "a"), (3, "b")]

    asyncio.run(main())


def test_our_own_chain_goes_before_those_that_ended(
    log: AuditLog, index: SqliteAuditIndex, open_writer: Callable[..., AuditWriter]
) -> None:
    chain_of(log, "old")

    async def main() -> None:
        writer = open_writer()
        await writer.write(record(IDENTITY, event_id="new"))
        await writer.tick()
        indexer = Indexer(index, log, writer.chain_id)
        indexer.find_ended()
        assert indexer.step(writer.registered, NOW)
        assert [name for _, name in indexed(index)] == ["new"]
        catch_up(indexer, writer.registered)
        assert {name for _, name in indexed(index)} == {"new", "old"}

    asyncio.run(main())


def test_what_comes_after_the_registered_line_of_a_segment_is_read_when_that_is_registered(
    log: AuditLog, index: SqliteAuditIndex, open_writer: Callable[..., AuditWriter]
) -> None:
    """Though a new segment has begun already: a group that was under way when it was decided goes into the old one."""

    async def main() -> None:
        writer = open_writer()
        indexer = Indexer(index, log, writer.chain_id)
        for name in "abc":
            await writer.write(record(IDENTITY, event_id=name))
        writer._groups.begin_segment()
        await writer.write(record(IDENTITY, event_id="d"))
        catch_up(indexer, 2)
        assert [name for _, name in indexed(index)] == ["a"]
        await writer.tick()
        catch_up(indexer, writer.registered)
        assert [name for _, name in indexed(index)] == ["a", "b", "c", "d"]

    asyncio.run(main())


def test_segments_are_followed(
    log: AuditLog, index: SqliteAuditIndex, open_writer: Callable[..., AuditWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.audit.writer.SEGMENT_BYTES", 1)

    async def main() -> None:
        writer = open_writer()
        indexer = Indexer(index, log, writer.chain_id)
        for name in "abc":
            await writer.write(record(IDENTITY, event_id=name))
            await writer.tick()
            await writer.tick()
            catch_up(indexer, writer.registered)
        await writer.close()
        assert [name for _, name in indexed(index)] == ["a", "b", "c"]
        assert len(list((log.directory / writer.chain_id).glob("*.log"))) >= 3

    asyncio.run(main())


def test_a_living_chain_of_another_process_is_left_alone(
    log: AuditLog, index: SqliteAuditIndex, indexer: Indexer, open_writer: Callable[..., AuditWriter]
) -> None:
    async def main() -> None:
        writer = open_writer()
        await writer.write(record(IDENTITY, event_id="a"))
        await writer.tick()
        catch_up(indexer)
        assert indexed(index) == []

    asyncio.run(main())


def test_an_index_that_is_lost_is_made_again(
    log: AuditLog, index: SqliteAuditIndex, indexer: Indexer, tmp_path: Path
) -> None:
    chain_of(log, "a", "b")
    catch_up(indexer)
    (tmp_path / "audit-index.db").unlink()
    assert indexed(index) == []
    catch_up(indexer)
    assert [name for _, name in indexed(index)] == ["a", "b"]


def test_lines_that_an_editor_left_stop_nothing(log: AuditLog, index: SqliteAuditIndex, indexer: Indexer) -> None:
    path = log_path(chain_of(log, "a", "b", "c"), 1)
    header, first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + first + b"no line\n" + first + second + b"\xff\n" + third + b"4 0 torn")
    catch_up(indexer)
    assert indexed(index) == [(2, "a"), (3, "b"), (4, "c")]


def test_a_log_that_is_gone_or_cut_is_not_waited_for(log: AuditLog, index: SqliteAuditIndex, indexer: Indexer) -> None:
    gone, cut = chain_of(log, "a"), chain_of(log, "b", "c")
    shutil.rmtree(gone)
    path = log_path(cut, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    catch_up(indexer)

    assert [name for _, name in indexed(index)] == ["b"]
    assert catch_up(indexer) == 2  # each is looked at again: it may have come back


def test_what_is_too_old_is_not_indexed(log: AuditLog, index: SqliteAuditIndex, indexer: Indexer) -> None:
    old, new = NOW - KEPT_SECONDS - 1, NOW - KEPT_SECONDS
    times = {"old": "2026-06-23T14:13:19Z", "new": "2026-06-23T14:13:20Z"}
    path = log_path(
        write_chain(
            log, lambda _: [(record(IDENTITY, event_id=n, event_time=at), 0) for n, at in times.items()], now=NOW
        ),
        1,
    )
    whole = log_path(chain_of(log, "untouched"), 1)
    os.utime(whole, (old, old))
    os.utime(path, (new, new))
    catch_up(indexer)

    assert [name for _, name in indexed(index)] == ["new"]
    assert catch_up(indexer) == 1
