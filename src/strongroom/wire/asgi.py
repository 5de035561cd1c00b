"""The ASGI callable: from an HTTP request to `Incoming`, from `Answer` to an HTTP response.

Steps of the order of checks that are taken here:

1. Size, method and content type. What fails cannot be told to be a call of any operation.
2. The target: which service, and which of its operations. The header X-Amz-Target says it, or in a form (STS takes
   one in a query string too) Action and Version.
"""

from collections.abc import Sequence
from typing import Protocol

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.errors import RequestEntityTooLarge, RequestError, UnknownOperation
from strongroom.messages import query
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire import json_protocol, query_protocol
from strongroom.wire.response import Response, respond_no_protocol


class Answering(Protocol):
    """What stands behind the wire."""

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        """Carry a request to its end. Never raises, but for `CancelledError`.

        `operation` is the name the caller gave, which need not exist; None if it gave none that could be read.
        """
        ...

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        """Give what was refused before an operation could be told a request id and its place in the log.

        The service is None if a form names none of ours.
        """
        ...


class Respond(Protocol):
    """What makes a response of a request; `whole` is false if there was too much of it to be read."""

    async def __call__(self, answering: Answering, incoming: Incoming, *, whole: bool) -> Response:
        """Have it answered, and return the response."""
        ...


def application(answering: Answering) -> ASGI3Application:
    """Make the callable of KMS, IAM, STS and CloudTrail."""
    return served(answering, _respond)


def served(answering: Answering, respond: Respond) -> ASGI3Application:
    """Make a callable. It runs behind `http_protocol.Protocol` only, which hands over bodies in one piece."""

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
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
        status, response_headers, body = await respond(answering, incoming, whole=not message["more_body"])
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return serve


async def _respond(answering: Answering, incoming: Incoming, *, whole: bool) -> Response:
    content_type = _first(incoming.headers, b"content-type")
    # 1. Size, method and content type.
    if not whole:
        if _is(content_type, query_protocol.CONTENT_TYPE):
            return query_protocol.respond(answering.refuse(incoming, RequestEntityTooLarge(), None), None, "")
        return json_protocol.respond(answering.refuse(incoming, RequestEntityTooLarge(), "kms"), "kms")
    if incoming.method == "POST" and _is(content_type, json_protocol.CONTENT_TYPE):
        # 2. The target.
        asked, operation = json_protocol.called(_first(incoming.headers, b"x-amz-target"))
        return json_protocol.respond(await answering.answer(incoming, asked, operation), asked)
    form = None
    if incoming.method == "POST" and _is(content_type, query_protocol.CONTENT_TYPE):
        form = incoming.body
    elif incoming.method == "GET" and query_protocol.stated(incoming.query, b"Version") == query.VERSIONS["sts"]:
        form = incoming.query
    action = None if form is None else query_protocol.stated(form, b"Action")
    if form is None or action is None:
        return respond_no_protocol(answering.refuse(incoming, UnknownOperation(), "kms"))
    # 2. The target, in a form.
    version = query_protocol.stated(form, b"Version")
    service = query_protocol.SERVICES.get(version or "")
    if service is None:
        refused = answering.refuse(incoming, query.unknown_operation(action, version), None)
        return query_protocol.respond(refused, None, action)
    return query_protocol.respond(await answering.answer(incoming, service, action), service, action)


def _first(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    for name, value in headers:
        if name == wanted:
            return value.strip()
    return b""


def _is(content_type: bytes, wanted: bytes) -> bool:
    """Whether a content type is the wanted one, parameters (`; charset=utf-8`) and case aside."""
    return content_type == wanted or content_type.partition(b";")[0].rstrip().lower() == wanted
