"""AWS JSON 1.1, as KMS speaks it: an answer becomes status, headers and body."""

from typing import Final

import msgspec

from strongroom.messages import codec
from strongroom.model.exchange import Answer
from strongroom.wire.errors import rendering
from strongroom.wire.response import Response, headers

CONTENT_TYPE: Final = b"application/x-amz-json-1.1"


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
    return status, headers(answer.request_id, CONTENT_TYPE), body
