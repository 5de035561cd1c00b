import asyncio
import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from strongroom.audit import chain
from strongroom.audit.digests import digest_path, read_digest
from strongroom.audit.headers import decode_header
from strongroom.audit.recovery import RECOVERY_EVENT, RecoveryDetails, recover
from strongroom.audit.segments import chain_directories, log_path, segments
from strongroom.audit.verify import verify
from strongroom.audit.writer import SEGMENT_SECONDS, AuditLog, AuditWriter
from strongroom.errors import DataDirectoryError
from strongroom.storage.contract import AuditChain, OutboxEntry
from tests.unit.audit.chains import forge_chain

Open = Callable[..., AuditWriter]
NOW = 1_790_000_500.0


def findings(log: AuditLog, chain_private_key: bytes) -> list[str]:
    report = verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=log.storage)
    return [f"{finding.kind}: {finding.message}" for finding in report.findings]


def lines_of(log: AuditLog, chain_id: str) -> list[chain.Line]:
    directory = log.directory / chain_id
    parsed = [
        chain.parse(line)
        for number in segments(directory)
        for line in log_path(directory, number).read_bytes().splitlines()
    ]
    return [line for line in parsed if line is not None and decode_header(line.record) is None]


def records_of(log: AuditLog, chain_id: str) -> list[bytes]:
    return [line.record for line in lines_of(log, chain_id)]


def commit(log: AuditLog, chain_id: str, record: bytes) -> int:
    return log.storage.commit([], OutboxEntry(chain_id, "event", record)).number


def registered(log: AuditLog, chain_id: str) -> AuditChain:
    return next(known for known in log.storage.chains() if known.chain_id == chain_id)


def die(writer: AuditWriter) -> Path:
    """End a writer as a kill does: the lock is free, nothing else is done. Returns its last segment."""
    writer._release()
    directory = writer._log.directory / writer.chain_id
    return log_path(directory, segments(directory)[-1])


