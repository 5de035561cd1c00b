"""ReEncrypt through boto3."""

import base64
import json
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, allow, denied, deny, hidden, make_key, policy, refusal, refused, violation
from tests.records import record_of_request

MISSING = "00000000-0000-4000-8000-000000000000"
BEFORE, AFTER = {"for": "the source"}, {"for": "the destination", "ключ": ""}
DRY_RUN = ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
INVALID_CIPHERTEXT = ("InvalidCiphertextException", "")


@pytest.fixture
def source(kms: Any) -> Key:
    return make_key(kms)


@pytest.fixture
def destination(kms: Any) -> Key:
    return make_key(kms)


def current_material(kms: Any, key: Key) -> str:
    material_id: str = kms.describe_key(KeyId=key.key_id)["KeyMetadata"]["CurrentKeyMaterialId"]
    return material_id


def test_a_ciphertext_changes_key_and_context(kms: Any, source: Key, destination: Key) -> None:
    plaintext = bytes(range(256)) * 16
    blob = kms.encrypt(KeyId=source.key_id, Plaintext=plaintext, EncryptionContext=BEFORE)["CiphertextBlob"]
    answer = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=BEFORE,
        DestinationKeyId=destination.key_id,
        DestinationEncryptionContext=AFTER,
    )

    moved = answer.pop("CiphertextBlob")
    del answer["ResponseMetadata"]
    assert answer == {
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "SourceKeyMaterialId": current_material(kms, source),
        "DestinationKeyMaterialId": current_material(kms, destination),
    }
    opened = kms.decrypt(CiphertextBlob=moved, EncryptionContext=AFTER)
    assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, destination.arn)
    assert refusal(kms.decrypt, CiphertextBlob=moved, EncryptionContext=BEFORE) == INVALID_CIPHERTEXT
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=BEFORE)["Plaintext"] == plaintext


def test_contexts_change_under_the_same_key_and_data_keys_move(kms: Any, source: Key, destination: Key) -> None:
    again = kms.re_encrypt(
        CiphertextBlob=source.blob, DestinationKeyId=source.alias, DestinationEncryptionContext=AFTER
    )
    assert (again["SourceKeyId"], again["KeyId"]) == (source.arn, source.arn)
    assert again["CiphertextBlob"] != source.blob
    assert kms.decrypt(CiphertextBlob=again["CiphertextBlob"], EncryptionContext=AFTER)["Plaintext"] == b"secret"

    made = kms.generate_data_key(KeyId=source.key_id, KeySpec="AES_256")
    moved = kms.re_encrypt(CiphertextBlob=made["CiphertextBlob"], DestinationKeyId=destination.key_id)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == made["Plaintext"]


def test_ciphertexts_that_do_not_open(kms: Any, source: Key, destination: Key) -> None:
    blob = source.blob
    for altered in (blob + b"\0", blob[:-1], blob[:-1] + bytes([blob[-1] ^ 1]), b"\0", b"garbage" * 20):
        parameters = {"CiphertextBlob": altered, "DestinationKeyId": destination.key_id}
        assert refusal(kms.re_encrypt, **parameters) == INVALID_CIPHERTEXT
        assert refusal(kms.re_encrypt, SourceKeyId=source.key_id, **parameters) == INVALID_CIPHERTEXT
    parameters = {"CiphertextBlob": blob, "DestinationKeyId": destination.key_id}
    assert refusal(kms.re_encrypt, SourceEncryptionContext=BEFORE, **parameters) == INVALID_CIPHERTEXT
    assert refusal(kms.re_encrypt, SourceEncryptionContext=BEFORE, DryRun=True, **parameters) == INVALID_CIPHERTEXT


def test_a_source_key_that_did_not_make_the_ciphertext(kms: Any, source: Key, destination: Key) -> None:
    for named in (destination.key_id, destination.alias_arn):
        assert refusal(
            kms.re_encrypt, CiphertextBlob=source.blob, SourceKeyId=named, DestinationKeyId=source.key_id
        ) == (
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation.",
        )


def test_the_source_is_looked_for_before_the_destination(kms: Any, kms_elsewhere: Any, source: Key) -> None:
    associated = "on the resource associated with this ciphertext"
    elsewhere = make_key(kms_elsewhere)
    missing = source.arn.replace(source.key_id, MISSING)
    no_key = ("NotFoundException", f"Key '{missing}' does not exist")

    assert refusal(kms.re_encrypt, CiphertextBlob=elsewhere.blob, DestinationKeyId="none") == hidden(
        source.account, "kms:ReEncryptFrom", associated
    )
    assert refusal(kms.re_encrypt, CiphertextBlob=source.blob, SourceKeyId=MISSING, DestinationKeyId="none") == no_key
    assert refusal(kms.re_encrypt, CiphertextBlob=source.blob, DestinationKeyId=MISSING) == no_key
    assert refusal(kms.re_encrypt, CiphertextBlob=source.blob, DestinationKeyId="none") == (
        "NotFoundException",
        "Invalid keyId 'none'",
    )


