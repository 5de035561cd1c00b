"""Read the Authorization header, and check all that can be checked without a secret.

The steps, their order and their texts are those that AWS's services show (measured on DynamoDB, which shares
its front end with KMS); "Troubleshoot signed requests" in the IAM User Guide lists most of them. Steps 9 and 10
are in verify.py.

1. The request carries a Signature Version 4.
2. The Authorization header has all its parts, each once, and there is a date: X-Amz-Date, or else Date.
3. The date can be read. A repeated header is all its values, joined by commas: two X-Amz-Date are no date.
4. The date is at most five minutes from now.
5. What decides about the request is signed: the host and every X-Amz and X-Strongroom header, each name once.
   (AWS's guide demands the first two; its services enforce the first. Without the second, whoever sits on the line
   could change the operation.)
6. The algorithm is the one we know.
7. The credential has its five parts.
8. The credential is scoped to our Region, service and day; all faults are told together.
"""

from collections.abc import Container, Mapping

from msgspec import Struct

from strongroom.errors import IncompleteSignature, InvalidSignature, MissingAuthenticationToken
from strongroom.sigv4.canonical import ALGORITHM, TERMINATOR, fold_headers
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.timestamps import basic_format_of_http_date, format_timestamp, parse_timestamp

SKEW = 5 * 60
"""Seconds that a client's clock may be off."""
_CREDENTIAL_PARTS = 5
_MAY_BE_UNSIGNED = b"x-amz-user-agent"  # the AWS SDK for PHP leaves it out, and nothing depends on it


