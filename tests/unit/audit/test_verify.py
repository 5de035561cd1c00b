import asyncio
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from strongroom.audit import chain
from strongroom.audit.digests import ClosedSegment, digest_path, read_digest, signature_path, write_digest
from strongroom.audit.headers import decode_header, encode_header, seal_key
from strongroom.audit.record import encode, service_event
from strongroom.audit.recovery import RECOVERY_EVENT, RecoveryDetails, recover
from strongroom.audit.rollback import ROLLBACK_EVENT, LostChain, RollbackDetails, known_changes, lost_chains
from strongroom.audit.segments import log_path
from strongroom.audit.verify import Report, verify, verify_offline
from strongroom.audit.writer import SEGMENT_SECONDS, AuditLog, AuditWriter
from strongroom.storage.contract import AuditChain, OutboxEntry, Position
from strongroom.storage.sqlite import create_storage, open_storage
from tests.unit.audit.chains import forge_chain, write_chain

Open = Callable[..., AuditWriter]
START = 1_790_000_000.0


@pytest.fixture
def chain_directory(log: AuditLog, open_writer: Open) -> Path:
    """A chain of three closed segments, with records of three changes."""
    now = [START]

    async def scenario() -> Path:
        writer = open_writer(now=lambda: now[0])
        for segment in range(3):
            for _ in range(4):
                await writer.write(b'{"plain":1}')
            number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b'{"segment":%d}' % segment)).number
            await writer.write(b'{"segment":%d}' % segment, number)
            now[0] += SEGMENT_SECONDS
            if segment < 2:
                await writer.tick()
                await writer._groups.drain()
                await writer.tick()
        await writer.close()
        return log.directory / writer.chain_id

    return asyncio.run(scenario())


@pytest.fixture
def full(log: AuditLog, chain_private_key: bytes) -> Callable[[], Report]:
    return lambda: verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=log.storage)


@pytest.fixture
def offline(log: AuditLog) -> Callable[[], Report]:
    return lambda: verify_offline(log.directory, log.installation.digest_public_key)


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def told(report: Report) -> list[tuple[str, str, str]]:
    return [(finding.kind, finding.chain_id, finding.message) for finding in report.findings]


@pytest.fixture
def other(log: AuditLog, tmp_path: Path) -> Iterator[AuditLog]:
    """The same log over another database."""
    storage = create_storage(tmp_path / "other.db", bytes(range(32)))
    yield log._replace(storage=storage)
    storage.close()


def test_a_whole_log_is_sound(
    chain_directory: Path,
    full: Callable[[], Report],
    offline: Callable[[], Report],
    log: AuditLog,
    chain_private_key: bytes,
) -> None:
    assert full() == Report(chains=1, segments=3, records=18, findings=[])
    assert offline() == Report(chains=1, segments=3, records=0, findings=[])
    without = verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=None)
    assert without == Report(chains=1, segments=3, records=18, findings=[])


def test_no_log_at_all_is_sound(full: Callable[[], Report], offline: Callable[[], Report]) -> None:
    assert full() == offline() == Report(0, 0, 0, [])


def edit_lines(path: Path, edit: Callable[[list[bytes]], None]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))


def remove_last(lines: list[bytes]) -> None:
    del lines[-1]


def change(lines: list[bytes]) -> None:
    lines[2] = lines[2].replace(b'{"plain":1}', b'{"plain":2}')


def remove(lines: list[bytes]) -> None:
    del lines[2]


