"""Requests to the XKS proxy, made well and then bent: no 500, no exception, one answer and one record for each."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.app.installing import initialize
from strongroom.config import read_config
from tests.composed import NOW
from tests.sizes import Size
from tests.unit.operations.xks.proxy import (
    METADATA,
    ONE,
    ROOT,
    RULED,
    TWO,
    Furnished,
    Headers,
    Proxy,
    Reply,
    decrypting,
    encoded,
    encrypting,
    furnish,
    opened_proxy,
)

pytestmark = pytest.mark.soak

STATUSES = {
    "AccessDeniedException": 403,
    "AuthenticationFailedException": 401,
    "InvalidCiphertextException": 400,
    "InvalidStateException": 400,
    "InvalidUriPathException": 404,
    "KeyNotFoundException": 404,
    "UnsupportedOperationException": 501,
    "ValidationException": 400,
}
"""All that may be told. Nothing here is slow, or fails by itself."""
COMMON = {
    "AuthenticationFailedException",
    "InvalidUriPathException",
    "KeyNotFoundException",
    "ValidationException",
}
"""Without these it would not be known what is bent."""
NAMES = {"GetHealthStatus": "health", "GetKeyMetadata": "metadata", "Encrypt": "encrypt", "Decrypt": "decrypt"}
ANSWERED = {
    "GetHealthStatus": {"xksProxyFleetSize", "xksProxyVendor", "xksProxyModel", "ekmVendor", "ekmFleetDetails"},
    "GetKeyMetadata": {"keySpec", "keyUsage", "keyStatus"},
    "Encrypt": {"ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata"},
    "Decrypt": {"plaintext"},
}
SECONDS = 0.1
"""Between two requests: few enough come from one address that each leaves a record."""
ODD_BODIES = [
    b"", b"null", b"{", b"{} {}", b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 10_000,
    b'{"requestMetadata":{"kmsRequestId":1e999}}', b'{"requestMetadata":{"kmsRequestId":NaN}}', b"{}" + b" " * 900_000,
    b'{"requestMetadata":' + b"9" * 5_000 + b"}", b'{"requestMetadata":{"kmsRequestId":"\\ud800"}}', b"\xff\xfe{\0}\0",
]  # fmt: skip
ODD_HEADERS = [
    (b"x-amz-date", b"19700101T000000Z"), (b"x-amz-target", b"x"), (b"host", b""), (b"date", b"\xff"),
    (b"authorization", b"AWS4-HMAC-SHA256 ,,=,Credential=////"), (b"x-amz-security-token", b"a" * 5_000),
    (b"user-agent", b"\0\xff\n"), (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"), (b"content-type", b"text/plain"),
]  # fmt: skip

NUMBERS = st.integers() | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**400]) | st.floats()
TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["", "\0", "\ud800", "\udfff\ud800", "QUI=", "-_-_", "A" * 24, "A" * 12_000, "AES_GCM", "SHA_256", "💥" * 2048]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = ["requestMetadata", "plaintext", "ciphertext", "encryptionAlgorithm", "additionalAuthenticatedData",
           "ciphertextMetadata", "initializationVector", "authenticationTag", "x",
           "ciphertextDataIntegrityValueAlgorithm"]  # fmt: skip
BYTES = st.binary(max_size=24) | st.sampled_from([bytes(12), bytes(16), bytes(20), bytes(8_193), bytes(65_536)])


class Asked(NamedTuple):
    """A request: how it is made, and how it is bent before and after it is signed."""

    operation: str
    prefix: str
    path: bytes
    body: bytes
    method: str
    whole: bool
    bend_headers: str
    header: tuple[bytes, bytes]
    place: int
    """Of the header that is bent."""

    def headers(self, proxy: Proxy) -> Headers:
        headers = proxy.signers[self.prefix].headers(self.path, b"", self.body, proxy.parts.clock.now)
        name, value = headers[self.place]
        match self.bend_headers:
            case "add":
                headers.append(self.header)
            case "drop":
                del headers[self.place]
            case "repeat":
                headers.append((name, value))
            case "cut":
                headers[self.place] = (name, value[: len(self.header[1])])
            case "insert":
                headers[self.place] = (name, value[:20] + self.header[1] + value[20:])
            case "empty":
                headers.clear()
        return headers


@st.composite
def asked(draw: st.DrawFn, decrypt: dict[str, Any]) -> Asked:
    """A request; of `decrypt` are those that decrypt."""
    operation = draw(st.sampled_from(list(NAMES)))
    prefix = draw(st.sampled_from([ONE, ONE, ONE, RULED, TWO, ROOT]))
    key = draw(st.sampled_from([*["key-1"] * 7, "allowed", "forbidden", "off", "unknown", "%00", "..", "é"]))
    place = "" if operation == "GetHealthStatus" else f"keys/{key}/"
    path = f"{prefix}/kms/xks/v1/{place}{NAMES[operation]}".encode()
    if draw(st.integers(0, 19)) == 11:
        path = draw(bent(path))
    seldom = st.integers(0, 49).map(lambda number: number == 23)  # the ends of a range are drawn more often
    return Asked(
        operation,
        prefix,
        path,
        draw(bodies(decrypt if operation == "Decrypt" else encrypting(b"secret"))),
        draw(st.sampled_from(["GET", "PUT", "HEAD", "\xff"])) if draw(seldom) else "POST",
        not draw(seldom),
        draw(st.sampled_from([*[""] * 9, "add", "drop", "repeat", "cut", "insert", "empty"])),
        draw(st.sampled_from(ODD_HEADERS)),
        draw(st.integers(0, 2)),
    )


@st.composite
def bodies(draw: st.DrawFn, members: dict[str, Any]) -> bytes:
    """A good body, bent in one way or in none."""
    match draw(st.sampled_from(["good", "good", "members", "bytes", "bytes", "metadata", "json", "cut", "raw"])):
        case "good":
            return encoded(members)
        case "members":
            return written(draw, members | draw(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=2)))
        case "bytes":
            return encoded(members | draw(st.dictionaries(st.sampled_from(MEMBERS[1:]), BYTES, min_size=1, max_size=2)))
        case "metadata":
            metadata = METADATA | draw(st.dictionaries(st.sampled_from([*METADATA, "awsSourceVpc"]) | TEXTS, JSON))
            return written(draw, members | {"requestMetadata": metadata})
        case "json":
            return written(draw, draw(JSON))
        case "cut":
            return draw(bent(encoded(members)))
        case _:
            return draw(st.binary(max_size=50) | st.sampled_from(ODD_BODIES))


def written(draw: st.DrawFn, value: Any) -> bytes:
    """A value as JSON, its letters escaped or not; in the latter case surrogates are bytes that are no UTF-8."""
    text = json.dumps(json.loads(encoded(value)), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@st.composite
def bent(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes, some of them replaced by others."""
    begin = draw(st.integers(0, len(content)))
    end = draw(st.integers(begin, min(len(content), begin + 8)))
    return content[:begin] + draw(st.binary(max_size=4) | st.sampled_from([b"/", b"//", b"..", b"%2f"])) + content[end:]


