"""Verify the token of an identity provider: a JWT (RFC 7519) under the issuer's key. Pure.

1. The token is of a known form, its JSON says nothing twice, and it is signed with one of `ALGORITHMS`: never `none`,
   never with a secret.
2. The issuer's key that its header names fits the algorithm: kind, curve, use, and at least 2048 bits for RSA.
3. The signature is right.
4. It is of the issuer, for one of the client ids, has a subject, and now is between its times.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options
from jwt.utils import base64url_decode

from strongroom.errors import ExpiredIdentityToken, InvalidIdentityToken

ALGORITHMS: Final = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "ES256": "secp256r1",
    "ES384": "secp384r1",
    "ES512": "secp521r1",
}
"""Algorithm -> the kind of key that it needs: RSA, or the curve of an elliptic one (RFC 7518). AWS takes the same."""

MAX_CHARACTERS: Final = 20_000
_MAX_SUBJECT = 255
_MIN_RSA_BITS = 2_048
_AWS_CLAIMS = "https://aws.amazon.com/"
"""Begins claims that AWS makes session tags and a source identity of. A session without them may be allowed more."""
_LEEWAY = 60
"""Seconds by which an issuer's clock may be ahead of ours."""

_ONLY_THE_SIGNATURE: Final[Options] = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""The rest is checked here, against a time that is given."""


class Key(NamedTuple):
    """A public key of an issuer. `algorithm` is the only one that it is for, if the issuer says so."""

    id: str | None
    algorithm: str | None
    public: RSAPublicKey | EllipticCurvePublicKey


class Claims(NamedTuple):
    """What a verified token says. `audience` is the client id that it is for (AWS: of `azp`, if there is one)."""

    subject: str
    audience: str
    original_audience: tuple[str, ...]
    methods: tuple[str, ...]
    email: str | None


def key_of(document: object) -> Key | None:
    """A key (RFC 7517) that can verify signatures, or None: issuers publish others too."""
    if not isinstance(document, dict) or document.get("use", "sig") != "sig":
        return None
    try:
        public = jwt.PyJWK.from_dict(document).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if not isinstance(public, RSAPublicKey | EllipticCurvePublicKey):
        return None
    return Key(document.get("kid"), document.get("alg"), public)


def claimed_issuer(token: str) -> str:
    """Step 1: whose a token says that it is, before anything is verified. Raises InvalidIdentityToken."""
    if len(token) > MAX_CHARACTERS:
        raise _malformed()
    try:
        jwt.get_unverified_header(token)
        header, payload = (_document(part) for part in token.split(".")[:2])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _malformed() from None
    if "crit" in header or not isinstance(header.get("kid", ""), str):
        raise _malformed()
    algorithm, issuer = header.get("alg"), payload.get("iss")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _malformed()
    if not isinstance(issuer, str) or not issuer.isprintable():
        raise _malformed()
    return issuer


def fitting_key(keys: Sequence[Key], token: str) -> Key | None:
    """Step 2: the key that the token's header means, None if there is none. `claimed_issuer` has seen the token."""
    header = jwt.get_unverified_header(token)
    fitting = [key for key in keys if _fits(key, header["alg"])]
    if "kid" in header:
        fitting = [key for key in fitting if key.id == header["kid"]]
    return fitting[0] if len(fitting) == 1 else None


def verify(token: str, key: Key, *, issuer: str, client_ids: Collection[str], now: float) -> Claims:
    """Steps 3 and 4, under a key of `fitting_key`. `now` is in seconds since the epoch.

    Raises InvalidIdentityToken or ExpiredIdentityToken.
    """
    algorithm = str(jwt.get_unverified_header(token)["alg"])
    try:
        found: dict[str, Any] = jwt.decode(token, key.public, algorithms=[algorithm], options=_ONLY_THE_SIGNATURE)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise InvalidIdentityToken("Provided Token's signature is not valid") from None
    if found.get("iss") != issuer:
        raise InvalidIdentityToken("The token's issuer is not the provider's")
    _check_times(found, now)
    subject = found.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise InvalidIdentityToken(f"The token has no subject of 1 to {_MAX_SUBJECT} printable characters")
    if any(name.startswith(_AWS_CLAIMS) for name in found):
        raise InvalidIdentityToken("Session tags and source identities in tokens are not supported")
    audience, original = _audience(found, client_ids)
    methods = found.get("amr")
    email = found.get("email")
    return Claims(
        subject,
        audience,
        original,
        tuple(one for one in methods if isinstance(one, str)) if isinstance(methods, list) else (),
        email if isinstance(email, str) else None,
    )


def _document(part: str) -> dict[str, Any]:
    """A part of a token. Raises ValueError, also for names that are there twice and for what is not Unicode."""
    found = json.loads(base64url_decode(part), object_pairs_hook=_object)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 — as any other part that is not what it should be
    json.dumps(found, ensure_ascii=False).encode()  # refuses halves of surrogate pairs, which JSON can escape
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _fits(key: Key, algorithm: str) -> bool:
    kind, public = ALGORITHMS[algorithm], key.public
    if key.algorithm not in (None, algorithm):
        return False
    if isinstance(public, RSAPublicKey):
        return kind == "RSA" and public.key_size >= _MIN_RSA_BITS
    return public.curve.name == kind


def _check_times(found: dict[str, Any], now: float) -> None:
    expires, issued, not_before = (found.get(name) for name in ("exp", "iat", "nbf"))
    times = [expires, issued, *([] if not_before is None else [not_before])]
    if not all(type(one) is int for one in times):  # AWS: integers only; True is none
        raise InvalidIdentityToken("Missing a required claim: exp and iat are times")
    assert expires is not None, "seen above"
    assert issued is not None, "seen above"
    if now >= expires:
        raise ExpiredIdentityToken(
            f"Token expired: current date/time {int(now)} must be before the expiration date/time{int(expires)}"
        )
    if issued > now + _LEEWAY or (not_before is not None and not_before > now + _LEEWAY):
        raise InvalidIdentityToken("The token is not valid yet")


def _audience(found: dict[str, Any], client_ids: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """The client id that the token is for, and what its `aud` says. Raises InvalidIdentityToken."""
    stated = found.get("aud")
    original = (stated,) if isinstance(stated, str) else tuple(stated) if isinstance(stated, list) else ()
    party = found.get("azp")
    candidates = original if party is None else (party,)
    for candidate in candidates:
        if isinstance(candidate, str) and candidate in client_ids:
            return candidate, tuple(one for one in original if isinstance(one, str))
    raise InvalidIdentityToken("Incorrect token audience")


def _malformed() -> InvalidIdentityToken:
    return InvalidIdentityToken(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
    )