def test_both_policies_decide(kms: Any, source: Key, destination: Key) -> None:
    parameters = {"CiphertextBlob": source.blob, "DestinationKeyId": destination.key_id}
    for key, action in ((destination, "kms:ReEncryptTo"), (source, "kms:ReEncryptFrom")):
        kms.put_key_policy(KeyId=key.key_id, Policy=policy(allow(key.account), deny(key.account, action)))
        assert refusal(kms.re_encrypt, **parameters)[0] == "AccessDeniedException"

    # The source is decided on first. By ciphertext, one's own key is not hidden either.
    assert refusal(kms.re_encrypt, **parameters) == denied(source, "kms:ReEncryptFrom")
    assert refusal(kms.re_encrypt, SourceKeyId=source.arn, **parameters) == denied(source, "kms:ReEncryptFrom")
    reverse = {"CiphertextBlob": destination.blob, "DestinationKeyId": source.key_id}
    assert kms.re_encrypt(**reverse)["KeyId"] == source.arn


@pytest.mark.parametrize("side", ["Source", "Destination"])
def test_algorithms(kms: Any, source: Key, destination: Key, side: str) -> None:
    parameters = {"CiphertextBlob": source.blob, "DestinationKeyId": destination.key_id}
    member = f"{side}EncryptionAlgorithm"

    assert kms.re_encrypt(**parameters, **{member: "SYMMETRIC_DEFAULT"})[member] == "SYMMETRIC_DEFAULT"
    rsa = {"SourceKeyId": source.key_id, member: "RSAES_OAEP_SHA_256"}
    assert refusal(kms.re_encrypt, **parameters, **rsa) == (
        "InvalidKeyUsageException",
        "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.",
    )
    code, text = refusal(kms.re_encrypt, **parameters, **{member: "ROT13"})
    assert code == "ValidationException"
    assert f"Value 'ROT13' at '{member[0].lower()}{member[1:]}' failed to satisfy constraint" in text


def test_what_must_be_there(kms: Any, source: Key, destination: Key) -> None:
    no_blob = violation(None, "ciphertextBlob", "not be null")

    assert refusal(kms.re_encrypt, DestinationKeyId=destination.key_id) == no_blob
    assert refusal(kms.re_encrypt, SourceKeyId=source.key_id, DestinationKeyId=destination.key_id) == no_blob
    for blob, rule in ((b"", "greater than or equal to 1"), (b"x" * 6145, "less than or equal to 6144")):
        code, text = violation("", "ciphertextBlob", f"have length {rule}")
        assert refusal(kms.re_encrypt, CiphertextBlob=blob, DestinationKeyId=destination.key_id) == (
            code,
            text.replace("Value ''", "Value"),
        )


def test_dry_runs(kms: Any, source: Key, destination: Key) -> None:
    to = {"DestinationKeyId": destination.key_id, "DryRun": True}
    ignoring = {"DryRunModifiers": ["IGNORE_CIPHERTEXT"]}

    assert refusal(kms.re_encrypt, CiphertextBlob=source.blob, **to) == DRY_RUN
    assert refusal(kms.re_encrypt, SourceKeyId=source.key_id, **to, **ignoring) == DRY_RUN
    assert refusal(kms.re_encrypt, SourceKeyId=source.alias, CiphertextBlob=b"x", **to, **ignoring) == DRY_RUN
    code, text = refusal(kms.re_encrypt, CiphertextBlob=source.blob, **to, **ignoring)
    assert (code, text) == ("ValidationException", "SourceKeyId is required when IGNORE_CIPHERTEXT is specified.")
    kms.disable_key(KeyId=destination.key_id)
    assert refusal(kms.re_encrypt, SourceKeyId=source.key_id, **to, **ignoring) == (
        "DisabledException",
        f"{destination.arn} is disabled.",
    )


def test_what_is_recorded(kms: Any, server: Server, source: Key, destination: Key) -> None:
    resources = [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn} for key in (source, destination)]
    algorithms = {
        "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
    parameters = {
        "CiphertextBlob": source.blob,
        "DestinationKeyId": destination.alias,
        "DestinationEncryptionContext": AFTER,
    }
    record = record_of_request(server.data, kms.re_encrypt(**parameters))
    assert record["eventName"] == "ReEncrypt"
    assert record["requestParameters"] == algorithms | {
        "sourceKeyId": source.arn,
        "destinationKeyId": destination.alias,
        "destinationEncryptionContext": AFTER,
    }
    assert record["responseElements"] is None
    used = record["additionalEventData"]
    assert [decision["action"] for decision in used.pop("authorization")] == ["kms:ReEncryptFrom", "kms:ReEncryptTo"]
    assert used == {
        "sourceKeyMaterialId": current_material(kms, source),
        "destinationKeyMaterialId": current_material(kms, destination),
    }
    assert (record["resources"], record["readOnly"]) == (resources, True)

    again = record_of_request(server.data, kms.re_encrypt(CiphertextBlob=source.blob, DestinationKeyId=source.key_id))
    assert again["resources"] == resources[:1]

    response = refused(kms.re_encrypt, **parameters, SourceEncryptionContext=BEFORE)
    record = record_of_request(server.data, response)
    assert record["errorCode"] == "InvalidCiphertextException"
    assert "errorMessage" not in record
    assert record["requestParameters"]["sourceEncryptionContext"] == BEFORE
    assert record["additionalEventData"].keys() == {"authorization"}
    assert record["resources"] == resources

    tried = record_of_request(server.data, refused(kms.re_encrypt, **parameters, DryRun=True))
    assert tried["errorCode"] == "DryRunOperationException"
    assert tried["requestParameters"]["dryRun"] is True
    for blob_or_plaintext in (source.blob, b"secret"):
        for recorded in (again, record, tried):
            assert base64.b64encode(blob_or_plaintext).decode() not in json.dumps(recorded)
