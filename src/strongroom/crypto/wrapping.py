"""Keys and other secrets under a wrapping key, for storage (docs/formats/wrapped-keys.md).

    wrapped = format version (1 byte, 1) || nonce (24 bytes) || XAES-256-GCM ciphertext and tag (secret + 16 bytes)

Authenticated with it is the binding: what the secret is for and whose it is, in a fixed order per purpose. Wrapped
bytes that are moved to another row, account or installation do not open there.
"""

from cryptography.exceptions import InvalidTag

from strongroom.crypto.framing import frame
from strongroom.crypto.xaes import NONCE_LENGTH, XaesKey

_VERSION = b"\x01"
_LABEL = b"strongroom wrapped secret"
_NONCE_END = len(_VERSION) + NONCE_LENGTH


def wrap(wrapping_key: XaesKey, secret: bytes, binding: tuple[str, ...], nonce: bytes) -> bytes:
    """Return `secret` wrapped, 41 bytes longer.

    `nonce` is 24 fresh random bytes. `binding` starts with the purpose; `unwrap` needs the same.
    """
    return _VERSION + nonce + wrapping_key.seal(nonce, secret, _associated_data(binding))


def unwrap(wrapping_key: XaesKey, wrapped: bytes, binding: tuple[str, ...]) -> bytes:
    """Return the secret.

    Raises cryptography's InvalidTag for anything else than was wrapped: altered, cut, of another version, under another
    key or with another binding.
    """
    nonce = wrapped[len(_VERSION) : _NONCE_END]
    if not wrapped.startswith(_VERSION) or len(nonce) != NONCE_LENGTH:
        raise InvalidTag
    return wrapping_key.open(nonce, wrapped[_NONCE_END:], _associated_data(binding))


def _associated_data(binding: tuple[str, ...]) -> bytes:
    return frame([_LABEL, _VERSION, *(name.encode() for name in binding)])
