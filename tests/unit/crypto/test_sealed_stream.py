from collections.abc import Callable
from io import BytesIO

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto.sealed_stream import CHUNK_LENGTH, seal, unseal

KEY = bytes(range(32))
SEALED = CHUNK_LENGTH + 16
PLAINTEXT = bytes(range(256)) * (3 * CHUNK_LENGTH // 256) + b"end"


def sealed(plaintext: bytes = PLAINTEXT) -> bytes:
    return b"".join(seal(KEY, [plaintext], b"head"))


def opened(stream: bytes, associated_data: bytes = b"head") -> bytes:
    return b"".join(unseal(KEY, BytesIO(stream).read, associated_data))


def test_is_laid_out_as_documented() -> None:
    cipher = AESGCM(KEY)
    first = cipher.encrypt(bytes(12), PLAINTEXT[:CHUNK_LENGTH], b"head")
    last = cipher.encrypt(bytes(10) + b"\x03\x01", b"end", b"head")
    stream = sealed()
    assert stream.startswith(first)
    assert stream.endswith(last)
    assert len(stream) == 3 * SEALED + 3 + 16


@pytest.mark.parametrize("length", [0, 1, CHUNK_LENGTH - 1, CHUNK_LENGTH, CHUNK_LENGTH + 1, 2 * CHUNK_LENGTH])
@pytest.mark.parametrize("piece", [1_000, CHUNK_LENGTH, 3 * CHUNK_LENGTH])
def test_unseal_undoes_seal_however_it_comes_in_pieces(length: int, piece: int) -> None:
    plaintext = PLAINTEXT[:length]
    pieces = [plaintext[begin : begin + piece] for begin in range(0, length, piece)]
    stream = b"".join(seal(KEY, pieces, b"head"))
    assert len(stream) == length + 16 * max(1, -(-length // CHUNK_LENGTH))
    assert opened(stream) == plaintext


@pytest.mark.parametrize(
    "alter",
    [
        lambda stream: stream[:-1],
        lambda stream: stream[: 3 * SEALED],
        lambda stream: stream[:SEALED],
        lambda stream: stream[SEALED:],
        lambda stream: stream[:SEALED] + stream[2 * SEALED :],
        lambda stream: stream[SEALED : 2 * SEALED] + stream[:SEALED] + stream[2 * SEALED :],
        lambda stream: stream[:SEALED] + stream,
        lambda stream: stream + b"x",
        lambda stream: stream + stream[-19:],
        lambda stream: stream[:100] + bytes([stream[100] ^ 1]) + stream[101:],
        lambda _: b"",
    ],
    ids=[
        "cut",
        "without its last chunk",
        "its first chunk alone",
        "without its first chunk",
        "without a chunk within",
        "two chunks changed places",
        "a chunk twice",
        "more behind it",
        "its end twice",
        "a bit",
        "nothing",
    ],
)
def test_anything_else_does_not_open(alter: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidTag):
        opened(alter(sealed()))


def test_what_it_is_bound_to_must_be_the_same() -> None:
    with pytest.raises(InvalidTag):
        opened(sealed(), b"another")
