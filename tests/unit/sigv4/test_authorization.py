from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    RequestError,
)
from strongroom.sigv4.authorization import Authorization, read_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.sigv4.verify import verify

NOW = 1440938160.9  # 20150830T123600Z and a little
SIGNED = "host;x-amz-date;x-amz-target"
CREDENTIAL = "AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request"
HEADER = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={SIGNED}, Signature=abc"
Headers = dict[str, str]


def headers(**changes: str | None) -> Headers:
    """Headers of a request that is in order; underscores in the names of changes stand for hyphens."""
    values: dict[str, str | None] = {
        "host": "localhost:8400",
        "x-amz-date": "20150830T123600Z",
        "x-amz-target": "TrentService.Encrypt",
        "authorization": HEADER,
    }
    values.update({name.replace("_", "-"): value for name, value in changes.items()})
    return {name: value for name, value in values.items() if value is not None}


def read(values: Headers, *, now: float = NOW) -> Authorization:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in values.items()]
    return read_pairs(pairs, now=now)


def read_pairs(pairs: list[tuple[bytes, bytes]], *, now: float = NOW) -> Authorization:
    request = SignedRequest("POST", b"/", b"", pairs)
    return read_authorization(request, service="kms", regions={"us-east-1", "eu-west-1"}, now=now)


def refusal(call: Callable[[], object]) -> tuple[type[RequestError], str | None]:
    with pytest.raises(RequestError) as raised:
        call()
    return raised.type, raised.value.message


def test_what_a_client_says_is_read() -> None:
    assert read(headers()) == Authorization(
        access_key_id="AKIDEXAMPLE",
        date="20150830",
        region="us-east-1",
        service="kms",
        signed_headers=(b"host", b"x-amz-date", b"x-amz-target"),
        signature="abc",
        timestamp="20150830T123600Z",
        session_token=None,
    )


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace(", ", ","),
        HEADER.replace(", ", " ,  "),
        HEADER.replace("256 ", "256   ") + ",",
        f"AWS4-HMAC-SHA256 Signature=abc, SignedHeaders={SIGNED}, Credential={CREDENTIAL}",
        HEADER.replace("host;x-amz-date", "Host;X-Amz-Date"),
    ],
)
def test_spaces_order_and_case_are_free_where_aws_leaves_them_free(header: str) -> None:
    assert read(headers(authorization=header)) == read(headers())


def test_a_session_token_is_read() -> None:
    signed = HEADER.replace(SIGNED, f"{SIGNED};x-amz-security-token")
    authorization = read(headers(authorization=signed, x_amz_security_token="token/+="))
    assert authorization.session_token == "token/+="


def test_neither_token_nor_signature_is_in_the_repr() -> None:
    assert repr(read(headers())) == "Authorization(AKIDEXAMPLE/20150830/us-east-1/kms)"


@pytest.mark.parametrize("header", [None, "", "Bearer eyJ", "AWS AKIDEXAMPLE:abc", "aws4-hmac-sha256 Credential=a"])
def test_1_no_signature(header: str | None) -> None:
    assert refusal(lambda: read(headers(authorization=header))) == (
        MissingAuthenticationToken,
        "Missing Authentication Token",
    )


MISSING_CREDENTIAL = "Authorization header requires 'Credential' parameter. "
MISSING_SIGNATURE = "Authorization header requires 'Signature' parameter. "
MISSING_SIGNED_HEADERS = "Authorization header requires 'SignedHeaders' parameter. "
MISSING_DATE = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "


@pytest.mark.parametrize(
    ("header", "date", "missing"),
    [
        (HEADER, None, MISSING_DATE),
        (f"AWS4-HMAC-SHA256 SignedHeaders={SIGNED}, Signature=abc", "x", MISSING_CREDENTIAL),
        (f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={SIGNED}", "x", MISSING_SIGNATURE),
        (f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, Signature=abc", "x", MISSING_SIGNED_HEADERS),
        ("AWS4-", "x", MISSING_CREDENTIAL + MISSING_SIGNATURE + MISSING_SIGNED_HEADERS),
        (
            "AWS4-HMAC-SHA256 a=b",
            None,
            MISSING_CREDENTIAL + MISSING_SIGNATURE + MISSING_SIGNED_HEADERS + MISSING_DATE,
        ),
    ],
)
def test_2_parts_that_are_missing_are_told_together(header: str, date: str | None, missing: str) -> None:
    assert refusal(lambda: read(headers(authorization=header, x_amz_date=date))) == (
        IncompleteSignature,
        f"{missing}Authorization={header}",
    )


def test_2_a_part_without_a_value() -> None:
    header = "AWS4-HMAC-SHA256 Signature=b,    Credential,    SignedHeaders"
    assert refusal(lambda: read(headers(authorization=header))) == (
        IncompleteSignature,
        (
            "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: "
            "'AWS4-HMAC-SHA256 Signature=b,    Credential,    SignedHeaders'."
        ),
    )


def test_2_a_part_given_twice() -> None:
    header = f"{HEADER}, Signature=def"
    assert refusal(lambda: read(headers(authorization=header))) == (
        IncompleteSignature,
        f"Authorization header has more than one 'Signature' parameter. Authorization={header}",
    )


def test_2_two_authorization_headers_are_not_mixed_into_one() -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers().items()]
    kind, _ = refusal(lambda: read_pairs([*pairs, (b"authorization", HEADER.replace("abc", "def").encode())]))
    assert kind is IncompleteSignature


@pytest.mark.parametrize(
    "date", ["", "201", "2015-08-30T12:36:00Z", "20150230T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT"]
)
def test_3_a_date_that_cannot_be_read(date: str) -> None:
    assert refusal(lambda: read(headers(x_amz_date=date))) == (
        IncompleteSignature,
        f"Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601",
    )


@pytest.mark.parametrize("second", [b"20150830T123600Z", b"20150830T123601Z"])
def test_3_two_x_amz_date_are_no_date(second: bytes) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers().items()]
    kind, message = refusal(lambda: read_pairs([*pairs, (b"x-amz-date", second)]))
    assert kind is IncompleteSignature
    assert message is not None
    assert f"Got '20150830T123600Z,{second.decode()}'" in message


