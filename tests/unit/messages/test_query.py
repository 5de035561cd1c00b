"""Forms to requests, and responses to XML, against botocore's own serializer and parser."""

from datetime import UTC, datetime
from typing import Annotated, Any
from xml.etree import ElementTree as ET

import pytest
from botocore.awsrequest import AWSRequest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.errors import Serialization, Validation
from strongroom.messages import iam, sts
from strongroom.messages.constraints import Rule
from strongroom.messages.declaration import Constraint, Structure
from strongroom.messages.iam.groups import ListGroupsResponse
from strongroom.messages.iam.managed_policies import CreatePolicyVersionRequest
from strongroom.messages.iam.shapes import Tag
from strongroom.messages.iam.simulation import ContextEntry, SimulateCustomPolicyRequest
from strongroom.messages.iam.users import CreateUserRequest, DeleteUserRequest, ListUsersRequest
from strongroom.messages.query import MAXIMUM_PAIRS, VERSIONS, decode, encode, escape, namespace
from strongroom.messages.schema import ListOf, MapOf, Scalar, Shape, StructureOf, schema_of
from strongroom.messages.sts.sessions import AssumeRoleRequest

MODELS = {name: ServiceModel(Loader().load_service_model(name, "service-2")) for name in VERSIONS}
OPERATIONS = {
    (service, name): messages
    for service, operations in (("iam", iam.OPERATIONS), ("sts", sts.OPERATIONS))
    for name, messages in operations.items()
}
WITH_OUTPUT = sorted(one for one, messages in OPERATIONS.items() if messages.response)
SERIALIZER = create_serializer("query", include_validation=False)
PARSER = create_parser("query")
TRICKY = "<&>\"'%+=.; \r\n\té\u2028\U0001f511"
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
TEXTS = st.text(CHARACTERS | st.sampled_from(TRICKY), max_size=8)
VALID = ["%41+é", "a+=,.@-", "123456", "/", "/a/", "v1", "arn:aws:iam::111122223333:user/a", "a" * 40, "a" * 20]
SLOW = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)


def whole(shape: Shape) -> Any:
    """A value with every member set, every list of two items, that keeps the constraints of the model."""
    match shape:
        case StructureOf():
            return shape.kind(**{attribute: whole(inner) for attribute, inner in shape.members.values()})
        case ListOf():
            item = shape.element
            return tuple(whole(item) if isinstance(item, StructureOf) else kept(shape.element_rules, str) for _ in "12")
        case MapOf():
            return {kept((), str): whole(shape.element)}
    assert isinstance(shape, Scalar)
    return kept(shape.rules, shape.kind)


def kept(rules: tuple[Rule, ...], kind: type) -> Any:
    """Return a value that keeps the rules: TRICKY if it does."""
    named = [value for rule in rules for value in rule.text.partition("set: [")[2].strip("]").split(", ")]
    by_kind: dict[type, list[Any]] = {int: [1000, 3600], bool: [True], float: [1767225600.0]}
    values = by_kind.get(kind, [TRICKY, *VALID, *named])
    return next(value for value in values if all(rule.holds(value) for rule in rules))


def requests(kind: type[Structure]) -> st.SearchStrategy[Structure]:
    """Requests that keep the constraints of the model."""
    members = {}
    for attribute, shape in schema_of(kind).members.values():
        value = requested(shape)
        members[attribute] = value if attribute in kind.required else st.none() | value
    return st.builds(kind, **members)


def requested(shape: Shape) -> st.SearchStrategy[Any]:
    match shape:
        case StructureOf():
            return requests(shape.kind)
        case ListOf():
            item = shape.element
            # A structure without members cannot be told in a form.
            items = (
                requests(item.kind).filter(item.kind().__ne__)
                if isinstance(item, StructureOf)
                else keeping(shape.element_rules, str)
            )
            return st.lists(items, min_size=1, max_size=3).map(tuple)
    assert isinstance(shape, Scalar)
    return keeping(shape.rules, shape.kind)


def keeping(rules: tuple[Rule, ...], kind: type) -> st.SearchStrategy[Any]:
    """Values that keep the rules: any that happen to, or else one that is known to."""
    anything = {int: st.integers(-(2**31), 2**31 - 1), bool: st.booleans(), str: TEXTS}[kind]
    return anything.map(lambda value: value if all(rule.holds(value) for rule in rules) else kept(rules, kind))


