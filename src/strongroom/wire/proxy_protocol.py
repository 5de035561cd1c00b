"""The PROXY protocol, versions 1 and 2 (HAProxy's specification, 2020/03/05): for whom a balancer opened a connection.

The header is the first that a balancer sends, before TLS, and stands once on a connection. It is not signed: whoever
may send one may name any client, so only configured balancers are asked for it, and they have to send it.

Stricter than the specification in one thing: what came to the balancer over UDP or a Unix socket is malformed here.
"""

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

MAXIMUM_LINE = 107
"""Bytes of a header of version 1, its CR LF included (2.1)."""

MAXIMUM_HEADER = 536
"""Bytes of a header of version 2. The specification has every header fit in the smallest TCP segment (2)."""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How a header of version 2 begins."""

_WORD = b"PROXY "
_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: .*)?|TCP([46]) (\S+) (\S+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))", re.DOTALL)
_HIGHEST_PORT = 65535

_FIXED = 16  # signature, version and command, family and transport, length of what follows
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_UNSPECIFIED = 0x00
_SIZES = {0x11: 12, 0x21: 36}  # of both ends, TCP over IPv4 and TCP over IPv6: two addresses and two ports


class MalformedHeaderError(Exception):
    """What a balancer sent first is no PROXY header."""


class Header(NamedTuple):
    """A header of `length` bytes. `source` is the client's address and port; None if the balancer names none."""

    length: int
    source: tuple[str, int] | None


def parse(received: bytes) -> Header | None:
    """Read the header that a connection begins with; None as long as it is not whole.

    Raises `MalformedHeaderError`.
    """
    if received.startswith(_WORD):
        return _parse_line(received)
    if received.startswith(SIGNATURE):
        return _parse_binary(received)
    if _WORD.startswith(received) or SIGNATURE.startswith(received):
        return None
    raise MalformedHeaderError


async def receive(connection: socket.socket) -> tuple[str, int] | None:
    """Take the header off a connection that does not block, and not a byte behind it; return its source.

    Raises `MalformedHeaderError`, and OSError if the connection ends before the header does.
    """
    received = b""
    while True:
        await _readable(connection)
        seen = connection.recv(MAXIMUM_HEADER - len(received), socket.MSG_PEEK)
        if not seen:
            raise ConnectionAbortedError
        header = parse(received + seen)
        # As long as a header is not whole, all that is here belongs to it.
        received += connection.recv(len(seen) if header is None else header.length - len(received))
        if header is not None:
            return header.source


def _parse_line(received: bytes) -> Header | None:
    end = received.find(b"\r\n", 0, MAXIMUM_LINE)
    if end < 0:
        if len(received) >= MAXIMUM_LINE:
            raise MalformedHeaderError
        return None
    found = _LINE.fullmatch(received, 0, end)
    if found is None:
        raise MalformedHeaderError
    length = end + len(b"\r\n")
    family, source, destination, port, destination_port = found.groups()
    if family is None:
        return Header(length, None)
    if max(int(port), int(destination_port)) > _HIGHEST_PORT:
        raise MalformedHeaderError
    kind = IPv4Address if family == b"4" else IPv6Address
    try:
        kind(destination.decode("ascii"))
        address = kind(source.decode("ascii"))
    except ValueError as error:
        raise MalformedHeaderError from error
    if b"%" in source + destination:  # a zone, which only the balancer could understand
        raise MalformedHeaderError
    return Header(length, (_plain(address), int(port)))


def _parse_binary(received: bytes) -> Header | None:
    if len(received) < _FIXED:
        return None
    command, family = received[12], received[13]
    length = _FIXED + int.from_bytes(received[14:16])
    if command not in (_LOCAL, _PROXY) or length > MAXIMUM_HEADER:
        raise MalformedHeaderError
    # The balancer speaks for itself, in its own checks, or does not know the client's address.
    nameless = command == _LOCAL or family == _UNSPECIFIED
    size = 0 if nameless else _SIZES.get(family)
    if size is None or length < _FIXED + size:
        raise MalformedHeaderError
    if len(received) < length:
        return None
    if nameless:
        return Header(length, None)
    source, port = (size - 4) // 2, _FIXED + size - 4  # two addresses, then two ports
    address = ip_address(received[_FIXED : _FIXED + source])
    return Header(length, (_plain(address), int.from_bytes(received[port : port + 2])))


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Write an IPv4 address that is dressed as IPv6 (RFC 4291 2.5.5.2) as IPv4, as policies do."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
