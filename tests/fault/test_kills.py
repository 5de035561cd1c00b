"""The server is killed under load, at random points: nothing acknowledged is missing, everything has its record."""

import http.client
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.server import Server, initialize, start_server
from strongroom.testing.signed_client import SignedClient
from tests.fault.managed import Managed, manage
from tests.records import recorded
from tests.sizes import Size

pytestmark = pytest.mark.soak

THREADS = 3
"""Of each kind of load."""
SECONDS_OF_LOAD = 1.4
"""At most, from when both processes serve to the kill."""


class Acknowledged:
    """What the server said was done."""

    def __init__(self) -> None:
        self.request_ids: list[str] = []
        self.key_ids: list[str] = []
        self.ciphertexts: list[tuple[str, str]] = []
        """(plaintext, ciphertext), both in base64."""

    def check(self, client: SignedClient) -> None:
        """Every key is there, and what was encrypted decrypts."""
        assert self.key_ids
        for key_id in self.key_ids:
            assert client.call("DescribeKey", {"KeyId": key_id}).status == 200
        for plaintext, blob in self.ciphertexts:
            assert client.call("Decrypt", {"CiphertextBlob": blob}).json()["Plaintext"] == plaintext


def test_nothing_acknowledged_is_lost(data: Path, size: Size) -> None:
    """Two processes, keys that are made and used, and every change that can be made to a key."""
    initialize(data)
    choose = random.Random(20_261_126)
    acknowledged = Acknowledged()
    managed: list[Managed] = []
    for kill in range(size.kills):
        before = len(logs(data))
        server = start_server(data, workers=2)
        while len(logs(data)) < before + 2:  # each process has a log of its own
            time.sleep(0.02)
        begun = [Managed(f"{kill}-{thread}") for thread in range(THREADS)]
        threads = [threading.Thread(target=manage, args=(server, one)) for one in begun]
        threads += [threading.Thread(target=load, args=(server, acknowledged)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(choose.uniform(0, SECONDS_OF_LOAD))
        server.kill()
        for thread in threads:
            thread.join()
        managed += begun

    server = start_server(data, workers=2)
    try:
        with SignedClient(server) as client:
            acknowledged.check(client)
            for one in managed:
                one.check(client)
    finally:
        assert server.stop() == 0
    changes = [request_id for one in managed for request_id in one.request_ids]
    assert len(changes) > len(managed)
    check_log(data, acknowledged.request_ids + changes)
    keys = len(acknowledged.key_ids) + sum(len(one.keys) for one in managed)
    print(f"{size.kills} kills, {len(acknowledged.request_ids) + len(changes)} acknowledged requests, {keys} keys")


def logs(data: Path) -> list[Path]:
    return list((data / "audit").glob("*/00000001.log"))


def load(server: Server, acknowledged: Acknowledged) -> None:
    """Create keys and use them until the server is gone."""
    client = SignedClient(server, timeout=10)
    try:
        while True:
            made = client.call("CreateKey", {"Description": "made under load"})
            metadata: Any = made.json()["KeyMetadata"]
            acknowledged.key_ids.append(metadata["KeyId"])
            acknowledged.request_ids.append(made.request_id)
            for plaintext in ("QUJD", "REVG", "R0hJ"):
                reply = client.call("Encrypt", {"KeyId": metadata["KeyId"], "Plaintext": plaintext})
                blob: Any = reply.json()["CiphertextBlob"]
                acknowledged.ciphertexts.append((plaintext, blob))
                acknowledged.request_ids.append(reply.request_id)
    except (OSError, http.client.HTTPException):
        client.close()


def check_log(data: Path, acknowledged: list[str]) -> None:
    verified = subprocess.run(
        [sys.executable, "-m", "strongroom", "audit", "verify", "--config", str(data / "strongroom.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    print(verified.stdout.strip())
    request_ids = [record["requestID"] for record in recorded(data) if "requestID" in record]
    assert len(request_ids) == len(set(request_ids)), "a request has one record"
    assert set(acknowledged) <= set(request_ids)