class Authorization(Struct, frozen=True):
    """Who claims to have signed a request, when, for what, and how it can be proven.

    `date` is YYYYMMDD and begins `timestamp`, which is in ISO 8601 basic format. `signed_headers` are names
    in lower case and the client's order; `signature` and `session_token` are as received, of any form.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[bytes, ...]
    signature: str
    timestamp: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Authorization({self.access_key_id}/{self.date}/{self.region}/{self.service})"


class Parameters(Struct, frozen=True):
    """The Authorization header, taken apart; or what stands in the query string instead."""

    algorithm: str
    credential: str
    signed_headers: tuple[bytes, ...]
    signature: str


def read_authorization(request: SignedRequest, *, service: str, regions: Container[str], now: float) -> Authorization:
    """Read what the client says of its signature, for `service` in one of `regions`.

    `now` is in seconds since the epoch. Nothing of what is returned is proven yet.
    Raises MissingAuthenticationToken, IncompleteSignature or InvalidSignature.
    """
    headers = fold_headers(request.headers)
    header = headers.get(b"authorization", b"").decode("latin-1")
    if not header.startswith("AWS4-"):  # 1
        raise MissingAuthenticationToken("Missing Authentication Token")
    parameters = _read_parameters(header, dated=b"x-amz-date" in headers or b"date" in headers)  # 2
    timestamp = _date(headers)
    signed_at = read_date(timestamp)  # 3
    check_time(timestamp, signed_at, int(now), lifetime=SKEW)  # 4
    token = headers.get(b"x-amz-security-token")
    session_token = None if token is None else token.decode("latin-1")
    return check_parameters(parameters, headers, timestamp, session_token, service=service, regions=regions)  # 5 to 8


def check_parameters(
    parameters: Parameters,
    headers: Mapping[bytes, bytes],
    timestamp: str,
    session_token: str | None,
    *,
    service: str,
    regions: Container[str],
) -> Authorization:
    """Steps 5 to 8. `headers` are folded. Raises IncompleteSignature or InvalidSignature."""
    _check_signed_headers(headers, parameters.signed_headers)  # 5
    if parameters.algorithm != ALGORITHM:  # 6
        raise IncompleteSignature(
            f"Unsupported AWS 'algorithm': '{parameters.algorithm}' (only AWS4-HMAC-SHA256 for now). "
        )
    credential = parameters.credential.split("/")
    if len(credential) != _CREDENTIAL_PARTS:  # 7
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{parameters.credential}'"
        )
    access_key_id, date, region, _, _ = credential
    faults = _scope_faults(credential, service, regions, timestamp)
    if faults:  # 8
        raise InvalidSignature(faults)
    return Authorization(
        access_key_id,
        date,
        region,
        service,
        parameters.signed_headers,
        parameters.signature,
        timestamp,
        session_token,
    )


def _read_parameters(header: str, *, dated: bool) -> Parameters:
    algorithm, _, rest = header.partition(" ")
    parameters: dict[str, str] = {}
    for pair in rest.split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals:
            if not name:
                continue
            raise IncompleteSignature(
                f"'{name}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'."
            )
        if name in parameters:  # AWS's text is not known. Two headers must not be mixed into one.
            raise IncompleteSignature(
                f"Authorization header has more than one '{name}' parameter. Authorization={header}"
            )
        parameters[name] = value
    credential = parameters.get("Credential")
    signed_headers = parameters.get("SignedHeaders")
    signature = parameters.get("Signature")
    if credential is None or signed_headers is None or signature is None or not dated:
        raise IncompleteSignature(_missing_parts(header, parameters, dated=dated))
    names = signed_headers.lower().encode("latin-1").split(b";")
    return Parameters(algorithm, credential, tuple(names), signature)


def _missing_parts(header: str, parameters: Container[str], *, dated: bool) -> str:
    missing = [
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parameters
    ]
    if not dated:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
    return f"{''.join(missing)}Authorization={header}"


def _date(headers: Mapping[bytes, bytes]) -> str:
    date = headers.get(b"x-amz-date")
    if date is not None:
        return date.decode("latin-1")
    return basic_format_of_http_date(headers[b"date"].decode("latin-1"))


def read_date(timestamp: str) -> int:
    """Step 3: read a date as seconds since the epoch. Raises IncompleteSignature."""
    try:
        return parse_timestamp(timestamp)
    except ValueError:
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def check_time(timestamp: str, signed_at: int, now: int, *, lifetime: int) -> None:
    """Step 4, for a signature that lasts `lifetime` seconds. Raises InvalidSignature."""
    if signed_at < now - lifetime:
        age = f"{lifetime // 60} min." if lifetime % 60 == 0 else f"{lifetime} sec."
        raise InvalidSignature(
            f"Signature expired: {timestamp} is now earlier than {format_timestamp(now - lifetime)} "
            f"({format_timestamp(now)} - {age})"
        )
    if signed_at > now + SKEW:
        raise InvalidSignature(
            f"Signature not yet current: {timestamp} is still later than {format_timestamp(now + SKEW)} "
            f"({format_timestamp(now)} + 5 min.)"
        )


def _check_signed_headers(headers: Mapping[bytes, bytes], signed_headers: tuple[bytes, ...]) -> None:
    if b"host" not in signed_headers:
        raise InvalidSignature("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    signed = set(signed_headers)
    if len(signed) != len(signed_headers):  # AWS's text is not known. A repeated name would repeat its value.
        raise InvalidSignature("A header must be a 'SignedHeader' in the AWS Authorization only once.")
    for name in headers:
        if name.startswith((b"x-amz-", b"x-strongroom-")) and name not in signed and name != _MAY_BE_UNSIGNED:
            raise InvalidSignature(
                f"'{name.decode('latin-1').title()}' must be a 'SignedHeader' in the AWS Authorization."
            )


def _scope_faults(credential: list[str], service: str, regions: Container[str], timestamp: str) -> str:
    _, date, region, scoped_service, terminator = credential
    faults = []
    if region not in regions:
        faults.append(f"Credential should be scoped to a valid region, not '{region}'. ")
    if scoped_service != service:
        faults.append(f"Credential should be scoped to correct service: '{service}'. ")
    if terminator != TERMINATOR:
        faults.append(f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. ")
    if date != timestamp[:8]:
        faults.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    return "".join(faults)
