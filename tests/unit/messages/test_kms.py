"""The generated messages are those of the installed model, all of them and unchanged."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import get_session

from strongroom.messages.codec import decode, encode
from strongroom.messages.declaration import Structure
from strongroom.messages.kms import OPERATIONS
from strongroom.messages.kms.encryption import EncryptRequest
from strongroom.messages.kms.keys import DescribeKeyResponse
from strongroom.messages.kms.shapes import KeyMetadata
from strongroom.messages.schema import ListOf, MapOf, Scalar, Shape, StructureOf, schema_of

GENERATOR = Path(__file__).parents[3] / "tools" / "generate_messages.py"

MODEL = Loader().load_service_model("kms", "service-2")
SHAPES: dict[str, dict[str, Any]] = MODEL["shapes"]


def test_every_operation_of_the_model_has_messages_and_no_other() -> None:
    assert set(OPERATIONS) == set(MODEL["operations"])
    assert len(OPERATIONS) == 56


def test_an_operation_without_output_has_no_response() -> None:
    without = {name for name, operation in MODEL["operations"].items() if "output" not in operation}

    assert {name for name, messages in OPERATIONS.items() if messages.response is None} == without
    assert len(without) == 14


def pairs() -> Iterator[tuple[type[Structure], str]]:
    for name, messages in OPERATIONS.items():
        yield messages.request, MODEL["operations"][name]["input"]["shape"]
        if messages.response is not None:
            yield messages.response, MODEL["operations"][name]["output"]["shape"]


def describe(shape: Shape) -> object:
    """A compiled shape as plain data: Python types, wire names and AWS's texts."""
    match shape:
        case StructureOf():
            required = {name for name, (attribute, _) in shape.members.items() if attribute in shape.kind.required}
            return [(name, name in required, describe(inner)) for name, (_, inner) in shape.members.items()]
        case ListOf():
            return "list", [rule.text for rule in shape.rules], describe(shape.element)
        case MapOf():
            return "map", describe(shape.element)
        case Scalar():
            return shape.kind.__name__, [rule.text for rule in shape.rules], shape.hidden
    raise AssertionError(shape)


def described(name: str) -> object:
    """The same from the model."""
    shape = SHAPES[name]
    kinds = {"string": "str", "blob": "bytes", "integer": "int", "timestamp": "float", "boolean": "bool"}
    texts = [f"Member must satisfy regular expression pattern: {shape['pattern']}"] if "pattern" in shape else []
    values = [value for value in shape.get("enum", ()) if not value.startswith("SM2")]  # the Regions of China's
    texts += [f"Member must satisfy enum value set: [{', '.join(values)}]"] if values else []
    measure = "value" if shape["type"] == "integer" else "length"
    texts += [f"Member must have {measure} less than or equal to {shape['max']}"] if "max" in shape else []
    texts += [f"Member must have {measure} greater than or equal to {shape['min']}"] if "min" in shape else []
    match shape["type"]:
        case "structure":
            members: dict[str, Any] = shape["members"]
            return [
                (each, each in shape.get("required", ()), described(target["shape"]))
                for each, target in members.items()
            ]
        case "list":
            return "list", texts, described(shape["member"]["shape"])
        case "map":
            return "map", described(shape["value"]["shape"])
        case kind:
            return kinds[kind], texts, shape.get("sensitive", False) or kind == "blob"


@pytest.mark.parametrize(("message", "shape"), list(pairs()), ids=lambda each: getattr(each, "__name__", ""))
def test_a_message_has_the_members_and_constraints_of_the_model(message: type[Structure], shape: str) -> None:
    assert describe(schema_of(message)) == described(shape)


def test_the_generated_files_are_current() -> None:
    check = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, check=False)

    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_messages", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_an_edited_a_missing_and_a_superfluous_file_are_found(generator: ModuleType, tmp_path: Path) -> None:
    files = {tmp_path / name: name for name in ("same.py", "edited.py", "missing.py")}
    for name, text in (("same.py", "same.py"), ("edited.py", "edited"), ("superfluous.py", "")):
        (tmp_path / name).write_text(text)

    assert [path.name for path in generator.differences(files)] == ["edited.py", "missing.py", "superfluous.py"]


@pytest.mark.parametrize(
    ("wire", "attribute"),
    [
        ("KeyId", "key_id"),
        ("AWSAccountId", "aws_account_id"),
        ("XksProxyVpcEndpointServiceName", "xks_proxy_vpc_endpoint_service_name"),
        ("CloudHsmClusterId", "cloud_hsm_cluster_id"),
    ],
)
def test_attributes_are_named_in_words(generator: ModuleType, wire: str, attribute: str) -> None:
    assert generator.snake(wire) == attribute


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "string", "streaming": True},
        {"type": "list", "member": {"shape": "PlaintextType"}},
        {"type": "list", "member": {"shape": "TagList"}},
        {"type": "map", "key": {"shape": "KeyIdType"}, "value": {"shape": "EncryptionContextValue"}},
    ],
)
def test_what_the_messages_have_no_form_for_is_refused(generator: ModuleType, shape: dict[str, Any]) -> None:
    request = {"type": "structure", "members": {"New": {"shape": "New"}}}
    operations = {"Ask": {"input": {"shape": "AskRequest"}}}
    shapes = {**SHAPES, "New": shape, "AskRequest": request}
    model = generator.Model(generator.SERVICES[0], operations, shapes, {})

    with pytest.raises(generator.UnsupportedModelError):
        generator.alias(model, "New")


def test_what_botocore_writes_is_read() -> None:
    operation = get_session().get_service_model("kms").operation_model("Encrypt")
    parameters = {"KeyId": "alias/a", "Plaintext": b"\x00\xff", "EncryptionContext": {"a": "b"}, "DryRun": True}
    body = create_serializer("json").serialize_to_request(parameters, operation)["body"]

    assert decode(EncryptRequest, body) == EncryptRequest(
        key_id="alias/a", plaintext=b"\x00\xff", encryption_context={"a": "b"}, dry_run=True
    )


def test_botocore_reads_what_is_written() -> None:
    output = get_session().get_service_model("kms").operation_model("DescribeKey").output_shape
    metadata = KeyMetadata(aws_account_id="111122223333", key_id="a", enabled=False, creation_date=1773253425.5)
    response = {"status_code": 200, "headers": {}, "body": encode(DescribeKeyResponse(key_metadata=metadata))}

    parsed = create_parser("json").parse(response, output)["KeyMetadata"]

    assert parsed["CreationDate"].timestamp() == 1773253425.5
    assert {**parsed, "CreationDate": None} == {
        "AWSAccountId": "111122223333",
        "KeyId": "a",
        "Enabled": False,
        "CreationDate": None,
    }
