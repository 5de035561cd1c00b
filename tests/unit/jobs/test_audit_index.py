"""The round that indexes: it goes on whatever happened to the one before, and says once that it falls behind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.app.installing import audit_log
from strongroom.audit.indexing import Indexer
from strongroom.jobs import audit_index
from strongroom.jobs.audit_index import index_forever
from strongroom.storage.audit_events import EventQuery
from strongroom.storage.audit_index import SqliteAuditIndex
from tests.composed import NOW, Composed, run_composed

EVERYTHING = EventQuery("111122223333", "us-east-1", 0, 2 * int(NOW), None, "", 50, None)
ROUND_SECONDS = 0.01
MOST_ROUNDS = 3_000


def test_rounds_go_on_after_failures(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit_index, "_SECONDS", ROUND_SECONDS)

    async def test(parts: Composed) -> None:
        config, audit = parts.opened.config, parts.pipeline._audit
        config.audit_index.mkdir()
        index = SqliteAuditIndex(config.audit_index)
        indexer = Indexer(index, audit_log(parts.opened), audit.chain_id)
        await parts.ask_kms("ListKeys")
        await audit.tick()
        with ThreadPoolExecutor(1) as pool:
            indexing = asyncio.create_task(index_forever(indexer, audit, pool))
            await asyncio.sleep(10 * ROUND_SECONDS)
            config.audit_index.rmdir()
            for _ in range(MOST_ROUNDS):
                if index.look_up(EVERYTHING).events:
                    break
                await asyncio.sleep(ROUND_SECONDS)
            indexing.cancel()
        (found,) = index.look_up(EVERYTHING).events
        assert b'"eventName":"ListKeys"' in found.record
        index.close()

    run_composed(data, test)
    assert capfd.readouterr().err.count("the audit log's index falls behind: ") == 1
