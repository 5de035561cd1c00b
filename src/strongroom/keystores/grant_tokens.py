"""Grant tokens: opaque text that names a grant (AWS: "Using a grant token"; docs/formats/wrapped-keys.md).

    token = base64url without padding of: version of the domain key (4 bytes) || wrapped name of the grant

A token is no secret and allows nothing; nobody else can make one.
"""

import base64
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import InvalidGrantToken
from strongroom.keystores.sealed import SealingKeys
from strongroom.model.grant import Grant

_PURPOSE = "grant-token"
_ALPHABET = b"-_"


class GrantName(NamedTuple):
    """Which grant a token is for."""

    account: str
    region: str
    key_id: str
    grant_id: str


_NAME = msgspec.json.Decoder(GrantName)


class GrantTokens:
    """Makes and opens the grant tokens of this installation. Safe to share between threads."""

    def __init__(self, wrapping_keys: Mapping[int, XaesKey]) -> None:
        """`wrapping_keys` are the versions of the domain key `sealed-secrets`; the newest makes tokens."""
        self._keys = SealingKeys(wrapping_keys)

    def __repr__(self) -> str:
        return "GrantTokens()"

    def seal(self, grant: Grant) -> str:
        """Return a token for a grant; each time another."""
        name = msgspec.json.encode(GrantName(grant.account, grant.region, grant.key_id, grant.grant_id))
        return _encode(self._keys.seal(name, _PURPOSE))

    def open(self, token: str) -> GrantName:
        """Return which grant a token is for, whether or not it is still there.

        Raises InvalidGrantToken for anything that `seal` did not return here.
        """
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=_ALPHABET, validate=True)
            name = self._keys.open(sealed, _PURPOSE)
        except (ValueError, InvalidTag):
            raise InvalidGrantToken from None
        if _encode(sealed) != token:  # base64 leaves bits that say nothing
            raise InvalidGrantToken
        return _NAME.decode(name)


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")
