"""The only place where messages are JSON (RFC 8259, in UTF-8).

A body is read by msgspec's decoder for its request type. Only what that refuses is parsed again without types and walked
along the schema, which finds AWS's words for what is wrong, or converts what AWS accepts and msgspec does not.
"""

from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from strongroom.errors import Serialization, Validation
from strongroom.messages.constraints import report
from strongroom.messages.declaration import Structure
from strongroom.messages.schema import LIST_FOUND, StructureOf, schema_of

Request = TypeVar("Request", bound=Structure)

# What msgspec raises for a body it cannot use; the second is for bytes that are not UTF-8.
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()


def decode(request_type: type[Request], body: bytes) -> Request:
    """Read a request that keeps every constraint of the model.

    Of a name given twice the last one counts; unknown members are ignored; null members are absent.
    Raises Serialization if the body is not JSON or a member has another type than the model gives it, and Validation
    with all violations (ten at most) if the model's constraints are broken.
    """
    decoder, schema = _reader(request_type)
    request: Request | None
    try:
        request = decoder.decode(str(body, "utf-8"))
    except _REFUSED:
        request = None
    if request is None:  # outside of the handler, because UnicodeDecodeError carries the whole body
        request = cast("Request", _read_slowly(schema, body))
    found: list[str] = []
    schema.check(request, "", found)
    if found:
        raise Validation(report(found))
    return request


def encode(response: msgspec.Struct | None) -> bytes:
    """Write a response, or no bytes for an operation without output. Members that are None are left out."""
    return b"" if response is None else _encoder.encode(response)


@cache
def _reader(request_type: type[Structure]) -> tuple[msgspec.json.Decoder[Any], StructureOf]:
    return msgspec.json.Decoder(request_type), schema_of(request_type)


def _read_slowly(schema: StructureOf, body: bytes) -> Structure:
    """Read a body that the fast decoder refused, or raise Serialization."""
    if not body and schema.kind.empty_body:
        return schema.kind()
    try:
        document = msgspec.json.decode(str(body, "utf-8"))
    except _REFUSED:
        document = None
    if isinstance(document, dict):
        return schema.convert(document)
    raise Serialization(LIST_FOUND if isinstance(document, list) else None)
