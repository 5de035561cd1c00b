"""Read a signature that stands in the query string, as a presigned URL has it.

Source: "Elements of an AWS API request signature" (query parameters) in the IAM User Guide. The steps are those of
authorization.py, with these differences:

1. X-Amz-Algorithm in the query string says that there is a signature; there is no Authorization header besides.
2. The parameters are X-Amz-Credential, -Date, -Signature and -SignedHeaders, each once. X-Amz-Security-Token is there
   for temporary credentials, and X-Amz-Expires says for how many seconds the signature is good: seven days at most.
4. Without X-Amz-Expires a signature is good for 15 minutes.

What was signed is the request without X-Amz-Signature.
"""

import re
from collections.abc import Container
from urllib.parse import unquote_plus

from msgspec import structs

from strongroom.errors import IncompleteSignature, InvalidSignature
from strongroom.sigv4.authorization import Authorization, Parameters, check_parameters, check_time, read_date
from strongroom.sigv4.canonical import fold_headers
from strongroom.sigv4.request import SignedRequest

_REQUIRED = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
_LIFETIME = 15 * 60  # seconds
_LONGEST = 7 * 24 * 60 * 60  # seconds
_MOST = 256  # parameters: what STS takes at most, and some more
_BENT_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SECONDS = re.compile(r"[1-9][0-9]{0,5}")


def is_presigned(request: SignedRequest) -> bool:
    """Whether the query string says that it holds a signature."""
    return b"X-Amz-Algorithm=" in request.query


def read_query_authorization(
    request: SignedRequest, *, service: str, regions: Container[str], now: float
) -> tuple[SignedRequest, Authorization]:
    """Read what the client says of its signature: what was signed, and the rest as `read_authorization` gives it.

    Raises IncompleteSignature or InvalidSignature.
    """
    headers = fold_headers(request.headers)
    if b"authorization" in headers:  # 1
        raise InvalidSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
        )
    if request.query.count(b"&") >= _MOST or _BENT_ESCAPE.search(request.query):  # little work for strangers
        raise IncompleteSignature("The query string is too long or malformed. Re-examine the query-string parameters.")
    pairs = [pair.partition(b"=") for pair in request.query.split(b"&")]
    given = _read_parameters([(_decoded(name), _decoded(value)) for name, _, value in pairs])  # 2
    timestamp = given["X-Amz-Date"]
    signed_at = read_date(timestamp)  # 3
    check_time(timestamp, signed_at, int(now), lifetime=_lifetime(given.get("X-Amz-Expires")))  # 4
    parameters = Parameters(
        given["X-Amz-Algorithm"],
        given["X-Amz-Credential"],
        tuple(given["X-Amz-SignedHeaders"].lower().encode().split(b";")),
        given["X-Amz-Signature"],
    )
    token = given.get("X-Amz-Security-Token")
    authorization = check_parameters(parameters, headers, timestamp, token, service=service, regions=regions)  # 5 to 8
    query = b"&".join([b"".join(pair) for pair in pairs if _decoded(pair[0]) != "X-Amz-Signature"])
    return structs.replace(request, query=query), authorization


def _decoded(component: bytes) -> str:
    return unquote_plus(component.decode("latin-1"))


def _read_parameters(pairs: list[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given and name.startswith("X-Amz-"):  # AWS's text is not known. Two signatures must not be mixed.
            raise IncompleteSignature(f"AWS query-string parameters must include '{name}' only once.")
        given[name] = value
    missing = [f"AWS query-string parameters must include '{name}'. " for name in _REQUIRED if not given.get(name)]
    if missing:
        raise IncompleteSignature(f"{''.join(missing)}Re-examine the query-string parameters.")
    return given


def _lifetime(seconds: str | None) -> int:
    if seconds is None:
        return _LIFETIME
    if not _SECONDS.fullmatch(seconds) or int(seconds) > _LONGEST:  # AWS's text is not known
        raise IncompleteSignature(f"X-Amz-Expires must be from 1 to {_LONGEST} seconds, got '{seconds}'.")
    return int(seconds)
