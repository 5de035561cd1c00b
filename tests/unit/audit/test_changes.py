"""What the log knows of changes after a position, and whether it is whole."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from strongroom.audit.changes import LaterChanges, changes_after
from strongroom.audit.digests import digest_path, signature_path
from strongroom.audit.rollback import RESTORE_EVENT, ROLLBACK_EVENT, LostChain, RestoreDetails, RollbackDetails
from strongroom.audit.segments import log_path
from strongroom.audit.writer import SEGMENT_SECONDS, AuditLog, AuditWriter
from strongroom.storage.contract import OutboxEntry
from tests.unit.audit.chains import write_chain

Open = Callable[..., AuditWriter]
Changes = Callable[..., LaterChanges]
NOW = 1_790_000_000.0


@pytest.fixture
def changes(log: AuditLog, chain_private_key: bytes) -> Changes:
    """Read the changes after one, of a log whose chains had come to some sequences then."""

    def read(number: int = 0, newest: int = 0, **registered: int) -> LaterChanges:
        return changes_after(
            log.directory,
            log.installation,
            number,
            newest=newest,
            registered=registered,
            chain_private_key=chain_private_key,
        )

    return read


def event(name: str, details: msgspec.Struct | None = None) -> bytes:
    told = {"eventTime": "2026-09-21T14:13:20Z", "eventName": name, "eventType": "AwsServiceEvent"}
    return json.dumps(told | {"serviceEventDetails": msgspec.to_builtins(details)}).encode()


def commit(log: AuditLog, chain_id: str, record: bytes, *, beyond: int = 0) -> tuple[bytes, int]:
    return record, log.storage.commit([], OutboxEntry(chain_id, "event", record), beyond=beyond).number


def told(later: LaterChanges) -> list[tuple[int, str]]:
    return [(change.number, change.event.event_name) for change in later.changes]


def write_three_segments(log: AuditLog, open_writer: Open) -> Path:
    """A chain of three segments, each with one change."""
    now = [NOW]

    async def scenario() -> Path:
        writer = open_writer(now=lambda: now[0])
        for segment in range(3):
            await writer.write(*commit(log, writer.chain_id, event(f"Event{segment}")))
            now[0] += SEGMENT_SECONDS
            await writer.tick()
            await writer._groups.drain()
            await writer.tick()
        await writer.close()
        return log.directory / writer.chain_id

    return asyncio.run(scenario())


def remove(chain: Path, segment: int) -> None:
    for path in (log_path(chain, segment), digest_path(chain, segment), signature_path(chain, segment)):
        path.unlink()


def test_the_first_segments_must_be_there_unless_they_were_before_the_position(
    log: AuditLog, open_writer: Open, changes: Changes
) -> None:
    chain = write_three_segments(log, open_writer)
    assert (changes().damage, told(changes())) == ([], [(1, "Event0"), (2, "Event1"), (3, "Event2")])
    remove(chain, 1)
    damage = [f"audit chain {chain.name}: records 1 to 2 were removed"]
    assert changes().damage == damage
    assert changes(1, **{chain.name: 1}).damage == damage
    assert changes(1, **{chain.name: 2}).damage == []


def test_a_digest_tells_that_a_segment_is_missing(log: AuditLog, open_writer: Open, changes: Changes) -> None:
    chain = write_three_segments(log, open_writer)
    for segment in (2, 3, 4):
        log_path(chain, segment).unlink(missing_ok=True)
    assert f"audit chain {chain.name}: the log of segment 3 is missing" in changes().damage
    log_path(chain, 1).unlink()
    assert f"audit chain {chain.name}: the log of segment 1 is missing" in changes().damage
    assert f"audit chain {chain.name}: the log of segment 1 is missing" not in changes(1, **{chain.name: 2}).damage


def test_changes_without_a_record_are_told(log: AuditLog, changes: Changes) -> None:
    gone = write_chain(log, lambda chain_id: [commit(log, chain_id, event("Gone"))], now=NOW)
    log.storage.commit([], None)
    write_chain(log, lambda chain_id: [commit(log, chain_id, event("There"))], now=NOW)
    assert changes().unrecorded == [2]
    remove(gone, 1)
    gone.rmdir()
    assert (changes().unrecorded, changes().damage) == ([1, 2], [])
    assert changes(2).unrecorded == []
    assert changes(2, newest=5).unrecorded == [4, 5]


def test_where_a_database_was_forked_its_own_changes_hold(log: AuditLog, changes: Changes) -> None:
    lost = write_chain(log, lambda _: [(event("Before"), 1), (event("Lost"), 2), (event("Lost"), 3)], now=NOW)
    write_chain(log, lambda _: [(event("Own"), 2)], now=NOW)
    assert told(changes(1)) == [(2, "Lost"), (2, "Own"), (3, "Lost")] or told(changes(1)) == [
        (2, "Own"),
        (2, "Lost"),
        (3, "Lost"),
    ]
    details = RollbackDetails(2, 2, 3, [LostChain(lost.name, 4, "")])
    write_chain(log, lambda _: [(event(ROLLBACK_EVENT, details), 4)], now=NOW)
    assert told(changes(1)) == [(2, "Own"), (4, ROLLBACK_EVENT)]


def test_what_a_restore_left_is_named_again_and_what_it_did_again_has_no_records(
    log: AuditLog, changes: Changes
) -> None:
    details = RestoreDetails(
        1, 2, 4, [], backup="", without_audit_log=False, done_again=[2], left=[4], disabled=[], damage=[]
    )
    records = [(event("Done"), 2), (event("Lost"), 3), (event("Left"), 4), (event(RESTORE_EVENT, details), 6)]
    write_chain(log, lambda _: records, now=NOW)
    assert told(changes(1)) == [(2, "Done"), (4, "Left"), (6, RESTORE_EVENT)]
    assert changes(1).unrecorded == []
