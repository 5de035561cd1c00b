"""AWS JSON 1.1, as KMS and CloudTrail speak it: which call a target is, and how an answer becomes an HTTP response."""

from typing import Final

import msgspec

from strongroom.errors import code_of
from strongroom.messages import codec
from strongroom.model.exchange import Answer
from strongroom.wire.errors import rendering
from strongroom.wire.response import Response, headers

CONTENT_TYPE: Final = b"application/x-amz-json-1.1"


TARGETS: Final = {
    b"TrentService": "kms",
    b"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": "cloudtrail",
}
"""What the header X-Amz-Target begins with -> service."""


def called(target: bytes) -> tuple[str, str | None]:
    """Tell the service and the operation of a target; what is none of ours is an operation that KMS does not have."""
    prefix, _, operation = target.rpartition(b".")
    service = TARGETS.get(prefix)
    return ("kms", None) if service is None else (service, operation.decode("latin-1") or None)


def respond(answer: Answer, service: str) -> Response:
    """Write a service's answer: the operation's output (none: an empty body), or the error."""
    error = answer.error
    if error is None:
        status, body = 200, codec.encode(answer.response)
    else:
        status, text_member = rendering(error)
        members = {"__type": code_of(error, service)}
        if error.message is not None:
            members[text_member] = error.message
        body = msgspec.json.encode(members)
    return status, headers(answer.request_id, CONTENT_TYPE), body
