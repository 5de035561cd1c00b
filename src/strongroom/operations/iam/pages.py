"""Lists of IAM, page by page (AWS: Marker, MaxItems, IsTruncated)."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from strongroom.operations.pages import Listing, Page

T = TypeVar("T")


def paged(request: Struct, items: Iterable[T], name: Callable[[T], str], *, of: str = "") -> Page[T]:
    """Tell a page of a list (`of` something), in order of name. Raises InvalidMarker.

    A list has a hundred items at a time unless the request says otherwise, and a thousand at most.
    """
    ordered = sorted(items, key=name)
    listing = Listing(type(request).__name__.removesuffix("Request"), default=100, maximum=1000)
    return listing.page(
        lambda last, limit: [item for item in ordered if name(item) > last][:limit],
        name,
        limit=getattr(request, "max_items", None),
        marker=getattr(request, "marker", None),
        of=hashlib.sha256(of.encode()).hexdigest()[:16],  # a path is longer than a marker can be
    )
