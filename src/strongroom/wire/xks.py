"""The ASGI callable of the XKS proxy (XKS specification 1.0.3): paths, methods, answers in JSON.

A path tells the operation. What is none of the API's is refused in its words, and so is a method that is not POST, but
for `GET /ping`: load balancers ask that, and nobody is told anything.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from uvicorn._types import ASGI3Application

from strongroom.errors import XKS_PROXY, InvalidUriPath, RequestEntityTooLarge, RequestError, code_of
from strongroom.messages.xks import route
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire.asgi import Answering, served
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


def application(answering: Answering) -> ASGI3Application:
    """Make the callable of the XKS proxy."""
    return served(answering, _respond)


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
