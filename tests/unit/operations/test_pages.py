"""Pages and markers, over a list in memory."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidMarker, Validation
from strongroom.operations.pages import Listing, Page

LISTING = Listing("ListThings", default=3, maximum=5)


def page(names: list[str], limit: int | None, marker: str | None, *, of: str = "a key") -> Page[str]:
    def after(last: str, count: int) -> list[str]:
        return [name for name in names if name > last][:count]

    return LISTING.page(after, str, limit=limit, marker=marker, of=of)


@given(st.sets(st.text(min_size=1, max_size=5), max_size=12).map(sorted), st.none() | st.integers(1, 15))
def test_every_item_is_told_once_and_in_order(names: list[str], limit: int | None) -> None:
    told: list[str] = []
    pages = 0
    marker: str | None = None
    while True:
        one = page(names, limit, marker)
        told += one.items
        pages += 1
        assert one.truncated is (one.next_marker is not None)
        if one.next_marker is None:
            break
        assert len(one.items) == (limit or LISTING.default)
        marker = one.next_marker

    assert told == names
    assert pages == max(1, -(-len(names) // (limit or LISTING.default)))


def test_a_marker_can_be_given_back_as_it_is() -> None:
    """AWS's model takes 1,024 characters from U+0020 to U+00FF."""
    longest = "alias/" + "a" * 250
    marker = page(["a", longest, "b"], 2, None, of="arn:aws:kms:us-east-1:111122223333:key/1234").next_marker

    assert marker is not None
    assert marker.isascii()
    assert len(marker) <= 1024


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'["ListThings","a key"]',
        b'["ListThings","a key","b","c"]',
        b'["ListThings","a key",1]',
        b'["ListOthers","a key","b"]',
        b'["ListThings","another key","b"]',
        b'["ListThings","","b"]',
        b'["ListThings","a key","\xff"]',
        b'["ListThings","a key","b"',
        b"[" * 700,
    ],
)
def test_a_marker_of_something_else(content: bytes) -> None:
    with pytest.raises(InvalidMarker):
        page(["a", "b", "c"], None, base64.b64encode(content).decode())


@given(
    st.text() | st.text(st.characters(codec="latin-1")) | st.binary().map(lambda some: base64.b64encode(some).decode())
)
def test_any_text_is_refused_as_a_marker(marker: str) -> None:
    with pytest.raises(InvalidMarker):
        page(["a", "b", "c"], None, marker)


def test_a_marker_is_bound_to_what_it_lists() -> None:
    marker = page(["a", "b"], 1, None, of="a key").next_marker

    assert page(["a", "b"], 1, marker, of="a key").items == ("b",)
    for other in ("", "another key"):
        with pytest.raises(InvalidMarker):
            page(["a", "b"], 1, marker, of=other)
    with pytest.raises(InvalidMarker):
        Listing("ListOthers", default=3, maximum=5).page(lambda _, __: ["a"], str, limit=1, marker=marker, of="a key")


def test_an_invented_marker_tells_nothing_but_this_list() -> None:
    invented = base64.b64encode(msgspec.json.encode(("ListThings", "a key", "\0' OR 1=1"))).decode()

    assert page(["a", "b"], None, invented).items == ("a", "b")


def test_limits() -> None:
    for fitting in (None, 1, 5):
        LISTING.check(fitting)
    with pytest.raises(Validation) as refused:
        LISTING.check(6)
    assert refused.value.message == (
        "1 validation error detected: Value '6' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 5"
    )
