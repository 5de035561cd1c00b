"""How each refusal looks on the wire: the one table from error class to HTTP status and spelling.

`__type` is the error's `code`. AWS answers 400 to whatever the caller caused, a refused permission included.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom import errors


class Rendering(NamedTuple):
    """The HTTP status, and the JSON member that holds the text."""

    status: int
    text_member: str


CALLER_FAULT: Final = Rendering(400, "message")
OUR_FAULT: Final = Rendering(500, "message")

RENDERINGS: Final[Mapping[type[errors.RequestError], Rendering]] = {
    errors.RequestError: OUR_FAULT,
    errors.Serialization: Rendering(400, "Message"),
    errors.RequestEntityTooLarge: Rendering(413, "message"),
    errors.DependencyTimeout: OUR_FAULT,
    errors.KMSInternal: OUR_FAULT,
    errors.KeyUnavailable: OUR_FAULT,
}
"""The exceptions to `CALLER_FAULT`."""


def rendering(error: errors.RequestError) -> Rendering:
    """Say how an error is answered."""
    return RENDERINGS.get(type(error), CALLER_FAULT)
