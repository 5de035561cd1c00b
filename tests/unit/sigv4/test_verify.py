from hashlib import sha256

import pytest

from strongroom.errors import InvalidSignature
from strongroom.sigv4.authorization import read_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, derive_signing_key, sign
from strongroom.sigv4.verify import verify

NOW = 1440938160.0  # 20150830T123600Z
BODY = b'{"KeyId":"alias/a"}'
DIGEST = sha256(BODY).hexdigest()
KEY = derive_signing_key("secret", "20150830", "us-east-1", "kms")
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)
Headers = list[tuple[bytes, bytes]]


def signed_headers(*extra: tuple[bytes, bytes], body: bytes = BODY) -> Headers:
    headers = [(b"host", b"kms.example:8400"), (b"x-amz-target", b"TrentService.Encrypt"), *extra]
    request = SignedRequest("POST", b"/", b"", headers)
    credential = Credential("AKIDEXAMPLE", "secret")
    return headers + sign(request, credential, region="us-east-1", service="kms", now=NOW, body=body)


def check(headers: Headers, *, digest: str = DIGEST, key: bytes = KEY) -> None:
    request = SignedRequest("POST", b"/", b"", headers)
    authorization = read_authorization(request, service="kms", regions={"us-east-1"}, now=NOW)
    verify(request, authorization, payload_sha256=digest, signing_key=key)


def replaced(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [(other, value if other == name else old) for other, old in headers]


def refused(headers: Headers, *, digest: str = DIGEST, key: bytes = KEY) -> str | None:
    with pytest.raises(InvalidSignature) as refusal:
        check(headers, digest=digest, key=key)
    return refusal.value.message


def test_a_true_signature_is_accepted() -> None:
    check(signed_headers())


def test_headers_that_are_not_signed_may_be_added_by_a_proxy() -> None:
    check([(b"via", b"1.1 proxy"), *signed_headers(), (b"x-amzn-trace-id", b"Root=1")])


def test_the_secret_of_another_key_is_a_mismatch() -> None:
    other = derive_signing_key("another secret", "20150830", "us-east-1", "kms")
    assert refused(signed_headers(), key=other) == MISMATCH


def test_another_body_is_a_mismatch() -> None:
    assert refused(signed_headers(), digest=sha256(b"{}").hexdigest()) == MISMATCH


def test_the_host_counts_exactly_as_received() -> None:
    assert refused(replaced(signed_headers(), b"host", b"kms.example")) == MISMATCH
    assert refused(replaced(signed_headers(), b"host", b"KMS.example:8400")) == MISMATCH


def test_a_second_value_of_a_signed_header_is_a_mismatch() -> None:
    assert refused([*signed_headers(), (b"x-amz-target", b"TrentService.Decrypt")]) == MISMATCH


def test_a_signed_header_that_was_removed_is_a_mismatch() -> None:
    headers = signed_headers((b"content-type", b"application/x-amz-json-1.1"))
    check(headers)
    assert refused([pair for pair in headers if pair[0] != b"content-type"]) == MISMATCH


@pytest.mark.parametrize("signature", [b"", b"0" * 63, b"0" * 64, b"0" * 65, b"\xff" * 64, b"\xe9"])
def test_a_signature_of_any_other_form_is_a_mismatch(signature: bytes) -> None:
    headers = signed_headers()
    genuine = headers[-1][1]
    assert refused(replaced(headers, b"authorization", genuine[:-64] + signature)) == MISMATCH


def test_a_declared_body_hash_must_be_that_of_the_body() -> None:
    check(signed_headers((b"x-amz-content-sha256", DIGEST.encode())))
    wrong = signed_headers((b"x-amz-content-sha256", sha256(b"{}").hexdigest().encode()))
    assert refused(wrong) == MISMATCH


@pytest.mark.parametrize("declared", [b"UNSIGNED-PAYLOAD", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"", b"\xff"])
def test_a_body_declared_unsigned_or_streamed_is_a_mismatch(declared: bytes) -> None:
    assert refused(signed_headers((b"x-amz-content-sha256", declared))) == MISMATCH
