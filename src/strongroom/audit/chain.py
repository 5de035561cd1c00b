"""The hash chain of the audit log: pure. docs/formats/audit-log.md specifies it.

A line is `<sequence> <change> <mac> <record>`: decimal, decimal, 64 lower-case hex digits, JSON. `change` is the
number of the state change that the record belongs to, 0 if none.

    mac_n   = HMAC-SHA256(K_n, mac_{n-1} || u64 n || u64 change || record)
    K_{n+1} = SHA-256("strongroom audit chain: next key" || K_n)
    mac_0   = SHA-256("strongroom audit chain: beginning" || u32 length || chain id || K_1)

The key moves forward with each line and the one before is forgotten, so that who takes the state after line n can
write what follows, but can change nothing up to n. `mac_0` commits to the first key.
"""

import hmac
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

KEY_BYTES = 32
MAC_BYTES = 32

_NEXT_KEY = b"strongroom audit chain: next key"
_BEGINNING = b"strongroom audit chain: beginning"
_numbers = Struct(">QQ")
_length = Struct(">I")
_MAX_NUMBER = 2**63 - 2
"""The database counts in signed 64 bits, and a number needs room for the next one."""
_MAX_DIGITS = 19


class ChainState(NamedTuple):
    """The chain after line `sequence`: that line's MAC, and the key of the next line. The key is secret."""

    sequence: int
    mac: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"ChainState({self.sequence})"


class Line(NamedTuple):
    """A line as read; nothing about it is verified."""

    sequence: int
    change: int
    mac: bytes
    record: bytes


def beginning(chain_id: str, key: bytes) -> ChainState:
    """Return the state before the first line of a chain whose first key is `key`."""
    name = chain_id.encode()
    return ChainState(0, sha256(_BEGINNING + _length.pack(len(name)) + name + key).digest(), key)


def extend(state: ChainState, record: bytes, change: int = 0) -> tuple[ChainState, bytes]:
    """Return the state after `record`, and its line with the newline. The record must not hold a newline."""
    sequence = state.sequence + 1
    mac = mac_of(state, change, record)
    line = b"%d %d %b %b\n" % (sequence, change, mac.hex().encode(), record)
    return ChainState(sequence, mac, next_key(state.key)), line


def mac_of(state: ChainState, change: int, record: bytes) -> bytes:
    """Return the MAC of `record` as the line that follows `state`."""
    return hmac.digest(state.key, state.mac + _numbers.pack(state.sequence + 1, change) + record, "sha256")


def next_key(key: bytes) -> bytes:
    """Return the key of the line after the one that `key` is for."""
    return sha256(_NEXT_KEY + key).digest()


def parse(line: bytes) -> Line | None:
    """Read a line, with or without its newline; None if it does not have the form of one."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4:  # noqa: PLR2004 the members of a Line
        return None
    sequence, change = _number(parts[0]), _number(parts[1])
    if sequence is None or change is None or len(parts[2]) != 2 * MAC_BYTES:
        return None
    try:
        mac = bytes.fromhex(parts[2].decode("ascii"))
    except ValueError:
        return None
    if mac.hex().encode() != parts[2]:
        return None
    return Line(sequence, change, mac, parts[3])


def follow(state: ChainState, line: Line) -> ChainState | None:
    """Return the state after `line` if it is the line that follows `state`, else None."""
    if line.sequence != state.sequence + 1:
        return None
    mac = mac_of(state, line.change, line.record)
    if not hmac.compare_digest(mac, line.mac):
        return None
    return ChainState(line.sequence, mac, next_key(state.key))


def _number(digits: bytes) -> int | None:
    """Read the one decimal form of a number: what the chain does not cover must not vary."""
    if not digits.isdigit() or len(digits) > _MAX_DIGITS or (len(digits) > 1 and digits.startswith(b"0")):
        return None
    number = int(digits)
    return number if number <= _MAX_NUMBER else None
