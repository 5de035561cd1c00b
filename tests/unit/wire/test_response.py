"""What every protocol's answers are made of."""

from strongroom import errors
from strongroom.model.exchange import Answer
from strongroom.wire.response import respond_no_protocol


def test_what_is_no_protocol_is_a_404_in_xml() -> None:
    status, headers, body = respond_no_protocol(Answer("id", error=errors.UnknownOperation()))

    assert (status, body) == (404, b"<UnknownOperationException/>")
    assert headers == [
        (b"x-amzn-RequestId", b"id"),
        (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
        (b"Expires", b"0"),
        (b"Pragma", b"no-cache"),
        (b"Content-Type", b"text/xml"),
    ]
