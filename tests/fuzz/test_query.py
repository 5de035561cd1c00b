"""Forms made from the models of IAM and STS and then bent: no 500, XML always, no record missing."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import botocore.session
import pytest

from strongroom.messages.query import VERSIONS
from strongroom.operations.registry import OPERATIONS
from strongroom.testing.server import running_server
from strongroom.testing.signed_client import SignedClient
from tests.records import recorded
from tests.sizes import Size

pytestmark = pytest.mark.soak

MODELS = {service: botocore.session.get_session().get_service_model(service) for service in VERSIONS}
BUILT = sorted((service, name) for service, name in OPERATIONS if service in VERSIONS)
ACCOUNT_ARN = "arn:aws:iam::{account}:"
NAMES = ["ann", "bob", "readers", "a" * 64, "ANN"]
DOCUMENTS = [
    json.dumps({"Version": "2012-10-17", "Statement": {"Effect": effect, "Action": "kms:*", "Resource": "*"}})
    for effect in ("Allow", "Deny")
]
TRUST = [
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"},
        }
    )
]
ODD = [
    "", " ", "\0", "a" * 300, "é" * 100, "💥", "%s{0}${x}", "<>&\"'", "]]>", "\r\n", "-1", "1e9", "9" * 30, "true",
    "{}", "arn:aws:iam::x:user/", "\ufffe", "{" * 2000,
]  # fmt: skip
ODD_BODIES = [
    b"", b"&", b"=", b"&&&==&", b"%", b"%zz=%", b"\xff=\xff", b"Action", b"Action=&Version=", b"A=1&" * 12_000,
    b"Tags.member.1.Key.member.1.x=1", b"Tags.member.99999999999.Key=a", b"Tags.member.0.Key=a", b"x." * 5000 + b"=1",
    b"UserName=a&UserName=b", b"UserName.x=a", b"Tags=a&Tags.member.1.Key=b",
]  # fmt: skip


class Bender:
    """Makes forms: mostly well formed, then bent in places. The same seed makes the same forms."""

    def __init__(self, seed: int, account: str) -> None:
        self.random = random.Random(seed)
        self.account = account

    def form(self, service: str, operation: str) -> bytes:
        head = f"Action={operation}&Version={VERSIONS[service]}".encode()
        if self.random.random() < 0.05:
            return head + b"&" + self.random.choice(ODD_BODIES)
        shape = MODELS[service].operation_model(operation).input_shape
        pairs: list[tuple[str, str]] = []
        if shape is not None:
            self.structure(shape, "", pairs)
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            self.bend(pairs)
        body = head + b"&" + urlencode(pairs, quote_via=quote).encode()
        return body[: self.random.randrange(len(body))] if self.random.random() < 0.03 else body

    def structure(self, shape: Any, prefix: str, pairs: list[tuple[str, str]]) -> None:
        optional = self.random.choice([0, 0, 0.3])
        for name, member in shape.members.items():
            if name in shape.required_members or self.random.random() < optional:
                self.value(name, member, f"{prefix}{name}", pairs)

    def value(self, name: str, shape: Any, path: str, pairs: list[tuple[str, str]]) -> None:
        match shape.type_name:
            case "structure":
                self.structure(shape, f"{path}.", pairs)
            case "list":
                for number in range(1, self.random.randrange(1, 4)):
                    self.value(name, shape.member, f"{path}.member.{number}", pairs)
            case "integer":
                pairs.append((path, str(self.random.choice([1, 900, 1000, 3600, 43200]))))
            case "boolean":
                pairs.append((path, self.random.choice(["true", "false"])))
            case _:
                pairs.append((path, self.random.choice(shape.enum) if shape.enum else self.text(name)))

    def text(self, name: str) -> str:
        arn = f"arn:aws:iam::{self.account}:"
        known: dict[str, list[str]] = {
            "PolicyArn": [f"{arn}policy/p", "arn:aws:iam::aws:policy/AdministratorAccess", f"{arn}policy/x/p"],
            "PermissionsBoundary": [f"{arn}policy/p", "arn:aws:iam::aws:policy/AdministratorAccess"],
            "PolicyName": ["p", "q"],
            "VersionId": ["v1", "v2"],
            "Path": ["/", "/x/"],
            "PathPrefix": ["/", "/x/"],
            "NewPath": ["/", "/x/"],
            "AssumeRolePolicyDocument": TRUST,
            "RoleArn": [f"{arn}role/{one}" for one in NAMES[:2]],
            "PolicySourceArn": [f"{arn}user/ann", f"{arn}role/ann", f"{arn}group/ann"],
            "OpenIDConnectProviderArn": [f"{arn}oidc-provider/issuer.example/a"],
            "Url": ["https://issuer.example/a"],
            "ThumbprintList": ["ab" * 20],
            "ActionNames": ["kms:Encrypt", "iam:GetUser"],
            "ResourceArns": ["*", f"arn:aws:kms:us-east-1:{self.account}:key/x"],
            "Key": ["team", "Team", "cost"],
            "AccessKeyId": ["AKIA2222222222222222"],
            "WebIdentityToken": ["a.b.c", "x" * 100],
        }
        if name.endswith(("Document", "PolicyInputList")) or name in ("Policy", "ResourcePolicy"):
            return self.random.choice(known.get(name, DOCUMENTS))
        return self.random.choice(known.get(name, NAMES))

    def bend(self, pairs: list[tuple[str, str]]) -> None:
        odd = self.random.choice(ODD).encode("utf-8", "replace").decode()
        if not pairs or self.random.random() < 0.3:
            pairs.append((self.random.choice(["Marker", "MaxItems", "Tags.member.1.Key", "Unknown", ""]), odd))
            return
        at = self.random.randrange(len(pairs))
        pairs[at] = (pairs[at][0], odd) if self.random.random() < 0.8 else (f"{pairs[at][0]}.{odd[:9]}", "x")


def test_bent_forms_are_answered_and_recorded(tmp_path: Path, size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    with running_server(tmp_path / "data") as server, SignedClient(server, timeout=20) as client:
        found = ET.fromstring(client.form("sts", b"Action=GetCallerIdentity&Version=2011-06-15").body)
        account = "".join(one.text or "" for one in found.iter() if one.tag.endswith("Account"))
        bender = Bender(seed, account)
        request_ids: list[str] = []
        counts: Counter[tuple[str, int]] = Counter()
        for _ in range(size.fuzz_requests):
            service, operation = bender.random.choice(BUILT)
            body = bender.form(service, operation)
            reply = client.form(service, body)
            assert reply.status < 500, (seed, body, reply)
            ET.fromstring(reply.body)
            counts[operation, reply.status] += 1
            if operation != "AssumeRoleWithWebIdentity" and body.startswith(b"Action=") and reply.status != 404:
                request_ids.append(reply.request_id)
        recorded_ids = [record["requestID"] for record in recorded(server.data) if "requestID" in record]
    assert len(recorded_ids) == len(set(recorded_ids))
    missing = set(request_ids) - set(recorded_ids)
    assert len(missing) <= size.fuzz_requests * 0.05, "only a form that was cut before its Action is a stranger's"
    succeeded = {operation for (operation, status), _ in counts.items() if status == 200}
    if size.fuzz_requests >= 10_000:
        never = {operation for _, operation in BUILT} - succeeded
        assert len(never) <= 8, never  # what nobody can name by chance: access keys, tokens, a policy that nobody has
    print(
        f"{size.fuzz_requests} forms: {len(succeeded)} of {len(BUILT)} operations succeeded, {len(missing)} cut short"
    )
