"""XAES-256-GCM: AES-256-GCM with nonces long enough to draw at random (https://c2sp.org/XAES-256-GCM).

The first half of a 24-byte nonce derives a key for one message from the long-lived key; the second half is the nonce
of AES-256-GCM under it. The step numbers are the specification's.

XAES-256-GCM is not key-committing: a ciphertext can be made that opens under two keys known to its maker. Whoever uses
it must know which key a ciphertext belongs to before trying it.
"""

from threading import Lock

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY_LENGTH = 32
"""Bytes of a key."""
NONCE_LENGTH = 24
"""Bytes of a nonce, all of them random."""
TAG_LENGTH = 16
"""Bytes by which a ciphertext is longer than its plaintext."""

_HALF_NONCE = 12
_BLOCK_BITS = 128
_CMAC_POLYNOMIAL = 0b10000111
# M1 and M2 of steps 3 and 4 side by side, with zeros for the nonce; and what puts the nonce into both.
_COUNTERS = int.from_bytes(b"\x00\x01X\x00" + bytes(12) + b"\x00\x02X\x00" + bytes(12))
_IN_BOTH_BLOCKS = (1 << _BLOCK_BITS) | 1


class XaesKey:
    """A 256-bit key, ready for use. Safe to share between threads."""

    __slots__ = ("_encryptor", "_lock", "_masked_counters")

    def __init__(self, key: bytes | bytearray) -> None:
        # ECB over single, distinct blocks is the bare block cipher that the specification asks for. The encryptor is
        # kept because making one costs five times what using it does; it has no state between blocks, but
        # cryptography does not promise that two threads may call it at once.
        self._encryptor = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305
        self._lock = Lock()
        self._masked_counters = masked_counters(self._encryptor.update(bytes(16)))  # step 1

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext and its 16-byte tag. `nonce` is 24 bytes, never used before with this key."""
        return self._message_cipher(nonce).encrypt(nonce[_HALF_NONCE:], plaintext, associated_data)

    def open(self, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext. Raises cryptography's InvalidTag if anything is not as it was sealed."""
        return self._message_cipher(nonce).decrypt(nonce[_HALF_NONCE:], ciphertext, associated_data)

    def _message_cipher(self, nonce: bytes) -> AESGCM:
        """Derive the message key from the first half of the nonce (steps 3 to 5)."""
        if len(nonce) != NONCE_LENGTH:
            raise ValueError("an XAES-256-GCM nonce has 24 bytes")
        with self._lock:
            message_key = self._encryptor.update(message_key_blocks(self._masked_counters, nonce))
        return AESGCM(message_key)


def masked_counters(encrypted_zero: bytes) -> int:
    """What is made once of a key (step 2), from its encryption of sixteen zero bytes. As secret as the key."""
    subkey = int.from_bytes(encrypted_zero) << 1
    if subkey >> _BLOCK_BITS:
        subkey ^= (1 << _BLOCK_BITS) | _CMAC_POLYNOMIAL
    return _COUNTERS ^ (subkey * _IN_BOTH_BLOCKS)


def message_key_blocks(masked: int, nonce: bytes) -> bytes:
    """The two blocks whose encryption is the key of one message (steps 3 to 5)."""
    both = masked ^ (int.from_bytes(nonce[:_HALF_NONCE]) * _IN_BOTH_BLOCKS)
    return both.to_bytes(2 * _BLOCK_BITS // 8)