def reorder(lines: list[bytes]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def forge(lines: list[bytes]) -> None:
    lines.insert(2, chain.extend(chain.ChainState(2, bytes(32), bytes(32)), b"{}")[1])


@pytest.mark.parametrize(
    ("edit", "kind"), [(change, "changed"), (remove, "removed"), (reorder, "reordered"), (forge, "inserted")]
)
@pytest.mark.parametrize("segment", [1, 2, 3])
def test_edited_records_are_named_with_the_key_and_found_without_it(
    chain_directory: Path,
    full: Callable[[], Report],
    offline: Callable[[], Report],
    edit: Callable[[list[bytes]], None],
    kind: str,
    segment: int,
) -> None:
    edit_lines(log_path(chain_directory, segment), edit)
    assert kinds(full()) == {kind, "changed-segment"}
    assert told(offline()) == [
        ("changed-segment", chain_directory.name, f"the log of segment {segment} is not the one that was signed")
    ]


def remove_digest(directory: Path) -> None:
    digest_path(directory, 2).unlink()


def remove_signature(directory: Path) -> None:
    signature_path(directory, 3).unlink()


def remove_segment(directory: Path) -> None:
    log_path(directory, 2).unlink()


def remove_segment_and_digest(directory: Path) -> None:
    log_path(directory, 2).unlink()
    digest_path(directory, 2).unlink()


def swap_digests(directory: Path) -> None:
    for path in (digest_path, signature_path):
        two, three = path(directory, 2).read_bytes(), path(directory, 3).read_bytes()
        path(directory, 2).write_bytes(three)
        path(directory, 3).write_bytes(two)


def edit_digest(directory: Path) -> None:
    path = digest_path(directory, 2)
    path.write_bytes(path.read_bytes().replace(b'"segment": 2', b'"segment":  2'))


def remove_the_last_segment(directory: Path) -> None:
    log_path(directory, 3).unlink()
    digest_path(directory, 3).unlink()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (remove_digest, {"missing-digest"}),
        (remove_signature, {"missing-digest"}),
        (remove_segment, {"missing-segment", "removed"}),
        (remove_segment_and_digest, {"missing-segment", "missing-digest", "removed"}),
        (swap_digests, {"bad-signature"}),
        (edit_digest, {"bad-signature"}),
        (remove_the_last_segment, {"truncated"}),
    ],
)
def test_harm_to_segments_and_digests_is_named(
    chain_directory: Path, full: Callable[[], Report], harm: Callable[[Path], None], expected: set[str]
) -> None:
    harm(chain_directory)
    assert kinds(full()) - {"missing-record"} == expected


def resign(log: AuditLog, directory: Path, number: int, key: RSAPrivateKey, **changes: object) -> None:
    """Sign a segment's digest again, otherwise than the writer did."""
    signed = read_digest(directory, number)
    before = read_digest(directory, number - 1)
    assert signed is not None
    digest = signed.digest
    segment = ClosedSegment(
        number=number,
        start_time=digest.digest_start_time,
        end_time=digest.digest_end_time,
        first_sequence=digest.first_sequence,
        last_sequence=digest.last_sequence,
        last_mac=bytes.fromhex(digest.last_mac),
        size=digest.log_file.size,
        sha256=digest.log_file.hash_value,
    )
    installation = changes.pop("installation", log.installation)
    previous = changes.pop("previous", before.link if before else None)
    write_digest(
        directory,
        segment,
        installation=installation,  # type: ignore[arg-type]
        digest_key=key,
        position=Position(digest.database_position.number, b""),
        previous=previous,  # type: ignore[arg-type]
    )


def test_a_digest_of_another_key_is_named(
    chain_directory: Path, log: AuditLog, full: Callable[[], Report], offline: Callable[[], Report]
) -> None:
    resign(log, chain_directory, 3, generate_private_key(public_exponent=65537, key_size=2048))
    assert kinds(full()) == kinds(offline()) == {"bad-signature"}


def test_digests_that_do_not_follow_each_other_are_named(
    chain_directory: Path, log: AuditLog, digest_key: RSAPrivateKey, offline: Callable[[], Report]
) -> None:
    resign(log, chain_directory, 2, digest_key, previous=None)
    assert [finding.message for finding in offline().findings] == [
        "the digest of segment 2 does not follow the one before it",
        "the digest of segment 3 does not follow the one before it",
    ]


