"""Calls of the service in this process, through its pipeline, and how their CPU time is measured."""

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

from strongroom.model.exchange import Incoming
from tests.composed import Composed

CALLS, AT_ONCE, ROUNDS = 512, 128, 7


async def best(calls: Callable[[], Any]) -> float:
    """Microseconds of CPU that a call takes, all threads counted: the best of the rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await calls()
        times.append((time.process_time() - began) / CALLS * 1e6)
    return min(times)


def repeated(call: Callable[[], object]) -> Callable[[], Any]:
    """A bare call, over and over."""

    async def calls() -> None:
        for _ in range(CALLS):
            call()

    return calls


def served(parts: Composed, operation: str, request: Incoming) -> Callable[[], Any]:
    """A call of the service, many at once."""

    async def calls() -> None:
        for _ in range(CALLS // AT_ONCE):
            answers = [parts.pipeline.answer(request, "kms", operation) for _ in range(AT_ONCE)]
            assert all(answer.error is None for answer in await asyncio.gather(*answers))

    return calls


async def key_of(parts: Composed, spec: str = "SYMMETRIC_DEFAULT", usage: str = "ENCRYPT_DECRYPT") -> str:
    """Make a key; return its id."""
    made = (await done(parts, "CreateKey", {"KeySpec": spec, "KeyUsage": usage})).key_metadata
    return str(made.key_id)


async def done(parts: Composed, operation: str, members: dict[str, Any]) -> Any:
    """Call an operation; return its response."""
    answer = await parts.call(operation, members)
    assert answer.error is None, answer.error
    return answer.response


def text(value: bytes) -> str:
    """Bytes as they stand in JSON."""
    return base64.b64encode(value).decode()
