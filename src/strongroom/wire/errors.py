"""How each refusal looks on the wire: the tables from error class to HTTP status and spelling.

JSON services answer 400 to whatever the caller caused, a refused permission included; Query services tell such causes
apart. What an error is called is `code_of` in errors.py.
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


QUERY_STATUSES: Final[Mapping[type[errors.RequestError], int]] = {
    errors.RequestError: 500,
    errors.AccessDenied: 403,
    errors.ConcurrentModification: 409,
    errors.DeleteConflict: 409,
    errors.DependencyTimeout: 500,
    errors.EntityAlreadyExists: 409,
    errors.EntityTemporarilyUnmodifiable: 409,
    errors.ExpiredToken: 403,
    errors.IDPRejectedClaim: 403,
    errors.InvalidSignature: 403,
    errors.KMSInternal: 500,
    errors.KeyUnavailable: 500,
    errors.LimitExceeded: 409,
    errors.MissingAuthenticationToken: 403,
    errors.NoSuchEntity: 404,
    errors.PolicyEvaluation: 500,
    errors.RegionDisabled: 403,
    errors.RequestEntityTooLarge: 413,
    errors.UnrecognizedClient: 403,
    errors.UnsupportedOperation: 501,
}
"""The statuses of the Query protocol that are not 400. Sources as those of `QUERY_CODES`."""


def query_status(error: errors.RequestError) -> int:
    """Say with which HTTP status a Query service answers an error."""
    return QUERY_STATUSES.get(type(error), 400)
