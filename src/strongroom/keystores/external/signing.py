"""The headers of a request, signed as AWS KMS signs them (XKS specification, "Authentication").

Signed are the host and the date, and with them the method, the path and the body; nothing else, the content type
neither.
"""

from hashlib import sha256

from strongroom.errors import XKS_PROXY
from strongroom.sigv4.canonical import ALGORITHM, canonical_request, credential_scope, string_to_sign
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import derive_signing_key, signature
from strongroom.sigv4.timestamps import format_timestamp

_SIGNED = (b"host", b"x-amz-date")


class Signer:
    """Signs with one credential, for one Region. The signing key of a day is kept. Safe to share between threads."""

    def __init__(self, access_key_id: str, secret_access_key: str, region: str) -> None:
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._region = region
        self._day = ("", b"")
        """The day, YYYYMMDD, and its signing key."""

    def headers(self, host: str, path: str, body: bytes, now: float) -> list[tuple[str, str]]:
        """All headers of a POST. `now` is in seconds since the epoch."""
        timestamp = format_timestamp(int(now))
        signed = {b"host": host.encode(), b"x-amz-date": timestamp.encode()}
        request = SignedRequest("POST", path.encode(), b"", ())
        canonical = canonical_request(request, signed, _SIGNED, sha256(body).hexdigest())
        date = timestamp[:8]
        scope = credential_scope(date, self._region, XKS_PROXY)
        proof = signature(self._signing_key(date), string_to_sign(timestamp, scope, canonical))
        names = b";".join(_SIGNED).decode()
        return [
            ("Host", host),
            ("X-Amz-Date", timestamp),
            (
                "Authorization",
                f"{ALGORITHM} Credential={self._access_key_id}/{scope}, SignedHeaders={names}, Signature={proof}",
            ),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ]

    def _signing_key(self, date: str) -> bytes:
        day, key = self._day
        if day != date:
            key = derive_signing_key(self._secret_access_key, date, self._region, XKS_PROXY)
            self._day = (date, key)
        return key
