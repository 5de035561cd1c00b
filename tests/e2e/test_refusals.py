"""What is refused before an operation runs, over HTTP, with AWS's code and text."""

import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from strongroom.testing.server import Server
from strongroom.testing.signed_client import Reply, SignedClient

BODY = b'{"NumberOfBytes":16}'
INVALID_TOKEN = "The security token included in the request is invalid."


@pytest.fixture
def client(server: Server) -> Iterator[SignedClient]:
    with SignedClient(server) as client:
        assert client.call("GenerateRandom", BODY).status == 200
        yield client


def refused(reply: Reply) -> tuple[object, object]:
    assert reply.status == 400
    assert len(reply.request_id) == 36
    members = reply.json()
    return members["__type"], members.get("message", members.get("Message"))


def without(headers: list[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0] != name]


def test_who_is_not_who_they_say(server: Server) -> None:
    mismatch = "The request signature we calculated does not match the signature you provided. "
    others = {
        "secret_access_key": ("x" * 40, "InvalidSignatureException", mismatch),
        "access_key_id": ("AKIAAAAAAAAAAAAAAAAA", "UnrecognizedClientException", INVALID_TOKEN),
        "region": (
            "mars-1",
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'mars-1'. ",
        ),
    }
    for member, (value, code, text) in others.items():
        with SignedClient(replace(server, **{member: value})) as client:
            got = refused(client.call("GenerateRandom", BODY))
            assert got[0] == code
            assert str(got[1]).startswith(text)


def test_a_session_token_that_nobody_issued(client: SignedClient) -> None:
    headers = client.signed_headers("GenerateRandom", BODY, now=time.time(), session_token="token")

    assert refused(client.send(headers, BODY)) == ("UnrecognizedClientException", INVALID_TOKEN)


@pytest.mark.parametrize(("late", "text"), [(-301, "Signature expired: "), (301, "Signature not yet current: ")])
def test_a_request_more_than_five_minutes_off(client: SignedClient, late: int, text: str) -> None:
    assert client.call("GenerateRandom", BODY, now=time.time() + late * 0.98).status == 200
    code, said = refused(client.call("GenerateRandom", BODY, now=time.time() + late * 1.02))
    assert code == "InvalidSignatureException"
    assert str(said).startswith(text)


def test_unsigned_and_altered_requests(client: SignedClient) -> None:
    headers = client.signed_headers("GenerateRandom", BODY, now=time.time())

    assert refused(client.send(without(headers, b"authorization"), BODY)) == (
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )
    assert refused(client.send(headers, BODY.replace(b"16", b"17")))[0] == "InvalidSignatureException"
    target = [(b"x-amz-target", b"TrentService.ListKeys")]
    assert refused(client.send(without(headers, b"x-amz-target") + target, BODY))[0] == "InvalidSignatureException"
    assert client.send(headers, BODY).status == 200


@pytest.mark.parametrize("operation", ["NoSuchOperation", "generaterandom", "", "GenerateRandom.x"])
def test_an_operation_that_does_not_exist(client: SignedClient, operation: str) -> None:
    assert refused(client.call(operation, BODY)) == ("UnknownOperationException", None)


@pytest.mark.parametrize("name", [b"content-type", b"x-amz-target"])
def test_without_content_type_or_target(client: SignedClient, name: bytes) -> None:
    headers = without(client.signed_headers("GenerateRandom", BODY, now=time.time()), name)
    reply = client.send(headers, BODY)

    if name == b"content-type":
        assert (reply.status, b"<UnknownOperationException/>" in reply.body) == (404, True)
    else:
        assert refused(reply) == ("UnknownOperationException", None)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"", "SerializationException", None),
        (b"{", "SerializationException", None),
        (b"[]", "SerializationException", "Start of list found where not expected"),
        (b'{"KeyId":1}', "SerializationException", "NUMBER_VALUE can not be converted to a String"),
        (b'{"KeyId":["x"]}', "SerializationException", "Start of list found where not expected"),
        (
            b"{}",
            "ValidationException",
            "2 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"
            "; Value null at 'plaintext' failed to satisfy constraint: Member must not be null",
        ),
    ],
)
def test_bodies_that_are_no_request(client: SignedClient, body: bytes, code: str, text: str | None) -> None:
    assert refused(client.call("Encrypt", body)) == (code, text)