@pytest.mark.parametrize("date", ["20150830T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT"])
def test_3_the_date_header_serves_where_there_is_no_x_amz_date(date: str) -> None:
    assert read(headers(x_amz_date=None, date=date)).timestamp == "20150830T123600Z"
    assert read(headers(date="Mon, 31 Aug 2015 12:36:00 GMT")).timestamp == "20150830T123600Z"


def test_4_five_minutes_either_way_are_allowed() -> None:
    for date in ("20150830T123100Z", "20150830T124100Z"):
        assert read(headers(x_amz_date=date)).timestamp == date


def test_4_an_expired_signature() -> None:
    assert refusal(lambda: read(headers(x_amz_date="20150830T123059Z"))) == (
        InvalidSignature,
        "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
    )


def test_4_a_signature_of_the_future() -> None:
    assert refusal(lambda: read(headers(x_amz_date="20150830T124101Z"))) == (
        InvalidSignature,
        "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)",
    )


@pytest.mark.parametrize("signed", ["", "x-amz-date;x-amz-target", "hosts;x-amz-date;x-amz-target"])
def test_5_an_unsigned_host(signed: str) -> None:
    header = HEADER.replace(SIGNED, signed)
    assert refusal(lambda: read(headers(authorization=header))) == (
        InvalidSignature,
        "'Host' must be a 'SignedHeader' in the AWS Authorization.",
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x-amz-target", "X-Amz-Target"),
        ("x-amz-date", "X-Amz-Date"),
        ("x-amz-security-token", "X-Amz-Security-Token"),
        ("x-amz-content-sha256", "X-Amz-Content-Sha256"),
        ("x-amz-anything", "X-Amz-Anything"),
    ],
)
def test_5_an_unsigned_x_amz_header(name: str, told: str) -> None:
    signed = ";".join(other for other in SIGNED.split(";") if other != name)
    values = {**headers(authorization=HEADER.replace(SIGNED, signed)), name: "20150830T123600Z"}
    assert refusal(lambda: read(values)) == (
        InvalidSignature,
        f"'{told}' must be a 'SignedHeader' in the AWS Authorization.",
    )


def test_5_content_type_and_user_agent_need_not_be_signed() -> None:
    # the SDKs for PHP and JavaScript version 2 sign no content type
    values = headers(content_type="application/x-amz-json-1.1", x_amz_user_agent="aws-sdk-php/3")
    assert read(values) == read(headers())


def test_5_a_header_name_repeated_among_the_signed_ones() -> None:
    header = HEADER.replace(SIGNED, f"{SIGNED};host")
    assert refusal(lambda: read(headers(authorization=header))) == (
        InvalidSignature,
        "A header must be a 'SignedHeader' in the AWS Authorization only once.",
    )


@pytest.mark.parametrize("algorithm", ["AWS4-HMAC-SHA25", "AWS4-ECDSA-P256-SHA256", "AWS4-"])
def test_6_another_algorithm(algorithm: str) -> None:
    header = HEADER.replace("AWS4-HMAC-SHA256", algorithm)
    assert refusal(lambda: read(headers(authorization=header))) == (
        IncompleteSignature,
        f"Unsupported AWS 'algorithm': '{algorithm}' (only AWS4-HMAC-SHA256 for now). ",
    )


@pytest.mark.parametrize("credential", ["", "a/b/c/d", CREDENTIAL + "/x", CREDENTIAL + "/"])
def test_7_a_credential_without_five_parts(credential: str) -> None:
    header = HEADER.replace(CREDENTIAL, credential)
    assert refusal(lambda: read(headers(authorization=header))) == (
        IncompleteSignature,
        (
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        ),
    )


