"""Session tokens: opaque text that carries a session (docs/formats/wrapped-keys.md).

    token = base64 of: version of the domain key (4 bytes) || wrapped session

Nobody else can make one or read it. It holds the session's secret, so that no server needs to remember sessions.
"""

import base64
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import UnrecognizedClient
from strongroom.keystores.sealed import SealingKeys
from strongroom.model.session import Session

_PURPOSE = "session-token"
_MAX_LENGTH = 48 * 1024
"""Characters of the longest token. What AssumeRole packs into a session fits well."""

_SESSION = msgspec.json.Decoder(Session)


class SessionTokens:
    """Makes and opens the session tokens of this installation. Safe to share between threads."""

    def __init__(self, wrapping_keys: Mapping[int, XaesKey]) -> None:
        """`wrapping_keys` are the versions of the domain key `sealed-secrets`; the newest makes tokens."""
        self._keys = SealingKeys(wrapping_keys)

    def __repr__(self) -> str:
        return "SessionTokens()"

    def seal(self, session: Session) -> str:
        """Return the token of a session."""
        return base64.b64encode(self._keys.seal(msgspec.json.encode(session), _PURPOSE)).decode()

    def open(self, token: str) -> Session:
        """Return the session of a token, whether or not it is still valid.

        Raises UnrecognizedClient for anything that `seal` did not return here.
        """
        try:
            if len(token) > _MAX_LENGTH:
                raise ValueError("no token is so long")  # noqa: TRY301 — as any other text that is no token
            encoded = self._keys.open(base64.b64decode(token, validate=True), _PURPOSE)
        except (ValueError, InvalidTag):
            raise UnrecognizedClient("The security token included in the request is invalid.") from None
        return _SESSION.decode(encoded)
