import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.audit import chain
from strongroom.audit.chain import ChainState, Line

KEY = bytes(range(32))
records = st.binary(max_size=60).map(lambda content: content.replace(b"\n", b""))


def test_a_line_is_as_the_format_says() -> None:
    name = b"node1.x"
    beginning = sha256(b"strongroom audit chain: beginning" + len(name).to_bytes(4, "big") + name + KEY).digest()
    covered = beginning + (1).to_bytes(8, "big") + (7).to_bytes(8, "big") + b'{"a":1}'
    mac = hmac.digest(KEY, covered, "sha256")

    state, line = chain.extend(chain.beginning("node1.x", KEY), b'{"a":1}', 7)

    assert line == b"1 7 " + mac.hex().encode() + b' {"a":1}\n'
    assert state == ChainState(1, mac, sha256(b"strongroom audit chain: next key" + KEY).digest())


@given(st.lists(st.tuples(records, st.integers(0, 2**63 - 2)), max_size=5))
def test_what_is_chained_can_be_followed(entries: list[tuple[bytes, int]]) -> None:
    written = read = chain.beginning("c", KEY)
    for record, change in entries:
        written, line = chain.extend(written, record, change)
        parsed = chain.parse(line)
        assert parsed is not None
        assert (parsed.record, parsed.change) == (record, change)
        following = chain.follow(read, parsed)
        assert following == written
        read = written


@given(record=records, change=st.integers(0, 9), data=st.data())
def test_any_edit_of_a_line_is_found(record: bytes, change: int, data: st.DataObject) -> None:
    before = chain.beginning("c", KEY)
    after, line = chain.extend(before, record, change)
    position = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (line[position], 10)))
    edited = chain.parse(line[:position] + bytes([byte]) + line[position + 1 :])
    assert edited is None or chain.follow(before, edited) is None
    assert after.sequence == 1


def test_a_line_of_another_place_or_chain_does_not_follow() -> None:
    first, one = chain.extend(chain.beginning("c", KEY), b"{}")
    _, two = chain.extend(first, b"{}")
    line_one, line_two = chain.parse(one), chain.parse(two)
    assert line_one is not None
    assert line_two is not None
    assert chain.follow(chain.beginning("c", KEY), line_two) is None
    assert chain.follow(first, line_one) is None
    assert chain.follow(chain.beginning("d", KEY), line_one) is None
    assert chain.follow(chain.beginning("c", bytes(32)), line_one) is None


MAC = b"ab" * 32


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"1 0 " + MAC,
        b"01 0 " + MAC + b" {}",
        b"1 00 " + MAC + b" {}",
        b"+1 0 " + MAC + b" {}",
        b"-1 0 " + MAC + b" {}",
        b"1_0 0 " + MAC + b" {}",
        b"\xd9\xa1 0 " + MAC + b" {}",
        b"1 18446744073709551616 " + MAC + b" {}",
        b"1 0 " + MAC.upper() + b" {}",
        b"1 0 " + MAC[:-1] + b" {}",
        b"1 0 " + MAC[:-2] + b"zz {}",
        b"1 0 " + MAC[:-2] + b"\xff\xff {}",
        b"1  0 " + MAC + b" {}",
    ],
)
def test_what_is_not_a_line_is_told_from_one(line: bytes) -> None:
    assert chain.parse(line) is None


def test_a_line_parses_with_and_without_its_newline() -> None:
    expected = Line(9223372036854775806, 3, bytes.fromhex(MAC.decode()), b"a  b ")
    assert chain.parse(b"9223372036854775806 3 " + MAC + b" a  b \n") == expected
    assert chain.parse(b"9223372036854775806 3 " + MAC + b" a  b ") == expected


def test_the_key_is_not_in_the_representation() -> None:
    assert repr(chain.beginning("c", KEY)) == "ChainState(0)"
