"""Sign a request as a client does.

Steps of "Create a signed AWS API request" in the IAM User Guide:

1. Add the time, and the session token of temporary credentials, as headers.
2. Build the canonical request and the string to sign (canonical.py).
3. Derive the signing key from the secret, for one day, Region and service.
4. The signature is the HMAC-SHA256 of the string to sign under it.
5. Put the access key, scope, signed headers and signature in the Authorization header.
"""

import hmac
from hashlib import sha256

from msgspec import Struct

from strongroom.sigv4.canonical import (
    ALGORITHM,
    TERMINATOR,
    canonical_request,
    credential_scope,
    fold_headers,
    string_to_sign,
)
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.timestamps import format_timestamp


class Credential(Struct, frozen=True):
    """An access key, with the session token if it is temporary."""

    access_key_id: str
    secret: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.access_key_id})"


def derive_signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derive the 32-byte key that signs for one day (`date` is YYYYMMDD), Region and service.

    Four HMACs, about 5 microseconds: whoever verifies keeps the result for the day.
    """
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(signing_key: bytes, text: bytes) -> str:
    """Sign a string to sign: 64 lower-case hexadecimal digits."""
    return hmac.digest(signing_key, text, "sha256").hex()


def sign(
    request: SignedRequest, credential: Credential, *, region: str, service: str, now: float, body: bytes
) -> list[tuple[bytes, bytes]]:
    """Return the headers to add to `request`, which must carry `host` and none of them yet.

    Every header of the request is signed, so it must hold no header that may change on the way.
    `now` is in seconds since the epoch.
    """
    timestamp = format_timestamp(int(now))
    added = [(b"x-amz-date", timestamp.encode())]  # 1
    if credential.session_token is not None:
        added.append((b"x-amz-security-token", credential.session_token.encode()))
    headers = fold_headers([*request.headers, *added])
    signed_headers = sorted(headers)
    canonical = canonical_request(request, headers, signed_headers, sha256(body).hexdigest())  # 2
    date = timestamp[:8]
    scope = credential_scope(date, region, service)
    signing_key = derive_signing_key(credential.secret, date, region, service)  # 3
    proof = signature(signing_key, string_to_sign(timestamp, scope, canonical))  # 4
    authorization = (
        f"{ALGORITHM} Credential={credential.access_key_id}/{scope}, "
        f"SignedHeaders={b';'.join(signed_headers).decode()}, Signature={proof}"
    )
    return [*added, (b"authorization", authorization.encode())]  # 5
