"""The ASGI callable behind the real protocol class: which requests reach what stands behind it, and as what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from strongroom.errors import NoSuchEntity, NotFound, RequestError
from strongroom.messages.kms.keys import ListKeysResponse
from strongroom.model.exchange import Answer, Incoming
from strongroom.wire.asgi import application

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Connection, Serve, Served

KMS = b"POST / HTTP/1.1\r\nHost: localhost:8400\r\n"
JSON = b"Content-Type: application/x-amz-json-1.1\r\n"
LIST_KEYS = b"X-Amz-Target: TrentService.ListKeys\r\n"
BODY = b"Content-Length: 2\r\n\r\n{}"
ANSWER = Answer("id-of-answer", ListKeysResponse(keys=()))


@dataclass
class Recorder:
    """An `Answering` that answers all the same and remembers what it was asked."""

    asked: list[tuple[Incoming, str, str | None]] = field(default_factory=list)
    refused: list[tuple[Incoming, RequestError]] = field(default_factory=list)
    refused_by: list[str | None] = field(default_factory=list)
    says: Answer = ANSWER

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        self.asked.append((incoming, service, operation))
        return self.says

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        self.refused.append((incoming, error))
        self.refused_by.append(service)
        return Answer("id-of-refusal", error=error)


@pytest.fixture(scope="module")
def recording() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def served(serve_module: Serve, recording: Recorder) -> Served:
    return serve_module(application(recording))


@pytest.fixture
def recorder(recording: Recorder) -> Recorder:
    recording.asked.clear()
    recording.refused.clear()
    recording.refused_by.clear()
    recording.says = ANSWER
    return recording


@pytest.fixture
def connection(served: Served, recorder: Recorder) -> Iterator[Connection]:
    with served.connect() as connection:
        yield connection


def test_a_call_is_answered_in_these_bytes(connection: Connection) -> None:
    got = connection.send(KMS + JSON + LIST_KEYS + b"Connection: close\r\n" + BODY).rest()

    date = re.search(rb"\r\n(Date: .*? GMT)\r\n", got)
    assert date
    assert got == (
        b"HTTP/1.1 200 OK\r\n"
        b"x-amzn-RequestId: id-of-answer\r\n"
        b"Cache-Control: no-cache, no-store, must-revalidate, private\r\n"
        b"Expires: 0\r\n"
        b"Pragma: no-cache\r\n"
        b"Content-Type: application/x-amz-json-1.1\r\n" + date[1] + b"\r\n"
        b"Content-Length: 11\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b'{"Keys":[]}'
    )


def test_a_call_arrives_whole_and_as_sent(connection: Connection, recorder: Recorder) -> None:
    connection.send(b"POST /a%20b?c=d HTTP/1.1\r\nHost: localhost:8400\r\n" + JSON + LIST_KEYS + BODY).response()

    [(incoming, service, operation)] = recorder.asked
    assert (service, operation) == ("kms", "ListKeys")
    assert incoming == Incoming(
        "POST",
        b"/a%20b",
        b"c=d",
        [
            (b"host", b"localhost:8400"),
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"x-amz-target", b"TrentService.ListKeys"),
            (b"content-length", b"2"),
        ],
        b"{}",
        "127.0.0.1",
    )


def test_an_error_is_answered_with_its_status(connection: Connection, recorder: Recorder) -> None:
    recorder.says = Answer("id-of-answer", error=NotFound("gone"))
    response = connection.send(KMS + JSON + LIST_KEYS + BODY).response()

    assert response.status == 400
    assert response.body == b'{"__type":"NotFoundException","message":"gone"}'


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        (b"X-Amz-Target: TrentService.NoSuchThing\r\n", "NoSuchThing"),
        (b"X-Amz-Target: TrentService.\xff\r\n", "\u00ff"),
        (b"X-Amz-Target: TrentService.ListKeys \r\n", "ListKeys"),
        (LIST_KEYS + b"X-Amz-Target: TrentService.CreateKey\r\n", "ListKeys"),
        (b"X-Amz-Target: TrentService.\r\n", None),
        (b"X-Amz-Target: trentservice.ListKeys\r\n", None),
        (b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", None),
        (b"X-Amz-Target: ListKeys\r\n", None),
        (b"", None),
    ],
)
def test_the_operation_is_what_the_target_says(
    connection: Connection, recorder: Recorder, target: bytes, operation: str | None
) -> None:
    connection.send(KMS + JSON + target + BODY).response()

    assert [asked[1:] for asked in recorder.asked] == [("kms", operation)]


@pytest.mark.parametrize(
    ("name", "operation"), [(b"LookupEvents", "LookupEvents"), (b"ListTrails", "ListTrails"), (b"", None)]
)
def test_cloudtrail_has_a_target_of_its_own(
    connection: Connection, recorder: Recorder, name: bytes, operation: str | None
) -> None:
    target = b"X-Amz-Target: com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101." + name + b"\r\n"
    connection.send(KMS + JSON + target + BODY).response()

    assert [asked[1:] for asked in recorder.asked] == [("cloudtrail", operation)]


@pytest.mark.parametrize(
    "content_type",
    [b"application/x-amz-json-1.1", b"application/x-amz-json-1.1; charset=utf-8", b"Application/X-Amz-JSON-1.1 ;a=b"],
)
def test_json_is_json_whatever_its_parameters(connection: Connection, recorder: Recorder, content_type: bytes) -> None:
    connection.send(KMS + b"Content-Type: " + content_type + b"\r\n" + LIST_KEYS + BODY).response()

    assert len(recorder.asked) == 1


@pytest.mark.parametrize(
    "head",
    [
        KMS,
        KMS + b"Content-Type: application/x-amz-json-1.0\r\n",
        KMS + b"Content-Type: application/json\r\n",
        KMS + b"Content-Type: application/x-amz-json-1.11\r\n",
        KMS + b"Content-Type: \r\n",
        KMS.replace(b"POST", b"GET") + JSON,
        KMS.replace(b"POST", b"PUT") + JSON,
        KMS.replace(b"POST", b"OPTIONS") + JSON,
    ],
)
def test_another_method_or_content_type_is_refused_in_xml(
    connection: Connection, recorder: Recorder, head: bytes
) -> None:
    response = connection.send(head + LIST_KEYS + BODY).response()

    assert response.status == 404
    assert response.body == b"<UnknownOperationException/>"
    assert b"\r\nx-amzn-RequestId: id-of-refusal\r\n" in response.head
    assert [error.code for _, error in recorder.refused] == ["UnknownOperationException"]
    assert recorder.asked == []


FORM = b"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
FAULT = b'<ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"><Error><Type>Sender</Type>'
IAM = b"Version=2010-05-08"
STS = b"Version=2011-06-15"


def posted(form: bytes) -> bytes:
    return KMS + FORM + b"Content-Length: %d\r\n\r\n" % len(form) + form


def gotten(query: bytes) -> bytes:
    return b"GET /?" + query + b" HTTP/1.1\r\nHost: localhost:8400\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "service", "operation"),
    [
        (posted(b"Action=ListUsers&" + IAM), "iam", "ListUsers"),
        (posted(IAM + b"&PathPrefix=/&Action=NoSuchThing"), "iam", "NoSuchThing"),
        (posted(b"Action=GetCallerIdentity&" + STS), "sts", "GetCallerIdentity"),
        (posted(b"Action=ListUsers&" + IAM).replace(FORM, LIST_KEYS + FORM), "iam", "ListUsers"),
        (posted(b"Action=A&" + IAM).replace(b"POST /", b"POST /?Action=B&" + STS), "iam", "A"),
        (gotten(b"Action=GetCallerIdentity&" + STS), "sts", "GetCallerIdentity"),
    ],
)
def test_a_form_says_its_service_and_operation(
    connection: Connection, recorder: Recorder, sent: bytes, service: str, operation: str
) -> None:
    recorder.says = Answer("id-of-answer", error=NoSuchEntity("gone"))
    response = connection.send(sent).response()

    assert [asked[1:] for asked in recorder.asked] == [(service, operation)]
    assert response.status == 404
    assert b"<Code>NoSuchEntity</Code><Message>gone</Message>" in response.body
    assert b"\r\nContent-Type: text/xml\r\n" in response.head


def test_an_output_is_named_for_its_operation(connection: Connection, recorder: Recorder) -> None:
    recorder.says = Answer("id-of-answer")
    response = connection.send(posted(b"Action=DeleteUser&" + IAM)).response()

    assert response.status == 200
    assert response.body.startswith(b'<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">')


@pytest.mark.parametrize(
    ("form", "version"),
    [
        (b"Action=ListUsers&Version=2010-05-09", b"2010-05-09"),
        (b"Action=ListUsers&Version=<%26", b"&lt;&amp;"),
        (b"Action=ListUsers", b"NO_VERSION_SPECIFIED"),
    ],
)
def test_a_version_that_nobody_has_is_refused(
    connection: Connection, recorder: Recorder, form: bytes, version: bytes
) -> None:
    response = connection.send(posted(form)).response()

    assert response.status == 400
    assert response.body.startswith(
        FAULT
        + b"<Code>InvalidAction</Code><Message>Could not find operation ListUsers for version %b</Message>" % version
    )
    assert [error.code for _, error in recorder.refused] == ["UnknownOperationException"]
    assert recorder.refused_by == [None]
    assert recorder.asked == []


@pytest.mark.parametrize(
    "sent",
    [
        posted(IAM),
        posted(b"Action=&" + IAM),
        posted(b""),
        gotten(STS),
        gotten(b"Action=ListUsers&" + IAM),
        gotten(b"Action=GetCallerIdentity"),
        posted(b"Action=ListUsers&" + IAM).replace(b"POST", b"PUT"),
        posted(b"Action=ListUsers&" + IAM).replace(b"urlencoded", b"other"),
        gotten(b"Action=GetCallerIdentity&" + STS).replace(b"GET", b"DELETE"),
    ],
)
def test_what_names_no_operation_is_no_form_of_ours(connection: Connection, recorder: Recorder, sent: bytes) -> None:
    response = connection.send(sent).response()

    assert (response.status, response.body) == (404, b"<UnknownOperationException/>")
    assert recorder.refused_by == ["kms"]
    assert recorder.asked == []


def test_too_large_a_form_is_refused_with_413(connection: Connection, recorder: Recorder) -> None:
    response = connection.send(KMS + FORM + b"Content-Length: 1048577\r\n\r\n" + b"x" * 1048577).response()

    assert response.status == 413
    assert response.body.startswith(FAULT + b"<Code>RequestEntityTooLarge</Code>")
    assert recorder.refused_by == [None]


@pytest.mark.parametrize("framing", [b"Content-Length: 1048577\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_too_large_a_body_is_refused_with_413(connection: Connection, recorder: Recorder, framing: bytes) -> None:
    sent = KMS + JSON + LIST_KEYS + framing + (b"90000\r\n" + b"x" * 0x90000 + b"\r\n") * 2
    response = connection.send(sent).response()

    assert response.status == 413
    assert response.body == b'{"__type":"RequestEntityTooLargeException"}'
    assert b"\r\nx-amzn-RequestId: id-of-refusal\r\n" in response.head
    assert [(incoming.body, error.code) for incoming, error in recorder.refused] == [
        (b"", "RequestEntityTooLargeException")
    ]
    assert recorder.asked == []