def responses(kind: type[Structure]) -> st.SearchStrategy[Structure]:
    """Responses of a type, each member set or not, whatever the constraints."""
    members = {attribute: st.none() | responded(shape) for attribute, shape in schema_of(kind).members.values()}
    return st.builds(kind, **members)


def responded(shape: Shape) -> st.SearchStrategy[Any]:
    if isinstance(shape, ListOf):
        return st.lists(responded(shape.element), max_size=2).map(tuple)
    if isinstance(shape, MapOf):
        return st.dictionaries(TEXTS, responded(shape.element), max_size=2)
    if isinstance(shape, StructureOf):
        return responses(shape.kind)
    assert isinstance(shape, Scalar)
    scalars: dict[type, st.SearchStrategy[Any]] = {
        str: TEXTS,
        int: st.integers(-(2**31), 2**31 - 1),
        float: st.integers(0, 2**33).map(float),
        bool: st.booleans(),
    }
    return scalars[shape.kind]


def as_botocore(value: Any) -> Any:
    """A message as botocore takes and gives it."""
    match value:
        case Structure():
            members = [(name, getattr(value, one)) for name, (one, _) in schema_of(type(value)).members.items()]
            return {name: as_botocore(item) for name, item in members if item is not None}
        case tuple():
            return [as_botocore(item) for item in value]
        case dict():
            return {key: as_botocore(item) for key, item in value.items()}
        case float():
            return datetime.fromtimestamp(value, UTC)
    return value


def sent(service: str, operation: str, request: Structure) -> bytes:
    """The body that botocore sends."""
    serialized = SERIALIZER.serialize_to_request(as_botocore(request), MODELS[service].operation_model(operation))
    body = AWSRequest("POST", "http://localhost/", data=serialized["body"]).prepare().body
    assert isinstance(body, str | bytes)
    return body.encode() if isinstance(body, str) else body


def check_request(service: str, name: str, request: Structure) -> None:
    assert decode(type(request), sent(service, name, request)) == request


def check_response(service: str, name: str, response: Structure | None) -> None:
    body = encode(name, response, namespace(service), "id-of-answer")
    shape = MODELS[service].operation_model(name).output_shape
    parsed = PARSER.parse({"status_code": 200, "headers": {}, "body": body}, shape)

    assert parsed.pop("ResponseMetadata")["RequestId"] == "id-of-answer"
    assert parsed == (as_botocore(response) if response else {})
    assert ET.fromstring(body).tag == f"{{{MODELS[service].metadata['xmlNamespace']}}}{name}Response"


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_every_operation_is_spoken_as_botocore_speaks_it(service: str, name: str) -> None:
    messages = OPERATIONS[service, name]

    check_request(service, name, whole(schema_of(messages.request)))
    check_response(service, name, whole(schema_of(messages.response)) if messages.response else None)


@SLOW
@given(st.data())
def test_any_request_arrives_as_botocore_was_given_it(data: st.DataObject) -> None:
    service, name = data.draw(st.sampled_from(sorted(OPERATIONS)))

    check_request(service, name, data.draw(requests(OPERATIONS[service, name].request)))


@SLOW
@given(st.data())
def test_any_response_is_what_botocore_reads(data: st.DataObject) -> None:
    service, name = data.draw(st.sampled_from(WITH_OUTPUT))
    response_type = OPERATIONS[service, name].response
    assert response_type is not None

    check_response(service, name, data.draw(responses(response_type)))


def refused(request_type: type[Structure], body: bytes) -> str | None:
    with pytest.raises(Serialization) as caught:
        decode(request_type, body)
    assert caught.value.__cause__ is caught.value.__context__ is None  # what was sent is not carried along
    return caught.value.message


def violated(request_type: type[Structure], body: bytes) -> str | None:
    with pytest.raises(Validation) as caught:
        decode(request_type, body)
    return caught.value.message


