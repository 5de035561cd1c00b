"""AWS's Signature Version 4 test suite, all of it (tests/vectors/sigv4/README.md), and one request of curl."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from strongroom.errors import InvalidSignature
from strongroom.sigv4.authorization import read_authorization
from strongroom.sigv4.canonical import canonical_request, fold_headers, string_to_sign
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, derive_signing_key, sign
from strongroom.sigv4.verify import verify

VECTORS = Path(__file__).parents[2] / "vectors" / "sigv4"
ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
WRONG_SREQ = "get-vanilla-with-session-token"
UNSIGNED_TOKEN = "post-sts-header-after"


class Message(NamedTuple):
    request: SignedRequest
    body: bytes


def parse(raw: bytes) -> Message:
    head, _, body = raw.partition(b"\n\n")
    request_line, *lines = head.removesuffix(b"\n").split(b"\n")
    method, target = request_line.removesuffix(b" HTTP/1.1").split(b" ", 1)
    path, _, query = target.partition(b"?")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line.startswith(b" "):
            name, value = headers.pop()
            headers.append((name, value + b"\n" + line))
        else:
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))
    return Message(SignedRequest(method.decode(), path, query, headers), body)


def without(headers: Sequence[tuple[bytes, bytes]], *names: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in names]


class Vector(NamedTuple):
    name: str
    signed: Message
    canonical: bytes
    string_to_sign: bytes
    authorization: bytes
    signed_headers: list[bytes]


def load(path: Path) -> Vector:
    authorization = path.with_suffix(".authz").read_bytes()
    signed = parse(path.with_suffix(".sreq").read_bytes())
    headers = [*without(signed.request.headers, b"authorization"), (b"authorization", authorization)]
    return Vector(
        path.stem,
        Message(replace(signed.request, headers=headers), signed.body),
        path.with_suffix(".creq").read_bytes(),
        path.with_suffix(".sts").read_bytes(),
        authorization,
        authorization.split(b"SignedHeaders=")[1].split(b",")[0].split(b";"),
    )


PATHS = sorted(VECTORS.glob("aws4_testsuite/**/*.req"))
ALL = [pytest.param(load(path), id=path.stem) for path in PATHS]
ACCEPTED = [pytest.param(load(path), id=path.stem) for path in PATHS if path.stem != UNSIGNED_TOKEN]


def check(message: Message, *, service: str = "service", now: float = NOW) -> None:
    authorization = read_authorization(message.request, service=service, regions={"us-east-1"}, now=now)
    signing_key = derive_signing_key(SECRET, authorization.date, authorization.region, authorization.service)
    verify(
        message.request,
        authorization,
        payload_sha256=sha256(message.body).hexdigest(),
        signing_key=signing_key,
    )


def test_the_whole_suite_is_here() -> None:
    assert len(PATHS) == 34


@pytest.mark.parametrize("vector", ALL)
def test_canonical_request(vector: Vector) -> None:
    request, body = vector.signed
    canonical = canonical_request(
        request, fold_headers(request.headers), vector.signed_headers, sha256(body).hexdigest()
    )
    assert canonical == vector.canonical


@pytest.mark.parametrize("vector", ALL)
def test_string_to_sign(vector: Vector) -> None:
    scope = "20150830/us-east-1/service/aws4_request"
    assert string_to_sign("20150830T123600Z", scope, vector.canonical) == vector.string_to_sign


@pytest.mark.parametrize("vector", ALL)
def test_our_signature_is_that_of_the_suite(vector: Vector) -> None:
    request, body = vector.signed
    token = None
    if b"x-amz-security-token" in vector.signed_headers:
        token = fold_headers(request.headers)[b"x-amz-security-token"].decode()
    bare = SignedRequest(
        request.method,
        request.path,
        request.query,
        without(request.headers, b"authorization", b"x-amz-date", b"x-amz-security-token"),
    )
    added = sign(
        bare,
        Credential(ACCESS_KEY_ID, SECRET, token),
        region="us-east-1",
        service="service",
        now=NOW,
        body=body,
    )
    assert dict(added)[b"authorization"] == vector.authorization


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_signed_request_is_accepted(vector: Vector) -> None:
    check(vector.signed)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PATHS])
def test_the_request_as_printed_signed_in_the_suite(path: Path) -> None:
    printed = parse(path.with_suffix(".sreq").read_bytes())
    if path.stem in {WRONG_SREQ, UNSIGNED_TOKEN}:
        with pytest.raises(InvalidSignature):
            check(printed)
    else:
        check(printed)


def test_an_unsigned_session_token_is_refused() -> None:
    vector = next(load(path) for path in PATHS if path.stem == UNSIGNED_TOKEN)
    with pytest.raises(InvalidSignature) as refusal:
        check(vector.signed)
    assert refusal.value.message == "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_signed_request_with_one_byte_changed_is_refused(vector: Vector) -> None:
    request, body = vector.signed
    method, path, query, headers = request.method, request.path, request.query, list(request.headers)
    changed = [
        Message(SignedRequest(method + "X", path, query, headers), body),
        Message(SignedRequest(method, path + b"x", query, headers), body),
        Message(SignedRequest(method, path, query + b"x", headers), body),
        Message(SignedRequest(method, path, query, headers), body + b"x"),
    ]
    for index, (name, value) in enumerate(headers):
        if name in vector.signed_headers and name != b"x-amz-date":
            flipped = [*headers[:index], (name, bytes([value[0] ^ 1]) + value[1:]), *headers[index + 1 :]]
            changed.append(Message(SignedRequest(method, path, query, flipped), body))
    last = b"0" if vector.authorization[-1:] != b"0" else b"1"
    forged = [*without(headers, b"authorization"), (b"authorization", vector.authorization[:-1] + last)]
    later = [*without(headers, b"x-amz-date"), (b"x-amz-date", b"20150830T123601Z")]
    changed.append(Message(SignedRequest(method, path, query, forged), body))
    changed.append(Message(SignedRequest(method, path, query, later), body))
    for message in changed:
        with pytest.raises(InvalidSignature, match="does not match the signature you provided"):
            check(message)


def test_a_request_of_curl_is_accepted() -> None:
    message = parse((VECTORS / "curl-7.88.1.http").read_bytes())
    now = datetime(2026, 11, 23, 22, 55, 2, tzinfo=UTC).timestamp()
    check(message, service="kms", now=now)
    with pytest.raises(InvalidSignature):
        check(Message(message.request, b'{"Limit":1}'), service="kms", now=now)