WRONG_REGION = "Credential should be scoped to a valid region, not 'mars-1'. "
WRONG_SERVICE = "Credential should be scoped to correct service: 'kms'. "
WRONG_TERMINATOR = "Credential should be scoped with a valid terminator: 'aws4_request', not 'end'. "
WRONG_DATE = (
    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
    "'20150831' != '20150830', from '20150830T123600Z'."
)


@pytest.mark.parametrize(
    ("credential", "faults"),
    [
        ("AKID/20150830/mars-1/kms/aws4_request", WRONG_REGION),
        ("AKID/20150830/us-east-1/sts/aws4_request", WRONG_SERVICE),
        ("AKID/20150830/us-east-1/kms/end", WRONG_TERMINATOR),
        ("AKID/20150831/us-east-1/kms/aws4_request", WRONG_DATE),
        ("AKID/20150831/mars-1/KMS/end", WRONG_REGION + WRONG_SERVICE + WRONG_TERMINATOR + WRONG_DATE),
    ],
)
def test_8_scope_faults_are_told_together(credential: str, faults: str) -> None:
    header = HEADER.replace(CREDENTIAL, credential)
    assert refusal(lambda: read(headers(authorization=header))) == (InvalidSignature, faults)


def test_the_faults_of_a_request_that_has_them_all_are_told_in_order() -> None:
    header = "AWS4-X Credential=a/b, SignedHeaders=x-amz-date, "
    steps: list[tuple[dict[str, str | None], str]] = [
        ({"authorization": None, "x-amz-date": "x"}, "Missing Authentication Token"),
        ({"authorization": header}, "Authorization header requires 'Signature'"),
        ({"authorization": header + "Signature=c"}, "Date must be in ISO-8601"),
        ({"x-amz-date": "20150829T000000Z"}, "Signature expired"),
        ({"x-amz-date": "20150830T123600Z"}, "'Host' must be"),
        ({"authorization": f"AWS4-X Credential=a/b, SignedHeaders={SIGNED}, Signature=c"}, "Unsupported AWS"),
        ({"authorization": HEADER.replace(CREDENTIAL, "a/b")}, "Credential must have exactly 5"),
        ({"authorization": HEADER.replace("us-east-1", "mars-1")}, "Credential should be scoped to a valid region"),
    ]
    values: dict[str, str | None] = dict(headers())
    for change, expected in steps:
        values.update(change)
        present = {name: value for name, value in values.items() if value is not None}
        with pytest.raises(RequestError, match=f"^{expected}"):
            read(present)


def attempt(request: SignedRequest) -> None:
    try:
        authorization = read_authorization(request, service="kms", regions={"us-east-1"}, now=NOW)
        verify(request, authorization, payload_sha256="0" * 64, signing_key=b"k")
    except RequestError:
        return
    pytest.fail("a forged signature was accepted")


NAMES = st.sampled_from(
    [b"authorization", b"x-amz-date", b"date", b"host", b"x-amz-security-token", b"x-amz-content-sha256", b"", b"\xff"]
)
VALUES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([HEADER.encode(), b"20150830T123600Z", b"AWS4-HMAC-SHA256 ", b"Sun, 31 Feb 2015 12:36:00 GMT"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(NAMES | st.binary(max_size=12), VALUES), max_size=8),
    st.binary(max_size=20),
    st.binary(max_size=20),
)
def test_no_bytes_in_a_request_raise_anything_but_our_errors(
    pairs: list[tuple[bytes, bytes]], path: bytes, query: bytes
) -> None:
    attempt(SignedRequest("POST", path, query, pairs))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_corruption_of_a_genuine_request_raises_anything_but_our_errors(data: st.DataObject) -> None:
    bare = SignedRequest("POST", b"/", b"", [(b"host", b"localhost")])
    credential = Credential("AKIDEXAMPLE", "secret", "token")
    pairs = [
        *bare.headers,
        *sign(bare, credential, region="us-east-1", service="kms", now=NOW, body=b""),
    ]
    index = data.draw(st.integers(0, len(pairs) - 1))
    name, value = pairs[index]
    start = data.draw(st.integers(0, len(value)))
    end = data.draw(st.integers(start, len(value)))
    pairs[index] = (name, value[:start] + data.draw(st.binary(max_size=8)) + value[end:])
    attempt(SignedRequest("POST", b"/", b"", pairs))


def test_a_huge_request_is_refused_without_quadratic_work() -> None:  # which would hang here
    many = b";".join(b"x-amz-%d" % number for number in range(20_000))
    header = HEADER.encode().replace(SIGNED.encode(), SIGNED.encode() + b";" + many)
    pairs = [(name.encode(), value.encode()) for name, value in headers().items() if name != "authorization"]
    pairs += [(b"x-amz-%d" % number, b"v") for number in range(20_000)] * 2
    attempt(SignedRequest("POST", b"/" * 60_000, b"&" * 60_000, [*pairs, (b"authorization", header)]))
