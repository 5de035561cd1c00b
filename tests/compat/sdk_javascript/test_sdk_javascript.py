"""The AWS SDK for JavaScript makes, lists, uses and disables keys and aliases, and knows refusals by their classes."""

import base64
from typing import Any

import pytest

from tests.compat.clients import Driver

CONTEXT = {"purpose": "test", "tenant": "ä"}


def sent(value: bytes) -> dict[str, str]:
    return {"bytes": base64.b64encode(value).decode()}


@pytest.fixture(scope="module")
def metadata(driver: Driver) -> dict[str, Any]:
    """The metadata of a key that the SDK made."""
    made: dict[str, Any] = driver.ask("send", command="CreateKeyCommand", input={"Description": "for tests"})[
        "KeyMetadata"
    ]
    return made


def test_a_key_is_made_described_and_listed(driver: Driver, metadata: dict[str, Any]) -> None:
    described = driver.ask("send", command="DescribeKeyCommand", input={"KeyId": metadata["KeyId"]})

    assert described["KeyMetadata"] == metadata
    assert metadata["Description"] == "for tests"
    assert metadata["KeyState"] == "Enabled"
    driver.ask("send", command="CreateKeyCommand", input={})
    pages = driver.ask("pages", paginator="paginateListKeys", member="Keys", pageSize=1)
    assert all(len(page) == 1 for page in pages)
    assert [{"KeyId": metadata["KeyId"], "KeyArn": metadata["Arn"]}] in pages


def test_encrypt_and_decrypt(driver: Driver, metadata: dict[str, Any]) -> None:
    plaintext = sent(bytes(range(256)) * 16)
    encrypted = driver.ask(
        "send",
        command="EncryptCommand",
        input={"KeyId": metadata["Arn"], "Plaintext": plaintext, "EncryptionContext": CONTEXT},
    )
    decrypted = driver.ask(
        "send",
        command="DecryptCommand",
        input={"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": CONTEXT},
    )

    assert decrypted["Plaintext"] == plaintext
    assert decrypted["KeyId"] == metadata["Arn"]


def test_data_keys(driver: Driver, metadata: dict[str, Any]) -> None:
    asked = {"KeyId": metadata["KeyId"], "KeySpec": "AES_256"}
    made = driver.ask("send", command="GenerateDataKeyCommand", input=asked)
    wrapped = driver.ask("send", command="GenerateDataKeyWithoutPlaintextCommand", input=asked)

    opened = driver.ask("send", command="DecryptCommand", input={"CiphertextBlob": made["CiphertextBlob"]})
    assert opened["Plaintext"] == made["Plaintext"]
    opened = driver.ask("send", command="DecryptCommand", input={"CiphertextBlob": wrapped["CiphertextBlob"]})
    assert len(base64.b64decode(opened["Plaintext"]["bytes"])) == 32


def test_random_bytes(driver: Driver) -> None:
    made = driver.ask("send", command="GenerateRandomCommand", input={"NumberOfBytes": 1024})

    assert len(base64.b64decode(made["Plaintext"]["bytes"])) == 1024


def test_a_key_is_used_by_an_alias_and_disabled(driver: Driver) -> None:
    made = driver.ask("send", command="CreateKeyCommand", input={})["KeyMetadata"]
    alias = {"AliasName": "alias/from-javascript"}
    driver.ask("send", command="CreateAliasCommand", input={**alias, "TargetKeyId": made["KeyId"]})
    asked = {"KeyId": alias["AliasName"], "Plaintext": sent(b"secret")}

    assert driver.ask("send", command="EncryptCommand", input=asked)["KeyId"] == made["Arn"]
    pages = driver.ask("pages", paginator="paginateListAliases", member="Aliases", pageSize=1)
    named = {entry["AliasName"]: entry["TargetKeyId"] for page in pages for entry in page}
    assert named[alias["AliasName"]] == made["KeyId"]

    driver.ask("send", command="DisableKeyCommand", input={"KeyId": made["KeyId"]})
    refused = driver.ask("refusal", command="EncryptCommand", input=asked)
    assert (refused["name"], refused["ofItsClass"]) == ("DisabledException", True)
    driver.ask("send", command="DeleteAliasCommand", input=alias)
    refused = driver.ask("refusal", command="EncryptCommand", input=asked)
    assert (refused["name"], refused["ofItsClass"]) == ("NotFoundException", True)


def test_refusals_are_of_the_sdks_classes(driver: Driver, metadata: dict[str, Any]) -> None:
    missing = metadata["Arn"].rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
    encrypted = driver.ask(
        "send", command="EncryptCommand", input={"KeyId": metadata["KeyId"], "Plaintext": sent(b"secret")}
    )

    assert driver.ask("refusal", command="DescribeKeyCommand", input={"KeyId": missing}) == {
        "name": "NotFoundException",
        "text": f"Key '{missing}' does not exist",
        "ofItsClass": True,
    }
    wrong = {"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": CONTEXT}
    refused = driver.ask("refusal", command="DecryptCommand", input=wrong)
    assert (refused["name"], refused["ofItsClass"]) == ("InvalidCiphertextException", True)
    refused = driver.ask("refusal", command="DecryptCommand", input={"CiphertextBlob": sent(b"garbage" * 20)})
    assert (refused["name"], refused["ofItsClass"]) == ("InvalidCiphertextException", True)
    refused = driver.ask(
        "refusal", command="EncryptCommand", input={"KeyId": metadata["KeyId"], "Plaintext": sent(b"x" * 4097)}
    )
    assert refused["name"] == "ValidationException"
    assert "failed to satisfy constraint: Member must have length less than or equal to 4096" in refused["text"]
