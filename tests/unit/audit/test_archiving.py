"""The copy of a chain in the database that nodes share, over a real PostgreSQL that goes away and comes back."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from sqlalchemy import delete

from strongroom.audit.archiving import export_chain
from strongroom.audit.recovery import RecoveryDetails, recover
from strongroom.audit.segments import log_path, segments
from strongroom.audit.verify import verify
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.errors import IntegrityError, KMSInternal, StorageError
from strongroom.model.installation import Installation
from strongroom.storage.audit_archive import AuditArchive, Group
from strongroom.storage.contract import AuditChain, OutboxEntry, Position
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import create_storage
from strongroom.storage.tables import AUDIT_GROUPS
from strongroom.testing.postgresql import Postgresql, running_postgresql

NOW = 1_790_000_000.0
ROW_KEY = bytes(range(32))


class Node(NamedTuple):
    """A node's log, and the server of its database."""

    log: AuditLog
    storage: DatabaseStorage
    postgresql: Postgresql
    executor: ThreadPoolExecutor

    def open(self, on_fatal: Callable[[str], None] = pytest.fail, **options: object) -> AuditWriter:
        settings: dict[str, object] = {"now": lambda: NOW, "executor": self.executor, "on_fatal": on_fatal}
        return AuditWriter.open(self.log, **(settings | options))  # type: ignore[arg-type]

    async def start(self, chain_private_key: bytes) -> tuple[AuditWriter, list[RecoveryDetails]]:
        writer = self.open()
        return writer, await recover(self.log, writer, chain_private_key=chain_private_key, now=NOW)

    def exported(self, folder: Path) -> Path:
        assert self.log.archive is not None
        for chain in self.log.storage.chains():
            export_chain(self.log.archive, folder / chain.chain_id)
        return folder

    def findings(self, folder: Path, chain_private_key: bytes) -> list[str]:
        report = verify(folder, self.log.installation, chain_private_key=chain_private_key, storage=self.log.storage)
        return [f"{finding.kind}: {finding.message}" for finding in report.findings]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    """A server of these tests' own: it is ended and started again."""
    with running_postgresql() as postgresql:
        yield postgresql


@pytest.fixture
def node(tmp_path: Path, installation: Installation, digest_key: RSAPrivateKey, server: Postgresql) -> Iterator[Node]:
    storage = create_storage(server.create_database(), ROW_KEY)
    archive = AuditArchive(storage.database)
    with ThreadPoolExecutor(1) as executor:
        yield Node(
            AuditLog(tmp_path / "audit", installation, digest_key, storage, "a", archive), storage, server, executor
        )
    storage.close()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def die(writer: AuditWriter) -> Path:
    """End a writer as a kill does. Returns its directory."""
    writer._release()
    return writer._log.directory / writer.chain_id


def test_the_copy_is_the_same_to_the_byte_with_its_digests(
    node: Node, tmp_path: Path, chain_private_key: bytes
) -> None:
    async def scenario() -> Path:
        writer = node.open()
        for number in range(5):
            await writer.write(b'{"record":%d}' % number)
        writer._groups.begin_segment()
        await asyncio.gather(*(writer.write(b'{"record":%d}' % number) for number in range(100)))
        await writer.close()
        return node.log.directory / writer.chain_id

    directory = asyncio.run(scenario())
    folder = node.exported(tmp_path / "exported")
    assert len(segments(directory)) == 2
    assert contents(folder / directory.name) == contents(directory)
    assert node.findings(folder, chain_private_key) == []


def test_a_record_is_in_the_database_before_it_counts(node: Node) -> None:
    async def scenario() -> None:
        writer = node.open()
        assert node.log.archive is not None
        for number in range(3):
            await writer.write(b"{}")
            assert node.log.archive.end(writer.chain_id).last == number + 2  # the header is the first
        await writer.close()

    asyncio.run(scenario())


