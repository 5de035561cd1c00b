"""A record and the change that wrote it."""

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Numbered(NamedTuple, Generic[T]):
    """A record and the number of the change that wrote it."""

    record: T
    number: int
