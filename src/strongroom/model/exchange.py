"""A request as it came over the wire, and what answers it. No HTTP library, no parsing of bodies."""

from collections.abc import Sequence

from msgspec import Struct

from strongroom.errors import RequestError


class TlsDetails(Struct, frozen=True):
    """What the connection negotiated, as CloudTrail's tlsDetails names it (`TLSv1.3`, `TLS_AES_128_GCM_SHA256`)."""

    tls_version: str
    cipher_suite: str


class Incoming(Struct, frozen=True):
    """One request with its whole body.

    `path` and `query` are raw, `headers` in order of arrival with lower-case names and values as received.
    `source_ip` is the client's address: the socket's, or what a configured balancer says, whatever headers say.
    """

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    source_ip: str
    tls: TlsDetails | None = None

    def header(self, name: bytes) -> str | None:
        """First value of a header, by lower-case name."""
        for header, value in self.headers:
            if header == name:
                return value.decode("latin-1")
        return None

    def __repr__(self) -> str:
        return f"Incoming({self.method} from {self.source_ip})"


class Answer(Struct, frozen=True):
    """What to say: either `error`, or the typed `response` (None: success without output)."""

    request_id: str
    response: Struct | None = None
    error: RequestError | None = None

    def __repr__(self) -> str:
        return f"Answer({self.request_id}, {self.error!r})"