def test_a_digest_of_another_installation_is_named(
    chain_directory: Path, log: AuditLog, digest_key: RSAPrivateKey, full: Callable[[], Report]
) -> None:
    other = msgspec.structs.replace(log.installation, installation_id="other")
    resign(log, chain_directory, 3, digest_key, installation=other)
    assert [finding.message for finding in full().findings] == ["the digest of segment 3 is of another installation"]


def test_a_chain_that_is_gone_is_named(chain_directory: Path, full: Callable[[], Report]) -> None:
    shutil.rmtree(chain_directory)
    report = full()
    assert kinds(report) == {"missing-chain", "missing-record"}
    assert len(report.findings) == 4


def test_a_chain_that_nobody_registered_is_named(chain_directory: Path, full: Callable[[], Report]) -> None:
    shutil.copytree(chain_directory, chain_directory.with_name("node1.copy"))
    found = {finding.kind for finding in full().findings if finding.chain_id == "node1.copy"}
    assert "unregistered" in found
    assert not [finding for finding in full().findings if finding.chain_id == chain_directory.name]


def test_a_chain_cut_before_its_registered_position_is_named(
    log: AuditLog, open_writer: Open, full: Callable[[], Report]
) -> None:
    async def scenario() -> Path:
        writer = open_writer()
        for _ in range(3):
            await writer.write(b"{}")
        await writer.tick()
        await writer.write(b"{}")
        return log_path(log.directory / writer.chain_id, 1)

    path = asyncio.run(scenario())
    assert full().findings == []
    edit_lines(path, remove_last)
    assert full().findings == []
    edit_lines(path, remove_last)
    assert [finding.message for finding in full().findings] == ["the log ends at record 3, but had come to 4"]


def test_a_chain_made_anew_by_somebody_without_keys_is_named(
    log: AuditLog, open_writer: Open, full: Callable[[], Report]
) -> None:
    async def scenario() -> Path:
        writer = open_writer()
        await writer.write(b"{}")
        await writer.tick()
        return log_path(log.directory / writer.chain_id, 1)

    path = asyncio.run(scenario())
    lines = path.read_bytes().splitlines(keepends=True)
    parsed = chain.parse(lines[0])
    assert parsed is not None
    # The forger keeps the chain's name and its first MAC, and seals a key of their own.
    header = decode_header(parsed.record)
    assert header is not None
    key = bytes(range(32))
    sealed = seal_key(
        key,
        chain_public_key=log.installation.chain_public_key,
        installation_id=log.installation.installation_id,
        chain_id=header.chain_id,
        segment=1,
    )
    for before in (chain.beginning(header.chain_id, key), chain.ChainState(0, header.previous_mac, key)):
        forged = encode_header(msgspec.structs.replace(header, sealed_key=sealed, previous_mac=before.mac))
        after, first = chain.extend(before, forged)
        _, second = chain.extend(after, b'{"nothing":"happened"}')
        path.write_bytes(first + second)
        assert kinds(full()) & {"forged", "changed"}


def test_records_added_behind_a_clean_end_are_named(
    chain_directory: Path, log: AuditLog, full: Callable[[], Report]
) -> None:
    (known,) = log.storage.chains()
    log.storage.register_chain(known._replace(sequence=known.sequence - 1))
    assert "forged" in kinds(full())


def test_a_change_without_its_record_is_named(chain_directory: Path, log: AuditLog, full: Callable[[], Report]) -> None:
    (known,) = log.storage.chains()
    number = log.storage.commit([], OutboxEntry(known.chain_id, "e", b'{"hidden":1}')).number
    assert full().findings == []
    log.storage.register_chain(known, chained=[number])
    assert told(full()) == [("missing-record", "", f"change {number} has no record in the log")]


def test_a_record_that_is_not_the_one_committed_is_named(log: AuditLog, full: Callable[[], Report]) -> None:
    def work(chain_id: str) -> list[tuple[bytes, int]]:
        return [(b'{"said":2}', log.storage.commit([], OutboxEntry(chain_id, "e", b'{"done":1}')).number)]

    write_chain(log, work, now=START)
    assert [finding.message for finding in full().findings] == [
        "the record of change 1 is not the one committed with it"
    ]


