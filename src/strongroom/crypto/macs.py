"""HMAC (FIPS 198-1) with the SHA-2 family."""

import hmac

from strongroom.errors import KMSInvalidMac

_HASHES = {
    "HMAC_SHA_224": "sha224",
    "HMAC_SHA_256": "sha256",
    "HMAC_SHA_384": "sha384",
    "HMAC_SHA_512": "sha512",
}


class MacKey:
    """An HMAC key, ready for use. Safe to share between threads."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def generate(self, algorithm: str, message: bytes) -> bytes:
        """Return the whole MAC, as long as the hash."""
        return hmac.digest(self._key, message, _HASHES[algorithm])

    def verify(self, algorithm: str, message: bytes, mac: bytes) -> None:
        """Raise KMSInvalidMac unless the MAC is the message's, whole."""
        if not hmac.compare_digest(self.generate(algorithm, message), mac):
            raise KMSInvalidMac
