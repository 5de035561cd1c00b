"""AWS's words for members of a wrong type, and what it converts."""

import json
from typing import Annotated

import pytest

from strongroom.errors import Serialization
from strongroom.messages.declaration import Constraint, Structure
from strongroom.messages.schema import schema_of


class Inner(Structure, frozen=True, kw_only=True):
    required = frozenset({"name"})

    name: Annotated[str, Constraint(minimum=1, maximum=3)] | None = None
    other_name: str | None = None


class Everything(Structure, frozen=True, kw_only=True):
    text: str | None = None
    blob: Annotated[bytes, Constraint(maximum=4)] | None = None
    integer: Annotated[int, Constraint(minimum=1, maximum=9)] | None = None
    timestamp: float | None = None
    boolean: bool | None = None
    texts: (
        Annotated[tuple[Annotated[str, Constraint(minimum=1, pattern="[a-z]*")], ...], Constraint(maximum=2)] | None
    ) = None
    map: dict[str, str] | None = None
    inner: Inner | None = None
    inners: tuple[Inner, ...] | None = None


EVERYTHING = schema_of(Everything)


def violations(message: Everything) -> list[str]:
    found: list[str] = []
    EVERYTHING.check(message, "", found)
    return found


LIST = "Start of list found where not expected"
OBJECT = "Start of structure or map found where not expected."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"Text": []}', LIST),
        ('{"Text": {}}', OBJECT),
        ('{"Text": 1}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Text": 1.5}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Text": true}', "TRUE_VALUE can not be converted to a String"),
        ('{"Text": false}', "FALSE_VALUE can not be converted to a String"),
        ('{"Blob": []}', LIST),
        ('{"Blob": {}}', OBJECT),
        ('{"Blob": 1}', "NUMBER_VALUE can not be converted to a Blob"),
        ('{"Blob": true}', "TRUE_VALUE can not be converted to a Blob"),
        ('{"Blob": "YQ"}', None),
        ('{"Blob": "Y-=="}', None),
        ('{"Blob": "YQ==\\n"}', None),
        ('{"Integer": []}', LIST),
        ('{"Integer": {}}', OBJECT),
        ('{"Integer": "1"}', "STRING_VALUE can not be converted to an Integer"),
        ('{"Integer": true}', "TRUE_VALUE can not be converted to an Integer"),
        ('{"Boolean": []}', LIST),
        ('{"Boolean": {}}', OBJECT),
        ('{"Boolean": "true"}', "STRING_VALUE can not be converted to a Boolean"),
        ('{"Boolean": 0}', "NUMBER_VALUE can not be converted to a Boolean"),
        ('{"Timestamp": []}', LIST),
        ('{"Timestamp": {}}', OBJECT),
        ('{"Timestamp": "2026-01-01T00:00:00Z"}', "STRING_VALUE can not be converted to milliseconds since epoch"),
        ('{"Timestamp": true}', "TRUE_VALUE can not be converted to milliseconds since epoch"),
        pytest.param('{"Timestamp": 1' + "0" * 400 + "}", None, id="a timestamp past the range of a double"),
        ('{"Texts": {}}', OBJECT),
        ('{"Texts": "a"}', "Expected list or null"),
        ('{"Texts": 1}', "Expected list or null"),
        ('{"Texts": false}', "Expected list or null"),
        ('{"Texts": [[]]}', LIST),
        ('{"Texts": ["a", 1]}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Map": []}', LIST),
        ('{"Map": "a"}', "Expected map or null"),
        ('{"Map": {"a": 1}}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Map": {"a": {}}}', OBJECT),
        ('{"Inner": []}', LIST),
        ('{"Inner": "a"}', "Expected null"),
        ('{"Inner": 1}', "Expected null"),
        ('{"Inner": true}', "Expected null"),
        ('{"Inners": [1]}', "Expected null"),
        ('{"Inners": [{"Name": []}]}', LIST),
        ('{"Blob": 1, "Text": []}', "NUMBER_VALUE can not be converted to a Blob"),
        ('{"Text": [], "Blob": 1}', LIST),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_aws(body: str, text: str | None) -> None:
    with pytest.raises(Serialization) as caught:
        EVERYTHING.convert(json.loads(body))

    assert caught.value.message == text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"Integer": 2.9}', Everything(integer=2)),
        ('{"Integer": -2.9}', Everything(integer=-2)),
        ('{"Integer": 1e300}', Everything(integer=int(1e300))),
        ('{"Timestamp": 1}', Everything(timestamp=1.0)),
        ('{"Timestamp": 1773253425.56}', Everything(timestamp=1773253425.56)),
        ('{"Blob": "YQ=="}', Everything(blob=b"a")),
        ('{"Text": null, "Texts": null, "Map": null, "Inner": null, "Integer": null}', Everything()),
        ('{"Unknown": {"a": [1]}, "text": 1}', Everything()),
        ('{"Inner": {"OtherName": "a"}}', Everything(inner=Inner(other_name="a"))),
        ('{"Inners": [{}], "Texts": []}', Everything(inners=(Inner(),), texts=())),
        ('{"Text": 1, "Text": "a"}', Everything(text="a")),
    ],
)
def test_what_aws_accepts_is_converted(body: str, message: Everything) -> None:
    assert EVERYTHING.convert(json.loads(body)) == message


