"""Write the messages of every service from botocore's models, or with `--check` only compare.

A family of operations becomes a file. A shape that one family alone uses stands in that family's file, any
other in `shapes.py`. With `--check` nothing is written, and the exit code is 1 if a file is not what would be written.
Documentation is not copied: AWS's text is AWS's.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore
from botocore.loaders import Loader

Shape = Mapping[str, Any]
"""A shape as the model's JSON has it."""

MESSAGES = Path(__file__).resolve().parents[1] / "src" / "strongroom" / "messages"

SHARED = "shapes"

OFFERED_IN_CHINA = {"SM2", "SM2DSA", "SM2PKE"}
"""Values that Regions elsewhere do not list among those they take (as recorded)."""

SCALARS = {"string": "str", "blob": "bytes", "integer": "int", "timestamp": "float", "boolean": "bool"}

KMS_FAMILIES = {
    "aliases": ("CreateAlias", "DeleteAlias", "ListAliases", "UpdateAlias"),
    "custom_key_stores": (
        "ConnectCustomKeyStore",
        "CreateCustomKeyStore",
        "DeleteCustomKeyStore",
        "DescribeCustomKeyStores",
        "DisconnectCustomKeyStore",
        "UpdateCustomKeyStore",
    ),
    "data_keys": (
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
    ),
    "deletion": ("CancelKeyDeletion", "ScheduleKeyDeletion"),
    "encapsulation": ("Decapsulate", "Encapsulate"),
    "encryption": ("Decrypt", "Encrypt", "ReEncrypt"),
    "grants": ("CreateGrant", "ListGrants", "ListRetirableGrants", "RetireGrant", "RevokeGrant"),
    "imported_material": ("DeleteImportedKeyMaterial", "GetParametersForImport", "ImportKeyMaterial"),
    "key_agreement": ("DeriveSharedSecret",),
    "keys": (
        "CreateKey",
        "DescribeKey",
        "DisableKey",
        "EnableKey",
        "GetKeyLastUsage",
        "ListKeys",
        "UpdateKeyDescription",
    ),
    "macs": ("GenerateMac", "VerifyMac"),
    "multi_region": ("ReplicateKey", "UpdatePrimaryRegion"),
    "policies": ("GetKeyPolicy", "ListKeyPolicies", "PutKeyPolicy"),
    "public_keys": ("GetPublicKey",),
    "random_bytes": ("GenerateRandom",),
    "rotation": (
        "DisableKeyRotation",
        "EnableKeyRotation",
        "GetKeyRotationStatus",
        "ListKeyRotations",
        "RotateKeyOnDemand",
    ),
    "signatures": ("Sign", "Verify"),
    "tags": ("ListResourceTags", "TagResource", "UntagResource"),
}


IAM_FAMILIES = {
    "access_keys": (
        "CreateAccessKey",
        "DeleteAccessKey",
        "GetAccessKeyLastUsed",
        "ListAccessKeys",
        "UpdateAccessKey",
    ),
    "attached_policies": (
        "AttachGroupPolicy",
        "AttachRolePolicy",
        "AttachUserPolicy",
        "DetachGroupPolicy",
        "DetachRolePolicy",
        "DetachUserPolicy",
        "ListAttachedGroupPolicies",
        "ListAttachedRolePolicies",
        "ListAttachedUserPolicies",
        "ListEntitiesForPolicy",
    ),
    "authorization_details": ("GetAccountAuthorizationDetails",),
    "boundaries": (
        "DeleteRolePermissionsBoundary",
        "DeleteUserPermissionsBoundary",
        "PutRolePermissionsBoundary",
        "PutUserPermissionsBoundary",
    ),
    "groups": (
        "AddUserToGroup",
        "CreateGroup",
        "DeleteGroup",
        "GetGroup",
        "ListGroups",
        "ListGroupsForUser",
        "RemoveUserFromGroup",
        "UpdateGroup",
    ),
    "inline_policies": (
        "DeleteGroupPolicy",
        "DeleteRolePolicy",
        "DeleteUserPolicy",
        "GetGroupPolicy",
        "GetRolePolicy",
        "GetUserPolicy",
        "ListGroupPolicies",
        "ListRolePolicies",
        "ListUserPolicies",
        "PutGroupPolicy",
        "PutRolePolicy",
        "PutUserPolicy",
    ),
    "managed_policies": (
        "CreatePolicy",
        "CreatePolicyVersion",
        "DeletePolicy",
        "DeletePolicyVersion",
        "GetPolicy",
        "GetPolicyVersion",
        "ListPolicies",
        "ListPolicyVersions",
        "SetDefaultPolicyVersion",
    ),
    "openid_connect_providers": (
        "AddClientIDToOpenIDConnectProvider",
        "CreateOpenIDConnectProvider",
        "DeleteOpenIDConnectProvider",
        "GetOpenIDConnectProvider",
        "ListOpenIDConnectProviders",
        "RemoveClientIDFromOpenIDConnectProvider",
        "UpdateOpenIDConnectProviderThumbprint",
    ),
    "roles": (
        "CreateRole",
        "DeleteRole",
        "GetRole",
        "ListInstanceProfilesForRole",
        "ListRoles",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
        "UpdateRoleDescription",
    ),
    "simulation": ("SimulateCustomPolicy", "SimulatePrincipalPolicy"),
    "tags": (
        "ListOpenIDConnectProviderTags",
        "ListPolicyTags",
        "ListRoleTags",
        "ListUserTags",
        "TagOpenIDConnectProvider",
        "TagPolicy",
        "TagRole",
        "TagUser",
        "UntagOpenIDConnectProvider",
        "UntagPolicy",
        "UntagRole",
        "UntagUser",
    ),
    "users": ("CreateUser", "DeleteUser", "GetUser", "ListUsers", "UpdateUser"),
}

