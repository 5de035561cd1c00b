"""Key policies through boto3: PutKeyPolicy, GetKeyPolicy, ListKeyPolicies."""

from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, Statement, allow, denied, deny, make_key, policy, refusal, refused, violation
from tests.records import record_of_request

NO_SUCH_POLICY = ("NotFoundException", "No such policy exists")
LOCKED_OUT = (
    "MalformedPolicyDocumentException",
    "The new key policy will not allow you to update the key policy in the future.",
)
SERVICE = {"Service": "rds.amazonaws.com"}
MAX_BYTES = 32_768


@pytest.fixture
def key(kms: Any) -> Key:
    return make_key(kms)


def policy_of(kms: Any, key: Key) -> str:
    text: str = kms.get_key_policy(KeyId=key.key_id)["Policy"]
    return text


def put(kms: Any, key: Key, *statements: Statement) -> dict[str, Any]:
    response: dict[str, Any] = kms.put_key_policy(KeyId=key.key_id, Policy=policy(*statements))
    return response


def test_the_policy_of_a_key_that_was_made_without_one(kms: Any, key: Key) -> None:
    told = kms.get_key_policy(KeyId=key.arn, PolicyName="default")

    assert told["PolicyName"] == "default"
    assert told["Policy"] == (
        '{\n  "Version" : "2012-10-17",\n  "Id" : "key-default-1",\n  "Statement" : [ {\n'
        '    "Sid" : "Enable IAM User Permissions",\n    "Effect" : "Allow",\n    "Principal" : {\n'
        f'      "AWS" : "arn:aws:iam::{key.account}:root"\n    }},\n    "Action" : "kms:*",\n    "Resource" : "*"\n'
        "  } ]\n}"
    )


@pytest.mark.parametrize("name", [{}, {"PolicyName": "default"}])
def test_a_policy_comes_back_byte_for_byte(kms: Any, key: Key, name: dict[str, str]) -> None:
    odd = (
        '\n\t { "Statement":{"Resource":"*" ,"Action":["kms:*"],\r\n"Principal":{"AWS":["' + key.account + '"]},'
        '"Effect":"Allow","Sid":"Ünïcode \\u0416 \\/ and   spaces"} ,\t"Version":"2012-10-17","Id":"é"}\n\n'
    )
    kms.put_key_policy(KeyId=key.key_id, Policy=odd, **name)

    assert policy_of(kms, key) == odd
    kms.put_key_policy(KeyId=key.arn, Policy=odd, **name)
    assert kms.get_key_policy(KeyId=key.key_id, **name)["Policy"] == odd
    made = kms.create_key(Policy=odd)["KeyMetadata"]["KeyId"]
    assert kms.get_key_policy(KeyId=made)["Policy"] == odd


def test_a_new_policy_decides_from_its_answer_on(kms: Any, key: Key) -> None:
    for _ in range(3):
        put(kms, key, allow(key.account), deny(key.account, "kms:Encrypt"))
        assert refusal(kms.encrypt, KeyId=key.key_id, Plaintext=b"x") == denied(key, "kms:Encrypt")
        assert refusal(kms.encrypt, KeyId=key.alias, Plaintext=b"x") == denied(key, "kms:Encrypt")
        assert kms.decrypt(CiphertextBlob=key.blob)["Plaintext"] == b"secret"
        put(kms, key, allow(key.account))
        assert kms.encrypt(KeyId=key.key_id, Plaintext=b"x")["KeyId"] == key.arn

    put(kms, key, allow(key.account, "kms:*Policy"))
    assert refusal(kms.describe_key, KeyId=key.key_id) == (
        "AccessDeniedException",
        f"User: arn:aws:iam::{key.account}:root is not authorized to perform: kms:DescribeKey on resource: {key.arn} "
        "because no resource-based policy allows the kms:DescribeKey action",
    )