@pytest.fixture
def proxy(data: Path) -> Iterator[Proxy]:
    initialize(data, region="us-east-1", port=0, account="111122223333", now=NOW)
    with opened_proxy(Furnished(data, furnish(read_config(data / "strongroom.yaml")))) as proxy:
        yield proxy


def test_bent_requests_are_answered_and_recorded(proxy: Proxy, size: Size) -> None:
    decrypt = decrypting(proxy.encrypt(ONE, "key-1", b"secret"))
    known = {record["requestID"] for record in proxy.records()}
    outcomes: Counter[tuple[str, str]] = Counter()
    request_ids: list[str] = []

    @settings(max_examples=size.fuzz_requests)
    @given(asked(decrypt))
    def check(one: Asked) -> None:
        proxy.parts.clock.now += SECONDS
        reply = proxy.send(one.method, one.path, one.headers(proxy), one.body, whole=one.whole)
        outcomes[one.operation, outcome(one, reply)] += 1
        if reply.status != 405:
            request_ids.append(reply.headers[b"x-amzn-RequestId"].decode())

    check()
    print({f"{operation} {told}": count for (operation, told), count in sorted(outcomes.items())})
    assert {operation for operation, told in outcomes if told == ""} == NAMES.keys()
    assert {told for _, told in outcomes} >= COMMON
    records = [record["requestID"] for record in proxy.records() + proxy.strangers()]
    assert sorted(set(records) - known) == sorted(request_ids)
    assert len(records) == len(set(records))


def outcome(one: Asked, reply: Reply) -> str:
    """The name of the error, empty if there is none; fails unless the answer is one that the API has."""
    if reply.status == 405:
        assert one.method != "POST"
        assert reply.body == b""
        return "405"
    assert reply.headers[b"Content-Type"] == b"application/json"
    if reply.status == 200:
        assert reply.members.keys() - {"ciphertextDataIntegrityValue"} in ANSWERED.values()
        return ""
    name: str = reply.members["errorName"]
    assert reply.status == STATUSES[name]
    assert reply.members.keys() <= {"errorName", "errorMessage"}
    message = reply.members.get("errorMessage", "-")
    assert len(message) < 512
    assert all(" " <= letter <= "~" for letter in message)
    return name
