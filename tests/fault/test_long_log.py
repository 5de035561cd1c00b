"""A long log, written by the writer and verified by the command: in under a minute for a million records."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom.app.installing import audit_log, open_installation
from strongroom.audit.chain import parse
from strongroom.audit.writer import AuditWriter
from strongroom.config import read_config
from strongroom.testing.server import initialize, start_server
from tests.e2e.commands import strongroom
from tests.sizes import Size

pytestmark = pytest.mark.soak

AT_ONCE = 1_000
"""Records between two ticks: a second's work of a busy process."""


def test_a_long_log_verifies_in_a_minute(data: Path, size: Size, kms_client: Callable[..., Any]) -> None:
    initialize(data)
    write(data, record_of_an_encryption(data, kms_client), size.log_records)
    began = time.monotonic()
    verified = strongroom("audit", "verify", "--config", data / "strongroom.yaml", timeout=60)
    seconds = time.monotonic() - began
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    records = int(verified.stdout.split(" records")[0].split()[-1])
    assert records > size.log_records
    print(f"{records:,} records, {size_of(data) >> 20:,} MiB, verified in {seconds:.1f} s")


def record_of_an_encryption(data: Path, kms_client: Callable[..., Any]) -> bytes:
    """A record as the server writes it, of about 1.2 KB."""
    server = start_server(data)
    kms = kms_client(server)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.encrypt(KeyId=key_id, Plaintext=b"secret", EncryptionContext={"tenant": "tenant-4711", "purpose": "a long log"})
    assert server.stop() == 0
    lines = [line for path in sorted((data / "audit").glob("*/*.log")) for line in path.read_bytes().splitlines()]
    return next(
        line.record for line in map(parse, lines) if line is not None and b'"eventName":"Encrypt"' in line.record
    )


def write(data: Path, record: bytes, count: int) -> None:
    opened = open_installation(read_config(data / "strongroom.yaml"))

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            writer = AuditWriter.open(audit_log(opened), now=time.time, executor=executor, on_fatal=pytest.fail)
            for _ in range(count // AT_ONCE):
                await asyncio.gather(*{writer.write(record) for _ in range(AT_ONCE)})
                await writer.tick()
            await writer.close()

    asyncio.run(run())
    opened.close()


def size_of(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "audit").glob("*/*.log"))
