"""What generated messages are declared with. Nothing here reads or writes JSON.

A message is a structure whose members are all optional, typed as Python sees them (text `str`, blob `bytes`, integer
`int`, timestamp `float` in seconds since the epoch, list `tuple`, map `dict`), with what the model demands beside the
type:

    KeyIdType = Annotated[str, Constraint(minimum=1, maximum=2048)]

    class EncryptRequest(Structure, frozen=True, kw_only=True):
        required = frozenset({"key_id", "plaintext"})

        key_id: KeyIdType | None = None
        plaintext: PlaintextType | None = None
"""

from typing import Annotated, Any, ClassVar, get_args, get_origin

import msgspec

HIDDEN = "<hidden>"


class Constraint(msgspec.Struct, frozen=True):
    """What the model demands of a value besides its type.

    `minimum` and `maximum` bound an integer, and the length of everything else: of text in code points, of a blob in
    bytes, of a list in items. `pattern` is a Java regular expression for the whole text. `values` is an enumeration.
    A `sensitive` value is never printed.
    """

    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    values: tuple[str, ...] = ()
    sensitive: bool = False


UNCONSTRAINED = Constraint()


class Structure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """A message, or a structure in one. A member that is None is absent.

    `required` names the members the model requires; their absence is found by the codec, not by the constructor.
    """

    required: ClassVar[frozenset[str]] = frozenset()
    empty_body: ClassVar[bool] = False
    """Whether a body of no bytes at all stands for this request without members."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Name the members that are set, without the values of blobs and of what the model calls sensitive."""
        shown = []
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _, constraint = declared(member_type(field.type))
                shown.append((field.name, HIDDEN if constraint.sensitive or isinstance(value, bytes) else value))
        return shown

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({members})"


class OperationMessages(msgspec.Struct, frozen=True):
    """The messages of one operation. `response` is None if the operation answers with an empty body."""

    request: type[Structure]
    response: type[Structure] | None


def member_type(annotation: object) -> object:
    """Return a member's type without its `| None`."""
    return get_args(annotation)[0]


def declared(annotation: object) -> tuple[object, Constraint]:
    """Take a declared type apart: what it is in Python, and what the model demands of it."""
    if get_origin(annotation) is Annotated:
        base, constraint = get_args(annotation)
        return base, constraint
    return annotation, UNCONSTRAINED
