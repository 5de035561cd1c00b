"""kmsauth makes tokens for one service to show to another, with keys by alias and service names as context."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.compat.clients import Driver, RefusedError, recorded, variables
from tests.e2e.commands import strongroom

ACCOUNTS = {"shop": "210000000001", "bank": "210000000002", "post": "210000000003"}
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


@pytest.fixture(scope="module")
def services(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    """Three services with an account each."""
    with ExitStack() as drivers:
        made = {}
        for service, account in ACCOUNTS.items():
            done = strongroom("account", "create", "--account", account, "--config", server.data / "strongroom.yaml")
            assert done.returncode == 0, done.stderr
            environment = variables(server, tmp_path_factory.mktemp(service), AWS_PROFILE=account)
            made[service] = drivers.enter_context(Driver("kmsauth", environment))
        yield made


@pytest.fixture(scope="module")
def shared_key(kms: Any, services: dict[str, Driver]) -> str:
    """A key whose policy lets a service make tokens in its own name, and open those made for it."""
    key: dict[str, str] = kms.create_key()["KeyMetadata"]
    may = [("kms:Encrypt", "from", service) for service in services] + [
        ("kms:Decrypt", "to", name) for name in services
    ]
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ACCOUNTS[service]},
            "Action": action,
            "Resource": "*",
            "Condition": {"StringEquals": {f"kms:EncryptionContext:{part}": service}},
        }
        for action, part, service in may
    ]
    owner = {"Effect": "Allow", "Principal": {"AWS": key["AWSAccountId"]}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [owner, *statements]})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy)
    return key["Arn"]


def test_the_encryption_context_says_who_may_make_and_open_a_token(
    server: Server, services: dict[str, Driver], shared_key: str
) -> None:
    username, token = services["shop"].ask("generate", auth_key=shared_key, context=CONTEXT)
    told = {"auth_key": shared_key, "username": username, "token": token}

    opened = services["bank"].ask("decrypt", service="bank", **told)
    assert opened["payload"].keys() == {"not_before", "not_after"}
    assert recorded(server)[-1] == ("Decrypt", None)

    for thief in ("post", "shop"):
        with pytest.raises(RefusedError, match="TokenValidationError"):
            services[thief].ask("decrypt", service="bank", **told)
        assert recorded(server)[-1] == ("Decrypt", "AccessDenied")

    with pytest.raises(RefusedError):
        services["post"].ask("generate", auth_key=shared_key, context=CONTEXT)
    assert recorded(server)[-1] == ("Encrypt", "AccessDenied")