async def start(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> tuple[AuditWriter, list[RecoveryDetails]]:
    """Start a server process: a new chain, then recovery."""
    writer = open_writer()
    return writer, await recover(log, writer, chain_private_key=chain_private_key, now=NOW)


def test_a_first_start_has_nothing_to_recover(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        writer, recovered = await start(log, open_writer, chain_private_key)
        assert recovered == []
        assert records_of(log, writer.chain_id) == []

    asyncio.run(scenario())


def test_the_chain_of_a_killed_process_is_closed(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        dead = open_writer()
        for number in range(5):
            await dead.write(b'{"n":%d}' % number)
        await dead.tick()
        await dead.write(b'{"n":5}')
        die(dead)
        writer, recovered = await start(log, open_writer, chain_private_key)
        last = lines_of(log, dead.chain_id)[-1]
        assert recovered == [
            RecoveryDetails(
                chain_id=dead.chain_id,
                last_sequence=7,
                last_mac=last.mac.hex(),
                torn_bytes=0,
                torn_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                damage=[],
                chained=[],
            )
        ]
        assert registered(log, dead.chain_id)[2:] == (7, last.mac, True)
        (record,) = [json.loads(record) for record in records_of(log, writer.chain_id)]
        assert (record["eventName"], record["eventType"]) == (RECOVERY_EVENT, "AwsServiceEvent")
        assert record["serviceEventDetails"]["chainId"] == dead.chain_id
        assert read_digest(log.directory / dead.chain_id, 1) is not None
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_a_torn_line_is_left_as_it_is_and_named(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        dead = open_writer()
        await dead.write(b'{"n":1}')
        file = die(dead)
        whole = file.read_bytes()
        file.write_bytes(whole + b"3 0 abcdef")
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert (details.last_sequence, details.torn_bytes, details.damage) == (2, 10, [])
        assert file.read_bytes() == whole + b"3 0 abcdef"
        await writer.close()
        assert findings(log, chain_private_key) == []
        file.write_bytes(whole + b"3 0 abcdee")
        digest_path(file.parent, 1).unlink()
        assert findings(log, chain_private_key) == [
            "missing-digest: segment 1 has no readable digest",
            "torn: the torn last line is not the one that the recovery record names",
        ]

    asyncio.run(scenario())


def test_a_record_whose_newline_is_missing_was_never_acknowledged(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        dead = open_writer()
        number = commit(log, dead.chain_id, b'{"change":1}')
        await dead.write(b'{"change":1}', number)
        file = die(dead)
        file.write_bytes(file.read_bytes()[:-1])
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert (details.last_sequence, details.chained) == (1, [number])
        assert records_of(log, writer.chain_id)[0] == b'{"change":1}'
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_committed_changes_without_a_record_are_chained_and_others_are_not_repeated(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        living = open_writer()
        kept = commit(log, living.chain_id, b'{"living":1}')
        dead = open_writer()
        first = commit(log, dead.chain_id, b'{"change":1}')
        await dead.write(b'{"change":1}', first)
        second = commit(log, dead.chain_id, b'{"change":2}')
        die(dead)
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.chained == [second]
        assert next((line.change, line.record) for line in lines_of(log, writer.chain_id)) == (second, b'{"change":2}')
        assert b'{"change":1}' not in records_of(log, writer.chain_id)
        assert [pending.number for pending in log.storage.outbox()] == [kept]
        await writer.close()
        await living.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_a_recovery_that_is_killed_is_taken_up_by_the_next_without_repeating_records(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    async def scenario() -> None:
        first = open_writer()
        commit(log, first.chain_id, b'{"change":1}')
        die(first)
        second = open_writer()

        async def kill() -> None:
            raise KilledError

        with monkeypatch.context() as patch:
            # After its records are on disk, before anything is registered.
            patch.setattr(second, "tick", kill)
            with pytest.raises(KilledError):
                await recover(log, second, chain_private_key=chain_private_key, now=NOW)
        die(second)
        assert records_of(log, second.chain_id)[0] == b'{"change":1}'
        third, recovered = await start(log, open_writer, chain_private_key)
        assert {details.chain_id for details in recovered} == {first.chain_id, second.chain_id}
        assert [details.chained for details in recovered] == [[], []]
        assert b'{"change":1}' not in records_of(log, third.chain_id)
        assert log.storage.outbox() == []
        await third.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_of_two_starts_one_recovers(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        dead = open_writer()
        commit(log, dead.chain_id, b'{"change":1}')
        die(dead)
        one, two = open_writer(), open_writer()
        recovered = await asyncio.gather(
            recover(log, one, chain_private_key=chain_private_key, now=NOW),
            recover(log, two, chain_private_key=chain_private_key, now=NOW),
        )
        assert sorted(map(len, recovered)) == [0, 1]
        written = records_of(log, one.chain_id) + records_of(log, two.chain_id)
        assert written.count(b'{"change":1}') == 1
        assert len(written) == 2

    asyncio.run(scenario())


def test_a_process_killed_between_registration_and_first_segment_is_recovered(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        for leave in (0, 100, None):
            dead = open_writer()
            file = die(dead)
            if leave is None:
                file.unlink()
            else:
                file.write_bytes(file.read_bytes()[:leave])
        writer, recovered = await start(log, open_writer, chain_private_key)
        assert [(details.last_sequence, details.torn_bytes, details.damage) for details in recovered] == [
            (0, 0, []),
            (0, 100, []),
            (0, 0, []),
        ]
        assert all(known.ended for known in log.storage.chains() if known.chain_id != writer.chain_id)
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_a_process_killed_while_it_begins_a_segment_is_recovered(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    times = [1_790_000_000.0]

    async def scenario() -> None:
        dead = open_writer(now=lambda: times[0])
        await dead.write(b'{"n":1}')
        await dead.tick()
        times[0] += SEGMENT_SECONDS
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dead._groups, "closed_segments", [])
            await dead.write(b'{"n":2}')
            dead._groups.begin_segment()
            await dead.write(b'{"n":3}')
            await dead.write(b'{"n":4}')
        file = die(dead)
        assert file.name == "00000002.log"
        assert read_digest(file.parent, 1) is None
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.damage == []
        assert records_of(log, dead.chain_id)[-1] == b'{"n":4}'
        first, second = read_digest(file.parent, 1), read_digest(file.parent, 2)
        assert first is not None
        assert second is not None
        assert second.digest.previous_digest_signature == first.signature
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_an_altered_chain_is_recorded_as_such_and_stops_nothing(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        dead = open_writer()
        for number in range(5):
            await dead.write(b'{"n":%d}' % number)
        await dead.tick()
        file = die(dead)
        file.write_bytes(file.read_bytes().replace(b'{"n":2}', b'{"n":7}'))
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.damage == ["record 4 was changed or forged"]
        assert read_digest(file.parent, 1) is None
        assert registered(log, dead.chain_id).ended
        await writer.close()

    asyncio.run(scenario())
    assert "changed: record 4 was changed or forged" in findings(log, chain_private_key)


def test_only_the_very_record_of_the_outbox_keeps_it_from_being_written(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        dead = open_writer()
        number = commit(log, dead.chain_id, b'{"done":1}')
        await dead.write(b'{"said":1}', number)
        die(dead)
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.chained == [number]
        assert records_of(log, writer.chain_id)[0] == b'{"done":1}'
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == ["other-record: the record of change 1 is not the one committed with it"]


@pytest.mark.parametrize("forged", [True, False])
def test_a_damaged_chain_keeps_no_record_from_being_written(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, *, forged: bool
) -> None:
    async def scenario() -> None:
        dead = open_writer()
        number = commit(log, dead.chain_id, b'{"change":1}')
        await dead.write(b"{}")
        await dead.write(b'{"change":1}', number)
        file = die(dead)
        if forged:
            forge_chain(log, dead.chain_id, [(b'{"change":1}', number)])
        else:
            file.write_bytes(file.read_bytes().replace(b" {}", b" []"))
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.damage != []
        assert details.chained == [number]
        assert records_of(log, writer.chain_id)[0] == b'{"change":1}'
        await writer.close()

    asyncio.run(scenario())


def test_a_digest_that_cannot_be_written_is_said_in_one_line(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        file = die(open_writer())
        file.with_suffix(".digest").mkdir()
        with pytest.raises(DataDirectoryError) as refused:
            await start(log, open_writer, chain_private_key)
        assert "\n" not in str(refused.value)

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", ["truncated", "removed", "made anew"])
def test_a_log_that_is_not_the_registered_one_is_recorded_as_such(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, harm: str
) -> None:
    async def scenario() -> None:
        dead = open_writer()
        await dead.write(b'{"n":1}')
        await dead.tick()
        file = die(dead)
        if harm == "truncated":
            file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
        elif harm == "removed":
            file.unlink()
            file.parent.rmdir()
        else:
            forge_chain(log, dead.chain_id, [(b'{"n":2}', 0)])
        writer, (details,) = await start(log, open_writer, chain_private_key)
        assert details.damage != []
        assert (details.last_sequence, details.last_mac) == (2, registered(log, dead.chain_id).mac.hex())
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) != []


def test_a_full_disk_leaves_recovery_to_the_next_start(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    async def scenario() -> None:
        dead = open_writer()
        number = commit(log, dead.chain_id, b'{"change":1}')
        die(dead)
        second = open_writer()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(DataDirectoryError):
                await recover(log, second, chain_private_key=chain_private_key, now=NOW)
        die(second)
        assert [pending.number for pending in log.storage.outbox()] == [number]
        third, _ = await start(log, open_writer, chain_private_key)
        assert b'{"change":1}' in records_of(log, third.chain_id)
        await third.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


SERVER = """
import asyncio, pickle, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time
from cryptography.hazmat.primitives.serialization import load_der_private_key
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.storage.contract import OutboxEntry
from strongroom.storage.sqlite import open_storage

directory, installation, digest_key, row_key, database = pickle.loads(Path(sys.argv[1]).read_bytes())
storage = open_storage(database, row_key)
log = AuditLog(directory, installation, load_der_private_key(digest_key, None), storage, "node1")

async def requests(writer, client, executor):
    loop = asyncio.get_running_loop()
    for number in range(1000000):
        record = b'{"client":%d,"n":%d}' % (client, number)
        change = 0
        if client == 0 and number % 5 == 0:
            entry = OutboxEntry(writer.chain_id, "e", record)
            change = (await loop.run_in_executor(executor, storage.commit, [], entry)).number
        await writer.write(record, change)
        print(client, number, change, flush=True)

async def ticks(writer):
    while True:
        await asyncio.sleep(0.05)
        await writer.tick()

async def main():
    with ThreadPoolExecutor(2) as executor:
        writer = AuditWriter.open(log, now=time, executor=executor, on_fatal=print)
        print(writer.chain_id, flush=True)
        await asyncio.gather(ticks(writer), *(requests(writer, client, executor) for client in range(20)))

asyncio.run(main())
"""


async def restart(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> tuple[AuditWriter, list[RecoveryDetails]]:
    writer, recovered = await start(log, open_writer, chain_private_key)
    await writer.close()
    return writer, recovered


def test_kill_9_under_load_loses_nothing_acknowledged(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, digest_key: RSAPrivateKey, tmp_path: Path
) -> None:
    keys = digest_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    settings = (log.directory, log.installation, keys, bytes(range(32)), tmp_path / "strongroom.db")
    (tmp_path / "settings").write_bytes(pickle.dumps(settings))
    for _ in range(2):
        command = [sys.executable, "-c", SERVER, str(tmp_path / "settings")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            chain_id = server.stdout.readline().strip()
            acknowledged = [server.stdout.readline().split() for _ in range(500)]
            server.send_signal(signal.SIGKILL)
            acknowledged += [
                line.split() for line in server.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]
        assert server.returncode == -signal.SIGKILL

        writer, recovered = asyncio.run(restart(log, open_writer, chain_private_key))
        assert [(details.chain_id, details.damage) for details in recovered] == [(chain_id, [])]
        lines = {line.record: line.change for name in (chain_id, writer.chain_id) for line in lines_of(log, name)}
        assert len(acknowledged) >= 500
        for client, number, change in acknowledged:
            assert lines[b'{"client":%d,"n":%d}' % (int(client), int(number))] == int(change)
        assert log.storage.outbox() == []
        changes = [change for change, _ in log.storage.change_records()]
        chained = [line.change for name in chain_directories(log.directory) for line in lines_of(log, name.name)]
        assert sorted(filter(None, chained)) == changes
        assert findings(log, chain_private_key) == []
