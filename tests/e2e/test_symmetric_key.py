"""A symmetric key, end to end, through boto3: the operations and their refusals, over HTTP."""

from typing import Any

import pytest

from strongroom.audit.record import shown_time
from strongroom.testing.server import Server
from tests.e2e.calls import refusal
from tests.records import record_of_request

CONTEXT = {"purpose": "test", "tenant": "a"}


@pytest.fixture(scope="module")
def key(kms: Any) -> dict[str, Any]:
    created: dict[str, Any] = kms.create_key(Description="for tests")["KeyMetadata"]
    return created


def test_metadata_of_a_new_key(kms: Any, key: dict[str, Any]) -> None:
    account = key["AWSAccountId"]
    expected = {
        "AWSAccountId": account,
        "Arn": f"arn:aws:kms:us-east-1:{account}:key/{key['KeyId']}",
        "CreationDate": key["CreationDate"],
        "CurrentKeyMaterialId": key["CurrentKeyMaterialId"],
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Description": "for tests",
        "Enabled": True,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "KeyId": key["KeyId"],
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
    }

    assert key == expected
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] == expected
    assert kms.describe_key(KeyId=key["Arn"])["KeyMetadata"] == expected


def test_the_record_of_a_new_key_shows_its_metadata(kms: Any, server: Server) -> None:
    made = kms.create_key(Description="recorded")
    metadata = made["KeyMetadata"]
    shown = {name[0].lower() + name[1:]: value for name, value in metadata.items() if name != "AWSAccountId"}
    shown |= {
        "AWSAccountId": metadata["AWSAccountId"],
        "creationDate": shown_time(metadata["CreationDate"].timestamp()),
    }

    assert record_of_request(server.data, made)["responseElements"] == {"keyMetadata": shown}


@pytest.mark.parametrize("form", ["KeyId", "Arn"])
@pytest.mark.parametrize("length", [1, 4096])
def test_encrypt_and_decrypt(kms: Any, key: dict[str, Any], form: str, length: int) -> None:
    plaintext = b"x" * length
    encrypted = kms.encrypt(KeyId=key[form], Plaintext=plaintext, EncryptionContext=CONTEXT)
    assert encrypted["KeyId"] == key["Arn"]
    assert encrypted["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    assert "KeyMaterialId" not in encrypted

    blob = encrypted["CiphertextBlob"]
    for named in ({}, {"KeyId": key["KeyId"]}, {"KeyId": key["Arn"]}):
        decrypted = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, **named)
        assert decrypted["Plaintext"] == plaintext
        assert decrypted["KeyId"] == key["Arn"]
        assert decrypted["KeyMaterialId"] == key["CurrentKeyMaterialId"]


def test_plaintext_limits(kms: Any, key: dict[str, Any]) -> None:
    assert refusal(kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x" * 4097) == (
        "ValidationException",
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: "
        "Member must have length less than or equal to 4096",
    )
    assert refusal(kms.encrypt, KeyId=key["KeyId"], Plaintext=b"") == (
        "ValidationException",
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1",
    )


@pytest.mark.parametrize("context", [{}, {"purpose": "test"}, {**CONTEXT, "more": "1"}, {**CONTEXT, "tenant": "b"}])
def test_wrong_encryption_context(kms: Any, key: dict[str, Any], context: dict[str, str]) -> None:
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]

    code, _ = refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=context)
    assert code == "InvalidCiphertextException"


def test_altered_ciphertexts(kms: Any, key: dict[str, Any]) -> None:
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret")["CiphertextBlob"]
    for altered in (blob + b"\0", blob[:-1], blob[:-1] + bytes([blob[-1] ^ 1]), b"\0", b"garbage" * 20):
        assert refusal(kms.decrypt, CiphertextBlob=altered)[0] == "InvalidCiphertextException"
        assert refusal(kms.decrypt, CiphertextBlob=altered, KeyId=key["KeyId"])[0] == "InvalidCiphertextException"


