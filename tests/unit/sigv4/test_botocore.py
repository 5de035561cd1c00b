"""The same requests signed by botocore, an implementation by others: equal signatures, accepted, tamper-evident."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from unittest.mock import patch
from urllib.parse import quote, quote_plus, urlencode

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from strongroom.errors import InvalidSignature
from strongroom.sigv4.authorization import read_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, derive_signing_key, sign
from strongroom.sigv4.verify import verify

MOMENT = datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC)
NOW = MOMENT.timestamp()
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "localhost:8400"
RESERVED = {*SIGNED_HEADERS_BLACKLIST, "host", "date", "authorization", "content-length"}

TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789-"
# botocore splits a value at all Unicode white space, a server at that of HTTP only: none but spaces and tabs here
VALUE = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" \t"), max_size=20)
HEADER = st.tuples(
    st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name not in RESERVED and "x-amz-" not in name)
    | st.sampled_from(["x-amz-target", "x-amz-meta-thing", "content-type", "accept"]),
    VALUE,
)


PATH_PART = st.sampled_from(["/", ".", "/../", "%2F", "é", "€"]) | st.characters(
    min_codepoint=33, max_codepoint=126, exclude_characters="?#"
)


class Case(Struct, frozen=True):
    """A request before it is signed. The query is sent as a form encodes it, or with every space as %20."""

    method: str = "POST"
    path: str = "/"
    parameters: dict[str, str] = {}
    form: bool = False
    headers: list[tuple[str, str]] = []
    body: bytes = b""
    token: str | None = None


CASES = st.builds(
    Case,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.lists(PATH_PART, max_size=8).map(lambda parts: "/" + "".join(parts)),
    parameters=st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=3),
    form=st.booleans(),
    headers=st.lists(HEADER, max_size=4),
    body=st.binary(max_size=64),
    token=st.none() | st.text(TOKEN + "+/=", min_size=1, max_size=40),
)


def bare_request(case: Case) -> SignedRequest:
    query = urlencode(case.parameters, safe="", quote_via=quote_plus if case.form else quote)
    headers = [("host", HOST), *case.headers]
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    return SignedRequest(case.method, case.path.encode(), query.encode(), pairs)


def added_by_botocore(case: Case) -> list[tuple[bytes, bytes]]:
    request = AWSRequest(case.method, f"http://{HOST}{case.path}", params=case.parameters, data=case.body)
    request.headers["Host"] = HOST
    for name, value in case.headers:
        request.headers.add_header(name, value)
    with patch("botocore.auth.get_current_datetime", return_value=MOMENT):
        SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, case.token), "kms", "us-east-1").add_auth(request)
    names = ["X-Amz-Date", *(["X-Amz-Security-Token"] if case.token else []), "Authorization"]
    return [(name.lower().encode(), request.headers[name].encode()) for name in names]


def check(request: SignedRequest, body: bytes) -> None:
    authorization = read_authorization(request, service="kms", regions={"us-east-1"}, now=NOW)
    key = derive_signing_key(SECRET, authorization.date, authorization.region, authorization.service)
    verify(request, authorization, payload_sha256=sha256(body).hexdigest(), signing_key=key)


def tampered(request: SignedRequest, body: bytes) -> Iterator[tuple[SignedRequest, bytes]]:
    """Every part of a signed request changed, one at a time."""
    yield request, body + b"\0"
    yield replace(request, method=request.method + "S"), body
    yield replace(request, path=request.path + b"x"), body
    yield replace(request, query=request.query + b"&x"), body
    headers = list(request.headers)
    for index, (name, value) in enumerate(headers):
        changed = b"20260228T235959Z" if name == b"x-amz-date" else value + b"0"
        yield replace(request, headers=[*headers[:index], (name, changed), *headers[index + 1 :]]), body
        if name not in {b"x-amz-date", b"authorization"}:
            yield replace(request, headers=[*headers[:index], *headers[index + 1 :]]), body


@settings(max_examples=100, deadline=None)
@example(Case(parameters={"a": "b c+d/é", "A": "~"}, form=True, headers=[("n", " two  words "), ("n", "b,c")]))
@given(CASES)
def test_signatures_equal_botocores_and_any_change_is_refused(case: Case) -> None:
    bare = bare_request(case)
    added = added_by_botocore(case)
    credential = Credential("AKIDEXAMPLE", SECRET, case.token)
    assert sign(bare, credential, region="us-east-1", service="kms", now=NOW, body=case.body) == added

    signed = replace(bare, headers=[*bare.headers, *added])
    check(signed, case.body)
    for request, body in tampered(signed, case.body):
        with pytest.raises(InvalidSignature):
            check(request, body)


def test_a_date_header_in_place_of_x_amz_date_as_botocore_signs_it() -> None:
    request = AWSRequest("POST", f"http://{HOST}/", data=b"{}", headers={"Host": HOST, "Date": "now"})
    with patch("botocore.auth.get_current_datetime", return_value=MOMENT):
        SigV4Auth(Credentials("AKIDEXAMPLE", SECRET), "kms", "us-east-1").add_auth(request)
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    assert (b"date", b"Sat, 28 Feb 2026 23:59:58 -0000") in headers
    check(SignedRequest("POST", b"/", b"", headers), b"{}")
