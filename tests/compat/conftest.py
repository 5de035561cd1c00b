"""Fixtures of the clients' tests. A test's folder, if it is in one, says which client it is about."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.server import Server, running_server
from tests.compat.clients import Driver, variables


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all clients, which nobody else calls: tests look at what it recorded last."""
    with running_server(tmp_path_factory.mktemp("served") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def kms(server: Server, kms_client: Callable[..., Any]) -> Any:
    """A boto3 client of that server."""
    return kms_client(server)


@pytest.fixture(scope="module")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of a client of the server, with an empty home directory."""
    return variables(server, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def driver(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Driver]:
    """The library that the test's folder is about, at work."""
    with Driver(Path(request.path).parent.name, environment) as driver:
        yield driver


@pytest.fixture(scope="module")
def key_arn(kms: Any) -> str:
    """A new KMS key."""
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def other_key_arn(kms: Any) -> str:
    """A second KMS key."""
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn
