"""PROXY headers: what is read from them, byte by byte, and what is refused."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.wire.proxy_protocol import MAXIMUM_HEADER, MAXIMUM_LINE, SIGNATURE, Header, MalformedHeaderError, parse

PORTS = st.integers(0, 65535)
FOURS, SIXES = st.ip_addresses(v=4), st.ip_addresses(v=6)
PAIRS_OF_ADDRESSES = st.tuples(FOURS, FOURS) | st.tuples(SIXES, SIXES)


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


@st.composite
def lines(draw: st.DrawFn) -> tuple[bytes, tuple[str, int] | None]:
    """A header of version 1 and its source."""
    (source, destination), port = draw(PAIRS_OF_ADDRESSES), draw(PORTS)
    words = f"{source} {destination} {port} {draw(PORTS)}"
    if draw(st.booleans()):
        return f"PROXY UNKNOWN{draw(st.sampled_from(['', ' ' + words, ' ']))}\r\n".encode(), None
    return f"PROXY TCP{source.version} {words}\r\n".encode(), (plain(source), port)


@st.composite
def binaries(draw: st.DrawFn) -> tuple[bytes, tuple[str, int] | None]:
    """A header of version 2, with whatever a balancer adds to the addresses, and its source."""
    (source, destination), port = draw(PAIRS_OF_ADDRESSES), draw(PORTS)
    more = draw(st.binary(max_size=MAXIMUM_HEADER - 16 - 36))
    if draw(st.booleans()):
        command, family = draw(st.sampled_from([(0x20, 0x00), (0x20, 0x11), (0x20, 0x31), (0x20, 0xFF), (0x21, 0x00)]))
        return binary(command, family, more), None
    family = 0x11 if source.version == 4 else 0x21
    addresses = source.packed + destination.packed + struct.pack("!HH", port, draw(PORTS))
    return binary(0x21, family, addresses + more), (plain(source), port)


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


HEADERS = lines() | binaries()


@given(HEADERS, st.binary())
def test_a_header_is_read_to_its_end_and_not_further(made: tuple[bytes, tuple[str, int] | None], behind: bytes) -> None:
    header, source = made

    assert parse(header + behind) == Header(len(header), source)


@given(HEADERS)
def test_no_part_of_a_header_is_one_nor_is_it_malformed(made: tuple[bytes, tuple[str, int] | None]) -> None:
    header, _ = made

    assert [parse(header[:length]) for length in range(len(header))] == [None] * len(header)


@given(st.one_of(st.binary(), st.binary().map(lambda more: b"PROXY " + more), st.binary().map(SIGNATURE.__add__)))
def test_whatever_comes_it_is_a_header_or_malformed_or_bounded(received: bytes) -> None:
    try:
        header = parse(received)
    except MalformedHeaderError:
        return
    if header is None:
        assert len(received) < (MAXIMUM_LINE if received.startswith(b"PROXY") else MAXIMUM_HEADER)
    else:
        assert header.length <= min(len(received), MAXIMUM_HEADER)


@given(HEADERS, st.data())
def test_a_header_with_another_byte_names_an_address_or_nobody(
    made: tuple[bytes, tuple[str, int] | None], data: st.DataObject
) -> None:
    header = bytearray(made[0])
    header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse(bytes(header))
    except MalformedHeaderError:
        return
    if found is not None:
        assert found.length <= len(header)
        assert found.source is None or str(ipaddress.ip_address(found.source[0])) == found.source[0]


def test_the_longest_line_is_read_and_no_longer_one() -> None:
    longest = b"PROXY UNKNOWN " + b"f" * (MAXIMUM_LINE - 16) + b"\r\n"

    assert parse(longest) == Header(107, None)
    with pytest.raises(MalformedHeaderError):
        parse(longest.replace(b"UNKNOWN ", b"UNKNOWN f"))


def test_a_line_that_has_no_end_is_not_waited_for() -> None:
    unending = b"PROXY UNKNOWN " + b"f" * (MAXIMUM_LINE - 14)

    assert parse(unending[:-1]) is None
    with pytest.raises(MalformedHeaderError):
        parse(unending)


def test_what_unknown_says_is_passed_over() -> None:
    assert parse(b"PROXY UNKNOWN a\nb\rc \xff\r\n") == Header(23, None)


def test_the_example_of_the_specification() -> None:
    received = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"

    assert parse(received) == Header(47, ("192.168.0.1", 56324))


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (b"PROXY TCP6 ::ffff:10.0.0.9 ::ffff:10.0.0.1 5 443\r\n", "10.0.0.9"),
        (b"PROXY TCP6 2001:DB8:0:0::1 ::1 5 443\r\n", "2001:db8::1"),
        (binary(0x21, 0x21, b"\0" * 10 + b"\xff\xff\x0a\0\0\x09" + b"\0" * 16 + b"\0\x05\1\xbb"), "10.0.0.9"),
    ],
)
def test_an_address_is_written_as_policies_write_it(header: bytes, source: str) -> None:
    assert parse(header) == Header(len(header), (source, 5))


@pytest.mark.parametrize(
    "line",
    [
        "proxy TCP4 10.0.0.1 10.0.0.2 1 2",
        "PROXY  TCP4 10.0.0.1 10.0.0.2 1 2",
        "PROXY TCP4 10.0.0.1  10.0.0.2 1 2",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 ",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1",
        "PROXY TCP4 10.0.0.01 10.0.0.2 1 2",
        "PROXY TCP4 10.0.0.1 10.0.0.256 1 2",
        "PROXY TCP4 10.0.1 10.0.0.2 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP4 ::1 10.0.0.1 1 2",
        "PROXY TCP6 10.0.0.1 10.0.0.2 1 2",
        "PROXY TCP6 ::1 10.0.0.2 1 2",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2",
        "PROXY TCP6 ::1 fe80::1%eth0 1 2",
        "PROXY TCP6 1::2::3 ::1 1 2",
        "PROXY TCP4 10.0.0.1 10.0.0.2 01 2",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 65536",
        "PROXY TCP4 10.0.0.1 10.0.0.2 65536 1",
        "PROXY TCP4 10.0.0.1 10.0.0.2 -1 2",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r",
        "PROXY UDP4 10.0.0.1 10.0.0.2 1 2",
        "PROXY UNKNOWNS",
        "PROXY unknown",
        "PROXY ",
        "PROXY TCP4 1\u0660.0.0.1 10.0.0.2 1 2",
    ],
)
def test_lines_that_are_not_exactly_right(line: str) -> None:
    with pytest.raises(MalformedHeaderError):
        parse(line.encode() + b"\r\n")


FOUR, SIX, UNIX = b"\x0a\0\0\1\x0a\0\0\2\0\1\0\2", b"\0" * 36, b"/a".ljust(216, b"\0")


@pytest.mark.parametrize(
    "header",
    [
        binary(0x11, 0x11, FOUR),
        binary(0x31, 0x11, FOUR),
        binary(0x22, 0x11, FOUR),
        binary(0x21, 0x12, FOUR),
        binary(0x21, 0x22, SIX),
        binary(0x21, 0x31, UNIX),
        binary(0x21, 0x32, UNIX),
        binary(0x21, 0x10, FOUR),
        binary(0x21, 0x01, FOUR),
        binary(0x21, 0x41, FOUR),
        binary(0x21, 0x11, FOUR[:-1]),
        binary(0x21, 0x21, SIX[:-1]),
        binary(0x20, 0x00, b"\0" * (MAXIMUM_HEADER - 15)),
    ],
    ids=lambda header: header[12:16].hex(),
)
def test_binary_headers_that_are_not_ours(header: bytes) -> None:
    with pytest.raises(MalformedHeaderError):
        parse(header)


@pytest.mark.parametrize(
    "received", [b"POST / HTTP/1.1\r\n", b"PRO ", b"\x16\x03\x01\x02\0", b"\r\n\r\n\0\r\nQUIT\r", b"\0"]
)
def test_what_is_no_header_is_told_by_its_first_bytes(received: bytes) -> None:
    with pytest.raises(MalformedHeaderError):
        parse(received)