def test_names_lead_through_lists_and_structures() -> None:
    body = (
        b"Action=SimulateCustomPolicy&Version=2010-05-08&ActionNames.member.1=kms%3ADecrypt&PolicyInputList.member.1=%7B%7D"
        b"&ContextEntries.member.1.ContextKeyName=aws%3Auser&ContextEntries.member.1.ContextKeyValues.member.1=a+b%2Bc"
        b"&ContextEntries.member.1.ContextKeyValues.member.2=%C3%A9"
    )

    assert decode(SimulateCustomPolicyRequest, body) == SimulateCustomPolicyRequest(
        policy_input_list=("{}",),
        action_names=("kms:Decrypt",),
        context_entries=(ContextEntry(context_key_name="aws:user", context_key_values=("a b+c", "é")),),
    )


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        (b"UserName=a", None),
        (b"UserName=a&Tags=", ()),
        (b"UserName=a&Tags", ()),
        (b"UserName=a&Unknown.member.1=b&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.1.Odd.x=1", ("a",)),
        (b"&&UserName=x&Tags=&Tags.member.1.Key=a&Tags.member.1.Value=&UserName=a&", ("a",)),
        # Indexes say the order and nothing else.
        (
            b"UserName=a&"
            + b"&".join(b"Tags.member.%d.Key=%d&Tags.member.%d.Value=" % (n, n, n) for n in (10, 9, 999999999)),
            ("9", "10", "999999999"),
        ),
    ],
)
def test_lists_are_absent_empty_or_in_the_order_of_their_indexes(body: bytes, tags: tuple[str, ...] | None) -> None:
    expected = None if tags is None else tuple(Tag(key=key, value="") for key in tags)

    assert decode(CreateUserRequest, body) == CreateUserRequest(user_name="a", tags=expected)


@pytest.mark.parametrize(
    ("request_type", "body"),
    [
        (ListUsersRequest, b"MaxItems="),
        (ListUsersRequest, b"MaxItems=ten"),
        (ListUsersRequest, b"MaxItems=1.0"),
        (ListUsersRequest, b"MaxItems=1_0"),
        (ListUsersRequest, b"MaxItems=%D9%A1"),
        (ListUsersRequest, b"MaxItems=" + b"9" * 5000),
        (ListUsersRequest, b"MaxItems.member.1=1"),
        (CreatePolicyVersionRequest, b"SetAsDefault=yes"),
        (CreatePolicyVersionRequest, b"SetAsDefault=1"),
        (CreatePolicyVersionRequest, b"SetAsDefault="),
        (DeleteUserRequest, b"UserName.member.1=a"),
        (DeleteUserRequest, b"UserName=%FF"),
        (DeleteUserRequest, b"UserName=%ED%A0%80"),
        (DeleteUserRequest, b"UserName=\xe9"),
        (DeleteUserRequest, b"\xff=a"),
        (DeleteUserRequest, b"UserName=a%"),
        (DeleteUserRequest, b"UserName=a%4"),
        (DeleteUserRequest, b"UserName=a%4g"),
        (DeleteUserRequest, b"UserName=a&Unknown=%&B=1"),
        (CreateUserRequest, b"Tags=a"),
        (CreateUserRequest, b"Tags.member=a"),
        (CreateUserRequest, b"Tags.member.1=a"),
        (CreateUserRequest, b"Tags.1.Key=a"),
        (CreateUserRequest, b"Tags.entry.1.Key=a"),
        (CreateUserRequest, b"Tags.member.1.Key=a&Tags.other=a"),
        (CreateUserRequest, b"Tags.member.0.Key=a"),
        (CreateUserRequest, b"Tags.member.01.Key=a"),
        (CreateUserRequest, b"Tags.member.-1.Key=a"),
        (CreateUserRequest, b"Tags.member.x.Key=a"),
        (CreateUserRequest, b"Tags.member.%D9%A1.Key=a"),
        (CreateUserRequest, b"Tags.member.1000000000.Key=a"),
        (CreateUserRequest, b"Tags.member.1.Key.member.1=a"),
        (CreateUserRequest, b"Tags" + b".a" * 100_000),
    ],
)
def test_what_does_not_fit_the_model_is_refused(request_type: type[Structure], body: bytes) -> None:
    assert refused(request_type, body)


def test_a_form_has_so_many_parameters() -> None:
    fitting = b"&" * (MAXIMUM_PAIRS - 1)

    assert decode(ListUsersRequest, fitting) == ListUsersRequest()
    assert refused(ListUsersRequest, fitting + b"&")


