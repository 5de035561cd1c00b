"""What a proxy checks of each request, and the errors it answers with."""

import base64
import calendar
import json
import time
from email.message import Message
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST = "xks.example.test"
REGION = "us-east-1"
STATUSES = {
    "ValidationException": 400,
    "InvalidStateException": 400,
    "InvalidCiphertextException": 400,
    "InvalidKeyUsageException": 400,
    "AuthenticationFailedException": 401,
    "AccessDeniedException": 403,
    "KeyNotFoundException": 404,
    "InvalidUriPathException": 404,
    "ThrottlingException": 429,
    "InternalException": 500,
    "UnsupportedOperationException": 501,
    "DependencyTimeoutException": 503,
}


class FailedError(Exception):
    """Answered by its name."""


def authenticate(credentials: dict[str, str], path: str, headers: Message, body: bytes) -> None:
    """Sign the request again: the header must be the same to the letter, with just the headers that AWS KMS signs."""
    given, timestamp = headers.get("Authorization", ""), headers.get("X-Amz-Date", "")
    access_key_id = given.partition("Credential=")[2].partition("/")[0]
    if headers.get("Host") != HOST or access_key_id not in credentials:
        raise FailedError("AuthenticationFailedException")
    signed_at = calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
    if abs(time.time() - signed_at) > 300:
        raise FailedError("AuthenticationFailedException")
    auth = SigV4Auth(Credentials(access_key_id, credentials[access_key_id]), "kms-xks-proxy", REGION)
    request = AWSRequest("POST", f"https://{HOST}{path}", data=body, headers={"Host": HOST, "X-Amz-Date": timestamp})
    request.context["timestamp"] = timestamp
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    expected = f"Credential={auth.scope(request)}, SignedHeaders=host;x-amz-date, Signature={signature}"
    if given != f"AWS4-HMAC-SHA256 {expected}":
        raise FailedError("AuthenticationFailedException")


def parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError:
        raise FailedError("ValidationException") from None
    if not isinstance(request, dict) or not isinstance(request.get("requestMetadata"), dict):
        raise FailedError("ValidationException")
    return request


def require(request: dict[str, Any], *names: str) -> None:
    if not all(isinstance(request.get(name), str) for name in names):
        raise FailedError("ValidationException")


def decoded(request: dict[str, Any], name: str, limit: int = 4300) -> bytes:
    """A member; empty if it is not there."""
    try:
        found = base64.b64decode(request.get(name, ""), validate=True)
    except ValueError:
        raise FailedError("ValidationException") from None
    if len(found) > limit:
        raise FailedError("UnsupportedOperationException")
    return found