def test_ciphertext_of_another_key(kms: Any, key: dict[str, Any]) -> None:
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=other, Plaintext=b"secret")["CiphertextBlob"]

    assert refusal(kms.decrypt, CiphertextBlob=blob, KeyId=key["KeyId"]) == (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )


def test_ciphertext_of_a_key_in_another_region_hides_whether_it_exists(
    kms: Any, kms_elsewhere: Any, key: dict[str, Any]
) -> None:
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret")["CiphertextBlob"]

    code, text = refusal(kms_elsewhere.decrypt, CiphertextBlob=blob)
    assert code == "AccessDeniedException"
    assert text == (
        f"User: arn:aws:iam::{key['AWSAccountId']}:root is not authorized to perform: kms:Decrypt on the resource "
        "associated with this ciphertext because the resource does not exist in this Region, no resource-based "
        "policies allow access, or a resource-based policy explicitly denies access"
    )


def test_key_ids_that_name_nothing(kms: Any, key: dict[str, Any]) -> None:
    account = key["AWSAccountId"]
    missing = "00000000-0000-4000-8000-000000000000"
    alias = f"arn:aws:kms:us-east-1:{account}:alias/none"
    texts = {
        missing: f"Key 'arn:aws:kms:us-east-1:{account}:key/{missing}' does not exist",
        "not-a-key": "Invalid keyId 'not-a-key'",
        f"arn:aws:kms:us-west-2:{account}:key/{missing}": "Invalid arn us-west-2",
        "alias/none": f"Alias {alias} is not found.",
        alias: f"Alias {alias} is not found.",
    }
    for key_id, text in texts.items():
        assert refusal(kms.describe_key, KeyId=key_id) == ("NotFoundException", text)
        assert refusal(kms.encrypt, KeyId=key_id, Plaintext=b"x") == ("NotFoundException", text)

    code, _ = refusal(kms.describe_key, KeyId=f"arn:aws:kms:us-east-1:999999999999:key/{missing}")
    assert code == "AccessDeniedException"


@pytest.mark.parametrize(
    ("asked", "length"), [({"KeySpec": "AES_128"}, 16), ({"KeySpec": "AES_256"}, 32), ({"NumberOfBytes": 1024}, 1024)]
)
def test_data_keys(kms: Any, key: dict[str, Any], asked: dict[str, Any], length: int) -> None:
    made = kms.generate_data_key(KeyId=key["KeyId"], EncryptionContext=CONTEXT, **asked)
    assert len(made["Plaintext"]) == length
    assert made["KeyId"] == key["Arn"]
    assert made["KeyMaterialId"] == key["CurrentKeyMaterialId"]
    decrypted = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert decrypted["Plaintext"] == made["Plaintext"]

    wrapped = kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], **asked)
    assert "Plaintext" not in wrapped
    assert len(kms.decrypt(CiphertextBlob=wrapped["CiphertextBlob"])["Plaintext"]) == length


@pytest.mark.parametrize("asked", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}])
def test_data_keys_need_one_length(kms: Any, key: dict[str, Any], asked: dict[str, Any]) -> None:
    expected = ("ValidationException", "Please specify either number of bytes or key spec.")

    assert refusal(kms.generate_data_key, KeyId=key["KeyId"], **asked) == expected
    assert refusal(kms.generate_data_key_without_plaintext, KeyId=key["KeyId"], **asked) == expected


