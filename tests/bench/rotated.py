"""What a call costs with a key that was rotated 25 times, beside one that never was."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from strongroom.app.installing import initialize
from strongroom.jobs.calendar import Look
from strongroom.jobs.rotation import RotationJob
from strongroom.operations.kms.rotation import MAX_ON_DEMAND
from tests.bench.calls import best, done, key_of, served, text
from tests.composed import NOW, Composed, composed


class Rotated(NamedTuple):
    """Microseconds of CPU of a call with a key of one material, and with one of 26, in the same run."""

    operation: str
    one: float
    many: float


def measure_rotated() -> Iterator[Rotated]:
    """Measure with an installation of its own."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        data = Path(directory) / "data"
        initialize(data, region="us-east-1", port=0, account="111122223333", now=NOW)
        yield from asyncio.run(_measured(data))


def report_rotated(measured: Iterator[Rotated]) -> Iterator[str]:
    """The table."""
    yield "\nCPU µs of a call with a key of 1 material, and of 26\n"
    for row in measured:
        yield f"{row.operation:28}{row.one:8.0f}{row.many:8.0f}   {row.many / row.one:.2f}"


async def _measured(data: Path) -> list[Rotated]:
    async with composed(data) as parts:
        one, many = await key_of(parts), await key_of(parts)
        oldest = {key: await _encrypted(parts, key) for key in (one, many)}
        job = RotationJob(parts.office, parts.key_store)
        for _ in range(MAX_ON_DEMAND):
            await done(parts, "RotateKeyOnDemand", {"KeyId": many})
            await job.run(Look(NOW, None))
        asked = {
            "Encrypt": {key: {"KeyId": key, "Plaintext": "QUJD"} for key in (one, many)},
            "Decrypt": {key: {"CiphertextBlob": await _encrypted(parts, key)} for key in (one, many)},
            "Decrypt of the oldest": {key: {"CiphertextBlob": oldest[key]} for key in (one, many)},
            "GenerateDataKey": {key: {"KeyId": key, "KeySpec": "AES_256"} for key in (one, many)},
        }
        found = []
        for name, members in asked.items():
            operation = name.split()[0]
            calls = {key: served(parts, operation, parts.signed(operation, members[key])) for key in (one, many)}
            times = [[await best(calls[key]) for key in (one, many)] for _ in range(3)]  # turn by turn
            found.append(Rotated(name, *map(min, zip(*times, strict=True))))
        return found


async def _encrypted(parts: Composed, key_id: str) -> str:
    return text((await done(parts, "Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"})).ciphertext_blob)
