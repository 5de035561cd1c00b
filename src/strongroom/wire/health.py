"""The ASGI callable for those who watch a node: `GET /health/live`, `/health/ready`, `/metrics`.

Nobody signs here, and it may be in the clear: it names parts and operations, and no account, key or caller.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.response import Response

_JSON: Final = ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"))
_NOT_FOUND: Final[Response] = (404, [(b"Content-Type", b"text/plain")], b"")
_NOT_ALLOWED: Final[Response] = (405, [(b"Allow", b"GET, HEAD"), (b"Content-Type", b"text/plain")], b"")


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be served: each part by its name, and whether this process is on its way to its end."""

    ready: bool
    stopping: bool
    parts: dict[str, bool]


class Watched(Protocol):
    """What tells of the node. It waits for nothing."""

    metrics_type: str
    """The media type of `metrics`."""

    def readiness(self) -> Readiness:
        """Whether it can serve."""
        ...

    def metrics(self) -> bytes:
        """Everything that is counted and measured."""
        ...


def application(watched: Watched) -> ASGI3Application:
    """Make the callable."""
    told: Mapping[bytes, Callable[[Watched], Response]] = {
        b"/health/live": _live,
        b"/health/ready": _ready,
        b"/metrics": _metrics,
    }

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:  # noqa: ARG001
        assert scope["type"] == "http"
        tell = told.get(scope["raw_path"])
        if tell is None:
            status, headers, body = _NOT_FOUND
        elif scope["method"] not in ("GET", "HEAD"):
            status, headers, body = _NOT_ALLOWED
        else:
            status, headers, body = tell(watched)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return serve


def _live(watched: Watched) -> Response:  # noqa: ARG001 — to have answered is all that there is to say
    return 200, [*_JSON], b'{"live":true}'


def _ready(watched: Watched) -> Response:
    readiness = watched.readiness()
    return 200 if readiness.ready else 503, [*_JSON], msgspec.json.encode(readiness)


def _metrics(watched: Watched) -> Response:
    return 200, [(b"Content-Type", watched.metrics_type.encode())], watched.metrics()
