"""The AWS Encryption SDK for Python uses symmetric, RSA and ECDH keys to encrypt and decrypt, and caches data keys."""

from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.compat.clients import Driver, RefusedError, recorded
from tests.compat.messages import CONTEXT, of_another_tenant

WAYS = pytest.mark.parametrize("way", ["", "_with_master_keys"])


@WAYS
def test_either_of_two_keys_decrypts(driver: Driver, key_arn: str, other_key_arn: str, way: str) -> None:
    message = driver.ask(f"encrypt{way}", keys=[key_arn, other_key_arn], plaintext="letter", context=CONTEXT)

    for key in (key_arn, other_key_arn):
        plaintext, context = driver.ask(f"decrypt{way}", keys=[key], message=message)
        assert plaintext == "letter"
        assert context.items() >= CONTEXT.items()


def test_keyrings_and_master_keys_read_each_others_messages(driver: Driver, key_arn: str) -> None:
    given: dict[str, Any] = {"keys": [key_arn], "plaintext": "letter", "context": CONTEXT}
    by_keyring = driver.ask("encrypt", **given)
    by_master_key = driver.ask("encrypt_with_master_keys", **given)

    assert driver.ask("decrypt_with_master_keys", keys=[key_arn], message=by_keyring)[0] == "letter"
    assert driver.ask("decrypt", keys=[key_arn], message=by_master_key)[0] == "letter"


@WAYS
def test_an_altered_encryption_context_is_refused(server: Server, driver: Driver, key_arn: str, way: str) -> None:
    message = driver.ask("encrypt", keys=[key_arn], plaintext="letter", context=CONTEXT)

    with pytest.raises(RefusedError):
        driver.ask(f"decrypt{way}", keys=[key_arn], message=of_another_tenant(message))
    assert recorded(server)[-1] == ("Decrypt", "InvalidCiphertextException")


@WAYS
def test_a_key_that_the_message_is_not_for_is_refused(
    driver: Driver, key_arn: str, other_key_arn: str, way: str
) -> None:
    message = driver.ask("encrypt", keys=[key_arn], plaintext="letter", context=CONTEXT)

    with pytest.raises(RefusedError):
        driver.ask(f"decrypt{way}", keys=[other_key_arn], message=message)


def test_a_key_that_does_not_exist_is_refused(driver: Driver, key_arn: str) -> None:
    missing = key_arn.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"

    with pytest.raises(RefusedError, match=f"Key '{missing}' does not exist"):
        driver.ask("encrypt", keys=[missing], plaintext="letter", context=CONTEXT)


def test_a_cached_data_key_is_made_once(server: Server, driver: Driver, key_arn: str) -> None:
    before = len(recorded(server))
    messages = driver.ask("encrypt_cached", keys=[key_arn], plaintexts=["one", "two"], context=CONTEXT)

    assert recorded(server)[before:] == [("GenerateDataKey", None)]
    assert [driver.ask("decrypt", keys=[key_arn], message=message)[0] for message in messages] == ["one", "two"]


def test_a_message_to_an_rsa_key_is_opened_by_the_server_alone(server: Server, driver: Driver, kms: Any) -> None:
    key, other = (made(kms, "RSA_2048", "ENCRYPT_DECRYPT") for _ in range(2))
    for algorithm in ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"):
        before = len(recorded(server))
        message = driver.ask("encrypt_with_rsa", key=key, algorithm=algorithm, plaintext="letter", context=CONTEXT)
        assert recorded(server)[before:] == [("GetPublicKey", None)]

        plaintext, context = driver.ask("decrypt_with_rsa", key=key, algorithm=algorithm, message=message)
        assert (plaintext, context) == ("letter", CONTEXT)
        assert recorded(server)[before + 1 :] == [("GetPublicKey", None), ("Decrypt", None)]
        with pytest.raises(RefusedError):
            driver.ask("decrypt_with_rsa", key=other, algorithm=algorithm, message=message)
        with pytest.raises(RefusedError):
            driver.ask("decrypt_with_rsa", key=key, algorithm=algorithm, message=of_another_tenant(message))


@pytest.mark.parametrize("curve", ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"])
def test_a_message_between_two_keys_that_agree(server: Server, driver: Driver, kms: Any, curve: str) -> None:
    sender, recipient, other = (made(kms, curve, "KEY_AGREEMENT") for _ in range(3))
    before = len(recorded(server))
    message = driver.ask(
        "encrypt_with_ecdh", sender=sender, recipient=recipient, curve=curve, plaintext="letter", context=CONTEXT
    )

    assert recorded(server)[before:] == [*[("GetPublicKey", None)] * 2, ("DeriveSharedSecret", None)]
    plaintext, context = driver.ask("decrypt_with_ecdh", recipient=recipient, curve=curve, message=message)
    assert plaintext == "letter"
    assert context.items() >= CONTEXT.items()
    with pytest.raises(RefusedError):
        driver.ask("decrypt_with_ecdh", recipient=other, curve=curve, message=message)
    with pytest.raises(RefusedError):
        driver.ask("decrypt_with_ecdh", recipient=recipient, curve=curve, message=of_another_tenant(message))


def made(kms: Any, spec: str, usage: str) -> str:
    """The ARN of a new key."""
    arn: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    return arn
