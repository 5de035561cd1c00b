"""kmsauth makes tokens for one service to show to another, with keys by alias and service names as context."""

from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.compat.clients import Driver, RefusedError, recorded

CONTEXT = {"from": "shop", "to": "bank", "user_type": "service"}


@pytest.fixture(scope="module")
def bank(environment: dict[str, str]) -> Iterator[Driver]:
    """The service that is sent tokens, in a process of its own."""
    with Driver("kmsauth", environment) as bank:
        yield bank


@pytest.fixture(scope="module")
def alias(kms: Any, key_arn: str) -> str:
    kms.create_alias(AliasName="alias/authentication", TargetKeyId=key_arn)
    return "alias/authentication"


@pytest.fixture(params=["alias", "key_arn"])
def auth_key(request: pytest.FixtureRequest) -> str:
    """The key's name in the configuration of both services."""
    name: str = request.getfixturevalue(request.param)
    return name


def test_a_token_is_made_and_believed(driver: Driver, bank: Driver, auth_key: str) -> None:
    username, token = driver.ask("generate", auth_key=auth_key, context=CONTEXT)
    found = bank.ask("decrypt", auth_key=auth_key, service="bank", username=username, token=token)

    assert username == "2/service/shop"
    assert found["key_alias"] == auth_key
    assert found["payload"].keys() == {"not_before", "not_after"}


@pytest.mark.parametrize(("service", "username"), [("post", "2/service/shop"), ("bank", "2/service/thief")])
def test_a_token_for_another_service_or_of_another_one_is_refused(
    server: Server, driver: Driver, bank: Driver, auth_key: str, service: str, username: str
) -> None:
    _, token = driver.ask("generate", auth_key=auth_key, context=CONTEXT)

    with pytest.raises(RefusedError, match="TokenValidationError"):
        bank.ask("decrypt", auth_key=auth_key, service=service, username=username, token=token)
    assert recorded(server)[-1] == ("Decrypt", "InvalidCiphertextException")


def test_a_token_under_another_key_is_refused(driver: Driver, bank: Driver, auth_key: str, other_key_arn: str) -> None:
    username, token = driver.ask("generate", auth_key=other_key_arn, context=CONTEXT)

    with pytest.raises(RefusedError, match="wrong KMS key"):
        bank.ask("decrypt", auth_key=auth_key, service="bank", username=username, token=token)
