"""One HTTP/1.1 connection: uvicorn's httptools protocol, taught what a key management service needs of it.

It differs from its base in this:

- A request is handed to the application when its last byte is here, so that a client that goes away in the middle
  has asked for nothing. A request that is late, too large or not HTTP never gets there.
- An answer is one write: head and body, header names in the case they were given, always with a Content-Length.
  libmongocrypt compares `Content-Length` byte for byte, and plain uvicorn lower-cases it.
- One request of a connection is answered at a time, in order; those that come early (pipelining) wait.
- Whatever cannot be parsed as HTTP/1.0 or 1.1 gets a plain 400 and is counted. llhttp, strict here, refuses the
  ambiguities that request smuggling lives on (RFC 9112 6.1 and 11.2): two lengths, both framings, folded headers.

Towards the application it is ASGI 3 with one narrowing: `receive` gives the body in one message. `more_body` is
true only of a body larger than `MAXIMUM_BODY`; its rest is dropped, and the only thing to do is to refuse.
"""

import asyncio
import contextlib
import logging
import socket
import urllib.parse
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import httptools
import uvicorn
from uvicorn._types import (
    ASGIReceiveEvent,
    ASGISendEvent,
    ASGIVersions,
    HTTPResponseStartEvent,
    HTTPScope,
)
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from strongroom.model.exchange import TlsDetails
from strongroom.wire.room import Room

MAXIMUM_HEAD = 64 * 1024
"""Bytes of request line and headers. A larger head gets 431."""

MAXIMUM_HEADERS = 256
"""Headers of a request, and its trailers likewise. More get 431."""

MAXIMUM_BODY = 1024 * 1024
"""Bytes of a request body. No KMS operation takes a tenth of it."""

MAXIMUM_CONNECTIONS = 4096
"""Open connections of one process, should its file descriptors allow for as many; bounds what clients can fill."""

_MAXIMUM_RECEIVED = MAXIMUM_HEAD + 2 * MAXIMUM_BODY  # with chunk sizes, chunk extensions and trailers

