"""HMAC against OpenSSL's command line."""

import pytest

from strongroom.crypto.macs import MacKey
from tests.crosschecks.openssl import openssl


@pytest.mark.parametrize("message", [b"\x00", bytes(range(256)) * 16], ids=["a zero byte", "the longest"])
@pytest.mark.parametrize(
    ("algorithm", "digest", "key_length"),
    [
        # The least and the most that AWS takes for each key spec, and its own choice.
        ("HMAC_SHA_224", "sha224", 28),
        ("HMAC_SHA_224", "sha224", 64),
        ("HMAC_SHA_256", "sha256", 32),
        ("HMAC_SHA_256", "sha256", 64),
        ("HMAC_SHA_384", "sha384", 48),
        ("HMAC_SHA_384", "sha384", 128),
        ("HMAC_SHA_512", "sha512", 64),
        ("HMAC_SHA_512", "sha512", 128),
    ],
)
def test_is_what_openssl_computes(algorithm: str, digest: str, key_length: int, message: bytes) -> None:
    key = bytes(range(key_length))
    theirs = openssl("dgst", "-mac", "hmac", "-macopt", f"hexkey:{key.hex()}", f"-{digest}", "-binary", stdin=message)
    assert MacKey(key).generate(algorithm, message) == theirs
