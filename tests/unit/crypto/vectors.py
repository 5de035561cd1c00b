"""The known answers in tests/vectors/: cases, in groups that share a key. Byte strings are in hexadecimal there."""

import json
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

_VECTORS = Path(__file__).parents[2] / "vectors"
_Case = TypeVar("_Case", bound="Case")


class Hex(bytes):
    """Bytes."""

    __slots__ = ()


class Case(msgspec.Struct, frozen=True):
    """What every case has."""

    name: str


class Verification(Case, frozen=True):
    """A message and a signature that is its, or is not."""

    key_spec: str
    algorithm: str
    message_type: str
    public_key: Hex
    message: Hex
    signature: Hex
    valid: bool


class PublicKey(Case, frozen=True):
    """A public key."""

    key_spec: str
    public_key: Hex


def read(kind: type[_Case], *files: str) -> list[_Case]:
    """Every case of the files, with what its group says."""
    return [
        msgspec.convert({**group, **case}, kind, dec_hook=_unhex)
        for file in files
        for group in json.loads((_VECTORS / file).read_text())
        for case in group.pop("cases", [{}])
    ]


def each(kind: type[Case], *files: str) -> pytest.MarkDecorator:
    """Run a test with every case of the files, as `case`."""
    found = read(kind, *files)
    return pytest.mark.parametrize("case", found, ids=[case.name for case in found])


def _unhex(_: type, text: str) -> Hex:
    return Hex.fromhex(text)
