"""Nodes over PostgreSQL beside one process over SQLite: requests a second, latency; and what 100,000 keys cost.

Everything runs on the same machine, PostgreSQL and wrk included, and nothing is pinned to a core: two nodes can be
faster than one only where there are cores for them. PostgreSQL syncs each commit to the disk.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from strongroom.app.installing import open_installation
from strongroom.app.key_store import key_store_of
from strongroom.config import read_config
from strongroom.keystores.contract import KeyStore
from strongroom.model.principal import Account
from strongroom.storage.contract import Insert, Write
from strongroom.testing.postgresql import Postgresql, running_postgresql
from strongroom.testing.server import Server, initialize, start_server
from tests.bench.load import Load, client, signed
from tests.e2e.nodes import make_nodes
from tests.keys import generate, kms_key

CONNECTIONS = 64
KEYS = 512
"""That requests are spread over, or none of it: all for one hot key."""
SIZE = 1024
MANY = 100_000
_IN_ONE_CHANGE = 500


class Row(NamedTuple):
    """What one stage came to: requests a second over all nodes, and milliseconds of the slowest."""

    name: str
    keys: int
    rate: float
    p50: float
    p99: float


class Cost(NamedTuple):
    """What keys cost a server process: KiB of memory for each, and seconds of a start, beside those of an empty one."""

    name: str
    kib_per_key: float
    start: float
    empty_start: float


def measure_nodes(seconds: int) -> Iterator[Row]:
    """Measure Encrypt by one process over SQLite, and by one and two nodes over PostgreSQL."""
    with tempfile.TemporaryDirectory(dir="build") as directory, running_postgresql(durable=True) as postgresql:
        folder = Path(directory).absolute()
        initialize(folder / "data")
        yield from _stages("SQLite, one process", [folder / "data"], seconds)
        nodes = list(make_nodes(folder, postgresql.create_database()).values())
        yield from _stages("PostgreSQL, one node", nodes[:1], seconds)
        yield from _stages("PostgreSQL, two nodes", nodes, seconds)


def measure_many_keys() -> Iterator[Cost]:
    """Measure the memory and the start of a server process with many keys."""
    with tempfile.TemporaryDirectory(dir="build") as directory, running_postgresql() as postgresql:
        folder = Path(directory).absolute()
        initialize(folder / "data")
        yield _cost("SQLite", folder / "data")
        yield _cost("PostgreSQL", _postgresql_node(folder, postgresql))


def report_nodes(rows: list[Row], costs: list[Cost]) -> Iterator[str]:
    """The tables."""
    yield f"\n| Encrypt, 1 KB, {CONNECTIONS} connections | keys | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|"
    for row in rows:
        yield f"| {row.name} | {row.keys} | {row.rate:,.0f} | {row.p50:.2f} | {row.p99:.2f} |"
    yield f"\n| {MANY:,} keys | KiB of memory a key | start s | start without keys s |\n|---|---|---|---|"
    for cost in costs:
        yield f"| {cost.name} | {cost.kib_per_key:.2f} | {cost.start:.1f} | {cost.empty_start:.1f} |"


def _stages(name: str, nodes: list[Path], seconds: int) -> Iterator[Row]:
    servers = [start_server(data) for data in nodes]
    try:
        for count in (1, KEYS):
            yield _loaded(name, servers, count, seconds)
    finally:
        for server in servers:
            server.stop()


def _loaded(name: str, servers: list[Server], count: int, seconds: int) -> Row:
    clients = [client(server.endpoint, server.access_key_id, server.secret_access_key) for server in servers]
    keys = [clients[0].create_key()["KeyMetadata"]["KeyId"] for _ in range(count)]
    loads = [
        Load(
            server.endpoint,
            signed(kms, [_encrypt(kms, keys[number % count]) for number in range(KEYS)]),
            process_id=server.process.pid,
            connections=CONNECTIONS // len(servers),
        )
        for server, kms in zip(servers, clients, strict=True)
    ]
    with ThreadPoolExecutor(len(loads)) as threads:
        list(threads.map(lambda load: load.run(2), loads))
        results = list(threads.map(lambda load: load.run(seconds), loads))
    if any(result.refused or result.broken for result in results):
        raise SystemExit(f"{name}: not every answer was a 200")
    rate = sum(result.rate for result in results)
    return Row(name, count, rate, max(result.p50 for result in results), max(result.p99 for result in results))


def _encrypt(kms: Any, key: str) -> Any:
    return partial(kms.encrypt, KeyId=key, Plaintext=os.urandom(SIZE))


def _postgresql_node(folder: Path, postgresql: Postgresql) -> Path:
    return make_nodes(folder, postgresql.create_database(), "a")["a"]


def _cost(name: str, data: Path) -> Cost:
    empty_start, empty = _started(data)
    _fill(data)
    start, filled = _started(data)
    return Cost(name, (filled - empty) / MANY, start, empty_start)


def _started(data: Path) -> tuple[float, float]:
    """Seconds until a server listens, and its resident memory then, in KiB."""
    began = time.monotonic()
    server = start_server(data)
    taken = time.monotonic() - began
    try:
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
        return taken, pages * os.sysconf("SC_PAGE_SIZE") / 1024
    finally:
        server.stop()


def _fill(data: Path) -> None:
    """Put many keys, each with its material, into the database."""
    opened = open_installation(read_config(data / "strongroom.yaml"))
    try:
        key_store = key_store_of(opened)
        account = opened.storage.find_all(Account)[0][0].account
        for _ in range(MANY // _IN_ONE_CHANGE):
            opened.storage.commit(list(_keys(key_store, account)), None)
    finally:
        opened.close()


def _keys(key_store: KeyStore, account: str) -> Iterator[Write]:
    for _ in range(_IN_ONE_CHANGE):
        key = replace(kms_key(key_id=str(uuid.uuid4())), account=account, policy=_POLICY.replace("ACCOUNT", account))
        material = generate(key_store, key)
        yield Insert(replace(key, current_material_id=material.material_id))
        yield Insert(material)


_POLICY = (
    '{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",'
    '"Principal":{"AWS":"arn:aws:iam::ACCOUNT:root"},"Action":"kms:*","Resource":"*"}]}'
)