def test_broken_constraints_are_told_together_and_in_the_words_of_the_model() -> None:
    assert violated(DeleteUserRequest, b"UserName=a/b") == (
        "1 validation error detected: Value 'a/b' at 'userName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\w+=,.@-]+"
    )
    assert violated(AssumeRoleRequest, b"RoleArn=short&DurationSeconds=1") == (
        "3 validation errors detected: "
        "Value 'short' at 'roleArn' failed to satisfy constraint: "
        "Member must have length greater than or equal to 20; "
        "Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null; "
        "Value '1' at 'durationSeconds' failed to satisfy constraint: "
        "Member must have value greater than or equal to 900"
    )
    assert violated(CreateUserRequest, b"UserName=a&Tags.member.1.Key=a") == (
        "1 validation error detected: "
        "Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"
    )


PARTS = st.sampled_from(
    ["UserName", "Tags", "MaxItems", "ContextEntries", "ActionNames", "SetAsDefault", "member", "entry", "1", "2", "0"]
) | st.text(max_size=3)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map(lambda parts: ".".join(parts).encode())
PIECES = st.binary(max_size=6) | st.sampled_from([b"1", b"true", b"", b"%", b"%E9", b"+"])
FORMS = st.lists(st.tuples(NAMES | PIECES, PIECES).map(b"=".join), max_size=6).map(b"&".join)


@settings(SLOW, max_examples=200)
@given(st.sampled_from(sorted(OPERATIONS)), FORMS | st.binary(max_size=40))
def test_any_form_ends_in_a_request_or_in_one_of_two_errors(operation: tuple[str, str], body: bytes) -> None:
    request_type = OPERATIONS[operation].request
    try:
        assert isinstance(decode(request_type, body), request_type)
    except (Serialization, Validation) as error:
        text = error.message or ""
        assert text.encode().decode() == text  # a lone surrogate could not be sent


class Everything(Structure, frozen=True, kw_only=True):
    text: str | None = None
    blob: Annotated[bytes, Constraint(maximum=4)] | None = None
    created: float | None = None
    flag: bool | None = None
    map: dict[str, str] | None = None
    texts: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    ("response", "inner"),
    [
        (Everything(), ""),
        (Everything(text="a<b&c>d\r\n"), "<Text>a&lt;b&amp;c&gt;d&#13;\n</Text>"),
        (Everything(text="\x00\x0b\x1f\ud800\ufffe\x7f"), "<Text>\ufffd\ufffd\ufffd\ufffd\ufffd\x7f</Text>"),
        (Everything(blob=b"\xff\xfe"), "<Blob>//4=</Blob>"),
        (Everything(created=1767225600.9), "<Created>2026-01-01T00:00:00Z</Created>"),
        (Everything(flag=True), "<Flag>true</Flag>"),
        (Everything(flag=False), "<Flag>false</Flag>"),
        (Everything(map={"<": "&"}), "<Map><entry><key>&lt;</key><value>&amp;</value></entry></Map>"),
        (Everything(texts=("a", "")), "<Texts><member>a</member><member></member></Texts>"),
        (Everything(texts=()), "<Texts></Texts>"),
    ],
)
def test_responses_are_written_so(response: Structure, inner: str) -> None:
    assert encode("Do", response, "urn:x", "id").decode() == (
        f'<DoResponse xmlns="urn:x"><DoResult>{inner}</DoResult>'
        "<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DoResponse>"
    )


def test_no_output_has_no_result() -> None:
    assert encode("Do", None, "urn:x", "id") == (
        b'<DoResponse xmlns="urn:x"><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DoResponse>'
    )


def test_an_empty_list_is_read_as_one() -> None:
    body = encode("ListGroups", ListGroupsResponse(groups=(), is_truncated=False), namespace("iam"), "id")
    shape = MODELS["iam"].operation_model("ListGroups").output_shape

    parsed = create_parser("query").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    assert (parsed["Groups"], parsed["IsTruncated"]) == ([], False)


@given(st.text(st.characters(categories=["Cc", "Cs", "Lu", "Po"], include_characters="\ufffe\uffff")))
def test_any_text_is_written_in_xml_that_can_be_read(text: str) -> None:
    read = ET.fromstring(f"<a>{escape(text)}</a>").text or ""

    assert len(read) == len(text)
    assert all(now in {was, "\ufffd"} for was, now in zip(text, read, strict=True))
