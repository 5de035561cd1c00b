"""The encodings and codes: no two lists encode alike, no two uses share a code."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.storage.row_authentication import (
    Checkpoint,
    FeedHead,
    FeedRow,
    chain_value,
    checkpoint_mac,
    encode,
    genesis,
    head_mac,
    matches,
    row_mac,
)
from strongroom.storage.tables import Cell

KEY = bytes(range(32))
INT64 = st.integers(-(2**63), 2**63 - 1)
CELLS: st.SearchStrategy[Cell] = (
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False) | st.text() | st.binary()
)
FEW_CELLS: st.SearchStrategy[Cell] = st.sampled_from([None, False, True, 0, 1, 0.0, 1.0, "", "T", "0", b"", b"T", b"0"])


def distinct(values: list[Cell]) -> list[tuple[type, str]]:
    """What tells two lists apart: 1, 1.0, True, "1" and b"1" are five values."""
    return [(type(value), value.hex() if isinstance(value, float) else repr(value)) for value in values]


@given(st.lists(CELLS), st.lists(CELLS))
def test_no_two_lists_encode_alike(one: list[Cell], two: list[Cell]) -> None:
    assert (encode(one) == encode(two)) == (distinct(one) == distinct(two))


@given(st.lists(FEW_CELLS, max_size=4), st.lists(FEW_CELLS, max_size=4))
def test_no_two_lists_of_similar_cells_encode_alike(one: list[Cell], two: list[Cell]) -> None:
    assert (encode(one) == encode(two)) == (distinct(one) == distinct(two))


@given(st.lists(CELLS, max_size=5), st.lists(CELLS, min_size=1, max_size=5))
def test_an_encoding_is_no_beginning_of_a_longer_list_with_another_beginning(one: list[Cell], two: list[Cell]) -> None:
    assert encode(one + two) == encode(one) + encode(two)
    assert encode(one + two) != encode(one)


def test_the_encoding_is_the_documented_one() -> None:
    assert encode(["é", b"\x00", 258, 1.0, True, None]) == bytes.fromhex(
        """
        54 0000000000000002 c3a9
        42 0000000000000001 00
        49 0000000000000008 0000000000000102
        46 0000000000000008 3ff0000000000000
        4c 0000000000000001 01
        4e 0000000000000000
        """
    )


def test_the_row_code_is_the_documented_one() -> None:
    row: dict[str, Cell] = {"account": "111122223333", "created": 1.0, "number": 7, "mac": b"left out"}
    message = encode(["strongroom row", "accounts", "account created number", "111122223333", 1.0, 7])
    assert row_mac(KEY, "accounts", row) == hmac.new(KEY, message, hashlib.sha256).digest()


def test_a_cell_that_is_null_is_not_covered_and_one_that_was_nulled_is() -> None:
    row: dict[str, Cell] = {"a": "x", "b": "y"}
    assert row_mac(KEY, "accounts", row | {"added": None}) == row_mac(KEY, "accounts", row)
    assert row_mac(KEY, "accounts", row | {"b": None}) != row_mac(KEY, "accounts", row)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("account", {"a": "x", "b": "y", "number": 1}),
        ("accounts", {"a": "x", "c": "y", "number": 1}),
        ("accounts", {"a": "y", "b": "x", "number": 1}),
        ("accounts", {"a": "x", "b": "y", "number": 2}),
        ("accounts", {"a": b"x", "b": "y", "number": 1}),
        ("accounts", {"a": "x", "number": 1}),
    ],
)
def test_the_row_code_covers_table_names_and_cells(table: str, row: dict[str, Cell]) -> None:
    assert row_mac(KEY, table, row) != row_mac(KEY, "accounts", {"a": "x", "b": "y", "number": 1})


def test_the_chain_value_covers_all_but_itself() -> None:
    row = FeedRow(5, 4, "[]", None, bytes(32))
    value = chain_value(KEY, b"before", row)
    changed = [
        row._replace(number=6),
        row._replace(previous=3),
        row._replace(entries="[ ]"),
        row._replace(record_hash=b""),
    ]
    others = [chain_value(KEY, b"before", other) for other in changed]
    others += [chain_value(KEY, b"after", row), chain_value(bytes(32), b"before", row)]
    assert value not in others
    assert value == chain_value(KEY, b"before", row._replace(chain=b"other"))


def test_no_two_uses_share_a_code() -> None:
    head = FeedHead(0, b"", "[]", 0)
    checkpoint = Checkpoint(0, b"", 0, b"", "[]")
    codes = {genesis(KEY), head_mac(KEY, head), checkpoint_mac(KEY, checkpoint), row_mac(KEY, "feed head", {})}
    assert len(codes) == 4


@pytest.mark.parametrize("stored", [None, 5, 1.5, "code", "cöde", b"cod", b"Code", True])
def test_only_the_same_bytes_match(stored: object) -> None:
    assert not matches(b"code", stored)
    assert matches(b"code", b"code")