@pytest.mark.parametrize("operation", ["PutKeyPolicy", "GetKeyPolicy", "ListKeyPolicies"])
def test_who_may_not_touch_the_policy(kms: Any, key: Key, operation: str) -> None:
    refusing = policy(allow(key.account), deny(key.account, f"kms:{operation}"))
    kms.put_key_policy(KeyId=key.key_id, Policy=refusing, BypassPolicyLockoutSafetyCheck=True)
    expected = denied(key, f"kms:{operation}")

    match operation:
        case "PutKeyPolicy":
            parameters = {"KeyId": key.key_id, "Policy": policy(allow(key.account))}
            assert refusal(kms.put_key_policy, **parameters) == expected
            assert refusal(kms.put_key_policy, **parameters, BypassPolicyLockoutSafetyCheck=True) == expected
        case "GetKeyPolicy":
            assert refusal(kms.get_key_policy, KeyId=key.key_id) == expected
        case _:
            assert refusal(kms.list_key_policies, KeyId=key.key_id) == expected


def test_a_policy_that_locks_the_caller_out(kms: Any, key: Key) -> None:
    before = policy_of(kms, key)
    locking = [
        policy(allow(key.account) | {"Principal": SERVICE}),
        policy(allow(key.account, "kms:GetKeyPolicy")),
        policy(allow(key.account), deny(key.account, "kms:PutKeyPolicy")),
        policy(allow(key.account) | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}),
        policy(allow(key.account) | {"Resource": key.arn[:-1] + "x"}),
    ]
    for text in locking:
        assert refusal(kms.put_key_policy, KeyId=key.key_id, Policy=text) == LOCKED_OUT
        refusing = {"Policy": text, "BypassPolicyLockoutSafetyCheck": False}
        assert refusal(kms.put_key_policy, KeyId=key.key_id, **refusing) == LOCKED_OUT
    assert policy_of(kms, key) == before

    kms.put_key_policy(KeyId=key.key_id, Policy=locking[1], BypassPolicyLockoutSafetyCheck=True)
    assert policy_of(kms, key) == locking[1]
    assert refusal(kms.put_key_policy, KeyId=key.key_id, Policy=before)[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", ""),
        ("{", ""),
        ("[]", "Syntax errors in policy."),
        ('{"Version": "2012-10-17", "Statement": []}', "Syntax errors in policy."),
        ('{"Version": "2020-01-01", "Statement": []}', "The policy must contain a valid version string."),
        (policy(allow("nobody")), "Policy contains a statement with one or more invalid principals."),
        (
            policy({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}),
            "Policy contains a statement with no principal.",
        ),
    ],
)
def test_malformed_policies(kms: Any, key: Key, text: str, said: str) -> None:
    before = policy_of(kms, key)
    expected = ("MalformedPolicyDocumentException", said)

    assert refusal(kms.put_key_policy, KeyId=key.key_id, Policy=text) == expected
    bypassing = {"Policy": text, "BypassPolicyLockoutSafetyCheck": True}
    assert refusal(kms.put_key_policy, KeyId=key.key_id, **bypassing) == expected
    assert policy_of(kms, key) == before


