"""What every protocol's answers are made of: status, headers and body.

The protocol class adds Date and Content-Length. Header names are written as they stand here.
"""

from typing import Final

from strongroom.model.exchange import Answer

XML: Final = b"text/xml"

Response = tuple[int, list[tuple[bytes, bytes]], bytes]

_UNCACHED: Final = (
    (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
    (b"Expires", b"0"),
    (b"Pragma", b"no-cache"),
)


def headers(request_id: str, content_type: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer."""
    return [(b"x-amzn-RequestId", request_id.encode()), *_UNCACHED, (b"Content-Type", content_type)]


def respond_no_protocol(answer: Answer) -> Response:
    """Write what AWS answers to a request of no protocol that it knows: 404, and XML."""
    return 404, headers(answer.request_id, XML), b"<UnknownOperationException/>"