STS_FAMILIES = {
    "caller_identity": ("GetCallerIdentity",),
    "sessions": ("AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken"),
}


CLOUDTRAIL_FAMILIES = {"events": ("LookupEvents",)}


@dataclass(frozen=True)
class Service:
    """What to generate for one service.

    `empty_body` names the operations that take a body of no bytes. `whole` says that every operation of the model has
    its place in a family; of other services only those that are named are written. `sensitive` are shapes that are
    never printed, though the model does not say so. `checked` are shapes that the service checks itself, with errors of
    its own: their constraints are left out.
    """

    name: str
    title: str
    families: Mapping[str, tuple[str, ...]]
    empty_body: frozenset[str] = frozenset()
    whole: bool = False
    sensitive: frozenset[str] = frozenset()
    checked: frozenset[str] = frozenset()


SERVICES = (
    Service("kms", "AWS KMS", KMS_FAMILIES, frozenset({"CreateKey"}), whole=True),
    Service("iam", "IAM", IAM_FAMILIES),
    Service("sts", "AWS STS", STS_FAMILIES, sensitive=frozenset({"TokenType"})),
    Service(
        "cloudtrail",
        "AWS CloudTrail",
        CLOUDTRAIL_FAMILIES,
        checked=frozenset({"EventCategory", "LookupAttributeKey", "LookupAttributeValue", "MaxResults"}),
    ),
)


class UnsupportedModelError(Exception):
    """The model has something that the messages have no form for."""


@dataclass(frozen=True)
class Model:
    """A service model, and where each of its shapes is written."""

    service: Service
    operations: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Shape]
    homes: Mapping[str, str]

    @cached_property
    def asked(self) -> frozenset[str]:
        """The shapes that requests have."""
        requests = [operation["input"]["shape"] for operation in self.operations.values() if "input" in operation]
        return frozenset(name for request in requests for name in reachable(self.shapes, type_name(request)))

    def messages(self, operation: str) -> Iterator[str]:
        """Shape names of what goes in and what comes out."""
        for direction in ("input", "output"):
            if direction in self.operations[operation]:
                yield type_name(self.operations[operation][direction]["shape"])


def load(service: Service) -> Model:
    """Read the installed model and give every shape that a message reaches a home."""
    document = Loader().load_service_model(service.name, "service-2")
    operations, shapes = document["operations"], document["shapes"]
    placed = {name for names in service.families.values() for name in names}
    if placed - operations.keys() or (service.whole and placed != operations.keys()):
        raise UnsupportedModelError(f"families and model differ: {placed ^ operations.keys()}")
    operations = {name: operation for name, operation in operations.items() if name in placed}
    shapes = {type_name(name): _with_type_names(shape) for name, shape in shapes.items()}
    shapes |= {name: shapes[name] | {"sensitive": True} for name in service.sensitive}
    shapes |= {name: {"type": shapes[name]["type"]} for name in service.checked}
    homes: dict[str, str] = {}
    model = Model(service, operations, shapes, homes)
    for family, names in service.families.items():
        for operation in names:
            for message in model.messages(operation):
                for shape in reachable(shapes, message):
                    homes[shape] = family if homes.get(shape, family) == family else SHARED
    for shape in [shape for shape, home in homes.items() if home == SHARED]:
        homes.update(dict.fromkeys(reachable(shapes, shape), SHARED))
    return model


def type_name(name: str) -> str:
    """Name a shape as a type: `userNameType` is `UserNameType`."""
    return name[0].upper() + name[1:]


