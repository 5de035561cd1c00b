"""The last use of a key is known at once where it was made, and after a stop to every process; days go by meanwhile."""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from strongroom.jobs.calendar import SECONDS
from strongroom.testing.server import Server, initialize, start_server
from tests.fault.clocks import DAY, ShiftedClient, ShiftedClock
from tests.records import recorded

IMPATIENT = (
    sys.executable,
    "-c",
    "import sys; from strongroom import __main__; from strongroom.jobs import key_usage; key_usage._SECONDS = 0.5; "
    "sys.argv = sys.argv[3:]; sys.exit(__main__.main())",
)
"""Has a server store uses twice a second."""
REFUSED, DONE = "AccessDeniedException", "done"


def policy(account: str) -> str:
    """Allows everything, but to disable or delete a key that was used less than three days ago."""
    allow = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "kms:*", "Resource": "*"}
    deny = allow | {
        "Effect": "Deny",
        "Action": ["kms:DisableKey", "kms:ScheduleKeyDeletion"],
        "Condition": {"NumericLessThan": {"kms:TrailingDaysWithoutKeyUsage": "3"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})


@contextmanager
def served(
    clock: ShiftedClock, data: Path, *, days: float, workers: int = 2, wrapper: Sequence[str] = ()
) -> Iterator[tuple[Server, ShiftedClient]]:
    """Server processes, days after the first were started, and a client that stays with one of them."""
    clock.shift(days * DAY, days * DAY)
    with ExitStack() as at_the_end:
        server = start_server(data, workers=workers, wrapper=wrapper)
        at_the_end.callback(lambda: server.process.poll() is not None or server.stop())
        yield server, at_the_end.enter_context(clock.client(server))


def outcome(client: ShiftedClient, operation: str, key_id: str) -> str:
    """What comes of asking; a key that was disabled is enabled again."""
    answer = client.call(operation, KeyId=key_id)
    if operation == "DisableKey" and "__type" not in answer:
        client.call("EnableKey", KeyId=key_id)
    return str(answer.get("__type", DONE))


def last_usage(client: ShiftedClient, key_id: str) -> object:
    told = client.call("GetKeyLastUsage", KeyId=key_id)["KeyLastUsage"]
    assert told["Operation"] == "Encrypt"
    return told["KmsRequestId"]


def stored(data: Path) -> list[tuple[str, str, str, str]]:
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        return connection.execute("SELECT key_id, operation, request_id, event_id FROM key_usages").fetchall()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3 * SECONDS + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def test_a_key_is_protected_for_days_after_its_last_use(clock: ShiftedClock, data: Path) -> None:
    initialize(data)
    with served(clock, data, days=0) as (server, client):
        metadata = client.call("CreateKey")["KeyMetadata"]
        key_id = metadata["KeyId"]
        client.call("PutKeyPolicy", KeyId=key_id, Policy=policy(metadata["AWSAccountId"]))
        assert outcome(client, "DisableKey", key_id) == REFUSED
        assert server.stop() == 0

    with served(clock, data, days=3.1) as (server, client):
        assert outcome(client, "DisableKey", key_id) == DONE  # it was never used
        blob = client.call("Encrypt", KeyId=key_id, Plaintext="QUJD")["CiphertextBlob"]
        assert outcome(client, "DisableKey", key_id) == REFUSED  # what this process noted counts at once
        for _ in range(6):  # by now both processes have used it, in all likelihood
            with clock.client(server) as another:
                now = time.time() + clock.wall
                last = another.client.call("Decrypt", {"CiphertextBlob": blob}, now=now).request_id
        assert server.stop() == 0
    (usage,) = stored(data)
    (record,) = [record for record in recorded(data) if record.get("requestID") == last]
    assert usage == (key_id, "Decrypt", last, record["eventID"])

    for days, expected in ((5.5, REFUSED), (6.5, DONE)):
        with served(clock, data, days=days) as (server, client):
            assert outcome(client, "DisableKey", key_id) == expected
            assert server.stop() == 0
    assert stored(data) == [usage]

    with served(clock, data, days=6.6) as (server, client):
        assert outcome(client, "ScheduleKeyDeletion", key_id) == DONE
        clock.shift(37 * DAY, 37 * DAY)
        wait_until(lambda: outcome(client, "DescribeKey", key_id) != DONE)
        assert stored(data) == []
        assert server.stop() == 0


@pytest.mark.root_key  # with an HSM the server is another process than the one that is hurried
def test_a_use_is_stored_meanwhile_and_counts_in_other_processes(clock: ShiftedClock, data: Path) -> None:
    initialize(data)
    with (
        served(clock, data, days=0, workers=1, wrapper=IMPATIENT) as (one, client),
        served(clock, data, days=0, workers=1) as (_, another),
    ):
        metadata = client.call("CreateKey")["KeyMetadata"]
        key_id = metadata["KeyId"]
        client.call("PutKeyPolicy", KeyId=key_id, Policy=policy(metadata["AWSAccountId"]))
        clock.shift(4 * DAY, 4 * DAY)
        assert outcome(another, "DisableKey", key_id) == DONE
        client.call("Encrypt", KeyId=key_id, Plaintext="QUJD")
        wait_until(lambda: bool(stored(data)))
        assert outcome(another, "DisableKey", key_id) == REFUSED
        assert last_usage(another, key_id) == last_usage(client, key_id)
        client.call("Encrypt", KeyId=key_id, Plaintext="QUJD")
        clock.shift(4 * DAY + 3_600, 4 * DAY + 3_600)  # that hour is over
        wait_until(lambda: last_usage(another, key_id) == last_usage(client, key_id))
        one.kill()

    with served(clock, data, days=4) as (one, client):
        assert outcome(client, "DisableKey", key_id) == REFUSED
        assert one.stop() == 0
