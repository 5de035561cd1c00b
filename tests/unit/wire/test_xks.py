"""The wire of the XKS proxy: what reaches what stands behind it, and answers as bytes."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from strongroom import errors
from strongroom.errors import RequestError
from strongroom.messages.xks import DecryptResponse, EncryptResponse, HealthResponse, Manager, MetadataResponse
from strongroom.model.exchange import Answer, Incoming, TlsDetails
from strongroom.wire.xks import application

TLS = TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384")
HEADERS = [(b"host", b"xks.example.test"), (b"x-a", b"\xff")]
PATH = b"/tenant/kms/xks/v1/health"
JSON = [(b"Content-Type", b"application/json"), (b"x-amzn-RequestId", b"id-of-answer")]


@dataclass
class Recorder:
    """An `Answering` that answers all the same and remembers what it was asked."""

    says: Answer = field(default_factory=lambda: Answer("id-of-answer", DecryptResponse(b"")))
    asked: list[tuple[Incoming, str, str | None]] = field(default_factory=list)
    refused: list[tuple[Incoming, type[RequestError], str | None]] = field(default_factory=list)

    async def answer(self, incoming: Incoming, service: str, operation: str | None) -> Answer:
        self.asked.append((incoming, service, operation))
        return self.says

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        self.refused.append((incoming, type(error), service))
        return Answer("id-of-answer", error=error)


def ask(
    recorder: Recorder, method: str = "POST", path: bytes = PATH, *, whole: bool = True, client: Any = ("192.0.2.1", 1)
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Send a request to the application; return what it sends."""
    sent: list[Any] = []
    scope: Any = {
        "type": "http",
        "method": method,
        "raw_path": path,
        "query_string": b"a=b",
        "headers": HEADERS,
        "client": client,
        "state": {"tls": TLS},
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": not whole}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        await application(recorder)(scope, receive, send)

    asyncio.run(main())
    start, body = sent
    assert (start["type"], body["type"], body["more_body"]) == ("http.response.start", "http.response.body", False)
    return start["status"], start["headers"], body["body"]


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (b"/kms/xks/v1/health", "GetHealthStatus"),
        (b"/tenant/kms/xks/v1/health", "GetHealthStatus"),
        (b"/kms/xks/v1/keys/k/metadata", "GetKeyMetadata"),
        (b"/a/b/kms/xks/v1/keys/k/encrypt", "Encrypt"),
        (b"/a/b/kms/xks/v1/keys/%ff\xff/decrypt", "Decrypt"),
    ],
)
def test_a_call_arrives_whole_and_as_sent(path: bytes, operation: str) -> None:
    recorder = Recorder()
    ask(recorder, path=path)
    incoming = Incoming("POST", path, b"a=b", HEADERS, b"{}", "192.0.2.1", TLS)
    assert (recorder.asked, recorder.refused) == ([(incoming, "kms-xks-proxy", operation)], [])


def test_a_client_without_an_address_is_answered() -> None:
    recorder = Recorder()
    assert ask(recorder, client=None)[0] == 200
    assert recorder.asked[0][0].source_ip == ""


def test_who_has_gone_is_not_answered() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    recorder = Recorder()
    scope: Any = {"type": "http"}
    asyncio.run(application(recorder)(scope, receive, send))  # type: ignore[arg-type]
    assert recorder == Recorder()


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_another_method_reaches_nobody(method: str) -> None:
    recorder = Recorder()
    assert ask(recorder, method) == (405, [(b"Allow", b"POST"), (b"Content-Type", b"text/plain")], b"")
    assert ask(recorder, method, whole=False)[0] == 405
    assert (recorder.asked, recorder.refused) == ([], [])


def test_a_ping_reaches_nobody() -> None:
    recorder = Recorder()
    assert ask(recorder, "GET", b"/ping") == (200, [(b"Content-Type", b"text/plain")], b"pong")
    assert (recorder.asked, recorder.refused) == ([], [])


