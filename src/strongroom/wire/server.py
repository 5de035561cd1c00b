"""The server of one process: listening sockets, the running of connections, and a stop that loses nothing."""

import asyncio
import contextlib
import errno
import ipaddress
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate

import uvicorn
from uvicorn._types import ASGI3Application

from strongroom.errors import ConfigurationError
from strongroom.wire import proxy_protocol
from strongroom.wire.http_protocol import MAXIMUM_CONNECTIONS, Limits, Protocol, State
from strongroom.wire.tls import Certificate

_BACKLOG = 2048
_HANDSHAKE_SECONDS = 10
_GOODBYE_SECONDS = 1  # for a TLS client to confirm a close; those that sit idle in a pool never do
_STOP_SECONDS = 30
_ACCEPT_PAUSE_SECONDS = 0.1
_RESERVED_DESCRIPTORS = 96  # for the database, the audit log, those who watch, and all else that is no client
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
    the listening sockets are closed then. The signals do nothing from then on: the caller has a log to close. Runs on
    uvloop or asyncio.
    """

    def __init__(  # noqa: PLR0913 — what one server can differ in from another
        self,
        app: ASGI3Application,
        *,
        certificate: Certificate | None = None,
        balancers: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (),
        ready: Callable[[], None] = lambda: None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        capacity: int = MAXIMUM_CONNECTIONS,
        signals: bool = True,
        grace: int = _STOP_SECONDS,
    ) -> None:
        """`ready` is called once, when connections are being accepted. `capacity` is how many there are at most.

        Whoever connects from one of `balancers` has to begin with a PROXY header, and is believed. Without `signals`
        only `stop` ends it: another server of the process takes them. `grace` is for how many seconds a stop waits for
        requests that are under way.
        """
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
                timeout_graceful_shutdown=grace,
            )
        )
        self.state = State(limits)
        self.server_state = self.state
        self._capacity = capacity
        self._signals = signals
        self._certificate = certificate
        self._balancers = balancers
        self._ready = ready
        self._accepting: list[asyncio.Task[None]] = []
        self._arriving: dict[Protocol, asyncio.Task[None]] = {}

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: nobody new is served."""
        return self.should_exit

    def stop(self) -> None:
        """Stop as SIGTERM does. From any thread; at once if called before `serve`."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        self._look_at_the_clock(loop.time())
        descriptors = _raise_descriptor_limit() - _RESERVED_DESCRIPTORS
        self.state.room.capacity = max(1, min(descriptors, self._capacity))
        self.servers = []  # the base's name for listeners that accept by themselves, and know no bounds
        self._accepting = [loop.create_task(self._accept(listener)) for listener in sockets or []]
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
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for connection in tuple(self._arriving):
            if connection.shaking_hands:
                connection.leave()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the stop signals while serving, and for good once a stop was asked for.

        The base raises them again at the end, and a second one would kill the process while our caller closes its log.
        Outside of the main thread, where no signal arrives, only `stop` ends the serving.
        """
        if not self._signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_IGN if self.should_exit else handler)

    def connection(self, accepted: socket.socket) -> Protocol:
        """Make the protocol of one connection."""
        return Protocol(self.config, self.state, accepted)

    async def _accept(self, listener: socket.socket) -> None:
        """Accept connections, one in each round of the event loop, for as long as there is room."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                accepted, peer = await loop.sock_accept(listener)
            except OSError:  # the machine is out of descriptors or memory, or the client has gone
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            connection = self.connection(accepted)
            if self.state.room.enter(connection):
                self._arriving[connection] = loop.create_task(self._arrive(connection, peer[0]))
            else:
                accepted.close()
            await asyncio.sleep(0)

    async def _arrive(self, connection: Protocol, peer: str) -> None:
        """Bring a connection to the point where HTTP begins."""
        context = self._certificate.context if self._certificate is not None else None
        try:
            if self._balancers and self._is_balancer(peer):
                async with asyncio.timeout(self.state.limits.header):
                    connection.source = await proxy_protocol.receive(connection.accepted)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                connection.accepted,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if context is not None else None,
                ssl_shutdown_timeout=_GOODBYE_SECONDS if context is not None else None,
            )
        except proxy_protocol.MalformedHeaderError:
            self.state.not_http += 1
        except OSError:  # no header or handshake: not TLS, too slow, or gone
            pass
        finally:
            del self._arriving[connection]
            if connection.shaking_hands:
                connection.accepted.close()
                self.state.room.left(connection)

    def _is_balancer(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._balancers)

    def _look_at_the_clock(self, now: float) -> None:
        self.state.now = now
        self.state.date_line = b"Date: %b\r\n" % formatdate(usegmt=True).encode()


def _raise_descriptor_limit() -> int:
    """Let this process open as many files as it may; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
