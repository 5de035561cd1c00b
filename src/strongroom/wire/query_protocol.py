"""AWS's Query protocol, as IAM and STS speak it: which call a form is, and how an answer becomes XML.

Source: "Making query requests" in the IAM User Guide, and the answers of both services.
"""

from typing import Final
from urllib.parse import unquote_plus

from strongroom.errors import UnknownOperation, code_of
from strongroom.messages import query
from strongroom.model.exchange import Answer
from strongroom.wire.errors import query_status
from strongroom.wire.response import XML, Response, headers

CONTENT_TYPE: Final = b"application/x-www-form-urlencoded"

SERVICES: Final = {version: service for service, version in query.VERSIONS.items()}
"""The version that a form states -> service."""

_FAULT: Final = "http://webservices.amazon.com/AWSFault/2005-15-09"
"""The namespace of errors before it is known which operation of which service is asked for."""

_LONGEST = 128  # bytes of an action or version that are looked at
_OUR_FAULT = 500


def stated(form: bytes, name: bytes) -> str | None:
    """Read one value of a form whose signature is not checked: the first of its name, cut if it is long.

    None if it is not there or empty. Nothing else of the form is parsed.
    """
    _, _, rest = (b"&" + form).partition(b"&" + name + b"=")
    return unquote_plus(rest[:_LONGEST].partition(b"&")[0].decode("latin-1")) or None


def respond(answer: Answer, service: str | None, operation: str) -> Response:
    """Write an answer: the operation's output, or the error. The service is None if it could not be told."""
    error = answer.error
    if error is None:
        assert service is not None, "a service answered"
        body = query.encode(operation, answer.response, query.namespace(service), answer.request_id)
        return 200, headers(answer.request_id, XML), body
    xmlns = _FAULT if service is None or isinstance(error, UnknownOperation) else query.namespace(service)
    status = query_status(error)
    kind = "Receiver" if status >= _OUR_FAULT else "Sender"
    text = "" if error.message is None else f"<Message>{query.escape(error.message)}</Message>"
    return (
        status,
        headers(answer.request_id, XML),
        f'<ErrorResponse xmlns="{xmlns}"><Error><Type>{kind}</Type><Code>{code_of(error, service)}</Code>{text}'
        f"</Error><RequestId>{answer.request_id}</RequestId></ErrorResponse>".encode(),
    )
