"""HTTP/1.1 over TLS to one proxy, on connections that are kept. A call ends at its deadline, whatever the proxy does.

No redirect is followed, and no proxy of the environment used. Of TLS 1.2 there are the two suites that the XKS
specification names; of TLS 1.3 what the library has, which begins with those that it names. What a proxy sends is
bounded before it is parsed: in its length, in its parts, and in what h11 needs quadratic time for.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h11

from strongroom.errors import ConfigurationError
from strongroom.keystores.external.addresses import Addresses
from strongroom.keystores.external.deadline import left
from strongroom.keystores.external.failures import Kind, ProxyError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAX_BYTES = 64 * 1024
"""Of a response, with its headers and all that stands between the parts of its body."""
_MAX_HEAD = 8 * 1024
"""Of the headers, as long as their end has not come."""
_MAX_PIECE = 16 * 1024
"""What is read at once."""
_MAX_PARTS = 1024
"""Of a body, as it comes."""
_MAX_INFORMATIONAL = 10
"""Responses 1xx before the one that counts."""
_MAX_BLANKS = 256
"""White space without anything between. The patterns of h11 take quadratic time for it, and no answer has so much."""
_TO_BLANKS = bytes.maketrans(b"\t\r\n", b"   ")
_MAX_IDLE = 32
_IDLE_SECONDS = 30.0
"""How long a connection is kept that nobody uses: less than load balancers and firewalls keep theirs."""
_SUITES = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"


class Response(NamedTuple):
    """A response as it came."""

    status: int
    body: bytes


class _AnswerError(Exception):
    """What came is no answer. The text is for the operator, and has none of the proxy's own words in it."""


class _ClosedError(ConnectionError):
    """The proxy has closed the connection before the end of its response."""


class _StaleError(Exception):
    """The proxy has closed a connection that was kept; it has seen nothing of the request, or answered nothing."""


class _TimedSocket(ssl.SSLSocket):
    """A socket that neither sends nor receives after a time: a timeout alone would begin anew with each byte."""

    deadline: float | None = None
    """None until a call begins: the handshake has a timeout of its own, and reads first if the other side is gone."""
    received = 0
    """Bytes of the response so far."""

    def begin(self, deadline: float) -> None:
        """Begin another call."""
        self.deadline, self.received = deadline, 0

    def recv(self, buflen: int = _MAX_PIECE, flags: int = 0) -> bytes:
        if self.deadline is not None:
            self.settimeout(left(self.deadline))
        data = super().recv(buflen, flags)
        self.received += len(data)
        if self.received > _MAX_BYTES:
            raise _AnswerError("it is longer than any answer")
        return data

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        if self.deadline is not None:
            self.settimeout(left(self.deadline))
        return super().send(data, flags)

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last response: neither its end, nor what nobody asked for."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return self.pending() == 0 and not poll.poll(0)


