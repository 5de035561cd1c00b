"""AWS JSON 1.1, as KMS speaks it: an answer becomes status, headers and body.

The protocol class adds Date and Content-Length. Header names are written as they stand here.
"""

from typing import Final

import msgspec

from strongroom.messages import codec
from strongroom.model.exchange import Answer
from strongroom.wire.errors import rendering

CONTENT_TYPE: Final = b"application/x-amz-json-1.1"

Response = tuple[int, list[tuple[bytes, bytes]], bytes]

_UNCACHED: Final = (
    (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
    (b"Expires", b"0"),
    (b"Pragma", b"no-cache"),
)
_JSON_HEADERS: Final = (*_UNCACHED, (b"Content-Type", CONTENT_TYPE))
_XML_HEADERS: Final = (*_UNCACHED, (b"Content-Type", b"text/xml"))


def respond(answer: Answer) -> Response:
    """Write an answer: the operation's output (none: an empty body), or the error."""
    error = answer.error
    if error is None:
        status, body = 200, codec.encode(answer.response)
    else:
        status, text_member = rendering(error)
        members = {"__type": error.code}
        if error.message is not None:
            members[text_member] = error.message
        body = msgspec.json.encode(members)
    return status, [(b"x-amzn-RequestId", answer.request_id.encode()), *_JSON_HEADERS], body


def respond_not_this_protocol(answer: Answer) -> Response:
    """Write what AWS answers to another method than POST or another content type: 404, and XML."""
    headers = [(b"x-amzn-RequestId", answer.request_id.encode()), *_XML_HEADERS]
    return 404, headers, b"<UnknownOperationException/>"
