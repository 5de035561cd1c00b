"""Answers as bytes, against what AWS KMS sends (reference B.1 and B.2)."""

import pytest

from strongroom import errors
from strongroom.messages.kms.keys import ListKeysResponse
from strongroom.model.exchange import Answer
from strongroom.wire.json_protocol import respond

REQUEST_ID = "12345678-1234-1234-1234-123456789012"
HEADERS = [
    (b"x-amzn-RequestId", REQUEST_ID.encode()),
    (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
    (b"Expires", b"0"),
    (b"Pragma", b"no-cache"),
    (b"Content-Type", b"application/x-amz-json-1.1"),
]


def test_an_output_is_a_200_with_its_json() -> None:
    answer = Answer(REQUEST_ID, ListKeysResponse(keys=(), truncated=False))

    assert respond(answer, "kms") == (200, HEADERS, b'{"Keys":[],"Truncated":false}')


def test_no_output_is_an_empty_body() -> None:
    assert respond(Answer(REQUEST_ID), "kms") == (200, HEADERS, b"")


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            errors.NotFound("Key 'a' does not exist"),
            400,
            b'{"__type":"NotFoundException","message":"Key \'a\' does not exist"}',
        ),
        (errors.InvalidCiphertext(), 400, b'{"__type":"InvalidCiphertextException"}'),
        (
            errors.AccessDenied('no \u2013 "quoted"'),
            400,
            b'{"__type":"AccessDeniedException","message":"no \xe2\x80\x93 \\"quoted\\""}',
        ),
        (errors.Serialization("Expected null"), 400, b'{"__type":"SerializationException","Message":"Expected null"}'),
        (errors.Serialization(), 400, b'{"__type":"SerializationException"}'),
        (errors.RequestEntityTooLarge(), 413, b'{"__type":"RequestEntityTooLargeException"}'),
        (errors.KMSInternal(), 500, b'{"__type":"KMSInternalException"}'),
    ],
)
def test_an_error_is_its_type_and_its_text_if_it_has_one(error: errors.RequestError, status: int, body: bytes) -> None:
    assert respond(Answer(REQUEST_ID, error=error), "kms") == (status, HEADERS, body)


def test_cloudtrail_calls_our_own_failures_by_another_name() -> None:
    failed = Answer(REQUEST_ID, error=errors.KMSInternal())
    refused = Answer(REQUEST_ID, error=errors.InvalidTimeRange("no"))

    assert respond(failed, "cloudtrail") == (500, HEADERS, b'{"__type":"InternalFailure"}')
    body = b'{"__type":"InvalidTimeRangeException","message":"no"}'
    assert respond(refused, "cloudtrail") == (400, HEADERS, body)
