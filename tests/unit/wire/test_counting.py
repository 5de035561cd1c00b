"""Requests that pass are counted, and answered as they were."""

import asyncio

from strongroom.app.measuring import new_memory
from strongroom.config import Config
from strongroom.errors import AccessDenied, MissingAuthenticationToken, RequestError
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import REQUEST_DURATION, REQUESTS
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire.counting import Counted

INCOMING = Incoming("POST", b"/", b"", [], b"", "192.0.2.1")


class Answers:
    """Answers as the operation is called, after a while."""

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        await asyncio.sleep(0.01)
        return Answer(f"{service} {operation}", error=AccessDenied("no") if operation == "Decrypt" else None)

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        return Answer(f"{service}", error=error)


def test_what_is_answered_and_what_is_refused() -> None:
    memory = new_memory(Config())
    counting = Counted(Answers(), Meters(memory, 0).requests())

    async def ask() -> list[str]:
        named = ("Encrypt", "Encrypt", "Decrypt", None)
        answers = [await counting.answer(INCOMING, "kms", name) for name in named]
        answers.append(counting.refuse(INCOMING, MissingAuthenticationToken(), None))
        return [f"{answer.request_id}: {answer.error and answer.error.code}" for answer in answers]

    assert asyncio.run(ask()) == [
        "kms Encrypt: None",
        "kms Encrypt: None",
        "kms Decrypt: AccessDeniedException",
        "kms None: None",
        "None: MissingAuthenticationTokenException",
    ]
    values = {series: memory.value(REQUESTS, *series) for series in memory.series(REQUESTS)}
    assert {series: value for series, value in values.items() if value} == {
        ("kms", "Encrypt", "success"): 2,
        ("kms", "Decrypt", "AccessDeniedException"): 1,
        ("kms", "unknown", "success"): 1,
        ("unknown", "unknown", "MissingAuthenticationToken"): 1,
    }
    first = memory.first(REQUEST_DURATION, "kms", "Encrypt")
    *counts, total = memory.place(0)[first : first + REQUEST_DURATION.width]
    assert (sum(counts), sum(counts[:4]), total >= 20_000_000) == (2, 0, True), "each took 10 ms or more"
