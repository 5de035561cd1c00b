"""A multi-Region key that many change at once, in several Regions, while the processes are killed and days go by."""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.jobs.calendar import SECONDS
from strongroom.testing.server import Server, initialize, start_server
from tests.e2e.commands import strongroom
from tests.fault.clocks import DAY, ShiftedClient, ShiftedClock
from tests.sizes import Size

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
CHANGERS = 4
CHANGED_FOR = 3.0
"""Seconds between two kills."""
PATIENCE = 6 * SECONDS + 20
EXPECTED = {
    "AlreadyExistsException", "ConflictException", "DisabledException", "KMSInternalException",
    "KMSInvalidStateException", "LimitExceededException", "NotFoundException", "UnsupportedOperationException",
}  # fmt: skip
"""What may come of a change that others came before."""


class Changes(NamedTuple):
    """What came of the changes: the ciphertexts that were made, how often each operation succeeded, and what failed."""

    blobs: list[str]
    done: dict[str, int]
    failed: list[dict[str, Any]]


@pytest.mark.soak
def test_related_keys_agree_whatever_is_done_to_them_at_once(clock: ShiftedClock, data: Path, size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    initialize(data)
    server = start_server(data, workers=2)
    changes, days = Changes([], {}, []), 0
    with ExitStack() as at_the_end:
        at_the_end.callback(lambda: end(server))
        with clock.client(server) as client:
            key_id = client.call("CreateKey", MultiRegion=True)["KeyMetadata"]["KeyId"]
        for kill in range(size.region_kills):
            with changing(server, clock, key_id, changes, seed + kill):
                time.sleep(CHANGED_FOR)
                server.kill()
            days += 40  # replica keys that were scheduled are deleted, and rotations are due
            clock.shift(days * DAY, days * DAY)
            server = start_server(data, workers=2)
            wait_until_settled(data)
            check_agreement(data, key_id)
            check_ciphertexts(server, clock, key_id, changes.blobs)
        assert server.stop() == 0
    assert changes.failed == []
    assert changes.blobs
    assert set(changes.done) >= {"ReplicateKey", "Encrypt", "UpdatePrimaryRegion"}
    verified = strongroom("audit", "verify", "--config", data / "strongroom.yaml")
    assert verified.stdout.endswith(": 0 findings\n"), verified.stdout
    print(f"{size.region_kills} kills, {dict(sorted(changes.done.items()))}")


def end(server: Server) -> None:
    if server.process.poll() is None:
        server.kill()


@contextmanager
def changing(server: Server, clock: ShiftedClock, key_id: str, changes: Changes, seed: int) -> Iterator[None]:
    """Change the key at random, from many clients at once, until the server is gone."""
    threads = [
        threading.Thread(target=change, args=(server, clock, key_id, changes, random.Random(seed * CHANGERS + number)))
        for number in range(CHANGERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def change(server: Server, clock: ShiftedClock, key_id: str, changes: Changes, choose: random.Random) -> None:
    clients = {region: clock.client(server, region) for region in REGIONS}
    try:
        while True:
            operation, members = one_of_all(choose)
            answer = clients[choose.choice(REGIONS)].call(operation, KeyId=key_id, **members)
            if "__type" not in answer:
                changes.done[operation] = changes.done.get(operation, 0) + 1
                if operation == "Encrypt":
                    changes.blobs.append(answer["CiphertextBlob"])
            elif answer["__type"] not in EXPECTED:
                changes.failed.append({"operation": operation, **answer})
    except (OSError, HTTPException):
        return  # killed
    finally:
        for client in clients.values():
            client.client.close()


def one_of_all(choose: random.Random) -> tuple[str, dict[str, Any]]:
    regions: dict[str, Any] = {"ReplicaRegion": choose.choice(REGIONS)}
    days = choose.randrange(90, 100)
    return choose.choice(
        [
            *[("ReplicateKey", regions)] * 4,
            *[("UpdatePrimaryRegion", {"PrimaryRegion": choose.choice(REGIONS)})] * 4,
            ("RotateKeyOnDemand", {}),
            ("EnableKeyRotation", {"RotationPeriodInDays": days}),
            ("DisableKeyRotation", {}),
            ("ScheduleKeyDeletion", {"PendingWindowInDays": 7}),
            *[("CancelKeyDeletion", {})] * 4,
            *[("EnableKey", {})] * 8,
            ("UpdateKeyDescription", {"Description": str(days)}),
            *[("Encrypt", {"Plaintext": "QUJD"})] * 2,
        ]
    )


def wait_until_settled(data: Path) -> None:
    """Until nothing that is due is left, so far as the table of keys tells."""
    deadline, seen = time.monotonic() + PATIENCE, rows(data)
    while time.monotonic() < deadline:
        time.sleep(2 * SECONDS + 1)
        now = rows(data)
        if now == seen and not {"Creating", "Updating"} & {row["state"] for row in now}:
            return
        seen = now
    raise AssertionError(f"the keys do not settle: {seen}")


def rows(data: Path) -> list[dict[str, Any]]:
    return query(data, "SELECT * FROM kms_keys ORDER BY region")


def query(data: Path, statement: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement)]


def check_agreement(data: Path, key_id: str) -> None:
    """There is one primary key, and all have what related keys share."""
    keys = rows(data)
    assert keys, "the primary key is not deleted before its replica keys"
    assert {row["key_id"] for row in keys} == {key_id}
    shared = [
        tuple(
            row[name]
            for name in (
                "primary_region", "current_material_id", "pending_material_id", "rotation_period_in_days",
                "next_rotation", "on_demand_rotation_start", "key_spec", "origin",
            )
        )
        for row in keys
    ]  # fmt: skip
    assert len(set(shared)) == 1, shared
    assert keys[0]["primary_region"] in {row["region"] for row in keys}
    materials: dict[str, set[tuple[Any, ...]]] = {row["region"]: set() for row in keys}
    for row in query(data, "SELECT * FROM key_materials"):
        materials[row["region"]].add((row["material_id"], row["wrapped"], row["rotated"], row["rotation_type"]))
    assert len({frozenset(of_region) for of_region in materials.values()}) == 1
    for row in keys:
        waits = row["region"] == row["primary_region"] and len(keys) > 1
        assert row["state"] != ("PendingDeletion" if waits else "PendingReplicaDeletion"), row


def check_ciphertexts(server: Server, clock: ShiftedClock, key_id: str, blobs: list[str]) -> None:
    """In every Region that has the key it decrypts whatever any made."""
    for region in REGIONS:
        with clock.client(server, region) as client:
            if "__type" in client.call("DescribeKey", KeyId=key_id):
                continue
            for operation in ("CancelKeyDeletion", "EnableKey"):
                client.call(operation, KeyId=key_id)
            for blob in blobs:
                assert decrypted(client, blob) == "QUJD", region


def decrypted(client: ShiftedClient, blob: str) -> str:
    return str(client.call("Decrypt", CiphertextBlob=blob).get("Plaintext"))
