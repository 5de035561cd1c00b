"""Random damage to the files of a killed server: what is then served is what was acknowledged, or nothing is.

The server was killed with changes in the write-ahead log of its database. For each damage the state that a start
comes to is compared with that of the files as they were; every so often by a real server, which is asked.
"""

import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.app.history import refuse_rollback
from strongroom.app.installing import open_installation
from strongroom.config import read_config
from strongroom.errors import IntegrityError, OperatorError, RollbackError, RootKeyError
from strongroom.storage.contract import Position, Stored
from strongroom.storage.nonces import SqliteNonces
from strongroom.testing.server import initialize, start_server
from strongroom.testing.signed_client import SignedClient
from tests.e2e.commands import refused, serve
from tests.fault.managed import Managed
from tests.sizes import Size

pytestmark = [pytest.mark.soak, pytest.mark.root_key]

PAGE = 4096
REALLY_SERVED_EVERY = 20

DATABASE, LOG, INDEX = "strongroom.db", "strongroom.db-wal", "strongroom.db-shm"
OTHERS = ("root.key", "nonces.db", "newest-change")
HARMLESS = "harmless"
REASONS = {IntegrityError: "row codes and feed", RollbackError: "the audit log", RootKeyError: "the root key file"}


class State(NamedTuple):
    """What a start serves."""

    position: Position
    records: frozenset[Stored]
    nonces: frozenset[tuple[str, str, float]]


class Killed(NamedTuple):
    """The files that a killed server left, an older copy of its database, and what it had acknowledged."""

    data: Path
    older: Path
    managed: list[Managed]


@pytest.fixture
def killed(data: Path, tmp_path: Path) -> Killed:
    """All requests were answered when it was killed; the newest changes are in the write-ahead log alone."""
    initialize(data)
    choose = random.Random(20_261_126)
    managed = [Managed("first"), Managed("second")]
    older = tmp_path / "older.db"
    for changes in (10, 60):
        server = start_server(data, workers=2)
        with SignedClient(server) as client:
            for one in managed:
                one.create(client)
                for _ in range(changes):
                    one.change(client, choose)
        if older.exists():
            make_a_change_without_a_record(data)
            server.kill()
        else:
            assert server.stop() == 0
            shutil.copy(data / DATABASE, older)
    assert (data / LOG).stat().st_size > 50 * PAGE
    nonces = SqliteNonces(data / "nonces.db")
    assert all(nonces.first_use("service", f"nonce {number}", float(number)) for number in range(40))
    return Killed(data, older, managed)


def make_a_change_without_a_record(data: Path) -> None:
    """As a server process does that stores when keys were last used; wait until it is noted that it was made."""
    config = read_config(data / "strongroom.yaml")
    opened = open_installation(config)
    position = opened.storage.commit([], None)
    opened.close()
    noted = config.newest_change
    while not (noted.exists() and noted.read_text().startswith(f"{position.number} ")):
        time.sleep(0.1)


def started(data: Path) -> State:
    """What a start does before it serves (app/serving.py). Raises OperatorError if it refuses."""
    config = read_config(data / "strongroom.yaml")
    opened = open_installation(config)
    try:
        contents = opened.storage.load()
        refuse_rollback(opened)
        opened.storage.chains()
        opened.storage.outbox()
        SqliteNonces(config.nonces)
        with closing(sqlite3.connect(config.nonces)) as connection:
            nonces = frozenset(connection.execute("SELECT owner, nonce, used FROM nonces"))
        return State(contents.position, frozenset(contents.records), nonces)
    finally:
        opened.close()


Damage = Callable[[bytes, random.Random], bytes]


def truncate(content: bytes, choose: random.Random) -> bytes:
    return content[: choose.randrange(len(content))]


def truncate_at_a_page(content: bytes, choose: random.Random) -> bytes:
    return content[: choose.randrange(len(content)) // PAGE * PAGE]


def flip(content: bytes, choose: random.Random) -> bytes:
    at = choose.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << choose.randrange(8))]) + content[at + 1 :]


def flip_in_use(content: bytes, choose: random.Random) -> bytes:
    """Of a byte that is not zero: those are what is stored."""
    while not content[at := choose.randrange(len(content))]:
        pass
    return content[:at] + bytes([content[at] ^ (1 << choose.randrange(8))]) + content[at + 1 :]


