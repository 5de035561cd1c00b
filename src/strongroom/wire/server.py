"""The server of one process: listening sockets, the running of connections, and a stop that loses nothing."""

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate

import uvicorn
from uvicorn._types import ASGI3Application

from strongroom.errors import ConfigurationError
from strongroom.wire.http_protocol import Limits, Protocol, State
from strongroom.wire.tls import Certificate

_BACKLOG = 2048
_HANDSHAKE_SECONDS = 10
_GOODBYE_SECONDS = 1  # for a TLS client to confirm a close; those that sit idle in a pool never do
_STOP_SECONDS = 30
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TICKS_A_SECOND = 10  # of uvicorn's main loop

_BIND_FAILURES = {
    errno.EADDRINUSE: "port {port} on {host} is in use",
    errno.EACCES: "port {port} on {host} needs privileges that this user does not have",
    errno.EADDRNOTAVAIL: "{host} is not an address of this machine",
}


def require_tls_off_loopback(host: str, *, tls: bool) -> None:
    """Refuse to serve other machines in the clear: raise `ConfigurationError`.

    `host` is an address or a name; of names only `localhost` is loopback, whatever others resolve to.
    """
    if tls or host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise ConfigurationError(f"{host} is not a loopback address: serving there needs a certificate (tls)")


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one. Connections wait in it until a server accepts them.

    Raises `ConfigurationError` with one line: port in use, not our address, no such name.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(f"{host} is neither an address nor a name that resolves to one") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        text = _BIND_FAILURES.get(error.errno or 0, "cannot listen on port {port} of {host}: {reason}")
        raise ConfigurationError(text.format(host=host, port=port, reason=error.strerror)) from error
    listener.setblocking(False)
    return listener


class Server(uvicorn.Server):
    """Serves one ASGI callable until SIGTERM, SIGINT or `stop`.

    `await server.serve([listener])` returns when every request that was received whole is answered, or after 30 s;
    the listening sockets are closed then, and the process is the caller's again. Runs on uvloop or asyncio.
    """

    def __init__(
        self,
        app: ASGI3Application,
        *,
        certificate: Certificate | None = None,
        ready: Callable[[], None] = lambda: None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """`ready` is called once, when connections are being accepted."""
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self.state = State(limits)
        self.server_state = self.state
        self._certificate = certificate
        self._ready = ready

    def stop(self) -> None:
        """Stop as SIGTERM does. From any thread; at once if called before `serve`."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        self._look_at_the_clock(loop.time())
        context = self._certificate.context if self._certificate is not None else None
        self.servers = [
            await loop.create_server(
                self.connection,
                sock=listener,
                backlog=_BACKLOG,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if context is not None else None,
                ssl_shutdown_timeout=_GOODBYE_SECONDS if context is not None else None,
            )
            for listener in sockets or []
        ]
        self.started = True
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: close what is overdue. Once a second: the date, and the certificate's files."""
        self.state.now = asyncio.get_running_loop().time()
        for connection in tuple(self.state.connections):
            assert isinstance(connection, Protocol)
            connection.check_deadline()
        if counter % _TICKS_A_SECOND == 0:
            self._look_at_the_clock(self.state.now)
            if self._certificate is not None:
                self._certificate.refresh()
        return self.should_exit

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let what is under way finish, close."""
        self.state.stopping = True
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the stop signals while serving. The base raises them again at the end; our caller has a log to close.

        Outside of the main thread, where no signal arrives, only `stop` ends the serving.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def connection(self) -> Protocol:
        """Make the protocol of one connection."""
        return Protocol(self.config, self.state, {})

    def _look_at_the_clock(self, now: float) -> None:
        self.state.now = now
        self.state.date_line = b"Date: %b\r\n" % formatdate(usegmt=True).encode()
