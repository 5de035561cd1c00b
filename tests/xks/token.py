"""External keys in a token of SoftHSM: AES-256-GCM done there. An external key manager for tests."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.token import Token
from strongroom.testing.softhsm import SoftHsm
from tests.hsm import new_token, place_of

_AES_256 = Template(
    {
        p11.CKA_CLASS: p11.CKO_SECRET_KEY,
        p11.CKA_KEY_TYPE: p11.CKK_AES,
        p11.CKA_TOKEN: False,
        p11.CKA_PRIVATE: True,
        p11.CKA_SENSITIVE: True,
        p11.CKA_EXTRACTABLE: False,
        p11.CKA_ENCRYPT: True,
        p11.CKA_DECRYPT: True,
        p11.CKA_VALUE_LEN: 32,
    }
)
_GENERATE = Mechanism(p11.CKM_AES_KEY_GEN)
TAG_LENGTH = 16


class ExternalToken:
    """A token that is open. Its keys are numbers."""

    def __init__(self, token: Token[None]) -> None:
        self._token = token

    def new_key(self) -> int:
        assert self._token.owner is not None
        with self._token.owner_lock:
            return self._token.owner.generate_key(_GENERATE, _AES_256)

    def encrypt(self, key: int, plaintext: bytes, aad: bytes, metadata: bytes) -> tuple[bytes, bytes]:
        """Return a fresh initialization vector, and the ciphertext with its tag."""

        def work(lease: Any) -> tuple[bytes, bytes]:
            iv = lease.session.random(12)
            return iv, lease.session.encrypt_gcm(key, iv, plaintext, _associated(aad, metadata))

        return self._token.run(work)

    def decrypt(self, key: int, iv: bytes, ciphertext: bytes, aad: bytes, metadata: bytes) -> bytes:
        """Raises Pkcs11Error."""

        def work(lease: Any) -> bytes:
            found: bytes = lease.session.decrypt_gcm(key, iv, ciphertext, _associated(aad, metadata))
            return found

        return self._token.run(work)


def _associated(aad: bytes, metadata: bytes) -> bytes:
    """As the specification recommends to put them together."""
    return struct.pack(">H", len(aad)) + aad + bytes([len(metadata)]) + metadata


@contextmanager
def external_token(softhsm: SoftHsm) -> Iterator[ExternalToken]:
    """A new token that is open."""
    place = place_of(softhsm, new_token(softhsm))
    token: Token[None] = Token(place.module, place.token, place.pin, lambda _: None, lambda *_: None)
    token.open()
    try:
        yield ExternalToken(token)
    finally:
        token.close()