def test_random_bytes(kms: Any) -> None:
    assert len(kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024
    assert kms.generate_random(NumberOfBytes=32)["Plaintext"] != kms.generate_random(NumberOfBytes=32)["Plaintext"]
    assert refusal(kms.generate_random) == ("ValidationException", "NumberOfBytes is required.")
    code, text = refusal(kms.generate_random, NumberOfBytes=1025)
    assert (code, text) == (
        "ValidationException",
        "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: "
        "Member must have value less than or equal to 1024",
    )


def test_dry_runs_end_before_the_work(kms: Any, key: dict[str, Any]) -> None:
    expected = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]

    assert refusal(kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", DryRun=True) == expected
    assert refusal(kms.decrypt, CiphertextBlob=blob, DryRun=True) == expected
    assert refusal(kms.generate_data_key, KeyId=key["KeyId"], NumberOfBytes=16, DryRun=True) == expected
    assert (
        refusal(kms.generate_data_key_without_plaintext, KeyId=key["KeyId"], NumberOfBytes=16, DryRun=True) == expected
    )
    assert refusal(kms.decrypt, CiphertextBlob=blob[:-1], DryRun=True)[0] == "InvalidCiphertextException"
    ignoring = {"DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
    assert refusal(kms.decrypt, KeyId=key["KeyId"], **ignoring) == expected
    assert refusal(kms.decrypt, **ignoring)[0] == "ValidationException"
    assert refusal(kms.decrypt, KeyId=key["KeyId"], DryRunModifiers=["IGNORE_CIPHERTEXT"])[0] == "ValidationException"


def test_a_policy_that_locks_the_caller_out_is_refused(kms: Any) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "rds.amazonaws.com"}, '
    )
    policy += '"Action": "kms:*", "Resource": "*"}]}'
    before = all_key_ids(kms)

    code, text = refusal(kms.create_key, Policy=policy)
    assert (code, text) == (
        "MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future.",
    )
    assert all_key_ids(kms) == before
    locked = kms.create_key(Policy=policy, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]
    code, text = refusal(kms.encrypt, KeyId=locked["KeyId"], Plaintext=b"x")
    assert (code, text) == (
        "AccessDeniedException",
        f"User: arn:aws:iam::{locked['AWSAccountId']}:root is not authorized to perform: kms:Encrypt on resource: "
        f"{locked['Arn']} because no resource-based policy allows the kms:Encrypt action",
    )


def test_what_create_key_refuses(kms: Any) -> None:
    tag = {"TagKey": "a", "TagValue": "b"}
    texts: dict[tuple[str, str], dict[str, Any]] = {
        ("TagException", "Duplicate tag keys"): {"Tags": [tag, tag]},
        ("TagException", "Too many tags"): {"Tags": [{"TagKey": str(n), "TagValue": ""} for n in range(51)]},
        ("TagException", "Tags beginning with aws: are reserved"): {"Tags": [{"TagKey": "AWS:x", "TagValue": ""}]},
        ("ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"): {
            "KeyUsage": "SIGN_VERIFY"
        },
        (
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        ): {"KeySpec": "RSA_2048"},
        ("MalformedPolicyDocumentException", ""): {"Policy": "not JSON"},
    }
    for (code, text), parameters in texts.items():
        got_code, got_text = refusal(kms.create_key, **parameters)
        assert got_code == code
        assert text in ("", got_text)


def test_listing_keys_page_by_page(kms: Any, key: dict[str, Any]) -> None:
    for _ in range(3):
        kms.create_key()
    first = kms.list_keys(Limit=2)
    assert first["Truncated"] is True
    assert len(first["Keys"]) == 2
    paged = [
        entry
        for page in kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 20})
        for entry in page["Keys"]
    ]
    assert [entry["KeyId"] for entry in paged] == all_key_ids(kms)
    assert {"KeyId": key["KeyId"], "KeyArn": key["Arn"]} in paged
    assert refusal(kms.list_keys, Marker="nonsense")[0] == "InvalidMarkerException"


def test_an_operation_that_is_not_built_yet_says_so(kms: Any, key: dict[str, Any]) -> None:
    assert refusal(kms.get_public_key, KeyId=key["KeyId"])[0] == "UnsupportedOperationException"


def all_key_ids(kms: Any) -> list[str]:
    return [entry["KeyId"] for page in kms.get_paginator("list_keys").paginate() for entry in page["Keys"]]
