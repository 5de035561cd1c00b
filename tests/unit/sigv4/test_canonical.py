import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.sigv4.canonical import canonical_request, fold_headers
from strongroom.sigv4.request import SignedRequest

HEADERS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=6)), max_size=8)


def canonical(path: bytes = b"/", query: bytes = b"", value: bytes = b"") -> list[bytes]:
    request = SignedRequest("POST", path, query, [])
    return canonical_request(request, {b"name": value}, [b"name"], "0" * 64).split(b"\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", b"plain"),
        (b"", b""),
        (b"  trimmed \t", b"trimmed"),
        (b"one  two\tthree", b"one two three"),
        (b'"kept   apart"', b'"kept apart"'),
        (b"folded\r\n  line", b"folded line"),
        (b"no\nnew header", b"no new header"),
        (b"\xa0\xe9\xff", b"\xa0\xe9\xff"),
    ],
)
def test_white_space_in_a_header_value_becomes_one_space(value: bytes, expected: bytes) -> None:
    assert canonical(value=value)[3] == b"name:" + expected


def test_values_of_a_repeated_header_are_trimmed_and_joined_in_order() -> None:
    headers = [(b"a", b" 2 "), (b"b", b" x "), (b"a", b"1"), (b"a", b"")]
    folded = fold_headers(headers)
    assert folded == {b"a": b"2,1,", b"b": b"x"}


@given(HEADERS)
def test_no_header_is_lost_by_folding(headers: list[tuple[bytes, bytes]]) -> None:
    for name, value in fold_headers(headers).items():
        expected = b",".join(other.strip() for header, other in headers if header == name)
        assert value.strip() == expected.strip()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"//a//b//", b"/a/b/"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/../..", b"/"),
        (b"/a/..", b"/"),
        (b"/a%2Fb", b"/a%252Fb"),
        (b"/a b~-_.", b"/a%20b~-_."),
        (b"/\xff", b"/%FF"),
        (b"*", b"%2A"),
        (b"a/..", b""),
    ],
)
def test_the_path_is_normalized_and_encoded_once_more(path: bytes, expected: bytes) -> None:
    assert canonical(path=path)[1] == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1", b"a=1&a=2"),
        (b"a-b=1&a=2", b"a=2&a-b=1"),  # by name, then value: not as one string, where "-" comes before "="
        (b"a", b"a="),
        (b"a=b=c", b"a=b%3Dc"),
        (b"a=%7e%2f", b"a=~%2F"),
        (b"a=/:\xc3\xa9", b"a=%2F%3A%C3%A9"),
        (b"a&&b", b"=&a=&b="),
        (b"a=%zz", b"a=%25zz"),
    ],
)
def test_the_query_is_encoded_anew_and_sorted(query: bytes, expected: bytes) -> None:
    assert canonical(query=query)[2] == expected


def test_a_plus_sign_in_the_query_cannot_be_passed_off_as_an_encoded_one() -> None:
    assert canonical(query=b"a=x+y") == canonical(query=b"a=x%20y")
    assert canonical(query=b"a=x+y") != canonical(query=b"a=x%2By")


def test_a_signed_header_that_is_not_in_the_request_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        canonical_request(SignedRequest("POST", b"/", b"", []), {}, [b"host"], "0" * 64)
