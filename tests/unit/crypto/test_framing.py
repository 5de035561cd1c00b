import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.framing import frame


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], "00000000"),
        ([b""], "00000001 00000000"),
        ([b"ab", b"", b"c"], "00000003 00000002 6162 00000000 00000001 63"),
        ([bytes(256)], "00000001 00000100" + "00" * 256),
    ],
)
def test_counts_the_parts_and_prefixes_their_lengths(parts: list[bytes], expected: str) -> None:
    assert frame(parts) == bytes.fromhex(expected)


def unframe(framed: bytes) -> tuple[list[bytes], bytes]:
    """Read a frame from the beginning of `framed`; return its parts and what follows."""

    def read(position: int) -> int:
        return int.from_bytes(framed[position : position + 4])

    parts, position = [], 4
    for _ in range(read(0)):
        end = position + 4 + read(position)
        parts.append(framed[position + 4 : end])
        position = end
    return parts, framed[position:]


@given(parts=st.lists(st.binary(max_size=300), max_size=5), rest=st.binary(max_size=20))
def test_can_be_read_in_one_way_only_whatever_follows(parts: list[bytes], rest: bytes) -> None:
    assert unframe(frame(parts) + rest) == (parts, rest)
