"""Single edits of a log of two nodes: each is found, and the first bad record is named, with its chain and file.

What was done, and with it which record is the first bad one, is known from the making of the edit alone.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.audit.record import encode, service_event
from strongroom.audit.verify import Report, verify, verify_offline
from strongroom.audit.writer import SEGMENT_SECONDS, AuditLog, AuditWriter
from strongroom.storage.contract import OutboxEntry
from tests.sizes import Size

pytestmark = pytest.mark.soak

Open = Callable[..., AuditWriter]
START = 1_790_000_000.0
RECORDS = 2_000
A_CHANGE_EVERY = 40


class Named(NamedTuple):
    """A record as a finding names it; of a digest `sequence` is 0."""

    chain_id: str
    file: str
    sequence: int


class Line(NamedTuple):
    """A line of the log as it was written."""

    path: Path
    position: int
    sequence: int

    @property
    def named(self) -> Named:
        return Named(self.path.parent.name, self.path.name, self.sequence)


class Edit(NamedTuple):
    """New contents of files (None: gone), and for each chain that is touched what may be named first."""

    what: str
    contents: dict[Path, bytes | None]
    first: dict[str, set[Named]]


class Log:
    """The log as it was written: every file, and every line."""

    def __init__(self, directory: Path) -> None:
        self.files = {path: path.read_bytes() for path in sorted(directory.glob("*/*"))}
        self.logs = [path for path in self.files if path.suffix == ".log"]
        self.lines = {path: self.files[path].splitlines(keepends=True) for path in self.logs}
        self.all = [
            Line(path, index, int(line.split(b" ", 1)[0]))
            for path in self.logs
            for index, line in enumerate(self.lines[path])
        ]

    def bytes_of(self, line: Line) -> bytes:
        return self.lines[line.path][line.position]

    def header(self, path: Path) -> Line:
        return next(line for line in self.all if line.path == path)


Make = Callable[[Log, random.Random], Edit]


def content(lines: list[bytes]) -> bytes:
    return b"".join(lines)


def flipped(data: bytes, choose: random.Random) -> bytes:
    at = choose.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << choose.randrange(8))]) + data[at + 1 :]


def with_line(log: Log, line: Line, new: bytes) -> dict[Path, bytes | None]:
    lines = list(log.lines[line.path])
    lines[line.position] = new
    return {line.path: content(lines)}


def only(line: Line) -> dict[str, set[Named]]:
    return {line.path.parent.name: {line.named}}


def change(log: Log, choose: random.Random) -> Edit:
    """Another record in its place, its sequence and MAC kept."""
    line = choose.choice(log.all)
    sequence, number, mac, _ = log.bytes_of(line).split(b" ", 3)
    new = b" ".join((sequence, number, mac, b'{"eventName":"Nothing%d"}\n' % choose.randrange(1000)))
    return Edit("changed", with_line(log, line, new), only(line))


def flip(log: Log, choose: random.Random) -> Edit:
    line = choose.choice(log.all)
    return Edit("bit flipped", with_line(log, line, flipped(log.bytes_of(line), choose)), only(line))


def flip_before_the_record(log: Log, choose: random.Random) -> Edit:
    """In the sequence, the number of the change, the MAC, or the spaces between."""
    line = choose.choice(log.all)
    old = log.bytes_of(line)
    cut = old.index(b"{")
    return Edit("bit of a line's head", with_line(log, line, flipped(old[:cut], choose) + old[cut:]), only(line))


def flip_a_header(log: Log, choose: random.Random) -> Edit:
    line = log.header(choose.choice(log.logs))
    return Edit("bit of a header", with_line(log, line, flipped(log.bytes_of(line), choose)), only(line))


def remove(log: Log, choose: random.Random) -> Edit:
    line = choose.choice(log.all)
    return Edit("removed", with_line(log, line, b""), only(line))


def move(log: Log, choose: random.Random) -> Edit:
    """To any other place of any file."""
    line = choose.choice(log.all)
    path = choose.choice(log.logs)
    lines = {each: list(log.lines[each]) for each in {line.path, path}}
    moved = lines[line.path].pop(line.position)
    at = choose.choice([at for at in range(len(lines[path]) + 1) if (path, at) != (line.path, line.position)])
    lines[path].insert(at, moved)
    first = only(line)
    if path.parent != line.path.parent or (path, at) < (line.path, line.position):
        first[path.parent.name] = {placed(log, line, path, at)}
    elif path == line.path and at == line.position + 1:
        # Neighbors changed places: either of them was moved.
        first[path.parent.name].add(Named(path.parent.name, path.name, line.sequence + 1))
    if line.position == 0 and path == line.path:
        first[path.parent.name] = {line.named}
    return Edit("moved", {each: content(new) for each, new in lines.items()}, first)


def placed(log: Log, line: Line, path: Path, at: int) -> Named:
    """How a line is named that was put into a place of another; before a header, it is taken for a bad header."""
    return log.header(path).named if at == 0 else Named(path.parent.name, path.name, line.sequence)


def insert_a_copy(log: Log, choose: random.Random) -> Edit:
    line = choose.choice(log.all)
    path = choose.choice(log.logs)
    lines = list(log.lines[path])
    at = choose.randrange(len(lines) + 1)
    lines.insert(at, log.bytes_of(line))
    named = placed(log, line, path, at)
    return Edit("copied", {path: content(lines)}, {path.parent.name: {named}})


def insert_a_forged_one(log: Log, choose: random.Random) -> Edit:
    line = choose.choice(log.all)
    lines = list(log.lines[line.path])
    forged = b'%d 0 %b {"eventName":"Nothing"}\n' % (line.sequence + 1, choose.randbytes(32).hex().encode())
    lines.insert(line.position + 1, forged)
    named = Named(line.path.parent.name, line.path.name, line.sequence + 1)
    return Edit("forged", {line.path: content(lines)}, {named.chain_id: {named}})


def cut(log: Log, choose: random.Random) -> Edit:
    """The end of a file, from anywhere within a line or between two."""
    line = choose.choice(log.all)
    kept = choose.randrange(len(log.bytes_of(line))) if choose.random() < 0.5 else 0
    lines = [*log.lines[line.path][: line.position], log.bytes_of(line)[:kept]]
    return Edit("cut", {line.path: content(lines)}, only(line))


def take_a_log(log: Log, choose: random.Random) -> Edit:
    path = choose.choice(log.logs)
    return Edit("missing log", {path: None}, only(log.header(path)))


def digest_of(path: Path) -> dict[str, set[Named]]:
    chain_id = path.parent.name
    return {chain_id: {Named(chain_id, path.name.removesuffix(".sig"), 0)}}


def take_a_digest(log: Log, choose: random.Random) -> Edit:
    path = choose.choice([path for path in log.files if path not in log.logs])
    return Edit("missing digest", {path: None}, digest_of(path))


def flip_a_digest(log: Log, choose: random.Random) -> Edit:
    path = choose.choice([path for path in log.files if path not in log.logs])
    return Edit("bit of a digest", {path: flipped(log.files[path], choose)}, digest_of(path))


EDITS: list[Make] = [
    change,
    flip,
    flip_before_the_record,
    flip_a_header,
    remove,
    move,
    insert_a_copy,
    insert_a_forged_one,
    cut,
    take_a_log,
    take_a_digest,
    flip_a_digest,
]


@pytest.fixture
def two_nodes(log: AuditLog, open_writer: Open) -> Log:
    """Four files: a chain that came to its clean end, and one of a process that was killed after its last tick."""

    async def scenario() -> None:
        now = [START]
        closed, killed = (open_writer(now=lambda: now[0]) for _ in range(2))
        for half in range(2):
            for writer in (closed, killed):
                for index in range(RECORDS // 4 - 1):  # and the header
                    record, change_number = event(index), 0
                    if index % A_CHANGE_EVERY == 0:
                        entry = OutboxEntry(writer.chain_id, f"{index}", record)
                        change_number = log.storage.commit([], entry).number
                    written = writer.write(record, change_number)
                await written
            now[0] += SEGMENT_SECONDS if half == 0 else 0
            for writer in (closed, killed):
                await writer.tick()
                await writer._groups.drain()
                await writer.tick()
        await closed.close()

    asyncio.run(scenario())
    return Log(log.directory)


def event(index: int) -> bytes:
    details = {"keyId": f"arn:aws:kms:us-east-1:111122223333:key/{index:032x}", "encryptionContext": {"n": f"{index}"}}
    return encode(service_event(name="Encrypt", event_id=f"{index}", now=START, details=details))


def test_every_edit_is_found_and_its_first_record_named(
    log: AuditLog, two_nodes: Log, chain_private_key: bytes, size: Size
) -> None:
    def whole() -> Report:
        return verify(log.directory, log.installation, chain_private_key=chain_private_key, storage=log.storage)

    assert whole() == Report(chains=2, segments=4, records=RECORDS, findings=[])
    choose = random.Random(20_261_126)
    done: Counter[str] = Counter()
    wrong: list[str] = []
    for turn in range(size.log_edits):
        edit = EDITS[turn % len(EDITS)](two_nodes, choose)
        if all(two_nodes.files[path] == new for path, new in edit.contents.items()):
            continue  # a copy of a line in its own place, say
        for path, new in edit.contents.items():
            path.unlink() if new is None else path.write_bytes(new)
        wrong += [f"turn {turn}, {edit.what}: {fault}" for fault in faults(edit, whole())]
        offline = {finding.chain_id for finding in verify_offline(log.directory, log.installation.digest_public_key)[3]}
        wrong += [f"turn {turn}, {edit.what}: not seen offline" for name in signed_chains(edit) if name not in offline]
        done[edit.what] += 1
        for path in edit.contents:
            path.write_bytes(two_nodes.files[path])
    print(f"{done.total()} single edits, {len(wrong)} not found or named wrongly: {dict(done)}")
    assert wrong == []
    assert done.total() > size.log_edits * 0.95
    assert whole().findings == []


def faults(edit: Edit, report: Report) -> list[str]:
    """What is wrong with the findings about an edit."""
    first: dict[str, Named] = {}
    for finding in report.findings:
        if finding.chain_id:
            first.setdefault(finding.chain_id, Named(finding.chain_id, finding.file, finding.sequence))
    if first.keys() != edit.first.keys():
        return [f"findings about {sorted(first)}, and not {sorted(edit.first)}"]
    return [
        f"{first[chain_id]} is named first, and not {accepted}"
        for chain_id, accepted in edit.first.items()
        if first[chain_id] not in accepted
    ]


def signed_chains(edit: Edit) -> set[str]:
    """The chains of which a file is touched that a digest covers."""
    return {path.parent.name for path in edit.contents if path.with_suffix(".digest").exists()}
