"""What the domain key `sealed-secrets` seals, for callers or for storage (docs/formats/wrapped-keys.md).

    sealed = version of the domain key (4 bytes) || wrapped secret

The binding ends with the version.
"""

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag

from strongroom.crypto import wrapping
from strongroom.crypto.xaes import NONCE_LENGTH, XaesKey

_VERSION_LENGTH = 4


class SealingKeys:
    """All versions of the domain key. Safe to share between threads."""

    def __init__(self, versions: Mapping[int, XaesKey]) -> None:
        """The newest seals."""
        self._versions = versions

    def __repr__(self) -> str:
        return "SealingKeys()"

    def seal(self, secret: bytes, *binding: str) -> bytes:
        """Return `secret` sealed, 45 bytes longer; each time otherwise. `open` needs the same binding."""
        version = max(self._versions)
        wrapped = wrapping.wrap(self._versions[version], secret, (*binding, str(version)), os.urandom(NONCE_LENGTH))
        return version.to_bytes(_VERSION_LENGTH) + wrapped

    def open(self, sealed: bytes, *binding: str) -> bytes:
        """Return what was sealed with this binding. Raises cryptography's InvalidTag for anything else."""
        version = int.from_bytes(sealed[:_VERSION_LENGTH])
        if version not in self._versions:
            raise InvalidTag
        return wrapping.unwrap(self._versions[version], sealed[_VERSION_LENGTH:], (*binding, str(version)))
