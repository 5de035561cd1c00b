"""Requests are counted, and timed from the whole request to its answer: around whatever answers them."""

from time import perf_counter_ns

from strongroom.errors import RequestError
from strongroom.metrics.meters import Requests
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire.asgi import Answering


class Counted:
    """Implements `Answering`."""

    def __init__(self, answering: Answering, requests: Requests) -> None:
        self._answering = answering
        self._requests = requests

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        """Have a request answered, and count it."""
        began = perf_counter_ns()
        answer = await self._answering.answer(incoming, service, operation)
        self._requests.count(service, operation, answer.error, perf_counter_ns() - began)
        return answer

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        """Have a request refused, and count it."""
        began = perf_counter_ns()
        answer = self._answering.refuse(incoming, error, service)
        self._requests.count(service, None, answer.error, perf_counter_ns() - began)
        return answer
