"""What the audit record says of a request and its response: the members that an operation's row names, and no others.

Whatever is not named here is not logged; plaintexts, ciphertexts and data keys never are.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.messages.declaration import declared, member_type

Logged = Callable[[Struct, Sequence[AuthorizedKey]], dict[str, object] | None]
"""From a request and the keys it was authorized for (none yet, if it was refused) to requestParameters."""


def members(*names: str) -> Logged:
    """Log the members of these attribute names that the request has; None if it has none of them."""
    spelled = [(name, lower_camel(name)) for name in names]

    def logged(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
        found = {spelling: value for name, spelling in spelled if (value := getattr(request, name)) is not None}
        return found or None

    return logged


def every_member(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
    """Log all that a request of IAM or STS says, but for what the model calls sensitive."""
    return told(request) or None


def every_member_of_response(response: Struct | None, _keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
    """Log all that a response of IAM or STS says, but for what the model calls sensitive; None if that is nothing."""
    return None if response is None else told(response) or None


def told(message: Struct) -> dict[str, object]:
    """A message as CloudTrail spells it, without sensitive members and blobs."""
    shown: dict[str, object] = {}
    for field in structs.fields(message):
        value = getattr(message, field.name)
        _, constraint = declared(member_type(field.type))
        if value is not None and not constraint.sensitive and not isinstance(value, bytes):
            shown[lower_camel(field.name)] = _told_value(value)
    return shown


def _told_value(value: object) -> object:
    if isinstance(value, Struct):
        return told(value)
    if isinstance(value, tuple):
        return [_told_value(one) for one in value]
    return value


def key_arn(_response: Struct | None, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """Log the ARN of the key that was changed, as AWS does although the operation answers nothing."""
    return {"keyId": keys[-1].key.arn}


def lower_camel(name: str) -> str:
    """`key_id` as CloudTrail spells it: `keyId`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