class _Connection:
    """A connection that is open. It has one call at a time."""

    def __init__(self, sock: _TimedSocket) -> None:
        self.timed = sock
        self.idle_since = 0.0
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        self._ended = False
        self._last = b""
        """The end of what came."""

    def close(self) -> None:
        self.timed.close()

    def send(self, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send a POST. Raises OSError; h11.LocalProtocolError or UnicodeError if it cannot be said in HTTP."""
        request = h11.Request(method="POST", target=path, headers=list(headers))
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        self.timed.sendall(b"".join(self._http.send(event) for event in events))

    def receive(self) -> Response:
        """The response. Raises OSError, _AnswerError."""
        self._last = b""
        informational, status = 0, 0
        parts: list[bytes] = []
        while True:
            match self._event():
                case h11.InformationalResponse():
                    informational += 1
                    if informational > _MAX_INFORMATIONAL:
                        raise _AnswerError("it has too many responses 1xx")
                case h11.Response() as response:
                    status = response.status_code
                case h11.Data() as part:
                    parts.append(part.data)
                    if len(parts) > _MAX_PARTS:
                        raise _AnswerError("its body has too many parts")
                case h11.EndOfMessage():
                    return Response(status, b"".join(parts))
                case _:
                    raise _AnswerError("it is not HTTP")

    def renew(self) -> bool:
        """Make ready for another call; whether there can be one."""
        both = {self._http.our_state, self._http.their_state}
        if both != {h11.DONE} or self._http.trailing_data != (b"", False):
            return False
        self._http.start_next_cycle()
        return True

    def _event(self) -> object:
        """The next that the response has."""
        while (event := self._parsed()) is h11.NEED_DATA:
            data = self.timed.recv()
            self._check_blanks(data)
            self._ended = not data
            self._http.receive_data(data)
        return event

    def _parsed(self) -> object:
        try:
            return self._http.next_event()
        except Exception as error:  # noqa: BLE001 — RemoteProtocolError; any other is a fault of h11 that the proxy found
            if self._ended and isinstance(error, h11.RemoteProtocolError):
                raise _ClosedError("it closed the connection before the end of its answer") from None
            raise _AnswerError("it is not HTTP") from None  # its own text may have the proxy's words in it

    def _check_blanks(self, data: bytes) -> None:
        """Raise _AnswerError if there are too many."""
        blanks = (self._last + data).translate(_TO_BLANKS)
        if b" " * _MAX_BLANKS in blanks:
            raise _AnswerError("it has too much white space")
        self._last = blanks[1 - _MAX_BLANKS :]


class Connections:
    """The connections to one proxy. Safe to share between threads."""

    def __init__(self, name: str, addresses: Addresses, ca: Path | None) -> None:
        """`name` is what the proxy's certificate must have. `ca` is a PEM file of the only authorities to trust.

        Raises ConfigurationError if that file cannot be used.
        """
        self._name = name
        self._addresses = addresses
        self._tls = _tls(ca)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._closed = False

    def post(self, path: str, headers: Sequence[tuple[str, str]], body: bytes, deadline: float) -> Response:
        """Send a request, whose headers are exactly those given; return the response, whatever its status.

        Raises ProxyError.
        """
        kept = self._take()
        if kept is not None:
            try:
                return self._exchange(kept, path, headers, body, deadline, kept=True)
            except _StaleError:
                pass  # once: the next is a new one
        return self._exchange(self._open(deadline), path, headers, body, deadline)

    def close(self) -> None:
        """Close what is not in use now; the rest is closed after use. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> _Connection | None:
        """The connection used last that is good for another request."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.timed.is_quiet() and time.monotonic() < connection.idle_since + _IDLE_SECONDS:
                return connection
            connection.close()

    def _put_back(self, connection: _Connection) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            if not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _open(self, deadline: float) -> _Connection:
        try:
            raw = self._connected(deadline)
        except TimeoutError:
            raise ProxyError(Kind.TIMED_OUT) from None
        except OSError as error:
            raise ProxyError(Kind.UNREACHABLE) from error
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(left(deadline))
            sock = self._tls.wrap_socket(raw, server_hostname=self._name)
        except (OSError, ValueError) as error:
            raise ProxyError(_kind_of(error)) from error
        finally:
            raw.close()  # which it does not, once it is wrapped
        if sock.version() is None:  # so Python leaves it where the other side is gone: all would be sent in clear
            sock.close()
            raise ProxyError(Kind.UNREACHABLE)
        assert isinstance(sock, _TimedSocket)
        return _Connection(sock)

    def _connected(self, deadline: float) -> socket.socket:
        """A connection to the first address that takes one. Raises OSError."""
        *others, last = self._addresses.find(deadline)
        for address in others:
            try:
                return _connect(address.family, address.place, deadline)
            except TimeoutError:
                raise
            except OSError:
                continue
        return _connect(last.family, last.place, deadline)

    def _exchange(
        self,
        connection: _Connection,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: float,
        *,
        kept: bool = False,
    ) -> Response:
        """Send a request and read its response. Raises ProxyError; _StaleError if the connection was closed before."""
        reusable = False
        connection.timed.begin(deadline)
        try:
            connection.send(path, headers, body)
            response = connection.receive()
            reusable = connection.renew()
        except TimeoutError:
            raise ProxyError(Kind.TIMED_OUT) from None
        except OSError as error:
            if kept and connection.timed.received == 0:
                raise _StaleError from None
            raise ProxyError(_kind_of(error)) from error
        except _AnswerError as error:
            raise ProxyError(Kind.INVALID_RESPONSE) from error
        except (h11.LocalProtocolError, UnicodeError):
            raise ProxyError(Kind.INVALID_RESPONSE) from None  # its text may have the headers in it
        else:
            return response
        finally:
            if reusable:
                self._put_back(connection)
            else:
                connection.close()


def _tls(ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and its names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.sslsocket_class = _TimedSocket
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise ConfigurationError(f"the certificates {ca} cannot be used: {error.strerror or error}") from error
    return context


def _connect(family: int, place: tuple[object, ...], deadline: float) -> socket.socket:
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.settimeout(left(deadline))
        raw.connect(place)
    except BaseException:
        raw.close()
        raise
    return raw


def _kind_of(error: Exception) -> Kind:
    match error:
        case TimeoutError():
            return Kind.TIMED_OUT
        case ssl.SSLError():
            return Kind.TLS
        case _:
            return Kind.UNREACHABLE
