import asyncio
import errno
import fcntl
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.audit import chain
from strongroom.audit.digests import is_signed, load_public_key, read_digest, write_digest
from strongroom.audit.headers import decode_header, is_genuine, open_key
from strongroom.audit.segments import log_path, segments
from strongroom.audit.verify import verify
from strongroom.audit.writer import SEGMENT_SECONDS, AuditLog, AuditWriter
from strongroom.errors import ConfigurationError, DataDirectoryError, KMSInternal, StorageError
from strongroom.storage.contract import AuditChain, OutboxEntry

Open = Callable[..., AuditWriter]


class Disk:
    """The disk under the log file: can be full, fail to sync, or fail to truncate. Counts the syncs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.write_error = self.sync_error = self.truncate_error = 0
        self.room = 0
        self.syncs = 0
        self._real = os.write, os.fdatasync, os.ftruncate
        patch.setattr(os, "write", self._write)
        patch.setattr(os, "fdatasync", self._sync)
        patch.setattr(os, "ftruncate", self._truncate)

    def _write(self, file: int, data: bytes) -> int:
        if self.write_error and threading.current_thread().name == "audit-log":
            if self.room == 0:
                raise OSError(self.write_error, os.strerror(self.write_error))
            data = bytes(data)[: self.room]
            self.room = 0
        return self._real[0](file, data)

    def _sync(self, file: int) -> None:
        self.syncs += 1
        if self.sync_error:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._real[1](file)

    def _truncate(self, file: int, length: int) -> None:
        if self.truncate_error:
            raise OSError(self.truncate_error, os.strerror(self.truncate_error))
        self._real[2](file, length)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def lines_of(log: AuditLog, writer: AuditWriter) -> list[bytes]:
    directory = log.directory / writer.chain_id
    return [line for number in segments(directory) for line in log_path(directory, number).read_bytes().splitlines()]


def records_of(log: AuditLog, writer: AuditWriter) -> list[bytes]:
    """The records in the log, the headers left out."""
    parsed = [chain.parse(line) for line in lines_of(log, writer)]
    return [line.record for line in parsed if line is not None and decode_header(line.record) is None]


def registered(log: AuditLog, writer: AuditWriter) -> AuditChain:
    return next(known for known in log.storage.chains() if known.chain_id == writer.chain_id)


def findings(log: AuditLog, chain_private_key: bytes) -> list[str]:
    report = verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=log.storage)
    return [f"{finding.kind}: {finding.message}" for finding in report.findings]


def test_records_are_on_disk_in_order_when_their_writes_complete(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        written = [writer.write(b'{"n":%d}' % number) for number in range(200)]
        assert records_of(log, writer) == []
        await written[0]
        assert records_of(log, writer) == [b'{"n":%d}' % number for number in range(200)]

    asyncio.run(scenario())


def test_a_write_completes_only_after_the_sync_that_covers_it(log: AuditLog, open_writer: Open, disk: Disk) -> None:
    async def scenario() -> None:
        writer = open_writer()
        before = disk.syncs
        for number in range(1, 6):
            await writer.write(b"{}")
            assert disk.syncs == before + number

    asyncio.run(scenario())


def test_the_records_of_one_moment_share_one_sync(log: AuditLog, open_writer: Open, disk: Disk) -> None:
    async def scenario() -> None:
        writer = open_writer()
        before = disk.syncs
        await asyncio.gather(*(writer.write(b"{}") for _ in range(100)))
        assert disk.syncs == before + 1

    asyncio.run(scenario())


def test_the_writer_knows_what_waits_and_how_long_groups_took(log: AuditLog, open_writer: Open, disk: Disk) -> None:
    took: list[float] = []

    async def scenario() -> None:
        writer = open_writer(on_written=took.append)
        assert (writer.pending, writer.left_over, writer.well) == (0, 0, True)
        writes = [writer.write(b"{}") for _ in range(3)]
        assert writer.pending == 3
        await asyncio.gather(*writes)
        assert (writer.pending, len(took)) == (0, 1)

    asyncio.run(scenario())
    assert 0 <= took[0] < 10


def test_the_writer_is_not_well_until_something_is_written_again_or_for_a_while(
    log: AuditLog, open_writer: Open, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(writer: AuditWriter, change: int = 0) -> None:
        disk.write_error = errno.ENOSPC
        with pytest.raises(KMSInternal):
            await writer.write(b"{}", change)
        disk.write_error = 0

    async def scenario() -> None:
        writer = open_writer()
        await fail(writer)
        assert (writer.well, writer.left_over) == (False, 0)
        await writer.write(b"{}")
        assert writer.well
        await fail(writer)
        later = time.monotonic() + 11
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: later)
            assert writer.well, "the next request may try"
        await fail(writer, 1)
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: later)
            assert (writer.well, writer.left_over) == (False, 1)
        await writer.tick()
        await writer.write(b"{}")
        assert (writer.well, writer.left_over) == (True, 0)

    asyncio.run(scenario())


def test_a_cancelled_request_takes_nobody_with_it(log: AuditLog, open_writer: Open) -> None:
    async def request(writer: AuditWriter, name: bytes) -> bytes:
        await writer.write(name)
        return name

    async def scenario() -> None:
        writer = open_writer()
        tasks = [asyncio.create_task(request(writer, b"{%d}" % number)) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == b"{0}"
        assert isinstance(results[1], asyncio.CancelledError)
        assert results[2] == b"{2}"
        assert records_of(log, writer) == [b"{0}", b"{1}", b"{2}"]

    asyncio.run(scenario())


def test_a_full_disk_fails_what_is_pending_and_leaves_the_chain_whole(
    log: AuditLog, open_writer: Open, disk: Disk, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        writer = open_writer()
        await writer.write(b'{"before":1}')
        disk.write_error = errno.ENOSPC
        disk.room = 50
        first = [writer.write(b'{"lost":1}') for _ in range(3)]
        await asyncio.sleep(0)
        second = writer.write(b'{"lost":2}')
        for lost in (*first, second):
            with pytest.raises(KMSInternal):
                await lost
        disk.write_error = 0
        await writer.write(b'{"after":1}')
        assert records_of(log, writer) == [b'{"before":1}', b'{"after":1}']
        await writer.close()

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_a_file_size_limit_is_met_by_real_writes(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scenario() -> list[bytes]:
        writer = open_writer()
        record = b'{"filler":"' + b"x" * 60_000 + b'"}'
        acknowledged = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            for _ in range(100):
                await writer.write(record)
                acknowledged += 1
        except KMSInternal:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert acknowledged == 16
        await writer.write(b'{"after":1}')
        await writer.close()
        assert records_of(log, writer) == [record] * acknowledged + [b'{"after":1}']
        return lines_of(log, writer)

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_records_of_changes_outlive_a_full_disk_and_come_before_newer_ones(
    log: AuditLog, open_writer: Open, disk: Disk
) -> None:
    async def scenario() -> None:
        writer = open_writer()
        number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b'{"change":1}')).number
        disk.write_error = errno.ENOSPC
        with pytest.raises(KMSInternal):
            await writer.write(b'{"change":1}', number)
        await writer.tick()
        assert [pending.number for pending in log.storage.outbox()] == [number]
        disk.write_error = 0
        await writer.write(b'{"newer":1}')
        assert records_of(log, writer) == [b'{"change":1}', b'{"newer":1}']
        await writer.tick()
        assert log.storage.outbox() == []

    asyncio.run(scenario())


def test_a_tick_alone_writes_what_was_left_over(log: AuditLog, open_writer: Open, disk: Disk) -> None:
    async def scenario() -> None:
        writer = open_writer()
        number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b'{"change":1}')).number
        disk.write_error = errno.EIO
        with pytest.raises(KMSInternal):
            await writer.write(b'{"change":1}', number)
        disk.write_error = 0
        await writer.tick()
        await writer.close()
        assert records_of(log, writer) == [b'{"change":1}']
        assert log.storage.outbox() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["sync", "truncate"])
def test_a_disk_that_cannot_be_trusted_is_fatal(log: AuditLog, open_writer: Open, disk: Disk, fault: str) -> None:
    reasons: list[str] = []

    async def scenario() -> None:
        writer = open_writer(on_fatal=reasons.append)
        await writer.write(b"{}")
        if fault == "sync":
            disk.sync_error = errno.EIO
        else:
            disk.write_error = errno.ENOSPC
            disk.room = 10
            disk.truncate_error = errno.EIO
        pending = writer.write(b"{}")
        await asyncio.sleep(0)
        gathered = writer.write(b"{}")
        for lost in (pending, gathered):
            with pytest.raises(KMSInternal):
                await lost
        disk.sync_error = disk.write_error = disk.truncate_error = 0
        with pytest.raises(KMSInternal):
            writer.write(b"{}")
        await writer.tick()
        with pytest.raises(DataDirectoryError):
            await writer.close()
        assert not registered(log, writer).ended

    asyncio.run(scenario())
    assert len(reasons) == 1
    assert "Input/output error" in reasons[0]


def test_a_tick_registers_how_far_the_log_has_come_and_empties_the_outbox(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        assert (registered(log, writer).sequence, registered(log, writer).ended) == (0, False)
        number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b"{}")).number
        await writer.write(b"{}", number)
        await writer.tick()
        last = chain.parse(lines_of(log, writer)[-1])
        assert last is not None
        assert registered(log, writer)[2:] == (2, last.mac, False)
        assert (last.sequence, last.change) == (2, number)
        assert log.storage.outbox() == []

    asyncio.run(scenario())


def test_a_registration_that_fails_is_made_up_for_by_the_next(
    log: AuditLog, open_writer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    async def scenario() -> None:
        writer = open_writer()
        number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b"{}")).number
        await writer.write(b"{}", number)
        with monkeypatch.context() as patch:
            patch.setattr(log.storage, "register_chain", refuse)
            with pytest.raises(StorageError):
                await writer.tick()
        assert len(log.storage.outbox()) == 1
        await writer.tick()
        assert log.storage.outbox() == []
        assert registered(log, writer).sequence == 2

    asyncio.run(scenario())


def test_an_hour_old_segment_is_closed_and_signed(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    clock = Clock()

    async def scenario() -> None:
        writer = open_writer(now=clock)
        directory = log.directory / writer.chain_id
        await writer.write(b'{"n":1}')
        clock.now += SEGMENT_SECONDS - 1
        await writer.tick()
        assert segments(directory) == [1]
        clock.now += 1
        pending = writer.write(b'{"n":2}')
        await writer.tick()
        await pending
        await writer.write(b'{"n":3}')
        await writer.tick()
        assert segments(directory) == [1, 2]
        signed = read_digest(directory, 1)
        assert signed is not None
        assert is_signed(signed, load_public_key(log.installation.digest_public_key))
        assert signed.digest.log_file.hash_value == sha256(log_path(directory, 1).read_bytes()).hexdigest()
        assert signed.digest.previous_digest_signature is None
        await writer.close()
        last = read_digest(directory, 2)
        assert last is not None
        assert last.digest.previous_digest_signature == signed.signature
        assert last.digest.first_sequence == signed.digest.last_sequence + 1
        assert records_of(log, writer) == [b'{"n":1}', b'{"n":2}', b'{"n":3}']

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_an_idle_segment_is_closed_too(log: AuditLog, open_writer: Open) -> None:
    clock = Clock()

    async def scenario() -> None:
        writer = open_writer(now=clock)
        clock.now += SEGMENT_SECONDS
        await writer.tick()
        await writer.tick()
        await writer._groups.drain()
        await writer.tick()
        assert read_digest(log.directory / writer.chain_id, 1) is not None
        assert segments(log.directory / writer.chain_id) == [1, 2]

    asyncio.run(scenario())


def test_a_full_disk_puts_a_new_segment_off(
    log: AuditLog, open_writer: Open, disk: Disk, chain_private_key: bytes
) -> None:
    clock = Clock()

    async def scenario() -> None:
        writer = open_writer(now=clock)
        directory = log.directory / writer.chain_id
        clock.now += SEGMENT_SECONDS
        disk.write_error = errno.ENOSPC
        disk.room = 100
        await writer.tick()
        with pytest.raises(KMSInternal):
            await writer.write(b'{"lost":1}')
        assert segments(directory) == [1]
        disk.write_error = 0
        await writer.write(b'{"n":1}')
        await writer.tick()
        await writer.write(b'{"n":2}')
        await writer.close()
        assert segments(directory) == [1, 2]
        assert records_of(log, writer) == [b'{"n":1}', b'{"n":2}']

    asyncio.run(scenario())
    assert findings(log, chain_private_key) == []


def test_a_clean_end_is_signed_and_registered_and_nothing_follows(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        pending = writer.write(b"{}")
        await writer.close()
        await pending
        assert registered(log, writer)[2:] == (2, chain_mac(lines_of(log, writer)[-1]), True)
        assert read_digest(log.directory / writer.chain_id, 1) is not None
        with pytest.raises(KMSInternal):
            writer.write(b"{}")
        await writer.tick()
        await writer.close()
        assert len(lines_of(log, writer)) == 2

    asyncio.run(scenario())


def test_a_tick_that_is_cancelled_while_it_signs_is_waited_for(
    log: AuditLog, open_writer: Open, chain_private_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, go_on = threading.Event(), threading.Event()
    at_once: list[int] = []
    busy = threading.Lock()

    def slow(*arguments: Any, **named: Any) -> Any:
        assert busy.acquire(blocking=False), "two threads sign at once"
        at_once.append(1)
        signing.set()
        assert go_on.wait(10)
        busy.release()
        return write_digest(*arguments, **named)

    monkeypatch.setattr("strongroom.audit.writer.write_digest", slow)

    async def tick(writer: AuditWriter) -> None:
        while True:
            await writer.tick()
            await asyncio.sleep(0.01)

    async def scenario(executor: ThreadPoolExecutor) -> None:
        clock = Clock()
        writer = open_writer(now=clock, executor=executor)
        await writer.write(b"{}")
        clock.now += SEGMENT_SECONDS
        ticking = asyncio.create_task(tick(writer))
        assert await asyncio.to_thread(signing.wait, 10)
        ticking.cancel()
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        go_on.set()
        await closing
        assert len(at_once) == 2
        assert findings(log, chain_private_key) == []

    with ThreadPoolExecutor(2) as executor:
        asyncio.run(scenario(executor))


def chain_mac(line: bytes) -> bytes:
    parsed = chain.parse(line)
    assert parsed is not None
    return parsed.mac


def test_a_close_takes_up_committed_records_that_never_arrived(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        log.storage.commit([], OutboxEntry(writer.chain_id, "e1", b'{"lost":1}'))
        second = log.storage.commit([], OutboxEntry(writer.chain_id, "e2", b'{"written":1}')).number
        log.storage.commit([], OutboxEntry("another", "e3", b'{"other":1}'))
        await writer.write(b'{"written":1}', second)
        await writer.close()
        assert records_of(log, writer) == [b'{"written":1}', b'{"lost":1}']
        assert [pending.entry.chain_id for pending in log.storage.outbox()] == ["another"]

    asyncio.run(scenario())


def test_a_close_on_a_full_disk_leaves_the_chain_to_the_next_start(
    log: AuditLog, open_writer: Open, disk: Disk
) -> None:
    async def scenario() -> None:
        writer = open_writer()
        log.storage.commit([], OutboxEntry(writer.chain_id, "e", b"{}"))
        disk.write_error = errno.ENOSPC
        with pytest.raises(DataDirectoryError):
            await writer.close()
        assert not registered(log, writer).ended
        assert len(log.storage.outbox()) == 1

    asyncio.run(scenario())


def test_interval_mode_writes_before_it_answers_and_syncs_soon_after(
    log: AuditLog, open_writer: Open, disk: Disk
) -> None:
    async def scenario() -> None:
        writer = open_writer(sync="interval")
        before = disk.syncs
        await writer.write(b'{"n":1}')
        assert records_of(log, writer) == [b'{"n":1}']
        assert disk.syncs == before
        await asyncio.sleep(0.3)
        assert disk.syncs == before + 1
        await writer.write(b'{"n":2}')
        await writer.tick()
        assert disk.syncs == before + 2
        assert registered(log, writer).sequence == 3
        await writer.close()

    asyncio.run(scenario())


def test_a_sync_that_fails_in_interval_mode_is_fatal_and_registers_nothing(
    log: AuditLog, open_writer: Open, disk: Disk
) -> None:
    reasons: list[str] = []

    async def scenario() -> None:
        writer = open_writer(sync="interval", on_fatal=reasons.append)
        await writer.write(b"{}")
        disk.sync_error = errno.EIO
        await writer.tick()
        assert len(reasons) == 1
        assert registered(log, writer).sequence == 0
        disk.sync_error = 0
        with pytest.raises(KMSInternal):
            writer.write(b"{}")

    asyncio.run(scenario())


def test_the_writer_forgets_every_key_that_could_rewrite_the_log(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        writer = open_writer()
        for _ in range(5):
            await asyncio.gather(*(writer.write(b"{}") for _ in range(4)))
        await writer.tick()
        line = chain.parse(lines_of(log, writer)[0])
        assert line is not None
        header = decode_header(line.record)
        assert header is not None
        key = open_key(header, chain_private_key)
        assert key is not None
        spent = []
        for _ in range(21):
            spent.append(sha256(key).digest())
            key = chain.next_key(key)
        current = sha256(key).digest()
        del key
        held = {sha256(value).digest() for value in bytes_reachable_from(writer)}
        assert current in held
        assert held.isdisjoint(spent)
        assert sha256(chain_private_key).digest() not in held

    asyncio.run(scenario())


def bytes_reachable_from(root: object) -> Iterator[bytes]:
    """Every bytes object that the writer leads to, its thread's stack included; modules, types and loops left out."""
    seen = {id(root)}
    waiting: list[object] = [root, *(frame for frame in frames_of_the_writers_thread())]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, bytes):
            yield thing
        for other in gc.get_referents(thing):
            is_module = isinstance(other, ModuleType) or (isinstance(other, dict) and "__builtins__" in other)
            if id(other) not in seen and not is_module and not isinstance(other, type | asyncio.AbstractEventLoop):
                seen.add(id(other))
                waiting.append(other)


