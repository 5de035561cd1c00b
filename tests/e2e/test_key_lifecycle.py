"""The life of a key through boto3: its description, its states, and its scheduled deletion."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.record import shown_time
from strongroom.testing.server import Server, running_server
from strongroom.testing.signed_client import SignedClient
from tests.e2e.calls import Key, allow, denied, deny, make_key, policy, refusal, refused, violation
from tests.records import record_of_request

SECONDS_PER_DAY = 86_400
WAITING_PERIODS = ("ValidationException", "PendingWindowInDays must be between 7 and 30")


@pytest.fixture
def key(kms: Any) -> Key:
    return make_key(kms)


def metadata(kms: Any, key: Key) -> dict[str, Any]:
    told: dict[str, Any] = kms.describe_key(KeyId=key.key_id)["KeyMetadata"]
    return told


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "plain",
        "  spaces, a tab\tand newlines\r\n\n ",
        "Ключ 💥 é e\u0301",
        "\0\x1f\x7f",
        "\\\"'</script>",
        "d" * 8192,
    ],
)
def test_a_description_comes_back_byte_for_byte(kms: Any, key: Key, text: str) -> None:
    before = metadata(kms, key)
    for name in (key.key_id, key.arn):
        kms.update_key_description(KeyId=name, Description=text)
        assert metadata(kms, key) == before | {"Description": text}
    assert kms.create_key(Description=text)["KeyMetadata"]["Description"] == text


def test_descriptions_that_are_refused(kms: Any, key: Key) -> None:
    too_long = violation("💥" * 8193, "description", "have length less than or equal to 8192")

    assert refusal(kms.update_key_description, KeyId=key.key_id, Description="💥" * 8193) == too_long
    assert refusal(kms.update_key_description, KeyId=key.key_id) == violation(None, "description", "not be null")
    assert metadata(kms, key)["Description"] == ""


def test_disabling_and_enabling_are_idempotent_and_take_effect_at_once(kms: Any, key: Key) -> None:
    before = metadata(kms, key)
    kms.enable_key(KeyId=key.key_id)
    assert metadata(kms, key) == before
    for _ in range(2):
        for name in (key.key_id, key.arn):
            kms.disable_key(KeyId=name)
            assert refusal(kms.decrypt, CiphertextBlob=key.blob) == ("DisabledException", f"{key.arn} is disabled.")
            assert metadata(kms, key) == before | {"KeyState": "Disabled", "Enabled": False}
        for name in (key.key_id, key.arn):
            kms.enable_key(KeyId=name)
            assert kms.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
            assert metadata(kms, key) == before


@pytest.mark.parametrize(
    ("asked", "days"), [({}, 30), ({"PendingWindowInDays": 7}, 7), ({"PendingWindowInDays": 30}, 30)]
)
@pytest.mark.parametrize("disabled", [False, True])
def test_a_deletion_is_scheduled_and_canceled(
    kms: Any,
    key: Key,
    asked: dict[str, int],
    days: int,
    disabled: bool,  # noqa: FBT001
) -> None:
    before = metadata(kms, key)
    if disabled:
        kms.disable_key(KeyId=key.key_id)
    earliest = round(time.time(), 3)
    scheduled = kms.schedule_key_deletion(KeyId=key.key_id, **asked)
    latest = round(time.time(), 3)

    date = scheduled.pop("DeletionDate")
    del scheduled["ResponseMetadata"]
    assert scheduled == {"KeyId": key.arn, "KeyState": "PendingDeletion", "PendingWindowInDays": days}
    assert earliest <= date.timestamp() - days * SECONDS_PER_DAY <= latest
    pending = before | {"KeyState": "PendingDeletion", "Enabled": False, "DeletionDate": date}
    assert metadata(kms, key) == pending
    assert refusal(kms.schedule_key_deletion, KeyId=key.key_id, PendingWindowInDays=7) == (
        "KMSInvalidStateException",
        f"{key.arn} is pending deletion.",
    )
    assert metadata(kms, key) == pending
    keys = [entry["KeyId"] for page in kms.get_paginator("list_keys").paginate() for entry in page["Keys"]]
    assert key.key_id in keys
    assert [entry["AliasName"] for entry in kms.list_aliases(KeyId=key.key_id)["Aliases"]] == [key.alias]

    assert kms.cancel_key_deletion(KeyId=key.arn)["KeyId"] == key.arn
    assert metadata(kms, key) == before | {"KeyState": "Disabled", "Enabled": False}
    assert refusal(kms.cancel_key_deletion, KeyId=key.key_id) == (
        "KMSInvalidStateException",
        f"{key.arn} is not pending deletion.",
    )
    kms.enable_key(KeyId=key.key_id)
    assert kms.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
    assert metadata(kms, key) == before


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (6, WAITING_PERIODS),
        (31, WAITING_PERIODS),
        (1, WAITING_PERIODS),
        (365, WAITING_PERIODS),
        (0, violation("0", "pendingWindowInDays", "have value greater than or equal to 1")),
        (366, violation("366", "pendingWindowInDays", "have value less than or equal to 365")),
    ],
)
def test_waiting_periods_that_are_refused(kms: Any, key: Key, days: int, expected: tuple[str, str]) -> None:
    assert refusal(kms.schedule_key_deletion, KeyId=key.key_id, PendingWindowInDays=days) == expected
    assert metadata(kms, key)["KeyState"] == "Enabled"


@pytest.mark.parametrize(
    "operation", ["EnableKey", "DisableKey", "UpdateKeyDescription", "ScheduleKeyDeletion", "CancelKeyDeletion"]
)
def test_the_policy_of_the_key_decides_before_its_state(kms: Any, key: Key, operation: str) -> None:
    kms.put_key_policy(KeyId=key.key_id, Policy=policy(allow(key.account), deny(key.account, f"kms:{operation}")))
    before = metadata(kms, key)
    calls = {
        "EnableKey": kms.enable_key,
        "DisableKey": kms.disable_key,
        "UpdateKeyDescription": lambda **named: kms.update_key_description(Description="x", **named),
        "ScheduleKeyDeletion": kms.schedule_key_deletion,
        "CancelKeyDeletion": kms.cancel_key_deletion,
    }

    assert refusal(calls[operation], KeyId=key.key_id) == denied(key, f"kms:{operation}")
    assert metadata(kms, key) == before


def test_operations_without_output_answer_no_bytes(server: Server, key: Key) -> None:
    alias = {"AliasName": f"{key.alias}/another", "TargetKeyId": key.key_id}
    requests: list[tuple[str, dict[str, object]]] = [
        ("DisableKey", {"KeyId": key.key_id}),
        ("EnableKey", {"KeyId": key.key_id}),
        ("UpdateKeyDescription", {"KeyId": key.key_id, "Description": "x"}),
        ("CreateAlias", {**alias}),
        ("UpdateAlias", {**alias}),
        ("DeleteAlias", {"AliasName": alias["AliasName"]}),
        ("TagResource", {"KeyId": key.key_id, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("UntagResource", {"KeyId": key.key_id, "TagKeys": ["a"]}),
        ("PutKeyPolicy", {"KeyId": key.key_id, "Policy": policy(allow(key.account))}),
    ]
    with SignedClient(server) as client:
        for operation, body in requests:
            reply = client.call(operation, body)
            assert (reply.status, reply.body) == (200, b""), operation


def test_everything_is_there_again_after_a_restart(tmp_path: Path, kms_client: Callable[..., Any]) -> None:
    data = tmp_path / "data"
    with running_server(data) as server:
        kms = kms_client(server)
        key, other = make_key(kms), make_key(kms)
        kms.update_key_description(KeyId=key.key_id, Description=" Ключ\n")
        kms.tag_resource(KeyId=key.key_id, Tags=[{"TagKey": "b", "TagValue": ""}, {"TagKey": "a", "TagValue": "1"}])
        kms.put_key_policy(KeyId=key.key_id, Policy=policy(allow(key.account), deny(key.account, "kms:Encrypt")))
        kms.update_alias(AliasName=other.alias, TargetKeyId=key.key_id)
        kms.schedule_key_deletion(KeyId=key.key_id, PendingWindowInDays=7)
        kms.disable_key(KeyId=other.key_id)
        told = everything(kms, key) + everything(kms, other)

    with running_server(data) as server:
        kms = kms_client(server)
        assert everything(kms, key) + everything(kms, other) == told
        assert refusal(kms.decrypt, CiphertextBlob=other.blob)[0] == "DisabledException"
        kms.cancel_key_deletion(KeyId=other.alias_arn.replace(other.alias, f"key/{key.key_id}"))
        kms.enable_key(KeyId=key.key_id)
        assert kms.decrypt(CiphertextBlob=key.blob, KeyId=other.alias)["Plaintext"] == b"secret"
        assert refusal(kms.encrypt, KeyId=other.alias, Plaintext=b"x") == denied(key, "kms:Encrypt")


def everything(kms: Any, key: Key) -> list[Any]:
    """All that can be told of a key."""
    return [
        metadata(kms, key),
        kms.list_aliases(KeyId=key.key_id)["Aliases"],
        kms.list_resource_tags(KeyId=key.key_id)["Tags"],
        kms.get_key_policy(KeyId=key.key_id)["Policy"],
    ]


def test_what_is_recorded(kms: Any, server: Server, key: Key) -> None:
    resources = [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn}]
    scheduled = kms.schedule_key_deletion(KeyId=key.arn, PendingWindowInDays=7)
    shown = {
        "keyId": key.arn,
        "keyState": "PendingDeletion",
        "deletionDate": shown_time(scheduled["DeletionDate"].timestamp()),
        "pendingWindowInDays": 7,
    }
    changed = {"keyId": key.arn}
    expected = [
        (scheduled, "ScheduleKeyDeletion", {"keyId": key.arn, "pendingWindowInDays": 7}, shown),
        (kms.cancel_key_deletion(KeyId=key.key_id), "CancelKeyDeletion", {"keyId": key.key_id}, changed),
        (kms.enable_key(KeyId=key.key_id), "EnableKey", {"keyId": key.key_id}, changed),
        (
            kms.update_key_description(KeyId=key.key_id, Description="Ключ\n"),
            "UpdateKeyDescription",
            {"keyId": key.key_id, "description": "Ключ\n"},
            changed,
        ),
        (kms.disable_key(KeyId=key.key_id), "DisableKey", {"keyId": key.key_id}, changed),
        (kms.disable_key(KeyId=key.key_id), "DisableKey", {"keyId": key.key_id}, changed),
    ]
    for response, name, parameters, elements in expected:
        record = record_of_request(server.data, response)
        assert (record["eventName"], record["requestParameters"]) == (name, parameters)
        assert record["responseElements"] == elements
        assert (record["resources"], record["readOnly"]) == (resources, False)
        assert record["recipientAccountId"] == key.account
        assert "errorCode" not in record

    refusing = record_of_request(server.data, refused(kms.cancel_key_deletion, KeyId=key.key_id))
    assert refusing["errorCode"] == "KMSInvalidStateException"
    assert refusing["errorMessage"] == f"{key.arn} is not pending deletion."
    assert (refusing["requestParameters"], refusing["responseElements"]) == ({"keyId": key.key_id}, None)
    assert (refusing["resources"], refusing["readOnly"]) == (resources, False)