def _with_type_names(part: Any) -> Any:  # noqa: ANN401 — any part of a JSON document
    """Rename the shapes that a shape refers to."""
    if not isinstance(part, dict):
        return part
    return {
        key: type_name(value) if key == "shape" and isinstance(value, str) else _with_type_names(value)
        for key, value in part.items()
    }


def children(shape: Shape) -> list[str]:
    """Names of the shapes that a shape is made of."""
    parts = [
        *shape.get("members", {}).values(),
        *(shape[part] for part in ("member", "key", "value") if part in shape),
    ]
    return [part["shape"] for part in parts]


def reachable(shapes: Mapping[str, Shape], name: str) -> Iterator[str]:
    """Every shape a shape needs and then the shape itself, so that a file can be written in this order."""
    for child in children(shapes[name]):
        yield from reachable(shapes, child)
    yield name


def snake(name: str) -> str:
    """Name an attribute: `KeyId` is `key_id`, `AWSAccountId` is `aws_account_id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def pascal(attribute: str) -> str:
    """Give an attribute the wire name that msgspec gives it by itself."""
    return "".join(word.title() for word in attribute.split("_"))


def literal(text: str) -> str:
    """Write a pattern."""
    return f'r"{text}"' if '"' not in text else repr(text)


def constraint(shape: Shape) -> str | None:
    """Write a shape's constraint; None if it has none."""
    unknown = set(shape) - {
        *("type", "documentation", "deprecated", "deprecatedMessage", "member", "key", "value"),
        *("min", "max", "pattern", "enum", "sensitive", "box"),
    }
    if unknown:
        raise UnsupportedModelError(f"traits {unknown}")
    arguments = [
        f"{ours}={shape[theirs]}" for theirs, ours in (("min", "minimum"), ("max", "maximum")) if theirs in shape
    ]
    if "pattern" in shape:
        arguments.append(f"pattern={literal(shape['pattern'])}")
    if "enum" in shape:
        values = [value for value in shape["enum"] if value not in OFFERED_IN_CHINA]
        arguments.append(f"values=({''.join(f'{value!r}, ' for value in values)})")
    if shape.get("sensitive"):
        arguments.append("sensitive=True")
    return f"Constraint({', '.join(arguments)})" if arguments else None


def alias(model: Model, name: str) -> str:
    """Write a shape that is not a structure."""
    shape = model.shapes[name]
    limits = constraint(shape)
    if shape["type"] == "list":
        item = model.shapes[shape["member"]["shape"]]
        if item["type"] in ("list", "map", "blob") or item.get("sensitive"):
            raise UnsupportedModelError(f"{name}: a list of {item['type']}")
        base = f"tuple[{reference(model.shapes, shape['member']['shape'])}, ...]"
    elif shape["type"] == "map":
        key, value = (model.shapes[shape[part]["shape"]] for part in ("key", "value"))
        limited = name in model.asked and any(map(constraint, (shape, key, value)))
        if (key["type"], value["type"]) != ("string", "string") or limited:
            raise UnsupportedModelError(f"{name}: a map of anything but unconstrained strings")
        base = "dict[str, str]"
    else:
        base = SCALARS[shape["type"]]
    return f"{name} = {base if limits is None else f'Annotated[{base}, {limits}]'}"


def reference(shapes: Mapping[str, Shape], name: str) -> str:
    """Name a shape where it is used: by its Python type if that says it all."""
    shape = shapes[name]
    return SCALARS[shape["type"]] if shape["type"] in SCALARS and constraint(shape) is None else name


def member(name: str, shape: str) -> str:
    """Write a structure's member."""
    attribute = snake(name)
    default = "None" if pascal(attribute) == name else f'msgspec.field(default=None, name="{name}")'
    return f"    {attribute}: {shape} | None = {default}"


def structure(model: Model, name: str, meaning: str, *, empty_body: bool = False) -> str:
    """Write a structure."""
    shape = model.shapes[name]
    lines = [f"class {name}(Structure, frozen=True, kw_only=True):", f'    """{meaning}"""']
    required = sorted(snake(each) for each in shape.get("required", ()))
    if required:
        lines += ["", f"    required = frozenset({{{', '.join(map(repr, required))}}})"]
    if empty_body:
        lines += ["", "    empty_body = True"]
    if shape["members"]:
        targets = {each: target["shape"] for each, target in shape["members"].items()}
        lines += ["", *(member(each, reference(model.shapes, target)) for each, target in targets.items())]
    return "\n".join(lines)


