"""What Signature Version 4 signs of an HTTP request, apart from its body."""

from collections.abc import Sequence

from msgspec import Struct


class SignedRequest(Struct, frozen=True):
    """The request line and headers as they came, or will go, over the wire.

    `path` and `query` are raw: the bytes before and after the first `?` of the request line. Header names are
    in lower case; values are as received, duplicates kept in order. Nothing may be added or rewritten on the
    way here (the `host` value above all): the signature is over what the client sent.
    """

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f"SignedRequest({self.method} {self.path!r})"
