"""The ASGI callable of the XKS proxy (XKS specification 1.0.3): paths, methods, answers in JSON.

A path tells the operation. What is none of the API's is refused in its words, and so is a method that is not POST, but
for `GET /ping`: load balancers ask that, and nobody is told anything.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.errors import XKS_PROXY, InvalidUriPath, RequestEntityTooLarge, RequestError, code_of
from strongroom.messages.xks import route
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire.response import Response

_STATUSES: Final[Mapping[str, int]] = {
    "AccessDeniedException": 403,
    "AuthenticationFailedException": 401,
    "DependencyTimeoutException": 503,
    "InternalException": 500,
    "InvalidUriPathException": 404,
    "KeyNotFoundException": 404,
    "ThrottlingException": 429,
    "UnsupportedOperationException": 501,
}
"""The statuses that are not 400 (XKS specification, "Error codes")."""
_MAX_MESSAGE = 511
"""Characters of errorMessage, of 0x20 to 0x7e."""
_PONG = b"pong"


class Answering(Protocol):
    """What stands behind the wire."""

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        """Carry a request to its end. Never raises, but for `CancelledError`."""
        ...

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        """Give what was refused before an operation could be told a request id and its place in the log."""
        ...


def application(answering: Answering) -> ASGI3Application:
    """Make the callable. It runs behind `http_protocol.Protocol` only, which hands over bodies in one piece."""

    async def respond(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        message = await receive()
        if message["type"] != "http.request":
            return
        headers = scope["headers"]
        assert isinstance(headers, list)
        client = scope["client"]
        incoming = Incoming(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            headers,
            message["body"],
            client[0] if client is not None else "",
            scope["state"]["tls"],
        )
        status, response_headers, body = await _respond(answering, incoming, whole=not message["more_body"])
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond


async def _respond(answering: Answering, incoming: Incoming, *, whole: bool) -> Response:
    if incoming.method == "GET" and incoming.path == b"/ping":
        return 200, [(b"Content-Type", b"text/plain")], _PONG
    where = route(incoming.path.decode("latin-1"))
    if where is None:
        return _said(answering.refuse(incoming, InvalidUriPath("Nothing is served at this path."), XKS_PROXY))
    if incoming.method != "POST":
        return 405, [(b"Allow", b"POST"), (b"Content-Type", b"text/plain")], b""
    if not whole:
        return _said(answering.refuse(incoming, RequestEntityTooLarge("The request is too large."), XKS_PROXY))
    return _said(await answering.answer(incoming, XKS_PROXY, where.operation))


def _said(answer: Answer) -> Response:
    status, content = 200, msgspec.json.encode(answer.response)
    if answer.error is not None:
        name = code_of(answer.error, XKS_PROXY)
        status, content = _STATUSES.get(name, 400), msgspec.json.encode(_told(name, answer.error))
    headers = [(b"Content-Type", b"application/json"), (b"x-amzn-RequestId", answer.request_id.encode())]
    return status, headers, content


def _told(name: str, error: RequestError) -> dict[str, str]:
    message = "".join(letter if " " <= letter <= "~" else "?" for letter in error.message or "")
    return {"errorName": name, "errorMessage": message[:_MAX_MESSAGE]} if message else {"errorName": name}