def test_while_the_database_is_away_the_file_has_what_is_written_and_the_copy_follows(
    node: Node, tmp_path: Path, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        writer = node.open()
        await writer.write(b'{"record":1}')
        node.postgresql.crash()
        try:
            await writer.write(b'{"record":2}')
            writer._groups.begin_segment()
            await writer.write(b'{"record":3}')
            with pytest.raises(StorageError):
                await asyncio.to_thread(node.log.storage.position)
            await writer.tick()  # what is behind is not registered
            behind = writer._groups.behind
        finally:
            node.postgresql.start()
        assert behind
        await writer.write(b'{"record":4}')
        for _ in range(10):
            await writer.tick()
            await writer.write(b'{"record":5}')
        assert not writer._groups.behind
        await writer.close()

    asyncio.run(scenario())
    (chain,) = node.log.storage.chains()
    folder = node.exported(tmp_path / "exported")
    assert contents(folder / chain.chain_id) == contents(node.log.directory / chain.chain_id)
    assert chain.ended
    assert node.findings(folder, chain_private_key) == []


def test_what_a_killed_process_wrote_while_the_database_was_away_is_not_lost(
    node: Node, tmp_path: Path, chain_private_key: bytes
) -> None:
    async def scenario() -> None:
        writer = node.open()
        await writer.write(b'{"record":1}')
        node.postgresql.crash()
        try:
            await writer.write(b'{"record":"of the file alone"}')
            directory = die(writer)
            with log_path(directory, 1).open("ab") as file:
                file.write(b"torn")
        finally:
            node.postgresql.start()
        second, recovered = await node.start(chain_private_key)
        assert [(details.torn_bytes, details.damage) for details in recovered] == [(4, [])]
        await second.close()

    asyncio.run(scenario())
    folder = node.exported(tmp_path / "exported")
    assert node.findings(folder, chain_private_key) == []
    assert any(b"of the file alone" in path.read_bytes() for path in folder.rglob("*.log"))


@pytest.mark.parametrize("lost", ["all", "an end", "nothing but the digest"])
def test_files_that_a_machine_lost_are_made_again(
    node: Node, tmp_path: Path, chain_private_key: bytes, lost: str
) -> None:
    async def scenario() -> None:
        writer = node.open()
        await writer.write(b'{"record":1}')
        writer._groups.begin_segment()
        for number in range(9):
            await writer.write(b'{"record":%d}' % number)
        await writer.tick()
        directory = die(writer)
        before = contents(directory)
        if lost == "all":
            shutil.rmtree(directory)
        elif lost == "an end":
            last = log_path(directory, 2)
            last.write_bytes(last.read_bytes()[:-150])
        else:
            (directory / "00000001.digest").unlink()
        second, recovered = await node.start(chain_private_key)
        assert [details.damage for details in recovered] == [[]]
        assert {name: text for name, text in contents(directory).items() if name in before} == before
        await second.close()

    asyncio.run(scenario())
    assert node.findings(node.exported(tmp_path / "exported"), chain_private_key) == []
    assert node.findings(node.log.directory, chain_private_key) == []


def test_the_chains_of_other_nodes_are_left_to_them(node: Node, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        writer = node.open()
        die(writer)
        other = node._replace(log=node.log._replace(node_id="b", directory=node.log.directory.with_name("other")))
        second, recovered = await other.start(chain_private_key)
        assert recovered == []
        await second.close()
        third, recovered = await node.start(chain_private_key)
        assert [details.chain_id for details in recovered] == [writer.chain_id]
        await third.close()

    asyncio.run(scenario())


def test_a_process_whose_chain_was_closed_by_another_ends(node: Node) -> None:
    fatal: list[str] = []

    async def scenario() -> None:
        writer = node.open(fatal.append)
        await writer.write(b"{}")
        (chain,) = node.log.storage.chains()
        node.log.storage.register_chain(AuditChain(chain.chain_id, chain.opened, 2, bytes(32), ended=True))
        with pytest.raises(KMSInternal):
            await writer.write(b"{}")
        writer._release()

    asyncio.run(scenario())
    assert fatal == [f"the chain {node.log.storage.chains()[0].chain_id} was closed by another process"]


def test_in_interval_mode_the_copy_follows_soon(node: Node) -> None:
    async def scenario() -> None:
        writer = node.open(sync="interval")
        await writer.write(b"{}")
        assert node.log.archive is not None
        deadline = asyncio.get_running_loop().time() + 10
        while node.log.archive.end(writer.chain_id).last < 2:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        await writer.close()

    asyncio.run(scenario())


def test_lines_that_the_database_lost_are_given_to_it_again(
    node: Node, tmp_path: Path, chain_private_key: bytes
) -> None:
    """As by a standby that had not got them: nothing else tells, since a use of a key changes no state."""

    async def scenario() -> None:
        writer = node.open()
        for number in range(9):
            await writer.write(b'{"record":%d}' % number)
        with node.storage.database.writing() as connection:
            connection.execute(delete(AUDIT_GROUPS).where(AUDIT_GROUPS.c.first_sequence > 4))
        for _ in range(3):
            await writer.write(b'{"record":"later"}')
            await writer.tick()
        assert not writer.behind
        await writer.close()

    asyncio.run(scenario())
    assert node.findings(node.exported(tmp_path / "exported"), chain_private_key) == []


def test_lines_whose_outcome_was_not_known_are_there_once(node: Node, tmp_path: Path, chain_private_key: bytes) -> None:
    """A part of what a killed process had in its file is in the database already, in other groups."""

    async def scenario() -> None:
        writer = node.open(sync="interval")
        for number in range(9):
            await writer.write(b'{"record":%d}' % number)
        assert node.log.archive is not None
        lines = log_path(node.log.directory / writer.chain_id, 1).read_bytes().splitlines(keepends=True)
        await writer._groups.durable()
        with node.storage.database.writing() as connection:
            connection.execute(delete(AUDIT_GROUPS))
        assert node.log.archive.put(Group(writer.chain_id, 1, 4, 1, b"".join(lines[:4])))
        die(writer)
        second, recovered = await node.start(chain_private_key)
        assert [details.damage for details in recovered] == [[]]
        await second.close()

    asyncio.run(scenario())
    assert node.findings(node.exported(tmp_path / "exported"), chain_private_key) == []


def test_what_a_power_cut_left_in_the_middle_of_a_file_is_written_anew(
    node: Node, tmp_path: Path, chain_private_key: bytes
) -> None:
    """Files are not synced while the database has their lines."""

    async def scenario() -> None:
        writer = node.open()
        for number in range(9):
            await writer.write(b'{"record":%d}' % number)
        path = log_path(die(writer), 1)
        whole = path.read_bytes()
        at = len(whole) - 500
        path.write_bytes(whole[:at] + bytes(300) + whole[at + 300 :])
        second, recovered = await node.start(chain_private_key)
        assert [(details.damage, details.last_sequence) for details in recovered] == [([], 10)]
        assert path.read_bytes() == whole
        await second.close()

    asyncio.run(scenario())
    assert node.findings(node.exported(tmp_path / "exported"), chain_private_key) == []


def test_a_chain_that_was_closed_is_not_opened_again(node: Node) -> None:
    async def scenario() -> None:
        writer = node.open()
        await writer.write(b"{}")
        (chain,) = node.log.storage.chains()
        node.log.storage.register_chain(AuditChain(chain.chain_id, chain.opened, 2, bytes(32), ended=True))
        with pytest.raises(IntegrityError, match="was closed by another process"):
            await writer.tick()
        writer._release()

    asyncio.run(scenario())
    assert node.log.storage.chains()[0].ended


def test_a_digest_that_could_not_be_copied_at_once_is_the_one_that_the_next_follows(
    node: Node, tmp_path: Path, chain_private_key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        writer = node.open()
        await writer.write(b"{}")
        for _ in range(2):
            writer._groups.begin_segment()
            await writer.write(b"{}")

        def away(*_: object) -> None:
            raise StorageError("away")

        with monkeypatch.context() as patch:
            patch.setattr(AuditArchive, "put_digest", away)
            with pytest.raises(StorageError):
                await writer.tick()
        await writer.close()

    asyncio.run(scenario())
    assert node.findings(node.exported(tmp_path / "exported"), chain_private_key) == []


def test_the_record_of_a_change_whose_commit_seemed_to_fail_is_found(node: Node) -> None:
    async def scenario() -> None:
        writer = node.open()
        position = Position(0, b"")

        def commit() -> None:
            nonlocal position
            with writer.committing("event"):
                position = node.log.storage.commit([], OutboxEntry(writer.chain_id, "event", b'{"made":true}'))
                raise StorageError("the answer was lost")

        with pytest.raises(StorageError):
            commit()
        await writer.tick()
        await writer._groups.drain()
        await writer.tick()
        assert node.log.storage.outbox() == []
        lines = log_path(node.log.directory / writer.chain_id, 1).read_bytes().splitlines()
        assert [line.split(b" ", 3)[1:2] for line in lines if b"made" in line] == [[b"%d" % position.number]]
        await writer.close()

    asyncio.run(scenario())


def test_the_record_of_a_change_that_is_being_committed_is_left_to_who_commits_it(node: Node) -> None:
    async def scenario() -> None:
        writer = node.open()
        with pytest.raises(StorageError), writer.committing("other"):
            raise StorageError("lost")
        with writer.committing("event"):
            position = node.log.storage.commit([], OutboxEntry(writer.chain_id, "event", b'{"made":true}'))
            await writer.tick()
        await writer.write(b'{"made":true}', position.number)
        await writer.close()
        text = log_path(node.log.directory / writer.chain_id, 1).read_bytes()
        assert text.count(b'{"made":true}') == 1

    asyncio.run(scenario())


def test_reading_goes_by_pages_of_bytes(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.storage.audit_archive._PAGE_BYTES", 400)

    async def scenario() -> Path:
        writer = node.open()
        for number in range(30):
            await writer.write(b'{"record":%d}' % number)
        await writer.close()
        return node.log.directory / writer.chain_id

    directory = asyncio.run(scenario())
    assert contents(node.exported(tmp_path / "exported") / directory.name) == contents(directory)
    assert node.log.archive is not None
    assert next(node.log.archive.groups(directory.name, after=7)).first == 8
