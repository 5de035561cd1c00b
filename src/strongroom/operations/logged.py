"""What the audit record says of a request and its response: the members that an operation's row names, and no others.

Whatever is not named here is not logged; plaintexts, ciphertexts and data keys never are.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey

Logged = Callable[[Struct, Sequence[AuthorizedKey]], dict[str, object] | None]
"""From a request and the keys it was authorized for (none yet, if it was refused) to requestParameters."""


def members(*names: str) -> Logged:
    """Log the members of these attribute names that the request has; None if it has none of them."""
    spelled = [(name, lower_camel(name)) for name in names]

    def logged(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
        found = {spelling: value for name, spelling in spelled if (value := getattr(request, name)) is not None}
        return found or None

    return logged


def key_arn(_response: Struct | None, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """Log the ARN of the key that was changed, as AWS does although the operation answers nothing."""
    return {"keyId": keys[-1].key.arn}


def lower_camel(name: str) -> str:
    """`key_id` as CloudTrail spells it: `keyId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
