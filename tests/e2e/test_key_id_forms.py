"""Every operation on a key, with every way to name one: the four forms, malformed ones, and what is not there."""

from typing import Any

import pytest

from strongroom.operations.registry import OPERATIONS
from tests.e2e.calls import REQUESTS, Key, Keys, call, hidden, kind_of, make_key, method, refusal, violation

MISSING = "00000000-0000-4000-8000-000000000000"
MISSING_MULTI_REGION = "mrk-" + "0" * 32
STRANGER = "999999999999"

TAKES_ALIASES = frozenset(
    {
        "Decapsulate",
        "Decrypt",
        "DeriveSharedSecret",
        "DescribeKey",
        "Encapsulate",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "GetPublicKey",
        "ReEncrypt from",
        "ReEncrypt to",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
REFUSES_ALIASES = frozenset({"CreateAlias", "UpdateAlias"})
"""Here an alias is what stands for a key, and cannot stand for another alias."""

TELLS_IDS = frozenset({"GetKeyLastUsage", "GetKeyRotationStatus"})
"""The exceptions of AWS."""

NAMED_BY = {
    "CreateAlias": "TargetKeyId",
    "UpdateAlias": "TargetKeyId",
    "ReEncrypt from": "SourceKeyId",
    "ReEncrypt to": "DestinationKeyId",
}
"""Operation (and the key's part in it) -> the parameter that names the key, if it is not KeyId."""

ACTIONS = {"ReEncrypt from": "kms:ReEncryptFrom", "ReEncrypt to": "kms:ReEncryptTo"}
OPTIONAL = frozenset({"Decrypt", "ListAliases", "ReEncrypt from"})
OTHERWISE_REQUIRED = {
    "RetireGrant": ("ValidationException", "Grant token OR (grant ID, key ID) must be specified"),
}
"""Operation -> its refusal without the parameter that names the key, where it is not the model that requires it."""
WITHOUT_KEY_ID = {"CreateKey", "DeleteAlias", "GenerateRandom", "ListKeys", "ListRetirableGrants"}
ELSEWHERE = {"UpdatePrimaryRegion"}
"""In tests/unit/operations/kms/test_multi_region.py."""

every_request = pytest.mark.parametrize("request_name", REQUESTS)


@pytest.fixture(scope="module")
def keys(kms: Any) -> Keys:
    return Keys(kms)


@pytest.fixture
def key(keys: Keys, request_name: str) -> Key:
    """A key for which the request can succeed."""
    return keys.fit_for(request_name)


@pytest.fixture(scope="module")
def other(kms: Any) -> Key:
    return make_key(kms)


@pytest.fixture(scope="module")
def elsewhere(kms_elsewhere: Any) -> Key:
    return make_key(kms_elsewhere)


def test_every_operation_on_a_key_is_tried() -> None:
    built = {name for service, name in OPERATIONS if service == "kms" and "CustomKeyStore" not in name}

    assert {request.split()[0] for request in REQUESTS} == built - WITHOUT_KEY_ID - ELSEWHERE


def ready(kms: Any, request: str) -> Key:
    """A key for which the request can succeed."""
    key = make_key(kms, kind_of(request))
    if request == "CancelKeyDeletion":
        kms.schedule_key_deletion(KeyId=key.key_id)
    return key


@pytest.mark.parametrize("form", ["key_id", "arn"])
@every_request
def test_key_id_and_key_arn(kms: Any, other: Key, request_name: str, form: str) -> None:
    key = ready(kms, request_name)

    response = call(kms, request_name, REQUESTS[request_name](key, getattr(key, form), other))

    assert told_keys(response) <= {key.arn, other.arn} | ({key.key_id} if request_name in TELLS_IDS else set())


@pytest.mark.parametrize("form", ["alias", "alias_arn"])
@pytest.mark.parametrize("request_name", sorted(TAKES_ALIASES))
def test_alias_name_and_alias_arn(kms: Any, key: Key, other: Key, request_name: str, form: str) -> None:
    response = call(kms, request_name, REQUESTS[request_name](key, getattr(key, form), other))

    assert key.arn in told_keys(response)
    assert told_keys(response) <= {key.arn, other.arn}


def told_keys(response: dict[str, Any]) -> set[str]:
    """The keys that a response names as its own: by their ARN, with one exception."""
    if "KeyMetadata" in response:
        return {response["KeyMetadata"]["Arn"]}
    return {response[member] for member in ("KeyId", "SourceKeyId") if member in response}


@pytest.mark.parametrize("request_name", sorted(REQUESTS.keys() - TAKES_ALIASES))
def test_aliases_where_none_is_taken(kms: Any, key: Key, other: Key, request_name: str) -> None:
    operation, make = method(kms, request_name), REQUESTS[request_name]
    if request_name in REFUSES_ALIASES:
        by_name = by_arn = ("ValidationException", "Aliases must refer to keys. Not aliases")
    else:
        by_name = ("NotFoundException", f"Invalid keyId '{key.alias}'")
        by_arn = ("InvalidArnException", "Key Aliases are not supported for this operation.")

    assert refusal(operation, **make(key, key.alias, other)) == by_name
    assert refusal(operation, **make(key, key.alias_arn, other)) == by_arn


@pytest.mark.parametrize("request_name", sorted(TAKES_ALIASES))
def test_aliases_that_are_not_there(kms: Any, key: Key, other: Key, request_name: str) -> None:
    operation, make = method(kms, request_name), REQUESTS[request_name]
    arn = key.arn.replace(f"key/{key.key_id}", "alias/none")
    expected = ("NotFoundException", f"Alias {arn} is not found.")

    assert refusal(operation, **make(key, "alias/none", other)) == expected
    assert refusal(operation, **make(key, arn, other)) == expected
    upper = key.alias_arn.replace("alias/test", "alias/TEST")
    assert refusal(operation, **make(key, upper, other)) == ("NotFoundException", f"Alias {upper} is not found.")
    foreign = key.alias_arn.replace(key.account, STRANGER)
    action = ACTIONS.get(request_name, f"kms:{request_name}")
    assert refusal(operation, **make(key, foreign, other)) == hidden(key.account, action)


@every_request
def test_keys_that_are_not_there(kms: Any, key: Key, other: Key, elsewhere: Key, request_name: str) -> None:
    operation, make = method(kms, request_name), REQUESTS[request_name]
    for name in (MISSING, MISSING_MULTI_REGION, elsewhere.key_id):
        arn = key.arn.replace(key.key_id, name)
        expected = ("NotFoundException", f"Key '{arn}' does not exist")
        assert refusal(operation, **make(key, name, other)) == expected
        assert refusal(operation, **make(key, arn, other)) == expected

    assert refusal(operation, **make(key, elsewhere.arn, other)) == ("NotFoundException", "Invalid arn eu-west-1")
    action = ACTIONS.get(request_name, f"kms:{request_name}")
    for foreign in (key.arn, key.arn.replace(key.key_id, MISSING)):
        named = foreign.replace(key.account, STRANGER)
        assert refusal(operation, **make(key, named, other)) == hidden(key.account, action)


@every_request
def test_what_names_no_key(kms: Any, key: Key, other: Key, request_name: str) -> None:
    operation, make = method(kms, request_name), REQUESTS[request_name]
    malformed = [
        "x",
        " " + key.key_id,
        key.key_id.upper(),
        key.key_id.replace("-", ""),
        "mrk-" + "0" * 31,
        key.alias.removeprefix("alias/"),
        key.arn.replace("arn:aws:", "arn:aws-cn:"),
        key.arn.replace(":kms:", ":iam:"),
        key.arn.replace("key/", "grant/"),
        key.arn.replace(key.account, ""),
    ]
    for named in malformed:
        assert refusal(operation, **make(key, named, other)) == ("NotFoundException", f"Invalid keyId '{named}'")
    inside = key.arn.replace(key.key_id, "x")
    assert refusal(operation, **make(key, inside, other)) == ("NotFoundException", "Invalid keyId 'x'")


@every_request
def test_the_constraints_of_the_model_come_first(kms: Any, key: Key, other: Key, request_name: str) -> None:
    operation, make = method(kms, request_name), REQUESTS[request_name]
    parameter = NAMED_BY.get(request_name, "KeyId")
    path = parameter[0].lower() + parameter[1:]

    shortest, longest = "have length greater than or equal to 1", "have length less than or equal to 2048"
    assert refusal(operation, **make(key, "", other)) == violation("", path, shortest)
    assert refusal(operation, **make(key, "a" * 2049, other)) == violation("a" * 2049, path, longest)
    parameters = make(key, key.key_id, other)
    del parameters[parameter]
    if request_name in OPTIONAL:
        call(kms, request_name, parameters)
    else:
        expected = OTHERWISE_REQUIRED.get(request_name, violation(None, path, "not be null"))
        assert refusal(operation, **parameters) == expected
