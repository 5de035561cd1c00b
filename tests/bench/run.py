"""The benchmark: signed calls per second, latency and CPU beside the static answer and moto; what they are made of.

    make bench                  # or: .venv/bin/python tests/bench/run.py [--seconds N] [--without-moto]

One server process on one core, wrk on another, 128 keep-alive connections, 512 different requests a stage, each
signed by boto3 at the stage's start. A stage fails if any answer is not a 200, or if the audit log has not grown by as
many records. Prints tables in Markdown.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from strongroom.testing.server import Server, initialize, start_server  # noqa: E402
from tests.bench.custom_key_stores import measure_custom_key_stores, report_custom_key_stores  # noqa: E402
from tests.bench.decision import measure_decisions, report_decisions  # noqa: E402
from tests.bench.hsm import measure_hsm, report_hsm  # noqa: E402
from tests.bench.load import Load, Result, client, signed  # noqa: E402
from tests.bench.machine import cores, facts, processor_ticks, stolen_since, sync_milliseconds  # noqa: E402
from tests.bench.nodes import measure_many_keys, measure_nodes, report_nodes  # noqa: E402
from tests.bench.primitives import measure_primitives, report_primitives  # noqa: E402
from tests.bench.rotated import measure_rotated, report_rotated  # noqa: E402
from tests.bench.xks_proxy import measure_xks_proxy, report_xks_proxy  # noqa: E402

CONNECTIONS = 128
VARIANTS = 512
SIZE = 1024
WARM_UP_SECONDS = 1
OPERATIONS = ("Encrypt", "Decrypt", "GenerateDataKey")
CPU_AIM = 60
MOTO_AIM = 25


class Stage(NamedTuple):
    """What one operation came to, and the static answer to the same requests just before; moto has no such twin."""

    operation: str
    sync: str
    result: Result
    static: Result | None = None
    connections: int = CONNECTIONS


def calls_of(operation: str, kms: Any, key: str) -> list[Callable[[], object]]:
    """Make `VARIANTS` different calls. Those of Decrypt need as many real calls of Encrypt."""
    if operation == "GenerateDataKey":
        return [
            partial(kms.generate_data_key, KeyId=key, NumberOfBytes=SIZE, EncryptionContext={"object": str(number)})
            for number in range(VARIANTS)
        ]
    plaintexts = [os.urandom(SIZE) for _ in range(VARIANTS)]
    if operation == "Encrypt":
        return [partial(kms.encrypt, KeyId=key, Plaintext=plaintext) for plaintext in plaintexts]
    blobs = [kms.encrypt(KeyId=key, Plaintext=plaintext)["CiphertextBlob"] for plaintext in plaintexts]
    return [partial(kms.decrypt, CiphertextBlob=blob) for blob in blobs]


def measure_ours(data: Path, sync: str, seconds: int) -> Iterator[Stage]:
    """Measure the three operations on an installation in one mode of `audit.sync`."""
    initialize(data)
    settings = data / "strongroom.yaml"
    settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | {"audit": {"sync": sync}}))
    server = start_server(data, wrapper=_on_server_core())
    try:
        kms = client(server.endpoint, server.access_key_id, server.secret_access_key)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        for operation in OPERATIONS:
            requests = signed(kms, calls_of(operation, kms, key))
            static = _measure_static(requests, seconds)
            yield Stage(operation, sync, _measure_audited(server, operation, requests, seconds), static)
    finally:
        server.stop()


def _measure_audited(server: Server, operation: str, requests: list[bytes], seconds: int) -> Result:
    load = Load(server.endpoint, requests, process_id=server.process.pid, connections=CONNECTIONS)
    load.run(WARM_UP_SECONDS)
    before = _records(server.data, operation)
    result = load.run(seconds)
    grown = _records(server.data, operation) - before
    if result.refused or result.broken:
        raise SystemExit(f"{operation}: {result.refused} answers were no 200, {result.broken} did not come")
    if not result.requests <= grown <= result.requests + CONNECTIONS:  # the rest was under way at the end
        raise SystemExit(f"{operation}: {result.requests} answers, but the audit log grew by {grown} records")
    return result


def _records(data: Path, operation: str) -> int:
    """How many records of an operation are in the audit log, once it has come to rest."""
    time.sleep(1)
    name = f'"eventName":"{operation}"'.encode()
    return sum(name in line for path in (data / "audit").glob("*/*.log") for line in path.open("rb"))


def _measure_static(requests: list[bytes], seconds: int) -> Result:
    """Measure the static answer to the same requests."""
    command = [*_on_server_core(), sys.executable, str(ROOT / "tests/bench/static_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
        load = Load(endpoint, requests, process_id=process.pid, connections=CONNECTIONS)
        load.run(WARM_UP_SECONDS)
        result = load.run(seconds)
        process.terminate()
    return result


def measure_moto(seconds: int) -> Iterator[Stage]:
    """Measure the same calls on moto's server, over as many connections as it answers without a failure."""
    with _moto() as (endpoint, process_id):
        kms = client(endpoint)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        for operation in OPERATIONS:
            requests = signed(kms, calls_of(operation, kms, key))
            for connections in (CONNECTIONS, CONNECTIONS // 4, CONNECTIONS // 16):
                load = Load(endpoint, requests, process_id=process_id, connections=connections)
                load.run(WARM_UP_SECONDS)
                result = load.run(seconds)
                if not result.refused and not result.broken:
                    yield Stage(operation, "", result, connections=connections)
                    break
            else:
                raise SystemExit(f"moto did not answer {operation} without failures")


@contextmanager
def _moto() -> Iterator[tuple[str, int]]:
    """Run moto's server, from an environment of its own."""
    environment = ROOT / "build" / "bench-venv"
    command = environment / "bin" / "moto_server"
    if not command.exists():
        venv.create(environment, with_pip=True, clear=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", "moto[server]"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address: tuple[str, int] = free.getsockname()
    with subprocess.Popen(
        [*_on_server_core(), command, "-H", address[0], "-p", str(address[1])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        for _ in range(300):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address):
                break
            time.sleep(0.1)
        yield f"http://{address[0]}:{address[1]}", process.pid
        process.terminate()


def _on_server_core() -> list[str]:
    return ["taskset", "-c", str(cores()[0])]


def report(machine: dict[str, str], stages: list[Stage], moto: list[Stage]) -> Iterator[str]:
    """Write the tables. Times moto, and CPU above the static answer, stand in the row of the call."""
    yield from ("", "| machine | |", "|---|---|")
    yield from (f"| {name} | {value} |" for name, value in machine.items())
    rates = {stage.operation: stage.result.rate for stage in moto}
    yield from (
        "",
        "| call, 1 KB | audit.sync | connections | requests/s | p50 ms | p99 ms | CPU µs |",
        "|---" * 7 + "|",
    )
    for stage in stages:
        assert stage.static is not None
        yield _row(stage.operation, stage.sync, stage.connections, stage.result)
        yield _row("static answer to the same", "", stage.connections, stage.static)
    for stage in moto:
        yield _row(f"moto {stage.operation}", "", stage.connections, stage.result)
    yield from (
        "",
        "| call, 1 KB | audit.sync | CPU µs above static | of static requests/s | x moto |",
        "|---" * 5 + "|",
    )
    for stage in stages:
        assert stage.static is not None
        times = f"{stage.result.rate / rates[stage.operation]:.0f}" if rates else ""
        above = stage.result.cpu - stage.static.cpu
        share = stage.result.rate / stage.static.rate
        yield f"| {stage.operation} | {stage.sync} | {above:.1f} | {share:.2f} | {times} |"
    yield from (
        "",
        f"Aims, with audit.sync: always: at most {CPU_AIM} µs above static; at least {MOTO_AIM} times moto.",
    )


def _row(name: str, sync: str, connections: int, result: Result) -> str:
    times = f"{result.p50:.2f} | {result.p99:.2f} | {result.cpu:.1f}"
    return f"| {name} | {sync} | {connections} | {result.rate:,.0f} | {times} |"


def main() -> None:
    """Measure everything, then print."""
    parser = argparse.ArgumentParser(description="signed calls per second, latency and CPU per call")
    parser.add_argument("--seconds", type=int, default=10, help="of each stage")
    parser.add_argument("--without-moto", action="store_true")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    Path("build").mkdir(exist_ok=True)
    machine = facts()
    began = processor_ticks()
    stages: list[Stage] = []
    with tempfile.TemporaryDirectory(dir="build") as directory:
        machine["fdatasync after 4 KB, median"] = f"{sync_milliseconds(Path(directory)):.2f} ms"
        for sync in ("always", "interval"):
            stages += measure_ours(Path(directory) / sync, sync, arguments.seconds)
    moto = [] if arguments.without_moto else list(measure_moto(arguments.seconds))
    machine["CPU time stolen by the host"] = f"{stolen_since(began):.0%}"
    print("\n".join(report(machine, stages, moto)))
    print("\n".join(report_decisions(list(measure_decisions()))))
    print("\n".join(report_primitives(measure_primitives())))
    print("\n".join(report_hsm(measure_hsm())))
    print("\n".join(report_rotated(measure_rotated())))
    print("\n".join(report_custom_key_stores(measure_custom_key_stores(arguments.seconds))))
    print("\n".join(report_xks_proxy(measure_xks_proxy(arguments.seconds))))
    print("\n".join(report_nodes(list(measure_nodes(arguments.seconds)), list(measure_many_keys()))))


if __name__ == "__main__":
    main()
