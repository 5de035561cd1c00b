"""The ASGI callable: from an HTTP request to `Incoming`, from `Answer` to an HTTP response.

Steps of the order of checks that are taken here:

1. Size, method and content type. What fails cannot be told to be a call of any operation.
2. The target: which service, and which of its operations.
"""

from typing import Protocol

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.errors import RequestEntityTooLarge, RequestError, UnknownOperation
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire import json_protocol

_KMS_TARGET = b"TrentService."


class Answering(Protocol):
    """What stands behind the wire."""

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        """Carry a request to its end. Never raises, but for `CancelledError`.

        `operation` is the name the caller gave, which need not exist; None if it gave none that could be read.
        """
        ...

    def refuse(self, incoming: Incoming, error: RequestError) -> Answer:
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
        # 1. Size, method and content type.
        if message["more_body"]:
            refused = answering.refuse(incoming, RequestEntityTooLarge())
            status, response_headers, body = json_protocol.respond(refused)
        elif incoming.method != "POST" or not _is_json(_first(headers, b"content-type")):
            refused = answering.refuse(incoming, UnknownOperation())
            status, response_headers, body = json_protocol.respond_not_this_protocol(refused)
        # 2. The target.
        else:
            target = _first(headers, b"x-amz-target")
            operation = target[len(_KMS_TARGET) :].decode("latin-1") if target.startswith(_KMS_TARGET) else None
            status, response_headers, body = json_protocol.respond(
                await answering.answer(incoming, "kms", operation or None)
            )
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond


def _first(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    for name, value in headers:
        if name == wanted:
            return value.strip()
    return b""


def _is_json(content_type: bytes) -> bool:
    """Whether a content type is JSON 1.1, parameters (`; charset=utf-8`) and case aside."""
    return (
        content_type == json_protocol.CONTENT_TYPE
        or content_type.partition(b";")[0].rstrip().lower() == json_protocol.CONTENT_TYPE
    )
