import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.xaes import XaesKey

VECTORS = Path(__file__).parents[2] / "vectors/xaes/vectors.json"
NONCE = bytes(range(24))


class Vector(TypedDict):
    key: str
    nonce: str
    plaintext: str
    associated_data: str
    ciphertext: str


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text()), ids=lambda vector: vector["comment"])
def test_gives_the_published_ciphertexts(vector: Vector) -> None:
    key = XaesKey(bytes.fromhex(vector["key"]))
    nonce, plaintext, associated_data, ciphertext = (
        bytes.fromhex(value)
        for value in (vector["nonce"], vector["plaintext"], vector["associated_data"], vector["ciphertext"])
    )
    assert key.seal(nonce, plaintext, associated_data) == ciphertext
    assert key.open(nonce, ciphertext, associated_data) == plaintext


def test_gives_the_published_hash_of_ten_thousand_random_ciphertexts() -> None:
    stream = hashlib.shake_128().digest(10_000 * (32 + 24 + 2 * 256))
    assert stream.startswith(bytes.fromhex("7f9c2ba4e88f827d616045507605853e"))
    position = 0

    def read(length: int) -> bytes:
        nonlocal position
        position += length
        return stream[position - length : position]

    ciphertexts = hashlib.shake_128()
    for _ in range(10_000):
        key, nonce = XaesKey(read(32)), read(24)
        plaintext = read(read(1)[0])
        associated_data = read(read(1)[0])
        ciphertexts.update(key.seal(nonce, plaintext, associated_data))
    expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    assert ciphertexts.hexdigest(32) == expected


def reference_seal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """XAES-256-GCM by the specification's first description: a standard key derivation, then AES-256-GCM."""
    derivation = KBKDFCMAC(
        algorithm=AES256,
        mode=Mode.CounterMode,
        length=32,
        rlen=2,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=b"X\x00" + nonce[:12],
    )
    return AESGCM(derivation.derive(key)).encrypt(nonce[12:], plaintext, associated_data)


@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=24, max_size=24),
    plaintext=st.binary(max_size=100),
    associated_data=st.binary(max_size=100),
)
def test_agrees_with_a_standard_key_derivation(
    key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes
) -> None:
    sealed = XaesKey(key).seal(nonce, plaintext, associated_data)
    assert sealed == reference_seal(key, nonce, plaintext, associated_data)


def test_opens_with_nothing_changed_only() -> None:
    key = XaesKey(bytes(32))
    sealed = key.seal(NONCE, b"plaintext", b"associated")
    assert key.open(NONCE, sealed, b"associated") == b"plaintext"
    other_first_half, other_second_half = b"\xff" + NONCE[1:], NONCE[:-1] + b"\xff"
    for nonce, ciphertext, associated_data in (
        (other_first_half, sealed, b"associated"),
        (other_second_half, sealed, b"associated"),
        (NONCE, sealed[:-1], b"associated"),
        (NONCE, sealed + b"\x00", b"associated"),
        (NONCE, b"", b"associated"),
        (NONCE, sealed, b"associate"),
    ):
        with pytest.raises(InvalidTag):
            key.open(nonce, ciphertext, associated_data)
    with pytest.raises(InvalidTag):
        XaesKey(b"\x01" + bytes(31)).open(NONCE, sealed, b"associated")


@pytest.mark.parametrize("length", [0, 12, 23, 25])
def test_takes_no_nonce_of_another_length(length: int) -> None:
    key = XaesKey(bytes(32))
    with pytest.raises(ValueError, match="24 bytes"):
        key.seal(bytes(length), b"", b"")
    with pytest.raises(ValueError, match="24 bytes"):
        key.open(bytes(length), bytes(16), b"")


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_takes_no_key_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="key size"):
        XaesKey(bytes(length))


def test_needs_the_key_bytes_only_while_it_is_made() -> None:
    buffer = bytearray(b"\x01" * 32)
    key = XaesKey(buffer)
    buffer[:] = bytes(32)
    assert key.seal(NONCE, b"plaintext", b"") == XaesKey(b"\x01" * 32).seal(NONCE, b"plaintext", b"")


def test_is_shared_between_threads() -> None:
    key = XaesKey(bytes(32))
    nonces = [number.to_bytes(24) for number in range(2_000)]
    expected = [XaesKey(bytes(32)).seal(nonce, b"plaintext", b"") for nonce in nonces]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda nonce: key.seal(nonce, b"plaintext", b""), nonces)) == expected


def test_shows_no_key() -> None:
    assert "01" * 8 not in repr(XaesKey(b"\x01" * 32))
