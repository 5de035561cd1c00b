"""Rotation and expiry for real: under load, by two processes at once, after downtime, and when they are killed."""

import base64
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.jobs.calendar import SECONDS
from strongroom.model.import_key import ImportKey
from strongroom.testing.server import Server, initialize, running_server, start_server
from strongroom.testing.signed_client import SignedClient
from tests.fault.clocks import DAY, ShiftedClient, ShiftedClock
from tests.importing import wrapped
from tests.records import recorded
from tests.sizes import Size

PATIENCE = 3 * SECONDS + 20
"""Seconds in which the jobs have looked at what is due at least twice, also on a busy machine."""

KEYS = 64
"""So many that a kill comes in the middle of their rotations."""
LOADERS = 4
AFTER_ROTATION = 0.3

Call = Callable[..., dict[str, Any]]


class Made(NamedTuple):
    """A data key: when it was asked for, what the server said made it, and what it is."""

    asked: float
    material_id: str
    blob: str
    plaintext: str


@pytest.mark.soak
def test_every_ciphertext_decrypts_after_rotations_under_load(data: Path, size: Size) -> None:
    with running_server(data, workers=2) as server, SignedClient(server) as client:
        key_id = calls(client)("CreateKey")["KeyMetadata"]["KeyId"]
        current = [current_of(calls(client), key_id)]
        done: list[float] = []
        with load(server, key_id) as made:
            for _ in range(size.rotations):
                calls(client)("RotateKeyOnDemand", KeyId=key_id)
                wait_until(lambda: "OnDemandRotationStartDate" not in status(calls(client), key_id))
                done.append(time.monotonic())
                current.append(current_of(calls(client), key_id))
                time.sleep(AFTER_ROTATION)
        listed = calls(client)("ListKeyRotations", KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
        assert [entry["KeyMaterialId"] for entry in listed] == current
        assert [entry["KeyMaterialState"] for entry in listed] == ["NON_CURRENT"] * size.rotations + ["CURRENT"]
        assert [entry.get("RotationType") for entry in listed] == [None] + ["ON_DEMAND"] * size.rotations
        assert len(set(current)) == size.rotations + 1

        assert {one.material_id for one in made} == set(current)
        for one in made:
            rotations = sum(moment < one.asked for moment in done)  # that were done when it was asked for
            assert one.material_id in current[rotations:], "an older material was used after a rotation was done"
        for one in made:
            decrypted = calls(client)("Decrypt", CiphertextBlob=one.blob)
            assert (decrypted["Plaintext"], decrypted["KeyMaterialId"]) == (one.plaintext, one.material_id)
    events = rotated(data)  # in the same second those of two processes may stand in either order
    assert sorted((event["previousKeyMaterialId"], event["currentKeyMaterialId"]) for event in events) == sorted(
        (current[number], current[number + 1]) for number in range(size.rotations)
    )
    print(f"{size.rotations} rotations under load, {len(made)} data keys, by material {Counter(m[1] for m in made)}")


@pytest.mark.soak
def test_what_is_killed_in_the_middle_is_rotated_once(data: Path, size: Size) -> None:
    """Many keys are due at once, so that a kill finds some rotated and others not: each has one of the two states."""
    initialize(data)
    server = start_server(data, workers=2)
    with SignedClient(server) as client:
        key_ids = [calls(client)("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(KEYS)]
        first = {key_id: current_of(calls(client), key_id) for key_id in key_ids}
        blobs = {key_id: calls(client)("Encrypt", KeyId=key_id, Plaintext="QUJD") for key_id in key_ids}
    caught = kills = 0
    while caught < size.rotation_kills:
        assert kills < size.rotation_kills + 4, "kills come too late on this machine"
        with SignedClient(server) as client:
            for key_id in key_ids:
                calls(client)("RotateKeyOnDemand", KeyId=key_id)
        wait_until(lambda: demanded(data) < len(key_ids), every=0.001)
        server.kill()
        caught += 0 < demanded(data) < len(key_ids)
        check_states(data, kills)
        kills += 1
        server = start_server(data, workers=2)
        wait_until(lambda: demanded(data) == 0)
    with SignedClient(server) as client:
        for key_id in key_ids:
            decrypted = calls(client)("Decrypt", CiphertextBlob=blobs[key_id]["CiphertextBlob"])
            assert (decrypted["Plaintext"], decrypted["KeyMaterialId"]) == ("QUJD", first[key_id])
            listed = calls(client)("ListKeyRotations", KeyId=key_id)["Rotations"]
            assert len({entry["KeyMaterialId"] for entry in listed}) == kills
            assert listed[-1]["KeyMaterialId"] == current_of(calls(client), key_id)
    assert server.stop() == 0
    assert Counter(event["keyId"] for event in rotated(data)) == Counter(key_ids * kills)
    print(f"{kills} kills, {caught} of them in the middle of {len(key_ids)} rotations")


@pytest.mark.soak
def test_two_processes_miss_nothing_and_do_nothing_twice(clock: ShiftedClock, data: Path, size: Size) -> None:
    """What is due while they run, and what became due while none ran."""
    initialize(data)
    server = start_server(data, workers=2)
    with clock.client(server) as client:
        rotating = [client.call("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(size.keys_due)]
        for key_id in rotating:
            client.call("EnableKeyRotation", KeyId=key_id, RotationPeriodInDays=90)
        valid_to = time.time() + 89 * DAY
        tokens = {key_id: parameters(client, key_id) for key_id in external_keys(client, size.keys_due)}
        for key_id, token in tokens.items():
            assert import_(client, key_id, token, ValidTo=valid_to)["KeyId"].endswith(key_id)
        clock.shift(91 * DAY, 91 * DAY)
        wait_until(lambda: len(rotated(data)) >= size.keys_due and len(expired(data)) >= size.keys_due)
        for key_id in tokens:
            assert client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingImport"
        for key_id in rotating:
            next_rotation = client.call("GetKeyRotationStatus", KeyId=key_id)["NextRotationDate"]
            assert abs(next_rotation - (time.time() + (91 + 90) * DAY)) < PATIENCE
    assert server.stop() == 0
    clock.shift(400 * DAY, 400 * DAY)
    server = start_server(data, workers=2)
    with clock.client(server) as client:
        wait_until(lambda: len(rotated(data)) >= 2 * size.keys_due)
        time.sleep(1.2 * SECONDS)  # another look of both
        for key_id in rotating:
            assert len(client.call("ListKeyRotations", KeyId=key_id)["Rotations"]) == 2
    assert server.stop() == 0
    assert Counter(event["keyId"] for event in rotated(data)) == Counter(rotating * 2)
    assert Counter(event["keyId"] for event in expired(data)) == Counter(list(tokens))
    print(f"{2 * size.keys_due} rotations and {size.keys_due} expiries by two processes, each once")


def test_real_material_expires_in_real_time(data: Path) -> None:
    with running_server(data, workers=2) as server, SignedClient(server) as signed:
        client = Unshifted(signed)
        (key_id,) = external_keys(client, 1)
        token = parameters(client, key_id)
        valid_to = time.time() + 3
        import_(client, key_id, token, ValidTo=valid_to)
        wrapped_bytes = stored(data, key_id)
        encrypted = client.call("Encrypt", KeyId=key_id, Plaintext="QUJD")
        wait_until(lambda: client.call("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingImport")
        assert time.time() >= valid_to
        wait_until(lambda: not pending_erasures(data))
        held = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
        assert wrapped_bytes[8:] not in held
        import_(client, key_id, token, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE")
        assert client.call("Decrypt", CiphertextBlob=encrypted["CiphertextBlob"])["Plaintext"] == "QUJD"
    (event,) = expired(data)
    assert event["keyId"] == key_id


class Unshifted(NamedTuple):
    """A client as `ShiftedClient` is one, by the clock as it is."""

    client: SignedClient

    def call(self, operation: str, **members: object) -> dict[str, Any]:
        return self.client.call(operation, members).json()


def calls(client: SignedClient) -> Call:
    """Calls that must succeed."""

    def call(operation: str, **members: object) -> dict[str, Any]:
        reply = client.call(operation, members)
        assert reply.status == 200, (operation, reply.body)
        return reply.json() if reply.body else {}

    return call


@contextmanager
def load(server: Server, key_id: str) -> Iterator[list[Made]]:
    """Data keys are made by several clients until the block ends. Each finds its own server process."""
    made: list[list[Made]] = [[] for _ in range(LOADERS)]
    ended = threading.Event()

    def make(mine: list[Made]) -> None:
        with SignedClient(server) as client:
            while not ended.is_set():
                asked = time.monotonic()
                answer = calls(client)("GenerateDataKey", KeyId=key_id, KeySpec="AES_256")
                mine.append(Made(asked, answer["KeyMaterialId"], answer["CiphertextBlob"], answer["Plaintext"]))
                time.sleep(0.002)

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    found: list[Made] = []
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(ended.set)
        yield found
    found += [one for mine in made for one in mine]


def status(call: Call, key_id: str) -> dict[str, Any]:
    return call("GetKeyRotationStatus", KeyId=key_id)


def current_of(call: Call, key_id: str) -> str:
    current: str = call("DescribeKey", KeyId=key_id)["KeyMetadata"]["CurrentKeyMaterialId"]
    return current


def demanded(data: Path) -> int:
    """How many rotations are asked for and not done."""
    (count,) = query(data, "SELECT count(*) FROM kms_keys WHERE on_demand_rotation_start IS NOT NULL")
    return int(count)


def pending_erasures(data: Path) -> int:
    return int(query(data, "SELECT count(*) FROM pending_erasures")[0])


def stored(data: Path, key_id: str) -> bytes:
    (wrapped_bytes,) = query(data, "SELECT wrapped FROM key_materials WHERE key_id = ?", key_id)
    assert isinstance(wrapped_bytes, bytes)
    return wrapped_bytes


def check_states(data: Path, before: int) -> None:
    """Each key has a rotation more than before and none asked for, or one asked for and none more."""
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        rows = connection.execute(
            """
            SELECT k.on_demand_rotation_start IS NOT NULL, count(m.rotated), sum(m.material_id = k.current_material_id)
            FROM kms_keys k JOIN key_materials m USING (account, region, key_id) GROUP BY k.key_id
            """
        ).fetchall()
    assert {(bool(asked), done - before, current) for asked, done, current in rows} <= {(True, 0, 1), (False, 1, 1)}


def query(data: Path, statement: str, *values: object) -> Any:
    with closing(sqlite3.connect(data / "strongroom.db")) as connection:
        return connection.execute(statement, values).fetchone()


def external_keys(client: ShiftedClient | Unshifted, count: int) -> list[str]:
    return [client.call("CreateKey", Origin="EXTERNAL")["KeyMetadata"]["KeyId"] for _ in range(count)]


def parameters(client: ShiftedClient | Unshifted, key_id: str) -> dict[str, Any]:
    return client.call(
        "GetParametersForImport", KeyId=key_id, WrappingAlgorithm="RSAES_OAEP_SHA_1", WrappingKeySpec="RSA_2048"
    )


def import_(client: ShiftedClient | Unshifted, key_id: str, token: dict[str, Any], **members: object) -> dict[str, Any]:
    public = base64.b64decode(token["PublicKey"])
    material = wrapped(ImportKey("RSA_2048", "RSAES_OAEP_SHA_1", "", 0, b"", public), bytes(range(32)))
    encrypted = base64.b64encode(material).decode()
    return client.call(
        "ImportKeyMaterial",
        KeyId=key_id,
        ImportToken=token["ImportToken"],
        EncryptedKeyMaterial=encrypted,
        **members,
    )


def rotated(data: Path) -> list[dict[str, Any]]:
    return events(data, "RotateKey")


def expired(data: Path) -> list[dict[str, Any]]:
    return events(data, "DeleteExpiredKeyMaterial")


def events(data: Path, name: str) -> list[dict[str, Any]]:
    """What the service recorded by this name, in order of time."""
    found = [record for record in recorded(data) if record["eventName"] == name]
    return [record["serviceEventDetails"] for record in sorted(found, key=lambda record: record["eventTime"])]


def wait_until(holds: Callable[[], bool], every: float = 0.1) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(every)
