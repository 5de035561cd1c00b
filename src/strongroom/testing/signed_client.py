"""A client that signs what it is told to, well formed or not: for tests that a real SDK would not let through."""

import http.client
import json
import time
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from msgspec.structs import replace

from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.testing.server import Server


class Reply(NamedTuple):
    """A raw answer."""

    status: int
    request_id: str
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as JSON; an empty body as no members."""
        members: dict[str, object] = json.loads(self.body) if self.body else {}
        return members


class SignedClient:
    """One keep-alive connection to a server, for the KMS endpoint in one Region."""

    def __init__(self, server: Server, *, region: str | None = None, timeout: float = 30) -> None:
        """`region` is the server's unless it is given; `timeout` in seconds bounds every wait for the server."""
        address = urlsplit(server.endpoint)
        assert address.hostname is not None, "an endpoint has a host"
        self._host = address.netloc
        self._region = region or server.region
        self._credential = Credential(server.access_key_id, server.secret_access_key)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, operation: str, body: bytes | dict[str, object], *, now: float | None = None) -> Reply:
        """Send a signed request; `now` (seconds since the epoch) is when it says it was signed."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.signed_headers(operation, content, now=time.time() if now is None else now)
        return self.send(headers, content)

    def signed_headers(
        self, operation: str, body: bytes, *, now: float, session_token: str | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers of a signed request, as if by temporary credentials if there is a `session_token`."""
        headers = [
            (b"host", self._host.encode()),
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"x-amz-target", f"TrentService.{operation}".encode()),
        ]
        request = SignedRequest("POST", b"/", b"", headers)
        credential = replace(self._credential, session_token=session_token)
        return headers + sign(request, credential, region=self._region, service="kms", now=now, body=body)

    def form(self, service: str, body: bytes) -> Reply:
        """Send a signed form to a service of the Query protocol, `iam` or `sts`."""
        headers = [(b"host", self._host.encode()), (b"content-type", b"application/x-www-form-urlencoded")]
        request = SignedRequest("POST", b"/", b"", headers)
        signed = sign(request, self._credential, region=self._region, service=service, now=time.time(), body=body)
        return self.send(headers + signed, body)

    def send(self, headers: list[tuple[bytes, bytes]], body: bytes, *, method: str = "POST") -> Reply:
        """Send these headers and this body as they are."""
        self._connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            self._connection.putheader(name.decode("latin-1"), value)
        self._connection.putheader("content-length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        return Reply(response.status, response.headers["x-amzn-RequestId"] or "", response.read())

    @property
    def local_address(self) -> tuple[str, int]:
        """Our end of the connection, once something was sent: host and port."""
        host, port = self._connection.sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
