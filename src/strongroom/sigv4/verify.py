"""Check a signature, once the secret of its access key is known.

Continues the steps of authorization.py, with "Troubleshoot signed requests" in the IAM User Guide as source:

 9. The access key exists (the caller has looked it up, and derived or kept its signing key).
10. The signature is right:
    10.1 a body hash that the client declares is that of the body;
    10.2 every signed header is in the request;
    10.3 the signature over the canonical request, which has the body's true hash, is the one given.

All of step 10 fails with one text. What was computed is not told (older AWS answers append it): it would show
to whoever can ask what a proxy adds to a request.
"""

import hmac

from strongroom.errors import InvalidSignature
from strongroom.sigv4.authorization import Authorization
from strongroom.sigv4.canonical import canonical_request, credential_scope, fold_headers, string_to_sign
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import signature

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


def verify(request: SignedRequest, authorization: Authorization, *, payload_sha256: str, signing_key: bytes) -> None:
    """Raise InvalidSignature unless `authorization`, read from `request`, was made with `signing_key`.

    `payload_sha256` is the SHA-256 of the body received, in lower-case hexadecimal. Payloads declared
    unsigned or streamed (`UNSIGNED-PAYLOAD`, `STREAMING-…`) are refused: ours are small and always signed.
    """
    headers = fold_headers(request.headers)
    declared = headers.get(b"x-amz-content-sha256")
    if declared is not None and declared != payload_sha256.encode():  # 10.1
        raise InvalidSignature(_MISMATCH)
    try:
        canonical = canonical_request(request, headers, authorization.signed_headers, payload_sha256)
    except KeyError:  # 10.2
        raise InvalidSignature(_MISMATCH) from None
    scope = credential_scope(authorization.date, authorization.region, authorization.service)
    expected = signature(signing_key, string_to_sign(authorization.timestamp, scope, canonical))
    if not hmac.compare_digest(expected.encode(), authorization.signature.encode()):  # 10.3
        raise InvalidSignature(_MISMATCH)
