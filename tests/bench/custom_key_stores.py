"""Encrypt with keys in custom key stores, beside a key of the installation's own: one stage after another, one load.

The cluster is a token of SoftHSM in the server process. The proxy of the external key store is that of the tests, in
Python, over TLS on loopback, in a process of its own on the load's core: it is much of what is measured, and so there
is a row with what it does by itself, asked over as many connections by the client alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from strongroom.keystores.external.proxy import Endpoint, Proxy  # noqa: E402
from strongroom.model.custom_key_store import KeyStoreUse  # noqa: E402
from strongroom.testing.server import initialize, start_server  # noqa: E402
from strongroom.testing.softhsm import SoftHsm, make_softhsm  # noqa: E402
from tests.bench.load import Load, client, signed  # noqa: E402
from tests.bench.machine import cores  # noqa: E402
from tests.e2e.custom_key_stores import configure_clusters, connect, make_cluster, of_cluster  # noqa: E402
from tests.xks.proxy import BASE, running_proxy  # noqa: E402

CONNECTIONS = 16
VARIANTS = 256
SIZE = 1024


class Row(NamedTuple):
    """What one stage came to: requests a second, and milliseconds."""

    name: str
    rate: float
    p50: float
    p99: float


def measure_custom_key_stores(seconds: int) -> list[Row]:
    """Measure Encrypt with a key of each kind, and the proxy alone."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        folder = Path(directory).absolute()
        for name in ("softhsm", "clusters", "xks"):
            (folder / name).mkdir()
        softhsm = make_softhsm(folder / "softhsm")
        os.environ.update(softhsm.environment)
        with _proxy(folder / "xks") as proxy:
            return [*_served(folder, softhsm, proxy, seconds), _alone(proxy, seconds)]


def report_custom_key_stores(rows: list[Row]) -> Iterator[str]:
    """The table."""
    yield f"\n| Encrypt, 1 KB, {CONNECTIONS} connections | requests/s | p50 ms | p99 ms |\n|---|---|---|---|"
    for row in rows:
        yield f"| {row.name} | {row.rate:,.0f} | {row.p50:.2f} | {row.p99:.2f} |"


def _served(folder: Path, softhsm: SoftHsm, proxy: dict[str, str], seconds: int) -> Iterator[Row]:
    cluster = make_cluster(softhsm, folder / "clusters")
    initialize(folder / "data")
    configure_clusters(folder / "data", [cluster])
    with (folder / "data" / "strongroom.yaml").open("a") as file:
        file.write(f"xks_proxies: {{'{proxy['endpoint']}': {{connect: '{proxy['connect']}', ca: {proxy['ca']}}}}}\n")
    server = start_server(folder / "data", wrapper=["taskset", "-c", str(cores()[0])])
    try:
        kms = client(server.endpoint, server.access_key_id, server.secret_access_key)
        for name, key in _keys(kms, of_cluster(cluster, "cluster"), proxy):
            plaintexts = [os.urandom(SIZE) for _ in range(VARIANTS)]
            requests = signed(kms, [partial(kms.encrypt, KeyId=key, Plaintext=plaintext) for plaintext in plaintexts])
            load = Load(server.endpoint, requests, process_id=server.process.pid, connections=CONNECTIONS)
            load.run(1)
            result = load.run(seconds)
            if result.refused or result.broken:
                raise SystemExit(f"{name}: {result.refused} answers were no 200, {result.broken} did not come")
            yield Row(name, result.rate, result.p50, result.p99)
    finally:
        server.stop()


def _keys(kms: Any, cluster: dict[str, str], proxy: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The name of each stage, and its key."""
    yield "own key, software", kms.create_key()["KeyMetadata"]["KeyId"]
    store = kms.create_custom_key_store(**cluster)["CustomKeyStoreId"]
    connect(kms, store)
    made = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=store)
    yield "cluster key store, SoftHSM", made["KeyMetadata"]["KeyId"]
    store = kms.create_custom_key_store(
        CustomKeyStoreName="external",
        CustomKeyStoreType="EXTERNAL_KEY_STORE",
        XksProxyConnectivity="PUBLIC_ENDPOINT",
        XksProxyUriEndpoint=proxy["endpoint"],
        XksProxyUriPath=BASE,
        XksProxyAuthenticationCredential={
            "AccessKeyId": proxy["access_key_id"],
            "RawSecretAccessKey": proxy["secret"],
        },
    )["CustomKeyStoreId"]
    connect(kms, store)
    made = kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")
    yield "external key store, XKS over TLS", made["KeyMetadata"]["KeyId"]


def _alone(settings: dict[str, str], seconds: int) -> Row:
    """The proxy, asked to encrypt as much by as many threads, and nothing else."""
    proxy = Proxy(
        Endpoint(
            settings["endpoint"], BASE, "us-east-1", settings["access_key_id"], settings["secret"],
            settings["connect"], Path(settings["ca"]),
        )
    )  # fmt: skip
    use = KeyStoreUse("request", "Encrypt", "arn:aws:iam::111122223333:root", "arn")
    end = time.monotonic() + seconds

    def ask() -> list[float]:
        taken = []
        while (began := time.monotonic()) < end:
            proxy.encrypt(use, "key-1", bytes(SIZE), b"")
            taken.append((time.monotonic() - began) * 1e3)
        return taken

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        taken = sorted(one for asking in [threads.submit(ask) for _ in range(CONNECTIONS)] for one in asking.result())
    proxy.close()
    parts = quantiles(taken, n=100)
    return Row("the proxy alone", len(taken) / seconds, parts[49], parts[98])


@contextmanager
def _proxy(folder: Path) -> Iterator[dict[str, str]]:
    command = ["taskset", "-c", str(cores()[1]), sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        settings: dict[str, str] = json.loads(process.stdout.readline())
        try:
            yield settings
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _serve_proxy(folder: Path) -> None:
    """Be the proxy until standard input ends."""
    softhsm = make_softhsm(folder)
    os.environ.update(softhsm.environment)
    with running_proxy(folder, softhsm) as proxy:
        access_key_id, secret = next(iter(proxy.credentials.items()))
        told = {"endpoint": proxy.endpoint, "connect": proxy.connect, "ca": str(proxy.ca)}
        print(json.dumps(told | {"access_key_id": access_key_id, "secret": secret}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _serve_proxy(Path(sys.argv[1]))
