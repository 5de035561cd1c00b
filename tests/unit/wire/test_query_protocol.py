"""Which call a form is, and answers as bytes and as botocore reads them."""

import pytest
from botocore.parsers import create_parser
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom import errors
from strongroom.messages.sts.caller_identity import GetCallerIdentityResponse
from strongroom.model.exchange import Answer
from strongroom.wire.query_protocol import respond, stated

ID = "12345678-1234-1234-1234-123456789012"
HEADERS = [
    (b"x-amzn-RequestId", ID.encode()),
    (b"Cache-Control", b"no-cache, no-store, must-revalidate, private"),
    (b"Expires", b"0"),
    (b"Pragma", b"no-cache"),
    (b"Content-Type", b"text/xml"),
]


@pytest.mark.parametrize(
    ("form", "action"),
    [
        (b"Action=ListUsers&Version=2010-05-08", "ListUsers"),
        (b"Version=2010-05-08&Action=ListUsers", "ListUsers"),
        (b"Action=A&Action=B", "A"),
        (b"a=b&&Action=A+%C3%A9", "A é"),
        (b"Action=%ff", "\ufffd"),
        (b"Action=" + b"a" * 1000, "a" * 128),
        (b"Action=a=b", "a=b"),
        (b"Action=", None),
        (b"Action", None),
        (b"", None),
        (b"action=ListUsers", None),
        (b"XAction=ListUsers", None),
        (b"X=Action=ListUsers", None),
        (b"%41ction=ListUsers", None),
    ],
)
def test_a_form_states_its_action(form: bytes, action: str | None) -> None:
    assert stated(form, b"Action") == action


@example(b"Action=\xe9%")
@given(st.binary(max_size=20))
def test_whatever_a_form_states_can_be_told(form: bytes) -> None:
    for told in (stated(form, b"Action"), stated(b"Action=" + form, b"Action")):
        assert told is None or told.encode().decode() == told


def test_an_output_is_a_200_with_its_xml() -> None:
    response = GetCallerIdentityResponse(account="111122223333")

    assert respond(Answer(ID, response), "sts", "GetCallerIdentity") == (
        200,
        HEADERS,
        b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        b"<Account>111122223333</Account></GetCallerIdentityResult><ResponseMetadata>"
        b"<RequestId>12345678-1234-1234-1234-123456789012</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
    )


def test_no_output_is_an_answer_without_result() -> None:
    assert respond(Answer(ID), "iam", "DeleteUser") == (
        200,
        HEADERS,
        b'<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata>'
        b"<RequestId>12345678-1234-1234-1234-123456789012</RequestId></ResponseMetadata></DeleteUserResponse>",
    )


@pytest.mark.parametrize(
    ("error", "status", "inner"),
    [
        (
            errors.NoSuchEntity("The user with name a<b cannot be found."),
            404,
            "<Type>Sender</Type><Code>NoSuchEntity</Code><Message>The user with name a&lt;b cannot be found.</Message>",
        ),
        (
            errors.Validation("Value '\x01' at 'userName'"),
            400,
            "<Type>Sender</Type><Code>ValidationError</Code><Message>Value '\ufffd' at 'userName'</Message>",
        ),
        (errors.KMSInternal("Oh"), 500, "<Type>Receiver</Type><Code>InternalFailure</Code><Message>Oh</Message>"),
        (errors.AccessDenied(""), 403, "<Type>Sender</Type><Code>AccessDenied</Code><Message></Message>"),
        (errors.InvalidSignature(), 403, "<Type>Sender</Type><Code>SignatureDoesNotMatch</Code>"),
    ],
)
def test_an_error_is_its_code_and_its_text_if_it_has_one(error: errors.RequestError, status: int, inner: str) -> None:
    body = (
        f'<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error>{inner}</Error>'
        f"<RequestId>{ID}</RequestId></ErrorResponse>"
    )

    assert respond(Answer(ID, error=error), "iam", "GetUser") == (status, HEADERS, body.encode())


@pytest.mark.parametrize(
    ("error", "service", "code"),
    [
        (errors.UnknownOperation("Could not find operation X for version 2010-05-08"), "iam", "InvalidAction"),
        (errors.UnknownOperation("Could not find operation X for version 1"), None, "InvalidAction"),
        (errors.RequestEntityTooLarge("Too large"), None, "RequestEntityTooLarge"),
    ],
)
def test_before_there_is_an_operation_an_error_has_the_namespace_of_faults(
    error: errors.RequestError, service: str | None, code: str
) -> None:
    status, _, body = respond(Answer(ID, error=error), service, "X")

    assert body.startswith(b'<ErrorResponse xmlns="http://webservices.amazon.com/AWSFault/2005-15-09">')
    parsed = create_parser("query").parse({"status_code": status, "headers": {}, "body": body}, None)
    assert parsed["Error"] == {"Type": "Sender", "Code": code, "Message": error.message}
    assert parsed["ResponseMetadata"]["RequestId"] == ID