_ASGI: ASGIVersions = {"version": "3.0", "spec_version": "2.3"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PLAIN_TEXT = ((b"Content-Type", b"text/plain; charset=utf-8"),)

_log = logging.getLogger("strongroom.wire")

_Request = tuple[HTTPScope, bytes, bool]  # scope, body, and whether that is all of the body


@dataclass(frozen=True)
class Limits:
    """How long a connection may take, in seconds.

    `request` runs from a request's first byte to its last, and from the accepting of a connection to its first byte;
    `idle` from an answer to the next request; `linger` is how long a client that was refused in the middle of its
    request has to read why: closing at once would reset the connection and could destroy the answer. `grace` is
    what a half-received request still gets when the server stops. `header` is what a balancer has for its PROXY header.
    """

    request: float = 30
    idle: float = 75
    linger: float = 2
    grace: float = 2
    header: float = 5


class State(ServerState):
    """What the connections of a server share: limits, room, the current time and date, and a count.

    `now` is the event loop's clock, `date_line` the Date header; the server renews them as it ticks. `not_http` counts
    connections that sent something else than HTTP, or than the PROXY header that was due.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.now = 0.0
        self.date_line = b""
        self.stopping = False
        self.room = Room(MAXIMUM_CONNECTIONS)
        self.not_http = 0


class _RefusedError(Exception):
    """Raised in a parser callback, to stop the parser: the head is one that we do not take."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _BodyTooLargeError(Exception):
    """Raised in a parser callback, to stop the parser: the body has grown over `MAXIMUM_BODY`."""


class Protocol(HttpToolsProtocol):
    """One connection.

    `receiving`: a request has begun and its end is not here. `in_head`: nor is the end of its head.
    `answering`: the request that the application works on. `waiting`: whole requests behind it.
    `last`: nothing further is read from this client; what arrives is dropped. `unread`: the client may still be
    sending when we have said our last. `farewell`: a status to end with. `oversized`: the head announces more than
    `MAXIMUM_BODY`. `expecting`: the client sends its body when it is told to continue. `source`: the client's address
    where a balancer told it.
    """

    def __init__(self, config: uvicorn.Config, state: State, accepted: socket.socket) -> None:
        """Begin with the socket; `connection_made` comes after the PROXY header and TLS handshake, if there are any."""
        super().__init__(config, state, {})
        self.state = state
        self.accepted = accepted
        self.source: tuple[str, int] | None = None
        self.deadline = state.now + state.limits.request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection over. Its address is the balancer's word or the socket's, whatever headers will say."""
        super().connection_made(transport)
        self.client = self.source or _plain_address(self.client)
        self.app_state = {"tls": _tls_details(transport)}
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self.receiving = self.in_head = False
        self.last = False
        self.unread = False
        self.farewell: int | None = None
        self.answering: _Request | None = None
        self.waiting: deque[_Request] = deque()
        self.response: HTTPResponseStartEvent | None = None
        # Bytes received on this connection: in all, up to where the next request can begin, up to where this one did.
        self.received = self.start = self.began = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was not begun. What the application works on, it finishes; the answer goes nowhere."""
        self.last = True
        self.waiting.clear()
        self.state.room.left(self)
        super().connection_lost(exc)

    # What arrives.

    def data_received(self, data: bytes) -> None:
        """Parse what arrived. All that a request in one piece needs is in the callbacks below."""
        if self.last:
            return
        self.start = self.received
        self.received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.last:  # else: bytes behind a request that said `Connection: close`
                self._stop_reading(error.__context__)
        else:
            if self.receiving:
                self._check_unfinished()

    def on_message_begin(self) -> None:
        """Begin a request: from here it has `Limits.request` seconds."""
        self.url = b""
        self.headers = []
        self.in_head = True
        self.body: bytes | bytearray = b""
        self.receiving = True
        self.began = self.start
        self.deadline = self.state.now + self.state.limits.request
        if self.answering is None:
            self.state.room.active(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it was sent, its name in lower case; refuse one too many."""
        if len(self.headers) == MAXIMUM_HEADERS:
            raise _RefusedError(431)
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Make the ASGI scope of a head. Refused: other versions of HTTP, upgrades, CONNECT, too large a head."""
        self.in_head = False
        headers, self.headers = self.headers, []  # trailers, which come after the body, are not headers
        if self.received - self.began > MAXIMUM_HEAD:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > MAXIMUM_HEAD:
                raise _RefusedError(431)
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0") or self.parser.should_upgrade():
            raise _RefusedError(400)
        fields = dict(headers)
        self.oversized = int(fields.get(b"content-length", 0)) > MAXIMUM_BODY
        self.expecting = version == "1.1" and fields.get(b"expect", b"").lower() == b"100-continue"
        url = self.url
        if url.startswith(b"/"):
            path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            path, query = parsed.path or b"/", parsed.query or b""
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme or "http",
            "path": "/" if path == b"/" else urllib.parse.unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.server,
            "state": self.app_state,
        }

    def on_body(self, body: bytes) -> None:
        """Gather the body: the bytes themselves if they come in one piece."""
        if not self.body:
            self.body = body
            return
        if isinstance(self.body, bytes):
            self.body = bytearray(self.body)
        self.body += body
        if len(self.body) > MAXIMUM_BODY:
            raise _BodyTooLargeError

    def on_message_complete(self) -> None:
        """Take the request: it is whole."""
        self.start = self.received  # what begins behind it, in the same bytes
        if (
            not self.parser.should_keep_alive()
            or self.scope["http_version"] == "1.0"  # no keep-alive there: it would have to be negotiated
            or self.state.stopping
        ):
            self.last = True
        self._take(whole=True)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what is whole to a client that has only closed its own side; TLS cannot be closed by halves."""
        if self.answering is None or self.scheme == "https":
            return None
        self.last = True
        return True

    def _check_unfinished(self) -> None:
        """See to a request that did not come in one piece: its size so far, and what it waits for."""
        received = self.received - self.began
        if self.in_head:
            if received > MAXIMUM_HEAD:
                self._reject(431)
            return
        if received > _MAXIMUM_RECEIVED or self.oversized:
            self._refuse_body()
        elif self.expecting and self.answering is None:
            self.expecting = False
            self.transport.write(_CONTINUE)

    def _stop_reading(self, reason: BaseException | None) -> None:
        if isinstance(reason, _BodyTooLargeError):
            self._refuse_body()
        else:
            self._reject(reason.status if isinstance(reason, _RefusedError) else 400)

    def _refuse_body(self) -> None:
        """Let the application refuse a request for its size, so that the refusal is recorded like any other."""
        self.last = self.unread = True
        self.body = b""
        self._take(whole=False)

    def _reject(self, status: int) -> None:
        """End with a plain answer, behind those that are still owed."""
        if status == 400:  # noqa: PLR2004 - the status is its own name
            self.state.not_http += 1
        self.receiving = False
        self.last = self.unread = True
        self.farewell = status
        if self.answering is None:
            self._proceed()

    # Answering.

    def _take(self, *, whole: bool) -> None:
        self.receiving = False
        request = (self.scope, bytes(self.body), whole)
        if self.answering is None:
            self._begin(request)
        else:
            self.waiting.append(request)
            self.flow.pause_reading()

    def _begin(self, request: _Request) -> None:
        self.answering = request
        self.state.room.busy(self)
        self.tasks.add(self.loop.create_task(self._run(request)))

    async def _run(self, request: _Request) -> None:
        try:
            await self.app(request[0], self.receive, self.send)
        except Exception:  # noqa: BLE001 - the last resort of one request; the server goes on
            _log.exception("a request was not answered")
        finally:
            if self.answering is request:
                self._fail()
            self.tasks.discard(asyncio.current_task())

    async def receive(self) -> ASGIReceiveEvent:
        """Give the whole body (ASGI `receive`). Asked again there is no more, nor is anybody waited for."""
        if self.answering is None:
            return {"type": "http.disconnect"}
        _, body, whole = self.answering
        return {"type": "http.request", "body": body, "more_body": not whole}

    async def send(self, message: ASGISendEvent) -> None:
        """Take the answer (ASGI `send`): a start, then one body, upon which both are written.

        Date, Content-Length and, where it applies, `Connection: close` are added here.
        """
        if message["type"] == "http.response.start":
            self.response = message
            return
        if message["type"] != "http.response.body" or message.get("more_body") or self.response is None:
            raise RuntimeError("an answer is a start and one body")
        if self.flow.write_paused:
            await self.flow.drain()
        self.state.total_requests += 1
        response, self.response = self.response, None
        self._write(response["status"], response.get("headers", ()), message.get("body", b""))
        self._proceed()

    def _write(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Write one answer. Header names and values are ours: nothing of a request is ever among them."""
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        parts += [b"%b: %b\r\n" % header for header in headers]
        ending = self.last and not self.waiting and self.farewell is None
        parts.append(self.state.date_line)
        parts.append(
            (b"Content-Length: %d\r\nConnection: close\r\n\r\n" if ending else b"Content-Length: %d\r\n\r\n")
            % len(body)
        )
        if self.answering is None or self.answering[0]["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))

    def _proceed(self) -> None:
        """Turn to what comes after an answer: the next request, the end, or waiting."""
        if self.waiting:
            self._begin(self.waiting.popleft())
            return
        self.answering = None
        self.state.room.active(self)
        if self.last:
            self._end()
            return
        self.flow.resume_reading()
        if not self.receiving:
            self.deadline = self.state.now + self.state.limits.idle

    def _end(self) -> None:
        """Say the last word, if one is owed, and close; linger if the client may still be sending."""
        if self.farewell is not None:
            status, self.farewell = self.farewell, None
            self._write(status, _PLAIN_TEXT, STATUS_LINE[status][9:])
        if not self.unread or self.state.stopping:
            self.transport.close()
        elif not self.transport.is_closing():
            self.deadline = self.state.now + self.state.limits.linger
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def _fail(self) -> None:
        """End a connection whose request the application left without an answer: it failed or was canceled."""
        self.last = True
        self.waiting.clear()
        self.farewell = 500
        self._proceed()

    # Time.

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read what it asked for: it has `Limits.request` seconds, too."""
        super().pause_writing()
        self.deadline = self.state.now + self.state.limits.request

    def check_deadline(self) -> None:
        """Close the connection if its time is up. The application's own time is not the client's fault."""
        if self.state.now > self.deadline and (self.answering is None or self.flow.write_paused):
            self.transport.abort()

    def leave(self) -> None:
        """Close at once, to make room. Nothing of this client is being answered."""
        if self.shaking_hands:
            with contextlib.suppress(OSError):  # the client has gone
                self.accepted.shutdown(socket.SHUT_RDWR)  # the handshake fails upon it
        else:
            self.transport.abort()

    @property
    def shaking_hands(self) -> bool:
        """Whether `connection_made` is still to come."""
        return self.scheme is None

    def shutdown(self) -> None:
        """Prepare to end, as the server stops: what was received whole is answered first."""
        if self.answering is not None:
            self.last = True
        elif self.receiving:
            self.loop.call_later(self.state.limits.grace, self._give_up)
        else:
            self.transport.close()

    def _give_up(self) -> None:
        if self.answering is None:
            self.transport.abort()


def _plain_address(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """Write an IPv4 client of a socket that listens on both as IPv4 (RFC 4291 2.5.5.2), as policies do."""
    if address is not None and address[0].startswith("::ffff:") and "." in address[0]:
        return address[0].removeprefix("::ffff:"), address[1]
    return address


def _tls_details(transport: asyncio.Transport) -> TlsDetails | None:
    session = transport.get_extra_info("ssl_object")
    if session is None:
        return None
    return TlsDetails(session.version(), session.cipher()[0])
