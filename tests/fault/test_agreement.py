"""Two server processes: what one has acknowledged, every one knows."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.testing.server import Server, running_server
from strongroom.testing.signed_client import SignedClient
from tests.records import recorded_by_chain
from tests.sizes import Size

pytestmark = pytest.mark.soak

LOADERS = 4
START_SECONDS = 30


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    with running_server(data, workers=2) as server:
        yield server


@pytest.fixture
def clients(server: Server) -> Iterator[list[SignedClient]]:
    """One connection to each of the two server processes."""
    found: dict[int, SignedClient] = {}
    deadline = time.monotonic() + START_SECONDS
    with ExitStack() as stack:
        while len(found) < 2:  # the second process begins after the first listens
            assert time.monotonic() < deadline, "both processes take connections"
            client = stack.enter_context(SignedClient(server))
            client.call("ListKeys", {})
            found.setdefault(process_of(server, client), client)
        yield list(found.values())


class Seen(NamedTuple):
    """An Encrypt: when it was sent and answered, and what came of it (`__type`, or the key that encrypted)."""

    sent: float
    answered: float
    outcome: str


def test_a_disabled_key_encrypts_nowhere(server: Server, clients: list[SignedClient], size: Size) -> None:
    key_id, arn = new_key(clients[0])
    spans: list[tuple[float, float]] = []
    with load(server, key_id) as seen:
        for round_ in range(size.rounds):
            one, other = clients[round_ % 2], clients[(round_ + 1) % 2]
            change(one, "DisableKey", KeyId=key_id)
            acknowledged = time.monotonic()
            assert encrypt(other, key_id) == "DisabledException"
            assert encrypt(one, key_id) == "DisabledException"
            spans.append((acknowledged, time.monotonic()))
            change(other, "EnableKey", KeyId=key_id)
            assert encrypt(one, key_id) == arn
    check_load(seen, spans, allowed=arn, refused="DisabledException")
    check_both_processes_refused(server.data, "DisabledException")
    print(f"{size.rounds} rounds of DisableKey, {len(seen)} Encrypt beside them")


def test_a_moved_alias_means_the_new_key_everywhere(server: Server, clients: list[SignedClient], size: Size) -> None:
    keys = [new_key(clients[0]) for _ in range(2)]
    change(clients[0], "CreateAlias", AliasName="alias/moving", TargetKeyId=keys[0][0])
    for round_ in range(size.rounds):
        one = clients[round_ // 2 % 2]
        key_id, arn = keys[(round_ + 1) % 2]
        change(one, "UpdateAlias", AliasName="alias/moving", TargetKeyId=key_id)
        assert [encrypt(client, "alias/moving") for client in clients] == [arn] * 2
    check_both_processes_encrypted(server.data)
    print(f"{size.rounds} alias moves")


def test_a_deny_holds_everywhere(server: Server, clients: list[SignedClient], size: Size) -> None:
    key_id, arn = new_key(clients[0])
    allowing: Any = clients[0].call("GetKeyPolicy", {"KeyId": key_id}).json()["Policy"]
    document = json.loads(allowing)
    document["Statement"].append({"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"})
    denying = json.dumps(document)
    spans: list[tuple[float, float]] = []
    with load(server, key_id) as seen:
        for round_ in range(size.rounds):
            one, other = clients[round_ % 2], clients[(round_ + 1) % 2]
            change(one, "PutKeyPolicy", KeyId=key_id, Policy=denying)
            acknowledged = time.monotonic()
            assert encrypt(other, key_id) == "AccessDeniedException"
            assert encrypt(one, key_id) == "AccessDeniedException"
            spans.append((acknowledged, time.monotonic()))
            change(other, "PutKeyPolicy", KeyId=key_id, Policy=allowing)
            assert encrypt(one, key_id) == arn
    check_load(seen, spans, allowed=arn, refused="AccessDeniedException")
    check_both_processes_refused(server.data, "AccessDenied")
    print(f"{size.rounds} rounds of a deny, {len(seen)} Encrypt beside them")


class load:  # noqa: N801 — it reads as what the block is under
    """Encrypts without pause on connections of its own while the block runs; gives all that was seen."""

    def __init__(self, server: Server, key_id: str) -> None:
        self.server = server
        self.key_id = key_id
        self.seen: list[Seen] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(LOADERS)]

    def __enter__(self) -> list[Seen]:
        for thread in self.threads:
            thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def run(self) -> None:
        with SignedClient(self.server) as client:
            while not self.ended.is_set():
                sent = time.monotonic()
                outcome = encrypt(client, self.key_id)
                self.seen.append(Seen(sent, time.monotonic(), outcome))


def check_load(seen: list[Seen], spans: list[tuple[float, float]], *, allowed: str, refused: str) -> None:
    """No Encrypt that was sent and answered in a span, from the acknowledgment to the next change, was allowed."""
    assert {one.outcome for one in seen} == {allowed, refused}, "the load ran into both"
    inside = [one for one in seen if any(begin <= one.sent and one.answered <= end for begin, end in spans)]
    assert inside, "the load was there when it counted"
    assert {one.outcome for one in inside} == {refused}


def check_both_processes_refused(data: Path, code: str) -> None:
    chains = processes_that(data, lambda record: record.get("errorCode") == code)
    assert chains == 2, "both processes were asked"


def check_both_processes_encrypted(data: Path) -> None:
    chains = processes_that(data, lambda record: record["eventName"] == "Encrypt" and "errorCode" not in record)
    assert chains == 2, "both processes were asked"


def processes_that(data: Path, did: Callable[[dict[str, Any]], bool]) -> int:
    """How many processes have records of the kind: each has a chain of its own."""
    return sum(any(did(record) for record in records) for records in recorded_by_chain(data).values())


def process_of(server: Server, client: SignedClient) -> int:
    """The id of the server process that holds the other end of a connection."""
    _, port = client.local_address
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == port}
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for process in children:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(descriptor.readlink()).removeprefix("socket:[").rstrip("]") in inodes:
                    return int(process)
    raise AssertionError("no server process holds the connection")


def new_key(client: SignedClient) -> tuple[str, str]:
    metadata: Any = client.call("CreateKey", {}).json()["KeyMetadata"]
    return metadata["KeyId"], metadata["Arn"]


def change(client: SignedClient, operation: str, **members: object) -> None:
    reply = client.call(operation, members)
    assert reply.status == 200, reply.body


def encrypt(client: SignedClient, key_id: str) -> str:
    """Return the ARN of the key that encrypted, or the code of the refusal."""
    answer = client.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}).json()
    return str(answer.get("__type") or answer["KeyId"])
