"""The encryption context as bytes, for authentication: the same pairs give the same bytes, other pairs give others.

AWS does not publish how it makes its context canonical; only the properties are contract: order does not matter, case
does, and no context is the same as an empty one.
"""

from strongroom.crypto.framing import frame


def canonical_bytes(encryption_context: dict[str, str]) -> bytes:
    """Return key, value, key, value ... as one frame, sorted by the keys' UTF-8 bytes. Injective.

    Any `str` can be encoded, lone surrogates included.
    """
    if not encryption_context:
        return _EMPTY
    parts = []
    # Code point order, in which Python sorts text, is the order of the UTF-8 bytes.
    for key in sorted(encryption_context):
        parts.append(key.encode("utf-8", "surrogatepass"))
        parts.append(encryption_context[key].encode("utf-8", "surrogatepass"))
    return frame(parts)


_EMPTY = frame([])