def blank(content: bytes, choose: random.Random) -> bytes:
    """A sector that was never written."""
    at = choose.randrange(len(content)) // 512 * 512
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


def swap_pages(content: bytes, choose: random.Random) -> bytes:
    one, other = sorted(choose.randrange(len(content)) // PAGE * PAGE for _ in range(2))
    if one == other or other + PAGE > len(content):
        return flip(content, choose)
    first, second = content[one : one + PAGE], content[other : other + PAGE]
    return content[:one] + second + content[one + PAGE : other] + first + content[other + PAGE :]


DAMAGES: list[Damage] = [truncate, truncate_at_a_page, flip, flip_in_use, blank, swap_pages]


def harm(killed: Killed, copy: Path, choose: random.Random) -> str:
    """Damage one or two files of a copy; say what was done."""
    match choose.randrange(12):
        case 0 | 1 | 2 | 3:
            names = [DATABASE]
        case 4 | 5 | 6 | 7:
            names = [LOG]
        case 8:
            names = [DATABASE, LOG]
        case 9:
            names = [choose.choice((INDEX, *OTHERS))]
        case 10:
            return put_page_back(killed, copy, choose)
        case _:
            gone = choose.choice((DATABASE, LOG, INDEX, "root.key"))
            (copy / gone).unlink()
            return f"{gone} removed"
    done = []
    for name in names:
        damage = choose.choice(DAMAGES)
        content = (copy / name).read_bytes()
        if content:
            (copy / name).write_bytes(damage(content, choose))
            done.append(f"{name} {damage.__name__}")
    return ", ".join(done)


def put_page_back(killed: Killed, copy: Path, choose: random.Random) -> str:
    """A page as it was some changes ago: a write that the disk lost."""
    older = killed.older.read_bytes()
    content = (copy / DATABASE).read_bytes()
    at = choose.randrange(min(len(older), len(content))) // PAGE * PAGE
    (copy / DATABASE).write_bytes(content[:at] + older[at : at + PAGE] + content[at + PAGE :])
    return f"{DATABASE} page put back"


def test_damage_is_harmless_or_refused(killed: Killed, tmp_path: Path, size: Size) -> None:
    copy, served = tmp_path / "copy", tmp_path / "served"
    shutil.copytree(killed.data, copy)
    as_it_was = started(copy)
    choose = random.Random(20_261_126)
    outcomes: Counter[str] = Counter()
    violations: list[str] = []
    for turn in range(size.damages):
        shutil.rmtree(copy)
        shutil.copytree(killed.data, copy)
        done = harm(killed, copy, choose)
        if turn % REALLY_SERVED_EVERY == 0:
            shutil.copytree(copy, served)
        outcome, violation = judged(copy, as_it_was)
        outcomes[outcome] += 1
        if violation:
            violations.append(f"turn {turn}, {done}: {violation}")
        elif served.exists():
            serve_really(killed, served, refuses=outcome != HARMLESS)
        shutil.rmtree(served, ignore_errors=True)
    print(f"{size.damages} damages: {dict(outcomes)}, {len(violations)} violations")
    assert violations == []


def judged(data: Path, as_it_was: State) -> tuple[str, str]:
    """What a start makes of damaged files, and why that must not be; empty if it may."""
    try:
        state = started(data)
    except OperatorError as error:
        kind = next((REASONS[kind] for kind in type(error).mro() if kind in REASONS), "SQLite, or a missing file")
        return f"refused by {kind}", f"not one line: {error}" if "\n" in str(error) else ""
    except Exception as error:  # noqa: BLE001 whatever it is, it would be a stack trace
        return "crashed", repr(error)
    return HARMLESS, "" if state == as_it_was else f"another state is served, of change {state.position.number}"


def serve_really(killed: Killed, data: Path, *, refuses: bool) -> None:
    """A real server refuses in one line, or has all that was acknowledged."""
    if refuses:
        refused(serve(data))
        return
    server = start_server(data)
    try:
        with SignedClient(server) as client:
            for one in killed.managed:
                one.check(client)
    finally:
        assert server.stop() == 0
