"""A long plaintext in chunks, each sealed by AES-256-GCM under a key that seals nothing else (docs/formats/backup.md).

    nonce = number of the chunk (11 bytes, big-endian, from 0) || 1 for the last chunk, else 0 (1 byte)

All chunks but the last have CHUNK_LENGTH bytes. Number and end are in the nonce, so chunks that are left out, repeated,
put elsewhere, or cut off at the end do not open; this is the STREAM construction (Hoang, Reyhanitabar, Rogaway and
Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015).
"""

from collections.abc import Callable, Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_LENGTH = 32
"""Bytes of a key."""
CHUNK_LENGTH = 64 * 1024
"""Bytes of plaintext in a chunk."""
_TAG_LENGTH = 16
_SEALED_LENGTH = CHUNK_LENGTH + _TAG_LENGTH
_COUNTER_LENGTH = 11


def seal(key: bytes, pieces: Iterable[bytes], associated_data: bytes) -> Iterator[bytes]:
    """Yield the sealed chunks of what `pieces` are together. The key is fresh: nonces are counted."""
    cipher = AESGCM(key)
    number = 0
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) > CHUNK_LENGTH:  # not yet of one that may be the last
            yield cipher.encrypt(_nonce(number), bytes(waiting[:CHUNK_LENGTH]), associated_data)
            del waiting[:CHUNK_LENGTH]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), associated_data)


def unseal(key: bytes, read: Callable[[int], bytes], associated_data: bytes) -> Iterator[bytes]:
    """Yield the plaintext chunk by chunk; `read` gives as many sealed bytes as it is asked for, fewer only at the end.

    Raises cryptography's InvalidTag for anything else than was sealed. What came before it is genuine, but only a
    plaintext that was read to its end is whole.
    """
    cipher = AESGCM(key)
    number = 0
    chunk = read(_SEALED_LENGTH)
    while following := read(_SEALED_LENGTH):
        yield cipher.decrypt(_nonce(number), chunk, associated_data)
        chunk = following
        number += 1
    if len(chunk) < _TAG_LENGTH:
        raise InvalidTag
    yield cipher.decrypt(_nonce(number, last=True), chunk, associated_data)


def _nonce(number: int, *, last: bool = False) -> bytes:
    return number.to_bytes(_COUNTER_LENGTH) + (b"\x01" if last else b"\x00")