def test_a_torn_line_of_an_ended_chain_needs_a_recovery_record(
    chain_directory: Path, full: Callable[[], Report]
) -> None:
    path = log_path(chain_directory, 3)
    path.write_bytes(path.read_bytes() + b"19 0 ab")
    assert kinds(full()) == {"torn", "changed-segment"}
    path = log_path(chain_directory, 2)
    path.write_bytes(path.read_bytes() + b"19 0 ab")
    assert "damaged" in kinds(full())


@pytest.mark.parametrize(
    "record",
    [
        b'{"eventName":"RecoverAuditChain","eventType":"AwsApiCall"}',
        b'{"eventName":"Encrypt","eventType":"AwsApiCall","requestParameters":{"a":"RecoverAuditChain"}}',
    ],
)
def test_a_caller_cannot_write_a_recovery_record(log: AuditLog, full: Callable[[], Report], record: bytes) -> None:
    write_chain(log, lambda _: [(record, 0)], now=START)
    assert full().findings == []


def test_verification_may_run_beside_a_writer(log: AuditLog, open_writer: Open, full: Callable[[], Report]) -> None:
    async def scenario() -> None:
        writer = open_writer()
        for _ in range(5):
            number = log.storage.commit([], OutboxEntry(writer.chain_id, "e", b"{}")).number
            assert full().findings == []
            await writer.write(b"{}", number)
            assert full().findings == []
            await writer.tick()
            assert full().findings == []

    asyncio.run(scenario())


def test_the_registration_of_a_chain_that_never_wrote_is_sound(log: AuditLog, full: Callable[[], Report]) -> None:
    log.storage.register_chain(AuditChain("node1.never", START, 0, bytes(32), ended=True))
    assert full().findings == []


def test_memory_does_not_grow_with_the_log(log: AuditLog, full: Callable[[], Report]) -> None:
    def peak(records: int) -> int:
        write_chain(log, lambda _: [(b'{"filler":"' + b"x" * 500 + b'"}', 0)] * records, now=START)
        tracemalloc.start()
        try:
            assert full().findings == []
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(10)
    assert peak(1000) < few + 200_000


FORGED = "node1.forged"


def event(name: str, details: msgspec.Struct) -> bytes:
    return encode(service_event(name=name, event_id="e", now=START, details=details))


@pytest.mark.parametrize(
    ("record", "change"),
    [
        (b'{"nothing":"happened"}', 0),
        (b'{"segment":1}', 2),
        (b"{}", 2**63 - 1),
        (b"{}", 2**63 - 2),
        (event(ROLLBACK_EVENT, RollbackDetails(1, 1, 9, [LostChain(FORGED, 2, "00")])), 0),
        (event(RECOVERY_EVENT, RecoveryDetails(FORGED, 2, "00", 0, "00", [], [])), 0),
    ],
    ids=["invented", "change", "largest", "largest that is one", "rollback", "recovery"],
)
@pytest.mark.usefixtures("chain_directory")
def test_a_chain_made_with_the_public_keys_alone_is_found_and_believed_nothing(
    log: AuditLog,
    open_writer: Open,
    chain_private_key: bytes,
    full: Callable[[], Report],
    record: bytes,
    change: int,
) -> None:
    forge_chain(log, FORGED, [(record, change)])
    message = "segment 1 does not begin with a header of this installation"
    assert told(full()) == [
        ("forged", FORGED, message),
        ("unregistered", FORGED, "the database knows no such chain"),
    ]
    assert full().records == 18
    assert ("forged", FORGED, message) in told(verify_offline(log.directory, log.installation.digest_public_key))
    without = verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=None)
    assert told(without) == [("forged", FORGED, message)]
    # Nor does it stop a start.
    known = known_changes(log.directory, log.installation, chain_private_key=chain_private_key)
    assert (known.newest, known.unsigned) == (3, frozenset())

    async def start() -> None:
        writer = open_writer()
        assert await recover(log, writer, chain_private_key=chain_private_key, now=START) == []
        await writer.close()

    asyncio.run(start())


