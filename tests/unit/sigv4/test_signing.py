from hashlib import sha256

from strongroom.sigv4.authorization import read_authorization
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, derive_signing_key, sign
from strongroom.sigv4.verify import verify

NOW = 1440938160.75  # 20150830T123600Z
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REQUEST = SignedRequest("POST", b"/", b"", [(b"x-amz-target", b"TrentService.Encrypt"), (b"host", b"[::1]:8400")])


def test_the_signing_key_is_that_of_the_aws_documentation() -> None:
    # "Examples of how to derive a signing key for Signature Version 4", AWS General Reference
    key = derive_signing_key(SECRET, "20120215", "us-east-1", "iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_the_headers_to_add_for_a_long_term_key() -> None:
    added = sign(REQUEST, Credential("AKIDEXAMPLE", SECRET), region="us-east-1", service="kms", now=NOW, body=b"{}")
    assert [name for name, _ in added] == [b"x-amz-date", b"authorization"]
    assert added[0][1] == b"20150830T123600Z"
    assert added[1][1].startswith(
        b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, "
        b"SignedHeaders=host;x-amz-date;x-amz-target, Signature="
    )


def test_what_is_signed_with_temporary_credentials_verifies() -> None:
    credential = Credential("ASIDEXAMPLE", SECRET, "a session token")
    added = sign(REQUEST, credential, region="eu-west-1", service="kms", now=NOW, body=b"{}")
    signed = SignedRequest("POST", b"/", b"", [*REQUEST.headers, *added])
    authorization = read_authorization(signed, service="kms", regions={"eu-west-1"}, now=NOW)
    assert authorization.session_token == "a session token"
    verify(
        signed,
        authorization,
        payload_sha256=sha256(b"{}").hexdigest(),
        signing_key=derive_signing_key(SECRET, "20150830", "eu-west-1", "kms"),
    )


def test_secrets_are_not_in_the_repr() -> None:
    assert repr(Credential("AKIDEXAMPLE", SECRET, "token")) == "Credential(AKIDEXAMPLE)"
    signed = SignedRequest("POST", b"/", b"", [(b"x-amz-security-token", b"token")])
    assert repr(signed) == "SignedRequest(POST b'/')"
