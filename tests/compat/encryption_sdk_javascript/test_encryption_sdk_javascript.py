"""The AWS Encryption SDK for JavaScript does what the one for Python does, and they read each other's messages."""

from collections.abc import Iterator

import pytest

from strongroom.testing.server import Server
from tests.compat.clients import Driver, RefusedError, recorded
from tests.compat.messages import CONTEXT, of_another_tenant


@pytest.fixture(scope="module")
def python(environment: dict[str, str]) -> Iterator[Driver]:
    with Driver("encryption_sdk_python", environment) as python:
        yield python


@pytest.mark.parametrize(("writer", "reader"), [("driver", "driver"), ("driver", "python"), ("python", "driver")])
def test_either_of_two_keys_decrypts(
    request: pytest.FixtureRequest, key_arn: str, other_key_arn: str, writer: str, reader: str
) -> None:
    encrypting: Driver = request.getfixturevalue(writer)
    decrypting: Driver = request.getfixturevalue(reader)
    message = encrypting.ask("encrypt", keys=[key_arn, other_key_arn], plaintext="letter", context=CONTEXT)

    for key in (key_arn, other_key_arn):
        plaintext, context = decrypting.ask("decrypt", keys=[key], message=message)
        assert plaintext == "letter"
        assert context.items() >= CONTEXT.items()


def test_an_altered_encryption_context_is_refused(driver: Driver, key_arn: str) -> None:
    message = driver.ask("encrypt", keys=[key_arn], plaintext="letter", context=CONTEXT)

    with pytest.raises(RefusedError, match="InvalidCiphertextException"):
        driver.ask("decrypt", keys=[key_arn], message=of_another_tenant(message))


def test_a_key_that_the_message_is_not_for_is_refused(driver: Driver, key_arn: str, other_key_arn: str) -> None:
    message = driver.ask("encrypt", keys=[key_arn], plaintext="letter", context=CONTEXT)

    with pytest.raises(RefusedError):
        driver.ask("decrypt", keys=[other_key_arn], message=message)


def test_a_key_that_does_not_exist_is_refused(driver: Driver, key_arn: str) -> None:
    missing = key_arn.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"

    with pytest.raises(RefusedError, match=f"NotFoundException: Key '{missing}' does not exist"):
        driver.ask("encrypt", keys=[missing], plaintext="letter", context=CONTEXT)


def test_a_cached_data_key_is_made_once(server: Server, driver: Driver, key_arn: str) -> None:
    before = len(recorded(server))
    messages = driver.ask("encrypt_cached", keys=[key_arn], plaintexts=["one", "two"], context=CONTEXT)

    assert recorded(server)[before:] == [("GenerateDataKey", None)]
    assert [driver.ask("decrypt", keys=[key_arn], message=message)[0] for message in messages] == ["one", "two"]
