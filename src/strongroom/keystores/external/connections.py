"""HTTP/1.1 over TLS to one proxy, on connections that are kept. A call ends at its deadline, whatever the proxy does.

No redirect is followed, and no proxy of the environment used. Of TLS 1.2 there are the two suites that the XKS
specification names; of TLS 1.3 what the library has, which begins with those that it names.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom.errors import ConfigurationError
from strongroom.keystores.external.addresses import Addresses
from strongroom.keystores.external.deadline import left
from strongroom.keystores.external.failures import Kind, ProxyError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_MAX_BYTES = 64 * 1024
"""Of a response, with its headers."""
_MAX_IDLE = 32
_IDLE_SECONDS = 30.0
"""How long a connection is kept that nobody uses: less than load balancers and firewalls keep theirs."""
_SUITES = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"


class Response(NamedTuple):
    """A response as it came."""

    status: int
    body: bytes


class _TooLongError(HTTPException):
    """The response is longer than any answer is."""


class _StaleError(Exception):
    """The proxy has closed a connection that was kept; it has seen nothing of the request, or answered nothing."""


class _TimedSocket(ssl.SSLSocket):
    """A socket that neither sends nor receives after a time: a timeout alone would begin anew with each byte."""

    deadline: float
    received: int
    """Bytes of the response so far."""

    def begin(self, deadline: float) -> None:
        """Begin another call."""
        self.deadline, self.received = deadline, 0

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(left(self.deadline))
        count = super().recv_into(buffer, nbytes, flags)
        self.received += count
        if self.received > _MAX_BYTES:
            raise _TooLongError
        return count

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        self.settimeout(left(self.deadline))
        return super().send(data, flags)

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last response: neither its end, nor what nobody asked for."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return self.pending() == 0 and not poll.poll(0)


class _Connection(HTTPConnection):
    """A connection that is open, and is not opened again by itself."""

    auto_open = 0

    def __init__(self, host: str, sock: _TimedSocket) -> None:
        super().__init__(host)
        self.sock = sock
        self.timed = sock
        self.idle_since = 0.0

    def close(self) -> None:
        super().close()
        self.timed.close()


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
        assert isinstance(sock, _TimedSocket)
        return _Connection(self._name, sock)

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
            connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            with connection.getresponse() as response:
                content = response.read(_MAX_BYTES)
                if response.length:
                    raise IncompleteRead(b"", response.length)
                reusable = not response.will_close
                return Response(response.status, content)
        except TimeoutError:
            raise ProxyError(Kind.TIMED_OUT) from None
        except (OSError, HTTPException, ValueError) as error:
            if kept and connection.timed.received == 0:
                raise _StaleError from None
            raise ProxyError(_kind_of(error)) from error
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
        case RemoteDisconnected() | IncompleteRead():
            return Kind.UNREACHABLE
        case HTTPException() | ValueError():
            return Kind.INVALID_RESPONSE
        case _:
            return Kind.UNREACHABLE
