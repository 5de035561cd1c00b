"""The one text that both sides compute from a request, and sign.

Steps of "Create a signed AWS API request" in the IAM User Guide, as every service but S3 takes them:

1. The canonical request is these six parts, one newline between them:
   1.1 the method;
   1.2 the path: dot segments and empty segments removed, then percent-encoded once more than it was sent;
   1.3 the query: each name and value decoded and encoded again, sorted by name and then value;
   1.4 the signed headers, each as `name:value` and a newline: runs of white space in a value become one space
       (which unfolds folded lines), the values of a repeated header are joined by commas;
   1.5 the names of the signed headers, joined by semicolons;
   1.6 the SHA-256 of the body, in hexadecimal.
2. The string to sign is the algorithm, the timestamp, the credential scope and the SHA-256 of the canonical
   request.

Encoded means: all but unreserved characters (RFC 3986, 2.3) as `%XX`. No byte of any part is refused here.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from strongroom.sigv4.request import SignedRequest

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"


def fold_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Index the headers by name, the values of a repeated one trimmed and joined by commas, in order."""
    values = dict(headers)
    if len(values) == len(headers):
        return values
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        repeated.setdefault(name, []).append(value.strip())
    return {name: b",".join(parts) for name, parts in repeated.items()}


def credential_scope(date: str, region: str, service: str) -> str:
    """Name what a signing key is good for. `date` is YYYYMMDD."""
    return f"{date}/{region}/{service}/{TERMINATOR}"


def canonical_request(
    request: SignedRequest,
    headers: Mapping[bytes, bytes],
    signed_headers: Sequence[bytes],
    payload_sha256: str,
) -> bytes:
    """Build the canonical request (step 1). `headers` are the folded headers of `request`.

    The signed headers are taken in the order given, which the client has chosen and signs.
    Raises KeyError when one of them is not in the request.
    """
    return b"\n".join(
        (
            request.method.encode(),  # 1.1
            _canonical_path(request.path),  # 1.2
            _canonical_query(request.query),  # 1.3
            b"".join([b"%b:%b\n" % (name, b" ".join(headers[name].split())) for name in signed_headers]),  # 1.4
            b";".join(signed_headers),  # 1.5
            payload_sha256.encode(),  # 1.6
        )
    )


def string_to_sign(timestamp: str, scope: str, canonical: bytes) -> bytes:
    """Build the string to sign (step 2). `timestamp` is in ISO 8601 basic format."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical).hexdigest()}".encode()


def _canonical_path(path: bytes) -> bytes:
    if path in {b"/", b""}:
        return b"/"
    segments: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in {b"", b"."}:
            segments.append(segment)
    leading = b"/" if path.startswith(b"/") else b""
    trailing = b"/" if path.endswith(b"/") and segments else b""
    return quote(leading + b"/".join(segments) + trailing, safe="/").encode()


def _canonical_query(query: bytes) -> bytes:
    if not query:
        return b""
    pairs = [(_encoded(name), _encoded(value)) for name, _, value in (p.partition(b"=") for p in query.split(b"&"))]
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)]).encode()


def _encoded(component: bytes) -> str:
    # A plus sign is a space, as it is to whoever reads the query as a form: were it signed as a plus sign,
    # %2B could be made a space on the way without breaking the signature.
    return quote(unquote_to_bytes(component.replace(b"+", b" ")), safe="")