@pytest.mark.parametrize(
    ("method", "path", "whole", "error", "status"),
    [
        ("POST", b"/ping", True, errors.InvalidUriPath, 404),
        ("GET", b"/", True, errors.InvalidUriPath, 404),
        ("POST", b"/\xff", True, errors.InvalidUriPath, 404),
        ("POST", b"/nowhere", False, errors.InvalidUriPath, 404),
        ("POST", PATH, False, errors.RequestEntityTooLarge, 501),
    ],
)
def test_what_is_no_call_is_refused(
    method: str, path: bytes, *, whole: bool, error: type[RequestError], status: int
) -> None:
    recorder = Recorder()
    assert ask(recorder, method, path, whole=whole)[0] == status
    ((incoming, refused, service),) = recorder.refused
    assert (incoming.path, refused, service, recorder.asked) == (path, error, "kms-xks-proxy", [])


MANAGER = Manager("m", "software", "ACTIVE")


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (
            HealthResponse(1, "v", "m", "e", (MANAGER,)),
            b'{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e",'
            b'"ekmFleetDetails":[{"id":"m","model":"software","healthStatus":"ACTIVE"}]}',
        ),
        (
            MetadataResponse("AES_256", ("ENCRYPT", "DECRYPT"), "ENABLED"),
            b'{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}',
        ),
        (
            EncryptResponse(b"t", b"", b"\xff\xff\xff"),
            b'{"authenticationTag":"dA==","ciphertext":"","initializationVector":"////"}',
        ),
        (
            EncryptResponse(b"t", b"c", b"i", b"m", b"d"),
            b'{"authenticationTag":"dA==","ciphertext":"Yw==","initializationVector":"aQ==",'
            b'"ciphertextMetadata":"bQ==","ciphertextDataIntegrityValue":"ZA=="}',
        ),
        (DecryptResponse(b""), b'{"plaintext":""}'),
    ],
)
def test_a_response_is_its_json(response: Any, body: bytes) -> None:
    assert ask(Recorder(Answer("id-of-answer", response))) == (200, JSON, body)


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.Validation, 400, "ValidationException"),
        (errors.Disabled, 400, "InvalidStateException"),
        (errors.KeyUnavailable, 400, "InvalidStateException"),
        (errors.LimitExceeded, 400, "InvalidStateException"),
        (errors.InvalidCiphertext, 400, "InvalidCiphertextException"),
        (errors.InvalidKeyUsage, 400, "InvalidKeyUsageException"),
        (errors.MissingAuthenticationToken, 401, "AuthenticationFailedException"),
        (errors.IncompleteSignature, 401, "AuthenticationFailedException"),
        (errors.InvalidSignature, 401, "AuthenticationFailedException"),
        (errors.UnrecognizedClient, 401, "AuthenticationFailedException"),
        (errors.AccessDenied, 403, "AccessDeniedException"),
        (errors.NotFound, 404, "KeyNotFoundException"),
        (errors.InvalidUriPath, 404, "InvalidUriPathException"),
        (errors.Throttling, 429, "ThrottlingException"),
        (errors.KMSInternal, 500, "InternalException"),
        (errors.UnsupportedOperation, 501, "UnsupportedOperationException"),
        (errors.RequestEntityTooLarge, 501, "UnsupportedOperationException"),
        (errors.DependencyTimeout, 503, "DependencyTimeoutException"),
    ],
)
def test_an_error_has_its_status_and_name(error: type[RequestError], status: int, name: str) -> None:
    answered = ask(Recorder(Answer("id-of-answer", error=error("why"))))
    assert answered == (status, JSON, f'{{"errorName":"{name}","errorMessage":"why"}}'.encode())


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (None, b'{"errorName":"InternalException"}'),
        ("", b'{"errorName":"InternalException"}'),
        ('a "b" \\', b'{"errorName":"InternalException","errorMessage":"a \\"b\\" \\\\"}'),
        (
            " ~\n\t\0\x7f\x80\xe9\u2013\U0001f4a5\ud800",
            b'{"errorName":"InternalException","errorMessage":" ~?????????"}',
        ),
        ("x" * 511, b'{"errorName":"InternalException","errorMessage":"%b"}' % (b"x" * 511)),
        ("x" * 512, b'{"errorName":"InternalException","errorMessage":"%b"}' % (b"x" * 511)),
    ],
)
def test_a_message_has_printable_letters_and_is_short(message: str | None, told: bytes) -> None:
    assert ask(Recorder(Answer("id-of-answer", error=errors.KMSInternal(message))))[2] == told