def test_a_converted_timestamp_is_a_float() -> None:
    converted = EVERYTHING.convert({"Timestamp": 1})

    assert isinstance(converted, Everything)
    assert isinstance(converted.timestamp, float)


NULL = "Member must not be null"


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        (Everything(), []),
        (Everything(text="", boolean=False, timestamp=-1.5, map={"": ""}, texts=(), inners=()), []),
        (Everything(integer=10), ["Value '10' at 'integer'", "Member must have value less than or equal to 9"]),
        (Everything(blob=b"12345"), ["Value at 'blob'", "Member must have length less than or equal to 4"]),
        (Everything(inner=Inner()), ["Value null at 'inner.name'", NULL]),
        (
            Everything(inner=Inner(name="abcd")),
            ["Value 'abcd' at 'inner.name'", "Member must have length less than or equal to 3"],
        ),
        (Everything(inners=(Inner(name="a"), Inner())), ["Value null at 'inners.2.member.name'", NULL]),
        (
            Everything(texts=("a", "b", "c")),
            ["Value '[a, b, c]' at 'texts'", "Member must have length less than or equal to 2"],
        ),
        (
            Everything(texts=("a", "B")),
            [
                "Value '[a, B]' at 'texts'",
                (
                    "Member must satisfy constraint: [Member must have length greater than or equal to 1, "
                    "Member must satisfy regular expression pattern: [a-z]*]"
                ),
            ],
        ),
    ],
)
def test_a_violation_is_found_where_it_is(message: Everything, texts: list[str]) -> None:
    assert violations(message) == ([" failed to satisfy constraint: ".join(texts)] if texts else [])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"Texts": ["a", null]}', "texts.2.member"),
        ('{"Inners": [null]}', "inners.1.member"),
        ('{"Map": {"a": "b", "c": null}}', "map.c.member"),
    ],
)
def test_a_null_in_a_list_or_map_is_a_violation(body: str, path: str) -> None:
    message = EVERYTHING.convert(json.loads(body))

    assert isinstance(message, Everything)
    assert violations(message) == [f"Value null at '{path}' failed to satisfy constraint: {NULL}"]


def test_violations_come_in_the_order_of_the_model() -> None:
    message = Everything(inners=(Inner(),), inner=Inner(), integer=0, blob=b"12345")

    assert [text.split("'")[-2 if "null" in text else 1] for text in violations(message)] == [
        "blob",
        "0",
        "inner.name",
        "inners.1.member.name",
    ]


def test_no_more_violations_are_sought_than_are_reported() -> None:
    assert len(violations(Everything(inners=(Inner(),) * 10_000))) == 10
