"""Behind a balancer that speaks the PROXY protocol: the client's address in policies and logs.

The balancer is 127.0.0.9; whoever comes from 127.0.0.1 is a client, with or without it.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from strongroom.testing.server import Server, initialize, start_server
from strongroom.testing.signed_client import SignedClient
from tests.records import record_of_request, records_of_requests
from tests.tls import write_certificate

BALANCER = "127.0.0.9"
INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.7"

_HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen first
    bind fd@{first}
    source {balancer}
    server node {server} send-proxy
listen second
    bind fd@{second}
    source {balancer}
    server node {server} send-proxy-v2 check check-send-proxy inter 100ms
"""


def serving(data: Path, more: str = "") -> Server:
    initialize(data)
    settings = (data / "strongroom.yaml").read_text()
    balancers = f"proxy_protocol: [{BALANCER}]"
    sections = f"listen: {{host: 127.0.0.1, {balancers}}}\nxks_proxy: {{port: 0, {balancers}}}"
    settings = re.sub("(?m)^listen: .*$", sections, settings)
    (data / "strongroom.yaml").write_text(settings + more)
    return start_server(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serving(tmp_path_factory.mktemp("balanced") / "data")
    yield server
    assert server.stop() == 0


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Callable[[Server], list[int]]]:
    """Run HAProxy before a server; give its two ports."""
    running: list[subprocess.Popen[bytes]] = []
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]

    def start(server: Server) -> list[int]:
        first, second = (listener.fileno() for listener in listeners)
        address = server.endpoint.partition("://")[2]
        config = _HAPROXY.format(first=first, second=second, balancer=BALANCER, server=address)
        (tmp_path / "haproxy.cfg").write_text(config)
        command = ["haproxy", "-db", "-q", "-f", str(tmp_path / "haproxy.cfg")]
        running.append(subprocess.Popen(command, pass_fds=(first, second)))
        return [listener.getsockname()[1] for listener in listeners]

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
    for listener in listeners:
        listener.close()


def test_an_sdk_over_tls_through_haproxy(data: Path, tmp_path: Path, haproxy: Callable[[Server], list[int]]) -> None:
    certificate = write_certificate(tmp_path)
    server = serving(data, f"tls: {{certificate: {certificate}, key: {certificate.with_suffix('.key')}}}\n")
    try:
        answers = [client(server, port, certificate).generate_random(NumberOfBytes=1) for port in haproxy(server)]
    finally:
        assert server.stop() == 0

    for answer in answers:
        record = record_of_request(data, answer)
        assert record["sourceIPAddress"] == "127.0.0.1"
        assert record["tlsDetails"]["tlsVersion"] == "TLSv1.3"


def client(server: Server, port: int, certificate: Path) -> Any:
    return boto3.client(
        "kms",
        endpoint_url=f"https://127.0.0.1:{port}",
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        verify=str(certificate),
    )


def from_balancer(port: int, source: str | None) -> socket.socket:
    """A connection that the balancer opens, for a client at `source`."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(BALANCER, 0))
    if source is not None:
        connection.sendall(f"PROXY TCP4 {source} 127.0.0.1 4711 443\r\n".encode())
    return connection


def port_of(server: Server) -> int:
    return int(server.endpoint.rpartition(":")[2])


def test_policies_and_records_know_the_clients_own_address(server: Server, kms_client: Callable[..., Any]) -> None:
    kms = kms_client(server)
    metadata = kms.create_key()["KeyMetadata"]
    everybody = {"Effect": "Allow", "Principal": {"AWS": metadata["AWSAccountId"]}, "Action": "kms:*", "Resource": "*"}
    outside = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "kms:Encrypt",
        "Resource": "*",
        "Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [everybody, outside]}
    kms.put_key_policy(KeyId=metadata["KeyId"], Policy=json.dumps(policy))

    outcomes = []
    for source in (INSIDE, OUTSIDE, None):
        with SignedClient(server) as signed:
            if source is not None:
                signed._connection.sock = from_balancer(port_of(server), source)
            reply = signed.call("Encrypt", {"KeyId": metadata["KeyId"], "Plaintext": "YQ=="})
        ((_, record),) = records_of_requests(server.data, {reply.request_id})
        outcomes.append((reply.status, record["sourceIPAddress"]))

    assert outcomes == [(200, INSIDE), (400, OUTSIDE), (400, "127.0.0.1")]


def test_strangers_are_told_apart_behind_the_balancer(server: Server) -> None:
    with from_balancer(port_of(server), OUTSIDE) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.8.7\r\nContent-Length: 0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 4")

    strangers = strangers_with(OUTSIDE, server)
    assert BALANCER not in strangers
    assert "10.9.8.7" not in strangers


def strangers_with(address: str, server: Server) -> str:
    """The strangers' log, once it has an address: it is written once a second."""
    log = server.data / "strangers/strangers.log"
    deadline = time.monotonic() + 10
    while not log.exists() or address not in log.read_text():
        assert time.monotonic() < deadline, "the address was written"
        time.sleep(0.05)
    return log.read_text()


def test_the_balancer_has_to_say_whom_it_brings(server: Server) -> None:
    with from_balancer(port_of(server), None) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_the_xks_proxy_stands_behind_it_too(server: Server) -> None:
    command = ["xks-proxy", "serve", "--config", str(server.data / "strongroom.yaml")]
    process = subprocess.Popen([sys.executable, "-m", "strongroom", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        with from_balancer(port, "192.0.2.77") as connection:
            connection.sendall(b"POST /kms/xks/v1/health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
            assert connection.recv(65536).startswith(b"HTTP/1.1 4")
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()
    strangers_with("192.0.2.77", server)
