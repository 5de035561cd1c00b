"""What the token wraps or encrypts, as it is stored (docs/formats/hsm-wrapped-keys.md).

    wrapped = format version (1 byte, 1) || how (1 byte) || body || authentication code (32 bytes)

    how  body
    1    a key wrapped by RFC 5649 under the domain key of its class
    2    initialization vector (16 bytes) || a key wrapped by AES-256-CBC under the domain key of its class
    3    initialization vector (16 bytes) || bytes encrypted by AES-256-CBC under `seeds` or `service-keys`

The code is HMAC-SHA-256 by the domain key `integrity`, in the token, over all before it and over the binding: what it
is and whose. It is checked before anything is opened, so that nothing is opened as something else.
"""

import hmac
from collections.abc import Sequence
from typing import NamedTuple

from strongroom.crypto.framing import frame
from strongroom.errors import KeyUnavailable
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.domain_keys import INTEGRITY, TokenKeys
from strongroom.keystores.hsm.mechanisms import wrapping_mechanism
from strongroom.keystores.hsm.session import Session

BY_RFC_5649 = 1
BY_CBC = 2
ENCRYPTED = 3

_VERSION = 1
_HEADER = 2
_IV = 16
_CODE = 32
_LABEL = b"strongroom hsm-wrapped"
_HMAC = Mechanism(p11.CKM_SHA256_HMAC)


class Wrapping(NamedTuple):
    """A version of a domain key, and a session to use it with. Its methods raise Pkcs11Error."""

    session: Session
    keys: TokenKeys
    purpose: str
    version: int

    def wrap(self, mechanism: int, key: int, binding: Sequence[bytes]) -> bytes:
        """Wrap a key of the token, with its code."""
        cbc = mechanism == p11.CKM_AES_CBC_PAD
        iv = self.session.random(_IV) if cbc else b""
        body = iv + self.session.wrap(wrapping_mechanism(mechanism, iv), self._key, key)
        return self._with_code(BY_CBC if cbc else BY_RFC_5649, body, binding)

    def unwrap(self, mechanism: int, wrapped: bytes, template: Template, owner: Session) -> int:
        """Open in the token what `check` has found whole. The object belongs to the session `owner`."""
        body = wrapped[_HEADER:-_CODE]
        iv = b""
        if wrapped[1] == BY_CBC:
            mechanism, iv, body = p11.CKM_AES_CBC_PAD, body[:_IV], body[_IV:]
        return owner.unwrap(wrapping_mechanism(mechanism, iv), self._key, body, template)

    def encrypt(self, secret: bytes, binding: Sequence[bytes]) -> bytes:
        """Encrypt bytes in the token, with their code."""
        iv = self.session.random(_IV)
        ciphertext = self.session.encrypt(Mechanism(p11.CKM_AES_CBC_PAD, iv), self._key, secret)
        return self._with_code(ENCRYPTED, iv + ciphertext, binding)

    def decrypt(self, encrypted: bytes) -> bytes:
        """Return what `encrypt` was given, of what `check` has found whole."""
        body = encrypted[_HEADER:-_CODE]
        return self.session.decrypt(Mechanism(p11.CKM_AES_CBC_PAD, body[:_IV]), self._key, body[_IV:])

    def check(self, wrapped: bytes, binding: Sequence[bytes]) -> int:
        """Return how it is wrapped. Raises KeyUnavailable unless it is whole and what the binding says."""
        content, code = wrapped[:-_CODE], wrapped[-_CODE:]
        if len(content) <= _HEADER or content[0] != _VERSION or self.version not in self.keys.handles[INTEGRITY]:
            raise KeyUnavailable
        if not hmac.compare_digest(self._code(content, binding), code):
            raise KeyUnavailable
        return content[1]

    @property
    def _key(self) -> int:
        return self.keys.handles[self.purpose][self.version]

    def _with_code(self, how: int, body: bytes, binding: Sequence[bytes]) -> bytes:
        content = bytes([_VERSION, how]) + body
        return content + self._code(content, binding)

    def _code(self, content: bytes, binding: Sequence[bytes]) -> bytes:
        data = frame([_LABEL, self.purpose.encode(), str(self.version).encode(), *binding, content])
        return self.session.sign(_HMAC, self.keys.handles[INTEGRITY][self.version], data)


def lengths(wrapped: bytes) -> range:
    """How many bytes a secret can have that was wrapped, as far as blocks of eight or sixteen tell."""
    body = len(wrapped) - _HEADER - _CODE
    if wrapped[1] == BY_RFC_5649:
        return range(body - 15, body - 7)
    return range(body - _IV - 16, body - _IV)
