import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from strongroom.audit.digests import digest_path
from strongroom.audit.rollback import KnownChanges, LostChain, known_changes, lost_chains
from strongroom.audit.segments import chain_directories, log_path
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.storage.contract import OutboxEntry
from tests.unit.audit.chains import forge_chain, write_chain

Open = Callable[..., AuditWriter]
NOW = 1_790_000_500.0
RECORD = b'{"change":1}'


def commit(log: AuditLog, chain_id: str) -> int:
    return log.storage.commit([], OutboxEntry(chain_id, "event", RECORD)).number


def known(log: AuditLog, chain_private_key: bytes) -> KnownChanges:
    return known_changes(log.directory, log.installation, chain_private_key=chain_private_key)


def unsigned(*numbers: int) -> frozenset[tuple[int, bytes]]:
    return frozenset((number, sha256(RECORD).digest()) for number in numbers)


def lost(log: AuditLog, chain_private_key: bytes, *known: str) -> list[LostChain]:
    return lost_chains(log.directory, log.installation, known, chain_private_key=chain_private_key)


def test_changes_are_known_from_digests(log: AuditLog, chain_private_key: bytes) -> None:
    assert known(log, chain_private_key) == KnownChanges(0, None, frozenset())
    write_chain(log, lambda chain_id: [(RECORD, commit(log, chain_id)) for _ in range(3)], now=NOW)
    assert known(log, chain_private_key) == KnownChanges(3, log.storage.position(), frozenset())


def test_changes_are_known_from_the_lines_of_a_killed_process(
    log: AuditLog, open_writer: Open, chain_private_key: bytes
) -> None:
    async def scenario() -> Path:
        dead = open_writer()
        for number in [commit(log, dead.chain_id) for _ in range(4)]:
            await dead.write(RECORD, number)
        dead._release()
        return log_path(log.directory / dead.chain_id, 1)

    file = asyncio.run(scenario())
    assert known(log, chain_private_key) == KnownChanges(4, None, unsigned(1, 2, 3, 4))
    content = file.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    file.write_bytes(content.replace(last, last.replace(b"5 4 ", b"5 9 ")))
    assert known(log, chain_private_key) == KnownChanges(3, None, unsigned(1, 2, 3))


def test_what_a_digest_covers_is_not_told_again(log: AuditLog, open_writer: Open, chain_private_key: bytes) -> None:
    async def scenario() -> None:
        dead = open_writer()
        await dead.write(RECORD, commit(log, dead.chain_id))
        dead._release()

    asyncio.run(scenario())
    write_chain(log, lambda _: [], now=NOW)
    assert known(log, chain_private_key) == KnownChanges(1, log.storage.position(), frozenset())


def test_a_forged_digest_knows_nothing(log: AuditLog, chain_private_key: bytes) -> None:
    write_chain(log, lambda chain_id: [(RECORD, commit(log, chain_id))], now=NOW)
    (directory,) = chain_directories(log.directory)
    path = digest_path(directory, 1)
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 9'))
    assert known(log, chain_private_key) == KnownChanges(1, None, unsigned(1))


def test_a_forged_chain_knows_nothing_and_is_not_lost(log: AuditLog, chain_private_key: bytes) -> None:
    forge_chain(log, "node1.forged", [(b"{}", 2**63 - 2)])
    assert known(log, chain_private_key) == KnownChanges(0, None, frozenset())
    assert lost(log, chain_private_key) == []


def test_lost_chains_are_named_with_their_ends(log: AuditLog, chain_private_key: bytes) -> None:
    directory = write_chain(log, lambda _: [(b"{}", 0)] * 2, now=NOW)
    (registered,) = log.storage.chains()
    assert lost(log, chain_private_key) == [LostChain(directory.name, 3, registered.mac.hex())]
    assert lost(log, chain_private_key, directory.name) == []
