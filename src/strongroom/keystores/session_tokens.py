"""Session tokens: opaque text that carries a session (docs/formats/wrapped-keys.md).

    token = base64 of: version of the domain key (4 bytes) || wrapped session

Nobody else can make one or read it. It holds the session's secret, so that no server needs to remember sessions.
"""

import base64
import os
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag

from strongroom.crypto import wrapping
from strongroom.crypto.xaes import NONCE_LENGTH, XaesKey
from strongroom.errors import UnrecognizedClient
from strongroom.model.session import Session

_PURPOSE = "session-token"
_VERSION_LENGTH = 4
_MAX_LENGTH = 48 * 1024
"""Characters of the longest token. What AssumeRole packs into a session fits well."""

_SESSION = msgspec.json.Decoder(Session)


class SessionTokens:
    """Makes and opens the session tokens of this installation. Safe to share between threads."""

    def __init__(self, wrapping_keys: Mapping[int, XaesKey]) -> None:
        """`wrapping_keys` are the versions of the domain key `sealed-secrets`; the newest makes tokens."""
        self._wrapping_keys = wrapping_keys

    def __repr__(self) -> str:
        return "SessionTokens()"

    def seal(self, session: Session) -> str:
        """Return the token of a session."""
        version = max(self._wrapping_keys)
        encoded = msgspec.json.encode(session)
        wrapped = wrapping.wrap(self._wrapping_keys[version], encoded, _binding(version), os.urandom(NONCE_LENGTH))
        return base64.b64encode(version.to_bytes(_VERSION_LENGTH) + wrapped).decode()

    def open(self, token: str) -> Session:
        """Return the session of a token, whether or not it is still valid.

        Raises UnrecognizedClient for anything that `seal` did not return here.
        """
        try:
            if len(token) > _MAX_LENGTH:
                raise ValueError("no token is so long")  # noqa: TRY301 — as any other text that is no token
            sealed = base64.b64decode(token, validate=True)
            version = int.from_bytes(sealed[:_VERSION_LENGTH])
            encoded = wrapping.unwrap(self._wrapping_keys[version], sealed[_VERSION_LENGTH:], _binding(version))
        except (ValueError, KeyError, InvalidTag):
            raise UnrecognizedClient("The security token included in the request is invalid.") from None
        return _SESSION.decode(encoded)


def _binding(version: int) -> tuple[str, ...]:
    return (_PURPOSE, str(version))
