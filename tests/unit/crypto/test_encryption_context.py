from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.encryption_context import canonical_bytes

TEXT = st.text(st.characters(exclude_categories=()), max_size=4)
CONTEXTS = st.dictionaries(TEXT, TEXT, max_size=4)


def test_is_a_frame_of_keys_and_values_sorted_by_key() -> None:
    expected = "00000004 00000001 61 00000001 32 00000002 c3a9 00000000"
    assert canonical_bytes({"é": "", "a": "2"}) == bytes.fromhex(expected)


def test_of_nothing_is_an_empty_frame() -> None:
    assert canonical_bytes({}) == bytes(4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "b"}, {"b": "a"}),
        ({"a": "b", "c": "d"}, {"a": "bcd"}),
        ({"a": ""}, {}),
        ({"": ""}, {}),
        ({"a": "b"}, {"A": "b"}),
        ({"a": "b"}, {"a": "B"}),
        ({"a": "b"}, {"a": "b\x00"}),
        ({"\u00e9": ""}, {"e\u0301": ""}),
    ],
)
def test_keeps_different_contexts_apart(one: dict[str, str], other: dict[str, str]) -> None:
    assert canonical_bytes(one) != canonical_bytes(other)


@given(CONTEXTS)
def test_can_be_read_in_one_way_only(context: dict[str, str]) -> None:
    assert decode(canonical_bytes(context)) == context


@given(CONTEXTS, st.randoms())
def test_does_not_depend_on_the_order(context: dict[str, str], random: Random) -> None:
    pairs = list(context.items())
    random.shuffle(pairs)
    assert canonical_bytes(dict(pairs)) == canonical_bytes(context)


@given(CONTEXTS)
def test_sorts_by_utf_8_bytes(context: dict[str, str]) -> None:
    keys = [key.encode("utf-8", "surrogatepass") for key in decode(canonical_bytes(context))]
    assert keys == sorted(keys)


def decode(encoded: bytes) -> dict[str, str]:
    """Read the canonical form back, by the format document."""
    texts, position = [], 4
    for _ in range(int.from_bytes(encoded[:4])):
        end = position + 4 + int.from_bytes(encoded[position : position + 4])
        texts.append(encoded[position + 4 : end].decode("utf-8", "surrogatepass"))
        position = end
    assert position == len(encoded)
    return dict(zip(texts[::2], texts[1::2], strict=True))
