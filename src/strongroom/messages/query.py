"""The only place where messages are forms and XML, as AWS's Query protocol has them.

A request is a form (`application/x-www-form-urlencoded`, in UTF-8) whose names lead along the schema: `UserName`,
`Tags.member.2.Key`. A list of no items is its name without a value. A response is XML. Source: "Making query requests"
in the IAM User Guide and the description of the awsQuery protocol in the Smithy specification.
"""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from strongroom.errors import Serialization, UnknownOperation, Validation
from strongroom.messages.constraints import report
from strongroom.messages.declaration import Structure
from strongroom.messages.schema import ListOf, MapOf, Scalar, Shape, StructureOf, schema_of

Request = TypeVar("Request", bound=Structure)

VERSIONS: Final = {"iam": "2010-05-08", "sts": "2011-06-15"}
"""The services that speak this protocol, each with the version of its API."""

MAXIMUM_PAIRS = 10_000
"""Pairs of name and value in a form: enough to simulate thousands of actions."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BENT_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INDEX = re.compile(r"[1-9][0-9]{0,8}")
_DEEPEST = 16  # parts of a name; the models need seven

# XML 1.0 has no way to write the characters that are not in this table; a carriage return would be read as a line feed.
_ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_TO_ESCAPE = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNWRITABLE = "\ufffd"

Node: TypeAlias = "dict[str, Node] | str"
"""Part of a form: a value, or what follows a name and its dot, by the next part of the name."""


def namespace(service: str) -> str:
    """Name the XML namespace of a service."""
    return f"https://{service}.amazonaws.com/doc/{VERSIONS[service]}/"


def unknown_operation(name: str | None, version: str | None) -> UnknownOperation:
    """Return the refusal of an operation that is not among those of a version, or of a version that nobody has."""
    return UnknownOperation(f"Could not find operation {name} for version {version or 'NO_VERSION_SPECIFIED'}")


def decode(request_type: type[Request], body: bytes) -> Request:
    """Read a request that keeps every constraint of the model.

    Of a name given twice the last one counts; unknown members (`Action` and `Version` among them) are ignored.
    Raises Serialization if the form does not fit the model, and Validation with all violations (ten at most) if the
    model's constraints are broken.
    """
    schema = schema_of(request_type)
    request = cast("Request", _convert(schema, _read(schema, body)))
    found: list[str] = []
    schema.check(request, "", found)
    if found:
        raise Validation(report(found))
    return request


def encode(operation: str, response: Struct | None, xmlns: str, request_id: str) -> bytes:
    """Write a response; None is that of an operation without output. Members that are None are left out."""
    parts = [f'<{operation}Response xmlns="{xmlns}">']
    if response is not None:
        assert isinstance(response, Structure), "responses are generated"
        _write(parts, f"{operation}Result", schema_of(type(response)), response)
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>")
    return "".join(parts).encode()


def escape(text: str) -> str:
    """Write a text as the content of an XML element. What XML cannot hold becomes U+FFFD."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED.get(found[0], _UNWRITABLE), text)


def _read(schema: StructureOf, body: bytes) -> Node:
    """Sort the values of a form into the places that their names lead to, whatever these are."""
    if body.count(b"&") >= MAXIMUM_PAIRS:
        raise Serialization(f"A request can not have more than {MAXIMUM_PAIRS} parameters.")
    if _BENT_ESCAPE.search(body):
        raise Serialization("A percent sign must be followed by two hexadecimal digits.")
    form: dict[str, Node] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        *path, last = _text(name).split(".", _DEEPEST)
        if (path or [last])[0] not in schema.members:
            continue
        place = form
        for step in path:
            inner = place.get(step)
            if not isinstance(inner, dict):
                place[step] = inner = {}
            place = inner
        place[last] = _text(value)
    return form


def _text(encoded: bytes) -> str:
    try:
        return unquote_to_bytes(encoded.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        pass
    raise Serialization("Parameters must be in UTF-8.")  # outside of the handler: that error carries the value


def _convert(shape: Shape, node: Node) -> object:
    """Take what a form says of one value to what the message holds. Gaps between the items of a list close."""
    match shape, node:
        case Scalar(), str():
            return _SCALARS[shape.kind](node)
        case ListOf(), "":
            return ()
        case ListOf(), {"member": dict(items)} if len(node) == 1 and all(map(_INDEX.fullmatch, items)):
            return tuple(_convert(shape.element, items[index]) for index in sorted(items, key=int))
        case StructureOf(), dict():
            known = [(*shape.members[name], inner) for name, inner in node.items() if name in shape.members]
            return shape.kind(**{attribute: _convert(member, inner) for attribute, member, inner in known})
        case _:
            raise Serialization(f"Unexpected {'value' if isinstance(node, str) else 'member'} in a parameter.")


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise Serialization("STRING_VALUE can not be converted to an Integer")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Serialization("STRING_VALUE can not be converted to a Boolean")
    return text == "true"


_SCALARS: Final[dict[type, Callable[[str], object]]] = {str: str, int: _integer, bool: _boolean}
"""How the scalars of requests are read. None is a blob or a timestamp."""


def _write(parts: list[str], name: str, shape: Shape, value: Any) -> None:  # noqa: ANN401 - each shape knows its type
    parts.append(f"<{name}>")
    match shape:
        case StructureOf():
            for member, (attribute, inner) in shape.members.items():
                item = getattr(value, attribute)
                if item is not None:
                    _write(parts, member, inner, item)
        case ListOf():
            for item in value:
                _write(parts, "member", shape.element, item)
        case MapOf():
            for key, item in value.items():
                parts.append(f"<entry><key>{escape(key)}</key>")
                _write(parts, "value", shape.element, item)
                parts.append("</entry>")
        case _:
            parts.append(_scalar(value))
    parts.append(f"</{name}>")


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{datetime.fromtimestamp(int(value), UTC):%Y-%m-%dT%H:%M:%SZ}"
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return escape(str(value))
