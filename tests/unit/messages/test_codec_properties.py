"""Any body for any operation, and messages there and back."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.errors import Serialization, Validation
from strongroom.messages.codec import decode, encode
from strongroom.messages.declaration import Structure
from strongroom.messages.kms import OPERATIONS
from strongroom.messages.kms.encryption import DecryptRequest
from strongroom.messages.schema import ListOf, MapOf, Scalar, Shape, StructureOf, schema_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["YQ==", "RSA_2048"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def near_requests(draw: st.DrawFn) -> tuple[type[Structure], bytes]:
    """A request type, and an object with some of its member names."""
    request_type = OPERATIONS[draw(st.sampled_from(sorted(OPERATIONS)))].request
    names = st.sampled_from([*schema_of(request_type).members, "Unknown"])
    return request_type, json.dumps(draw(st.dictionaries(names, JSON, max_size=4))).encode()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(near_requests())
def test_any_json_ends_in_a_request_or_in_one_of_two_errors(case: tuple[type[Structure], bytes]) -> None:
    request_type, body = case
    try:
        request = decode(request_type, body)
    except (Serialization, Validation) as error:
        text = error.message or ""
        assert text.encode().decode() == text  # a lone surrogate could not be sent
    else:
        assert decode(request_type, encode(request)) == request


@given(name=st.sampled_from(sorted(OPERATIONS)), body=st.binary(max_size=40))
def test_any_bytes_end_in_a_request_or_in_one_of_two_errors(name: str, body: bytes) -> None:
    request_type = OPERATIONS[name].request
    try:
        assert isinstance(decode(request_type, body), request_type)
    except (Serialization, Validation):
        assert body != b"{}" or request_type.required


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of a shape's type, whatever its constraints."""
    if isinstance(shape, ListOf):
        return st.lists(values(shape.element), max_size=2).map(tuple)
    if isinstance(shape, MapOf):
        return st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
    if isinstance(shape, StructureOf):
        return messages(shape.kind)
    assert isinstance(shape, Scalar)
    scalars: dict[type, st.SearchStrategy[Any]] = {
        str: st.text(max_size=8),
        bytes: st.binary(max_size=8),
        int: st.integers(-(2**31), 2**31 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
    }
    return scalars[shape.kind]


def messages(kind: type[Structure]) -> st.SearchStrategy[Structure]:
    """Messages of a type, each member set or not."""
    members = {attribute: st.none() | values(shape) for attribute, shape in schema_of(kind).members.values()}
    return st.builds(kind, **members)


RESPONSES = [operation.response for operation in OPERATIONS.values() if operation.response is not None]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.sampled_from(RESPONSES).flatmap(messages))
def test_a_response_comes_back_as_it_went(response: Structure) -> None:
    body = encode(response)

    assert msgspec.json.decode(body, type=type(response)) == response
    assert schema_of(type(response)).convert(json.loads(body)) == response


REQUESTS = [operation.request for operation in OPERATIONS.values()]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.sampled_from(REQUESTS).flatmap(messages))
def test_both_ways_of_reading_agree(message: Structure) -> None:
    body = encode(message)

    assert msgspec.json.decode(body, type=type(message)) == schema_of(type(message)).convert(json.loads(body))


@given(st.text("Aa+/=_ \n", max_size=9))
def test_base64_is_read_alike_on_both_ways(text: str) -> None:
    body = json.dumps({"CiphertextBlob": text})
    try:
        fast = msgspec.json.decode(body, type=DecryptRequest)
    except msgspec.ValidationError:
        with pytest.raises(Serialization):
            schema_of(DecryptRequest).convert(json.loads(body))
    else:
        assert schema_of(DecryptRequest).convert(json.loads(body)) == fast
