"""Signatures in a query string: botocore's, and what is refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.errors import IncompleteSignature, InvalidSignature, RequestError
from strongroom.sigv4.authorization import Authorization
from strongroom.sigv4.presigned import is_presigned, read_query_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import derive_signing_key
from strongroom.sigv4.verify import verify

MOMENT = datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC)
NOW = MOMENT.timestamp()
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "localhost:8400"
SCOPE = "AKIDEXAMPLE/20260228/us-east-1/sts/aws4_request"


def presigned(
    token: str | None = None,
    expires: int = 60,
    extra: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> SignedRequest:
    """A GET that botocore has signed."""
    parameters = {"Action": "GetCallerIdentity", "Version": "2011-06-15", **(extra or {})}
    request = AWSRequest("GET", f"http://{HOST}/", params=parameters, headers={"Host": HOST, **(headers or {})})
    with patch("botocore.auth.get_current_datetime", return_value=MOMENT):
        SigV4QueryAuth(Credentials("AKIDEXAMPLE", SECRET, token), "sts", "us-east-1", expires).add_auth(request)
    query = urlsplit(request.url).query.encode()
    pairs = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return SignedRequest("GET", b"/", query, pairs)


def read(request: SignedRequest, now: float = NOW) -> tuple[SignedRequest, Authorization]:
    return read_query_authorization(request, service="sts", regions={"us-east-1"}, now=now)


def check(request: SignedRequest, now: float = NOW, body: bytes = b"") -> Authorization:
    signed, authorization = read(request, now)
    key = derive_signing_key(SECRET, authorization.date, authorization.region, authorization.service)
    verify(signed, authorization, payload_sha256=sha256(body).hexdigest(), signing_key=key)
    return authorization


def with_query(request: SignedRequest, old: bytes, new: bytes) -> SignedRequest:
    assert old in request.query
    return replace(request, query=request.query.replace(old, new, 1))


def refusal(call: Callable[[], object]) -> tuple[type[RequestError], str | None]:
    with pytest.raises(RequestError) as raised:
        call()
    return raised.type, raised.value.message


@settings(max_examples=50, deadline=None)
@given(
    token=st.none() | st.text("abc+/=", min_size=1, max_size=20),
    extra=st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=2),
    headers=st.sampled_from([{}, {"X-K8s-Aws-Id": "cluster"}, {"X-Amz-Meta": "a  b"}]),
)
def test_what_botocore_signs_is_taken_and_any_change_is_refused(
    token: str | None, extra: dict[str, str], headers: dict[str, str]
) -> None:
    request = presigned(token, extra=extra, headers=headers)
    assert is_presigned(request)

    authorization = check(request)
    assert (authorization.access_key_id, authorization.service, authorization.session_token) == (
        "AKIDEXAMPLE",
        "sts",
        token,
    )

    changes = [
        replace(request, query=request.query + b"&a=b"),
        replace(request, query=b"a=b&" + request.query),
        replace(request, query=request.query[:-1] + b"x"),
        replace(request, method="POST"),
        replace(request, headers=[(name, value + b"x") for name, value in request.headers]),
        with_query(request, b"GetCallerIdentity", b"GetSessionToken"),
        with_query(request, b"X-Amz-Expires=60", b"X-Amz-Expires=61"),
        with_query(request, b"X-Amz-Expires=60&", b""),
        with_query(request, b"235958Z", b"235957Z"),
        with_query(request, b"AKIDEXAMPLE", b"AKIDEXAMPLF"),
    ]
    for changed in changes:
        with pytest.raises(InvalidSignature):
            check(changed)
    with pytest.raises(InvalidSignature):
        check(request, body=b"x")


@pytest.mark.parametrize(
    ("expires", "first", "last"), [(1, -300, 1), (60, -300, 60), (604_800, -300, 604_800), (None, -300, 900)]
)
def test_a_signature_lasts_as_long_as_it_says(expires: int | None, first: int, last: int) -> None:
    request = presigned(expires=expires or 60)
    if expires is None:
        request = with_query(request, b"X-Amz-Expires=60&", b"")

    assert read(request, NOW + first)
    assert read(request, NOW + last)
    kind, text = refusal(lambda: read(request, NOW + first - 1))
    assert kind is InvalidSignature
    assert (text or "").startswith("Signature not yet current: 20260228T235958Z is still later than ")
    kind, text = refusal(lambda: read(request, NOW + last + 1))
    assert kind is InvalidSignature
    assert (text or "").startswith("Signature expired: 20260228T235958Z is now earlier than 20260228T235959Z ")


def test_an_expired_signature_is_told_when_it_would_have_had_to_be_made() -> None:
    assert refusal(lambda: read(presigned(), NOW + 61)) == (
        InvalidSignature,
        "Signature expired: 20260228T235958Z is now earlier than 20260228T235959Z (20260301T000059Z - 1 min.)",
    )
    assert refusal(lambda: read(presigned(expires=7), NOW + 8)) == (
        InvalidSignature,
        "Signature expired: 20260228T235958Z is now earlier than 20260228T235959Z (20260301T000006Z - 7 sec.)",
    )


@pytest.mark.parametrize("seconds", [b"", b"0", b"-1", b"604801", b"60.0", b"+60", b"6e2", b"9" * 5000, b"%D9%A1"])
def test_no_signature_lasts_longer_than_a_week(seconds: bytes) -> None:
    kind, text = refusal(lambda: read(with_query(presigned(), b"Expires=60", b"Expires=" + seconds)))

    assert kind is IncompleteSignature
    assert (text or "").startswith("X-Amz-Expires must be from 1 to 604800 seconds, got '")


def test_every_missing_parameter_is_told() -> None:
    query = b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=&X-Amz-Date=20260228T235958Z"

    assert refusal(lambda: read(SignedRequest("GET", b"/", query, [(b"host", b"a")]))) == (
        IncompleteSignature,
        "AWS query-string parameters must include 'X-Amz-Credential'. "
        "AWS query-string parameters must include 'X-Amz-Signature'. "
        "AWS query-string parameters must include 'X-Amz-SignedHeaders'. "
        "Re-examine the query-string parameters.",
    )


@pytest.mark.parametrize(
    "twice", [b"X-Amz-Signature=a", b"X-Amz-%53ignature=a", b"X-Amz-Expires=60", b"X-Amz-Odd=1&X-Amz-Odd=2"]
)
def test_no_parameter_of_a_signature_comes_twice(twice: bytes) -> None:
    request = presigned()

    kind, _ = refusal(lambda: read(replace(request, query=twice + b"&" + request.query)))
    assert kind is IncompleteSignature


@pytest.mark.parametrize("rest", [b"&" * 256, b"&a=%", b"&a=%4g", b"&%zz=a"])
def test_a_query_of_no_client_is_not_read(rest: bytes) -> None:
    request = presigned()

    assert refusal(lambda: read(replace(request, query=request.query + rest))) == (
        IncompleteSignature,
        "The query string is too long or malformed. Re-examine the query-string parameters.",
    )


def test_there_are_not_two_signatures() -> None:
    request = presigned()
    both = replace(request, headers=[*request.headers, (b"authorization", b"AWS4-HMAC-SHA256 Credential=a")])

    assert refusal(lambda: read(both)) == (
        InvalidSignature,
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    )


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256", IncompleteSignature),
        (quote(SCOPE, safe="").encode(), b"AKIDEXAMPLE", IncompleteSignature),
        (b"us-east-1", b"mars-1", InvalidSignature),
        (b"%2Fsts%2F", b"%2Fkms%2F", InvalidSignature),
        (b"aws4_request", b"aws4", InvalidSignature),
        (b"%2F20260228%2F", b"%2F20260227%2F", InvalidSignature),
        (b"20260228T235958Z", b"yesterday", IncompleteSignature),
        (b"SignedHeaders=host", b"SignedHeaders=date", InvalidSignature),
        (b"SignedHeaders=host", b"SignedHeaders=host%3Bhost", InvalidSignature),
    ],
)
def test_the_rest_is_checked_as_in_a_header(old: bytes, new: bytes, kind: type[RequestError]) -> None:
    assert refusal(lambda: read(with_query(presigned(), old, new)))[0] is kind


def test_headers_of_amazon_and_ours_are_signed_here_too() -> None:
    request = presigned()
    for name in (b"x-amz-target", b"x-strongroom-on-behalf-of"):
        added = replace(request, headers=[*request.headers, (name, b"a")])
        assert refusal(lambda added=added: read(added))[0] is InvalidSignature  # type: ignore[misc]


BASE = presigned().query


@given(st.binary(max_size=60))
def test_any_query_is_read_or_refused(query: bytes) -> None:
    for bent in (query, b"X-Amz-Algorithm=" + query, BASE + query, query + BASE, BASE[: len(query)] + query + BASE):
        try:
            assert check(SignedRequest("GET", b"/", bent, [(b"host", HOST.encode())])).signature
        except RequestError as error:
            text = error.message or ""
            assert text.encode().decode() == text  # a lone surrogate could not be sent
