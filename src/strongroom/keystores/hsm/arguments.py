"""What calls of PKCS #11 are given: templates of attributes, and mechanisms. They are made once and used often."""

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import addressof, c_ulong, create_string_buffer, sizeof
from typing import Any

from strongroom.keystores.hsm import pkcs11 as p11

Value = bool | int | bytes | Sequence[int] | Mapping[int, "Value"]
_Buffer = ctypes.Array[Any] | ctypes.c_ubyte | c_ulong


class Template:
    """A list of attributes, made once. `MODIFIABLE` comes last: SoftHSM 2.6.1 takes it nowhere else."""

    def __init__(self, attributes: Mapping[int, Value]) -> None:
        ordered = sorted(attributes.items(), key=lambda item: item[0] == p11.CKA_MODIFIABLE)
        self.attributes = (p11.CK_ATTRIBUTE * len(ordered))()
        self.count = len(ordered)
        self._kept: list[object] = []
        for attribute, (kind, value) in zip(self.attributes, ordered, strict=True):
            buffer, length = self._encoded(value)
            self._kept.append(buffer)
            attribute.type, attribute.pValue, attribute.ulValueLen = kind, addressof(buffer), length

    def values(self) -> dict[int, bytes]:
        """The attributes as a token tells them. Not of nested templates, which are addresses here."""
        return {one.type: ctypes.string_at(one.pValue, one.ulValueLen) for one in self.attributes}

    def wipe(self) -> None:
        """Overwrite the values: there was a secret among them. It cannot be used any more."""
        for one in self.attributes:
            ctypes.memset(one.pValue, 0, one.ulValueLen)

    def _encoded(self, value: Value) -> tuple[_Buffer, int]:
        match value:
            case bool():
                return ctypes.c_ubyte(value), 1
            case int():
                return c_ulong(value), sizeof(c_ulong)
            case bytes():
                return create_string_buffer(value, max(1, len(value))), len(value)
            case Mapping():
                inner = Template(value)
                self._kept.append(inner)
                return inner.attributes, sizeof(inner.attributes)
            case _:
                array = (c_ulong * len(value))(*value)
                return array, sizeof(array)


class Mechanism:
    """A mechanism and its parameter, made once."""

    def __init__(self, number: int, parameter: ctypes.Structure | bytes | None = None) -> None:
        held = create_string_buffer(parameter, len(parameter)) if isinstance(parameter, bytes) else parameter
        self._kept = held
        self.structure = p11.CK_MECHANISM(
            number, None if held is None else addressof(held), 0 if held is None else sizeof(held)
        )
