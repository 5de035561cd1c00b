"""The one way in which several byte strings become one: counted and length-prefixed, so that nothing can be confused.

    frame = part count (4 bytes, big-endian), then for each part: its length (4 bytes, big-endian), its bytes

The encoding is injective: two different sequences of parts never give the same bytes. It also shows its own end, so a
frame may be followed by other bytes without becoming ambiguous.
"""

from collections.abc import Sequence
from struct import Struct

_LENGTH = Struct(">I")


def frame(parts: Sequence[bytes]) -> bytes:
    """Return `parts` as one byte string, injectively. A part is shorter than 2^32 bytes."""
    pieces = [_LENGTH.pack(len(parts))]
    for part in parts:
        pieces.append(_LENGTH.pack(len(part)))
        pieces.append(part)
    return b"".join(pieces)