def definitions(model: Model, home: str, operations: tuple[str, ...], meanings: Mapping[str, str]) -> list[str]:
    """Write the shapes that have their home in one file, each after what it is made of."""
    messages = [message for operation in operations for message in model.messages(operation)]
    names = [name for message in messages for name in reachable(model.shapes, message)]
    empty = {model.operations[operation]["input"]["shape"] for operation in model.service.empty_body}
    sources = []
    for name in dict.fromkeys(names):
        if model.homes[name] != home:
            continue
        if model.shapes[name]["type"] == "structure":
            meaning = meanings.get(name, f"{name} of the model.")
            sources.append(structure(model, name, meaning, empty_body=name in empty))
        elif reference(model.shapes, name) == name:
            sources.append(alias(model, name))
    return sources


def operation_row(model: Model, operation: str) -> str:
    """Write an operation's row of the table."""
    request, *response = model.messages(operation)
    return f'    "{operation}": OperationMessages({request}, {response[0] if response else None}),'


def family_file(model: Model, family: str) -> str:
    """Write a family's file."""
    operations = model.service.families[family]
    meanings = {}
    for operation in operations:
        for message, meaning in zip(model.messages(operation), ("Input", "Output"), strict=False):
            meanings[message] = f"{meaning} of {operation}."
    rows = "\n".join(operation_row(model, operation) for operation in operations)
    table = f"OPERATIONS: Final[dict[str, OperationMessages]] = {{\n{rows}\n}}"
    body = "\n".join([*definitions(model, family, operations, meanings), table])
    shared = [name for name, home in model.homes.items() if home == SHARED and re.search(rf"\b{name}\b", body)]
    return module(model, f"{model.service.title}: {family.replace('_', ' ')}.", body, shared)


def shared_file(model: Model) -> str:
    """Write the file of the shapes that several families use."""
    body = "\n".join(definitions(model, SHARED, tuple(sorted(model.operations)), {}))
    return module(model, f"{model.service.title}: shapes that several families share.", body, [])


def package_file(model: Model) -> str:
    """Write the package: the table of all operations."""
    families = sorted(model.service.families)
    package = f"strongroom.messages.{model.service.name}"
    rows = "\n".join(f"    **{family}.OPERATIONS," for family in families)
    return "\n".join(
        [
            header(f"Messages of {model.service.title}, one file per family of operations."),
            "from typing import Final",
            "",
            *sorted(
                [
                    "from strongroom.messages.declaration import OperationMessages",
                    f"from {package} import ({', '.join(families)},)",
                ]
            ),
            "",
            '__all__ = ["OPERATIONS"]',
            "",
            f"OPERATIONS: Final[dict[str, OperationMessages]] = {{\n{rows}\n}}",
            f'"""Every operation of {model.service.title} by name."""',
        ]
    )


def header(meaning: str) -> str:
    """Write the first lines of a file."""
    return (
        f"# Generated by tools/generate_messages.py from botocore {botocore.__version__}; do not edit.\n"
        f'"""{meaning}"""\n'
    )


def module(model: Model, meaning: str, body: str, shared: list[str]) -> str:
    """Complete a file: its imports are the names that occur in its body."""
    typing = [name for name in ("Annotated", "Final") if re.search(rf"\b{name}\[", body)]
    declaration = [
        name for name in ("Constraint", "OperationMessages", "Structure") if re.search(rf"\b{name}\(|\({name},", body)
    ]
    package = f"strongroom.messages.{model.service.name}"
    lines = [
        header(meaning),
        f"from typing import {', '.join(typing)}\n",
        *(["import msgspec\n"] if "msgspec." in body else []),
        f"from strongroom.messages.declaration import {', '.join(declaration)}",
        *([f"from {package}.{SHARED} import ({', '.join(sorted(shared, key=str.lower))},)"] if shared else []),
    ]
    return "\n".join([*lines, "", body])


def formatted(source: str) -> str:
    """Format a file."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--stdin-filename",
        str(MESSAGES / "generated.py"),
        "-",
    ]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout  # noqa: S603


def generate(service: Service) -> dict[Path, str]:
    """Every file of a service's messages, by path."""
    model = load(service)
    sources = {"__init__": package_file(model)}
    if SHARED in model.homes.values():
        sources[SHARED] = shared_file(model)
    sources |= {family: family_file(model, family) for family in service.families}
    return {MESSAGES / service.name / f"{name}.py": formatted(source) for name, source in sources.items()}


def differences(files: Mapping[Path, str]) -> list[Path]:
    """Paths whose contents are not those given, files nobody would write among them."""
    present = {path for folder in {path.parent for path in files} for path in folder.glob("*.py")}
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return sorted([*stale, *(present - set(files))])


def main(arguments: list[str]) -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Write the messages of every service.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args(arguments).check
    files = {path: text for service in SERVICES for path, text in generate(service).items()}
    differing = differences(files)
    for path in differing:
        print(f"not current: {path.name}" if check else f"wrote {path.name}")
        if not check and path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        elif not check:
            path.unlink()
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