@pytest.mark.parametrize("filler", [" ", "é"])
def test_the_largest_policy(kms: Any, key: Key, filler: str) -> None:
    text = policy(allow(key.account) | {"Sid": "@"})
    room = MAX_BYTES - len(text) + 1
    largest = text.replace("@", filler * (room // len(filler.encode())) + "x" * (room % len(filler.encode())))
    assert len(largest.encode()) == MAX_BYTES
    kms.put_key_policy(KeyId=key.key_id, Policy=largest)

    assert refusal(kms.put_key_policy, KeyId=key.key_id, Policy=largest + " ") == (
        "LimitExceededException",
        "The key policy exceeds the limit of 32768 bytes.",
    )
    assert policy_of(kms, key) == largest


def test_what_the_model_does_not_allow(kms: Any, key: Key) -> None:
    pattern = r"satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+"
    before = policy_of(kms, key)
    for text in ("→", "\x08", before + "\0"):
        assert refusal(kms.put_key_policy, KeyId=key.key_id, Policy=text) == violation(text, "policy", pattern)
    shortest, longest = "have length greater than or equal to 1", "have length less than or equal to 131072"
    code, said = refusal(kms.put_key_policy, KeyId=key.key_id, Policy="")
    assert (code, shortest in said) == ("ValidationException", True)
    code, said = refusal(kms.put_key_policy, KeyId=key.key_id, Policy=" " * 131_073)
    assert (code, longest in said) == ("ValidationException", True)
    assert refusal(kms.put_key_policy, KeyId=key.key_id) == violation(None, "policy", "not be null")
    assert refusal(kms.get_key_policy, KeyId=key.key_id, PolicyName="a b") == violation(
        "a b", "policyName", r"satisfy regular expression pattern: [\w]+"
    )
    assert policy_of(kms, key) == before


def test_policies_of_other_names(kms: Any, key: Key) -> None:
    text = policy(allow(key.account))

    for name in ("other", "Default", "AWS_RAM"):
        assert refusal(kms.get_key_policy, KeyId=key.key_id, PolicyName=name) == NO_SUCH_POLICY
    assert refusal(kms.put_key_policy, KeyId=key.key_id, PolicyName="other", Policy=text) == NO_SUCH_POLICY
    assert refusal(kms.put_key_policy, KeyId=key.key_id, PolicyName="AWS_RAM", Policy=text) == (
        "ValidationException",
        "The AWS_RAM policy can only be managed by the RAM service.",
    )


def test_every_key_has_one_policy(kms: Any, key: Key) -> None:
    for parameters in ({}, {"Limit": 1}, {"Limit": 1000}):
        told = kms.list_key_policies(KeyId=key.key_id, **parameters)
        assert (told["PolicyNames"], told["Truncated"]) == (["default"], False)
        assert "NextMarker" not in told

    kms.create_key()  # a second key, so that the list of keys has a second page
    for marker in ("x", "QUJD", kms.list_keys(Limit=1)["NextMarker"]):
        assert refusal(kms.list_key_policies, KeyId=key.key_id, Marker=marker) == ("InvalidMarkerException", "")
    assert refusal(kms.list_key_policies, KeyId=key.key_id, Limit=1001) == violation(
        "1001", "limit", "have value less than or equal to 1000"
    )


def test_what_is_recorded(kms: Any, server: Server, key: Key) -> None:
    resources = [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn}]
    text = policy(allow(key.account))
    written = kms.put_key_policy(KeyId=key.key_id, Policy=text, BypassPolicyLockoutSafetyCheck=True)
    record = record_of_request(server.data, written)
    assert record["requestParameters"] == {
        "keyId": key.key_id,
        "policy": text,
        "bypassPolicyLockoutSafetyCheck": True,
    }
    assert (record["responseElements"], record["resources"]) == ({"keyId": key.arn}, resources)
    assert record["readOnly"] is False

    for response in (kms.get_key_policy(KeyId=key.arn), kms.list_key_policies(KeyId=key.arn)):
        record = record_of_request(server.data, response)
        assert record["requestParameters"] == {"keyId": key.arn}
        assert (record["responseElements"], record["resources"]) == (None, resources)
        assert record["readOnly"] is True

    locking = policy(allow(key.account) | {"Principal": SERVICE})
    record = record_of_request(server.data, refused(kms.put_key_policy, KeyId=key.key_id, Policy=locking))
    assert (record["errorCode"], record["errorMessage"]) == LOCKED_OUT
    assert record["requestParameters"] == {"keyId": key.key_id, "policy": locking}
    assert (record["responseElements"], record["resources"]) == (None, resources)
    put(kms, key, allow(key.account), deny(key.account, "kms:Encrypt"))
    record = record_of_request(server.data, refused(kms.encrypt, KeyId=key.key_id, Plaintext=b"x"))
    assert record["errorCode"] == "AccessDenied"
    assert record["errorMessage"] == denied(key, "kms:Encrypt")[1]
