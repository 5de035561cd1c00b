"""The least that our server can do: a fixed answer of 1.4 KB through the same server and protocol class.

    python tests/bench/static_server.py

Prints the port it took.
"""

import gc

import uvloop
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.wire.server import Server, bind

BODY = b'{"CiphertextBlob":"' + b"A" * 1384 + b'"}'
HEADERS = [
    (b"x-amzn-RequestId", b"12345678-1234-1234-1234-123456789012"),
    (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
    (b"Expires", b"0"),
    (b"Pragma", b"no-cache"),
    (b"Content-Type", b"application/x-amz-json-1.1"),
]


async def answer(_scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Give the same answer to everything."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


def main() -> None:
    """Serve, with the garbage collector settled as the real server settles it."""
    listener = bind("127.0.0.1", 0)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    server = Server(answer, ready=lambda: print(listener.getsockname()[1], flush=True))
    uvloop.run(server.serve([listener]))


if __name__ == "__main__":
    main()