def frames_of_the_writers_thread() -> Iterator[object]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if names.get(ident) == "audit-log":
            walk = frame
            while walk is not None:
                yield from walk.f_locals.values()
                walk = walk.f_back  # type: ignore[assignment]


def test_log_and_directories_are_for_their_owner_alone(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> Path:
        writer = open_writer()
        await writer.close()
        return log.directory / writer.chain_id

    directory = asyncio.run(scenario())
    assert [path.stat().st_mode & 0o077 for path in (log.directory, directory, *directory.iterdir())] == [0] * 5


def test_a_living_chain_is_locked(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        directory = os.open(log.directory / writer.chain_id, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await writer.close()
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(directory)

    asyncio.run(scenario())


@pytest.mark.parametrize("node_id", ["", "a b", "../x", "n.1", "ü", "x" * 65])
def test_an_impossible_node_id_is_refused(log: AuditLog, node_id: str) -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            AuditWriter.open(log._replace(node_id=node_id), now=Clock(), executor=executor, on_fatal=pytest.fail)

    with pytest.raises(ConfigurationError):
        asyncio.run(scenario())
    assert log.storage.chains() == []


def test_an_audit_directory_that_cannot_be_made_is_said_in_one_line(
    log: AuditLog, open_writer: Open, tmp_path: Path
) -> None:
    tmp_path.joinpath("audit").touch()

    async def scenario() -> None:
        open_writer()

    with pytest.raises(DataDirectoryError) as refused:
        asyncio.run(scenario())
    assert "\n" not in str(refused.value)
    assert log.storage.chains() == []


def test_what_was_committed_and_never_handed_over_is_written_at_the_end(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        log.storage.commit([], OutboxEntry(writer.chain_id, "e", b'{"init":1}'))
        await writer.close()

    asyncio.run(scenario())
    (known,) = log.storage.chains()
    assert (known.sequence, known.ended) == (2, True)
    assert log.storage.outbox() == []


def test_a_digest_that_cannot_be_written_is_said_in_one_line(log: AuditLog, open_writer: Open) -> None:
    async def scenario() -> None:
        writer = open_writer()
        await writer.write(b"{}")
        (log.directory / writer.chain_id / "00000001.digest").mkdir()
        with pytest.raises(DataDirectoryError) as refused:
            await writer.close()
        assert "\n" not in str(refused.value)

    asyncio.run(scenario())
    assert not log.storage.chains()[0].ended


def test_every_header_is_signed_for_its_place(log: AuditLog, open_writer: Open) -> None:
    clock = Clock()

    async def scenario() -> None:
        writer = open_writer(now=clock)
        clock.now += SEGMENT_SECONDS
        await writer.tick()
        await writer.close()

    asyncio.run(scenario())
    (directory,) = log.directory.iterdir()
    key = load_public_key(log.installation.digest_public_key)
    for number in (1, 2):
        line = chain.parse(log_path(directory, number).read_bytes().splitlines()[0])
        assert line is not None
        header = decode_header(line.record)
        assert header is not None
        assert is_genuine(header, chain_id=directory.name, segment=number, public_key=key)
        assert not is_genuine(header, chain_id=directory.name, segment=number + 1, public_key=key)
        assert not is_genuine(header, chain_id="other", segment=number, public_key=key)
        for member in ("previous_mac", "sealed_key", "signature"):
            edited = replace(header, **{member: bytes(len(getattr(header, member)))})
            assert not is_genuine(edited, chain_id=directory.name, segment=number, public_key=key)


def test_in_interval_mode_a_segment_is_synced_before_the_next_one_is_there(
    log: AuditLog, open_writer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    synced: list[str] = []
    real = os.fdatasync

    def sync(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        real(file)

    async def scenario() -> None:
        writer = open_writer(now=clock, sync="interval")
        await writer.write(b"{}")
        monkeypatch.setattr(os, "fdatasync", sync)
        writer._groups.begin_segment()
        await writer._groups.drain()
        assert synced == ["00000001.log", "00000002.log"]
        await writer.close()

    asyncio.run(scenario())
