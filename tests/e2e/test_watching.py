"""Health and metrics of a node of two processes: exact, whichever of them is asked, also after one was killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.testing.server import START_SECONDS, Server, initialize, running_server, start_server
from strongroom.testing.signed_client import SignedClient
from tests.e2e.watching import ask, metric, readiness, watched

REQUESTS = "strongroom_requests_total"
CLIENTS = 8
CALLS = 30


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("node") / "data"
    initialize(data)
    watched(data)
    with running_server(data, workers=2) as server:
        eventually(lambda: metric(server, "strongroom_server_processes", state="serving") == 2)
        yield server


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def processes(server: Server) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()}


def make_calls(server: Server, key_id: str) -> None:
    """Calls over several connections, which both processes have; two of each client's fail."""
    for _ in range(CLIENTS):
        with SignedClient(server) as client:
            for _ in range(CALLS):
                assert client.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}).status == 200
            assert client.call("Encrypt", {"KeyId": "alias/nothing", "Plaintext": "QUJD"}).status == 400
            assert client.call("DropTables", {}).status == 400


def counts(server: Server) -> tuple[float, ...]:
    """What make_calls adds to."""
    encrypt, unknown = {"service": "kms", "operation": "Encrypt"}, {"service": "kms", "operation": "unknown"}
    return (
        metric(server, REQUESTS, **encrypt, outcome="success"),
        metric(server, REQUESTS, **encrypt, outcome="NotFoundException"),
        metric(server, REQUESTS, **unknown, outcome="UnknownOperationException"),
        metric(server, "strongroom_request_duration_seconds_count", **encrypt),
        metric(server, "strongroom_key_store_call_duration_seconds_count", key_store="software"),
    )


ADDED = (CLIENTS * CALLS, CLIENTS, CLIENTS, CLIENTS * (CALLS + 1), CLIENTS * CALLS)


def test_every_call_is_counted_once_also_when_a_process_is_killed(node: Server) -> None:
    with SignedClient(node) as client:
        key_id = json.loads(client.call("CreateKey", b"").body)["KeyMetadata"]["KeyId"]
    before = counts(node)
    once = tuple(map(sum, zip(before, ADDED, strict=True)))
    twice = tuple(map(sum, zip(once, ADDED, strict=True)))
    make_calls(node, key_id)
    assert [counts(node) for _ in range(6)] == [once] * 6, "whichever process is asked"

    first = processes(node)
    assert len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    eventually(lambda: len(processes(node) - first) == 1)
    eventually(lambda: metric(node, "strongroom_server_processes") == 2)
    assert [counts(node) for _ in range(6)] == [once] * 6, "nothing was lost"
    make_calls(node, key_id)
    assert [counts(node) for _ in range(6)] == [twice] * 6, "the other one counted on"
    eventually(lambda: metric(node, "strongroom_connections") == 0)


def test_a_node_that_stops_is_not_ready_and_answers_until_its_end(data: Path) -> None:
    initialize(data)
    watched(data)
    node = start_server(data)
    well = {"storage": True, "audit": True, "key_store": True}
    assert readiness(node) == (200, {"ready": True, "stopping": False, "parts": well})
    assert ask(node, "/health/live") == (200, b'{"live":true}')
    client = urllib.parse.urlsplit(node.endpoint)
    with socket.create_connection((client.hostname, client.port)) as unfinished:
        unfinished.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")  # waited for, a little
        time.sleep(0.3)
        node.process.send_signal(signal.SIGTERM)
        eventually(lambda: readiness(node)[0] == 503)
        assert readiness(node) == (503, {"ready": False, "stopping": True, "parts": well})
        assert ask(node, "/health/live")[0] == 200
    assert node.stop() == 0


def test_strangers_and_what_is_no_http_are_counted(node: Server) -> None:
    names = ("strongroom_connections_not_http_total", "strongroom_strangers_refused_total", REQUESTS)
    before = [metric(node, name) for name in names]
    host = urllib.parse.urlsplit(node.endpoint)
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
        with socket.create_connection((host.hostname, host.port)) as stranger:
            stranger.sendall(sent)
            while stranger.recv(4096):
                pass
    eventually(lambda: [metric(node, name) for name in names] == [count + 1 for count in before])


def test_nothing_that_is_told_names_anybody(node: Server) -> None:
    with SignedClient(node) as client:
        key_id = json.loads(client.call("CreateKey", b"").body)["KeyMetadata"]["KeyId"]
    told = b"".join(ask(node, path)[1] for path in ("/health/live", "/health/ready", "/metrics")).decode()
    assert 'operation="CreateKey"' in told
    for name in (key_id, node.access_key_id, str(node.data)):
        assert name not in told


def test_the_xks_proxy_has_a_listener_of_its_own(data: Path) -> None:
    initialize(data)
    configuration = data / "strongroom.yaml"
    configuration.write_text(f"{configuration.read_text()}xks_proxy: {{port: 0, health: {{port: 0}}}}\n")
    command = [sys.executable, "-m", "strongroom", "xks-proxy", "serve", "--config", str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        health = process.stdout.readline().split()[-1]
        proxy = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{health}/health/ready", timeout=10) as answer:
            assert json.loads(answer.read())["ready"]
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{proxy}/metrics", timeout=10)
        with urllib.request.urlopen(f"{health}/metrics", timeout=10) as answer:
            told = answer.read().decode()
        process.terminate()
    assert process.returncode == 0
    refused = {"operation": "unknown", "outcome": "InvalidUriPathException", "service": "kms-xks-proxy"}
    labels = ",".join(f'{name}="{value}"' for name, value in refused.items())
    assert f"{REQUESTS}{{{labels}}} 1.0" in told