def test_a_forged_segment_of_a_chain_of_ours_is_named(
    chain_directory: Path, log: AuditLog, full: Callable[[], Report]
) -> None:
    forge_chain(log, chain_directory.name, [(b'{"segment":0}', 1)])
    found = [(finding.kind, finding.message) for finding in full().findings]
    assert ("forged", "segment 1 does not begin with a header of this installation") in found
    assert ("missing-record", "change 1 has no record in the log") in found


def test_a_chain_that_is_not_registered_is_not_believed(
    log: AuditLog, chain_private_key: bytes, full: Callable[[], Report], other: AuditLog
) -> None:
    """As one that accepts itself as lost: here it is made by the installation, for another database."""
    accepted = event(ROLLBACK_EVENT, RollbackDetails(1, 1, 9, [LostChain("node1.mine", 2, "00")]))
    directory = write_chain(other, lambda _: [(accepted, 0)], now=START)
    directory.rename(directory.with_name("node1.mine"))
    assert ("unregistered", "node1.mine", "the database knows no such chain") in told(full())


def test_a_lost_chain_is_accepted_as_it_was(
    log: AuditLog, chain_private_key: bytes, full: Callable[[], Report], other: AuditLog
) -> None:
    directory = write_chain(other, lambda _: [(b"{}", 0)], now=START)
    assert kinds(full()) == {"unregistered"}
    lost = lost_chains(log.directory, log.installation, [], chain_private_key=chain_private_key)
    write_chain(log, lambda _: [(event(ROLLBACK_EVENT, RollbackDetails(0, 1, 1, lost)), 0)], now=START)
    assert full().findings == []
    edit_lines(log_path(directory, 1), remove_last)
    assert ("forged", directory.name, "the chain is not the one that was accepted as lost") in told(full())
    shutil.rmtree(directory)
    assert kinds(full()) == {"missing-chain"}


@pytest.mark.parametrize(("first", "newest", "expected"), [(1, 1, set()), (2, 3, {"other-record"})])
def test_another_record_is_accepted_for_a_lost_change(
    log: AuditLog, full: Callable[[], Report], first: int, newest: int, expected: set[str]
) -> None:
    def work(chain_id: str) -> list[tuple[bytes, int]]:
        number = log.storage.commit([], OutboxEntry(chain_id, "e", b'{"fork":2}')).number
        return [(b'{"fork":1}', number), (b'{"fork":2}', number)]

    write_chain(log, work, now=START)
    assert kinds(full()) == {"other-record"}
    write_chain(log, lambda _: [(event(ROLLBACK_EVENT, RollbackDetails(1, first, newest, [])), 0)], now=START)
    assert kinds(full()) == expected


@pytest.mark.parametrize(
    "record",
    [
        b"RecoverAuditChain",
        b'"\xff AcceptRollback"',
        b'{"eventName":"AcceptRollback","eventType":"AwsServiceEvent"}',
        b'{"eventName":"RecoverAuditChain","eventType":"AwsServiceEvent","serviceEventDetails":{"chainId":1}}',
    ],
)
def test_an_event_that_cannot_be_read_is_named(log: AuditLog, full: Callable[[], Report], record: bytes) -> None:
    directory = write_chain(log, lambda _: [(record, 0)], now=START)
    assert told(full()) == [("unreadable", directory.name, "record 2 has not the form of its event")]


def test_verification_needs_nothing_but_an_open_database(
    chain_directory: Path, log: AuditLog, chain_private_key: bytes, tmp_path: Path
) -> None:
    storage = open_storage(tmp_path / "strongroom.db", bytes(range(32)))
    try:
        report = verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=storage)
    finally:
        storage.close()
    assert report.findings == []
