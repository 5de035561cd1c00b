"""Lists that are told page by page: limits, and the markers between pages (AWS: Limit, Marker, NextMarker, Truncated).

A marker is opaque to callers. It names the operation, what it lists, and the last item told; one that this very list
did not give is refused. It needs no secret: whatever it names, only the caller's own items are told.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from strongroom.errors import InvalidMarker, Validation
from strongroom.messages.constraints import report, violation

T = TypeVar("T")

_MARKER = msgspec.json.Decoder(tuple[str, str, str])


class Page(NamedTuple, Generic[T]):
    """Some items of a list, and the marker to go on with if there are more."""

    items: tuple[T, ...]
    next_marker: str | None

    @property
    def truncated(self) -> bool:
        """Whether there are more."""
        return self.next_marker is not None


class Listing(NamedTuple):
    """A list that an operation tells: how many items at a time, if the caller does not say and at most."""

    operation: str
    default: int
    maximum: int

    def check(self, limit: int | None) -> None:
        """Raise Validation for a limit that the model allows and this operation does not."""
        if limit is not None and limit > self.maximum:
            text = f"Member must have value less than or equal to {self.maximum}"
            raise Validation(report([violation(str(limit), "limit", text)]))

    def page(
        self,
        items: Callable[[str, int], Sequence[T]],
        name: Callable[[T], str],
        *,
        limit: int | None,
        marker: str | None,
        of: str = "",
    ) -> Page[T]:
        """Tell a page of the list `of` something. Raises InvalidMarker.

        `items` gives those whose name comes after the one given (empty: from the start), as many as asked for at most.
        """
        wanted = limit or self.default
        after = "" if marker is None else self._after(marker, of)
        found = items(after, wanted + 1)
        told = tuple(found[:wanted])
        more = len(found) > wanted
        return Page(told, self._marker(of, name(told[-1])) if more else None)

    def _marker(self, of: str, last: str) -> str:
        return base64.b64encode(msgspec.json.encode((self.operation, of, last))).decode()

    def _after(self, marker: str, of: str) -> str:
        try:
            operation, listed, last = _MARKER.decode(base64.b64decode(marker, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InvalidMarker from error
        if (operation, listed) != (self.operation, of):
            raise InvalidMarker
        return last
