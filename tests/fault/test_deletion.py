"""Deletion and the clock: a clock that jumped deletes nothing, and what is deleted is in no file any more."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.jobs.calendar import SECONDS
from strongroom.testing.server import Server, initialize, start_server
from tests.fault.clocks import DAY, ShiftedClient, ShiftedClock
from tests.records import recorded

PATIENCE = 3 * SECONDS + 10
"""Seconds in which the job has looked at what is due at least twice, also on a busy machine."""


@pytest.fixture
def server(clock: ShiftedClock, data: Path) -> Iterator[Server]:
    initialize(data)
    server = start_server(data, workers=2)
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0


def test_a_clock_that_jumped_deletes_nothing(clock: ShiftedClock, server: Server, data: Path) -> None:
    with clock.client(server) as client:
        key_id, blob = scheduled_key(client)
        clock.shift(40 * DAY, 0)
        time.sleep(1.5 * SECONDS)
        assert client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        assert server.stop() == 0

    server = start_server(data, workers=2)
    with clock.client(server) as client:
        time.sleep(SECONDS / 2)
        assert client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        told = command("doctor", data)
        assert (
            "ahead of what the boot clock says: all that goes by date waits for `strongroom confirm-time" in told.stdout
        )

        clock.shift(0, 0)
        client.call("CancelKeyDeletion", KeyId=key_id)
        client.call("EnableKey", KeyId=key_id)
        assert client.call("Decrypt", CiphertextBlob=blob)["Plaintext"] == "QUJD"
        assert server.stop() == 0
    assert "DeleteKey" not in {record["eventName"] for record in recorded(data)}


def test_a_clock_that_was_behind_shortens_no_waiting_period(clock: ShiftedClock, server: Server, data: Path) -> None:
    """A date told by such a clock would be over as soon as the clock is right: no period begins before it is."""
    with clock.client(server) as client:
        clock.shift(-30 * DAY, 0)
        key_id = client.call("CreateKey")["KeyMetadata"]["KeyId"]
        scheduled = client.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
        assert "DeletionDate" not in scheduled
        assert scheduled["PendingWindowInDays"] == 7
        metadata = client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]
        assert (metadata["KeyState"], metadata["PendingDeletionWindowInDays"]) == ("PendingDeletion", 7)
        assert "DeletionDate" not in metadata

        clock.shift(0, 0)
        wait_until(lambda: "DeletionDate" in client.call("DescribeKey", KeyId=key_id)["KeyMetadata"])
        metadata = client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]
        assert 0 <= time.time() + 7 * DAY - metadata["DeletionDate"] < PATIENCE
        assert "PendingDeletionWindowInDays" not in metadata
        assert server.stop() == 0
    names = {record["eventName"] for record in recorded(data)}
    assert ("BeginKeyDeletionWindow" in names, "DeleteKey" in names) == (True, False)


def test_what_is_due_is_deleted_with_every_byte(clock: ShiftedClock, server: Server, data: Path) -> None:
    with clock.client(server) as client:
        key_id, blob = scheduled_key(client)
        kept = client.call("CreateKey")["KeyMetadata"]["KeyId"]
        arn = client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]["Arn"]
        wrapped = wrapped_material(data, key_id)
        assert len(client.call("ListRetirableGrants", RetiringPrincipal=root_of(arn))["Grants"]) == 1
        assert pieces_found(data, wrapped) == len(pieces(wrapped))

        clock.shift(7 * DAY + 5, 7 * DAY + 5)  # time has really passed: the boot clock says so too
        wait_until(lambda: "__type" in client.call("DescribeKey", KeyId=key_id))
        assert client.call("DescribeKey", KeyId=key_id) == {
            "__type": "NotFoundException",
            "message": f"Key '{arn}' does not exist",
        }
        wait_until(lambda: pending_erasures(data) == 0)
        assert pieces_found(data, wrapped) == 0
        assert client.call("Decrypt", CiphertextBlob=blob)["__type"] == "AccessDeniedException"
        assert client.call("DescribeKey", KeyId="alias/doomed")["__type"] == "NotFoundException"
        aliases = client.call("ListAliases")["Aliases"]
        assert [alias for alias in aliases if "TargetKeyId" in alias] == []
        assert client.call("ListRetirableGrants", RetiringPrincipal=root_of(arn))["Grants"] == []
        assert client.call("Encrypt", KeyId=kept, Plaintext="QUJD")["KeyId"].endswith(kept)
        assert server.stop() == 0
    assert pieces_found(data, wrapped) == 0
    (record,) = [record for record in recorded(data) if record["eventName"] == "DeleteKey"]
    account, region = arn.split(":")[4], arn.split(":")[3]
    assert record["eventType"] == "AwsServiceEvent"
    assert record["userIdentity"] == {"accountId": account, "invokedBy": "AWS Internal"}
    assert record["serviceEventDetails"] == {"keyId": arn}
    assert record["resources"] == [{"accountId": account, "type": "AWS::KMS::Key", "ARN": arn}]
    assert (record["awsRegion"], record["recipientAccountId"]) == (region, account)
    assert command("audit", "verify", data).returncode == 0


def test_a_deletion_that_was_killed_is_finished(clock: ShiftedClock, server: Server, data: Path) -> None:
    """Between the change that deletes and the erasing, the bytes are still in the files: the next start erases them."""
    with clock.client(server) as client:
        key_id, _ = scheduled_key(client)
        wrapped = wrapped_material(data, key_id)
        with closing(sqlite3.connect(data / "strongroom.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM feed").fetchall()  # whoever reads keeps the log from being emptied
            clock.shift(7 * DAY + 5, 7 * DAY + 5)
            wait_until(lambda: "__type" in client.call("DescribeKey", KeyId=key_id))
            server.kill()
            assert pending_erasures(data) == 1
            assert pieces_found(data, wrapped) > 0
    server = start_server(data)
    wait_until(lambda: pending_erasures(data) == 0)
    assert pieces_found(data, wrapped) == 0
    assert server.stop() == 0


def test_a_person_confirms_the_time(clock: ShiftedClock, server: Server, data: Path) -> None:
    with clock.client(server) as client:
        key_id, _ = scheduled_key(client)
        clock.shift(8 * DAY, 0)
        today = time.strftime("%Y-%m-%d", time.gmtime(time.time()))
        refused = command("confirm-time", "--date", today, data)
        assert refused.returncode == 2
        assert f"not {today}: one of the two is wrong" in refused.stderr

        then = time.strftime("%Y-%m-%d", time.gmtime(time.time() + clock.wall))
        assert command("confirm-time", "--date", then, data).returncode == 0
        wait_until(lambda: client.call("DescribeKey", KeyId=key_id).get("__type") == "NotFoundException")
        assert server.stop() == 0
    assert {"ConfirmTime", "DeleteKey"} <= {record["eventName"] for record in recorded(data)}
    assert command("audit", "verify", data).returncode == 0


def scheduled_key(client: ShiftedClient) -> tuple[str, str]:
    """A key with an alias and a grant, to be deleted in seven days, and a ciphertext made under it."""
    metadata = client.call("CreateKey")["KeyMetadata"]
    key_id, root = metadata["KeyId"], root_of(metadata["Arn"])
    client.call("CreateAlias", AliasName="alias/doomed", TargetKeyId=key_id)
    client.call(
        "CreateGrant", KeyId=key_id, GranteePrincipal=root, RetiringPrincipal=root, Operations=["Encrypt"], Name="n"
    )
    blob = client.call("Encrypt", KeyId="alias/doomed", Plaintext="QUJD")["CiphertextBlob"]
    client.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
    return key_id, blob


def root_of(key_arn: str) -> str:
    """The root user of a key's account."""
    return f"arn:aws:iam::{key_arn.split(':')[4]}:root"


def wrapped_material(data: Path, key_id: str) -> bytes:
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        (found,) = connection.execute("SELECT wrapped FROM key_materials WHERE key_id = ?", (key_id,)).fetchone()
    assert isinstance(found, bytes)
    return found


def pending_erasures(data: Path) -> int:
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM pending_erasures").fetchone()
    return int(count)


def pieces(wrapped: bytes) -> list[bytes]:
    """Every eight bytes in a row of a wrapped key but its first, which other keys have too."""
    return [wrapped[begin : begin + 8] for begin in range(8, len(wrapped) - 7)]


def pieces_found(data: Path, wrapped: bytes) -> int:
    """How many of the pieces are in any file of the data directory."""
    held = b"\n".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    return sum(piece in held for piece in pieces(wrapped))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of ours; the last argument is the data directory."""
    *words, data = arguments
    configuration = Path(data) / "strongroom.yaml"
    return subprocess.run(
        [sys.executable, "-m", "strongroom", *map(str, words), "--config", str(configuration)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ.copy(),
    )
