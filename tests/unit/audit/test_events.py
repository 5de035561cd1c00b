"""What events are looked up by, read from records as the service writes them."""

import json

import pytest
from msgspec import Raw

from strongroom.audit.events import read_event
from strongroom.audit.record import CloudTrailRecord, Resource, encode, key_event, service_event, user_identity
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal, root_user

ACCOUNT, REGION = "111122223333", "us-east-1"
ARN = f"arn:aws:iam::{ACCOUNT}:"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/"
ALICE = Principal("IAMUser", f"{ARN}user/staff/alice", ACCOUNT, "AIDA1", "AKIA1")
SESSION = Principal("AssumedRole", f"arn:aws:sts::{ACCOUNT}:assumed-role/r/work", ACCOUNT, "AROA1:work", "ASIA1")
PROVIDER = f"{ARN}oidc-provider/gitlab.example"
WEB = Principal("WebIdentityUser", PROVIDER, ACCOUNT, f"{PROVIDER}:audience:project:7", "")
SERVICE = Principal("AWSService", "s3.amazonaws.com", "", "s3", "AKIA2")


def record(identity: Raw, **members: object) -> bytes:
    plain: dict[str, object] = {
        "user_identity": identity,
        "event_time": "2026-09-21T14:13:20Z",
        "event_name": "Encrypt",
        "aws_region": REGION,
        "source_ip_address": "192.0.2.1",
        "user_agent": "test",
        "event_id": "event-1",
        "read_only": True,
        "recipient_account_id": ACCOUNT,
    }
    return encode(CloudTrailRecord(**(plain | members)))  # type: ignore[arg-type]


def test_every_member_is_read() -> None:
    resources = (Resource(ACCOUNT, "AWS::KMS::Key", f"{KEY_ARN}1"), Resource(ACCOUNT, "AWS::KMS::Key", f"{KEY_ARN}2"))
    written = record(user_identity(ALICE), resources=resources, read_only=False)

    assert read_event("node.1", 7, written) == (
        "node.1", 7, 1_790_000_000, ACCOUNT, REGION, "event-1", "Encrypt", "kms.amazonaws.com", False, "alice", "AKIA1",
        "AWS::KMS::Key", (f"{KEY_ARN}1", f"{KEY_ARN}2"), written,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("identity", "user_name", "access_key_id"),
    [
        (user_identity(ALICE), "alice", "AKIA1"),
        (user_identity(root_user(ACCOUNT, "AKIA3")), "root", "AKIA3"),
        (user_identity(SESSION), "work", "ASIA1"),
        (user_identity(WEB), "project:7", None),
        (user_identity(SERVICE), "s3.amazonaws.com", None),
        (Raw(b'{"type":"WebIdentityUser","userName":"a\\u0000b"}'), None, None),
    ],
)
def test_the_user_is_whom_aws_calls_so(identity: Raw, user_name: str | None, access_key_id: str | None) -> None:
    read = read_event("node.1", 1, record(identity))
    assert read is not None
    assert (read.user_name, read.access_key_id) == (user_name, access_key_id)
    assert (read.resource_type, read.resource_names) == (None, ())


def test_what_the_service_did_to_a_key_is_its_accounts() -> None:
    key = KmsKey(
        ACCOUNT, REGION, "key-1", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled", "", "{}", (), 1.0, "",
    )  # fmt: skip
    written = encode(key_event(name="RotateKey", event_id="event-1", now=1_790_000_000.5, key=key, details={}))
    read = read_event("node.1", 1, written)

    assert read is not None
    assert (read.account, read.region, read.resource_names) == (ACCOUNT, REGION, (key.arn,))
    assert (read.user_name, read.read_only, read.event_time) == (None, False, 1_790_000_000)


@pytest.mark.parametrize(
    "written",
    [
        encode(service_event(name="Initialize", event_id="event-1", now=1.0, details={})),
        json.dumps({"format": "strongroom-audit-log-1", "segment": 1}).encode(),
        b"",
        b"[]",
        b"\xff",
        b'{"eventTime":1}',
        record(user_identity(ALICE), event_time="0001-01-01T00:00:00"),
        b"[" * 10_000,
    ],
)
def test_what_is_no_accounts_event_is_none(written: bytes) -> None:
    assert read_event("node.1", 1, written) is None
