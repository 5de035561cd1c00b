"""Fixtures for all tests. `size` is the only place that says how long the long tests are."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings

from strongroom.testing import server as server_module
from strongroom.testing.postgresql import Postgresql, running_postgresql
from strongroom.testing.server import Server, running_server
from strongroom.testing.softhsm import SoftHsm, make_softhsm
from tests.e2e.commands import strongroom
from tests.hsm import hsm_options
from tests.sizes import SMALL, SOAK, Size

# A machine under load takes its time: nothing here is timed.
# Fifty examples in each run: others in every run, and there are many runs.
settings.register_profile("untimed", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hsm", action="store_true", help="make every installation on a SoftHSM")
    parser.addoption("--soak", action="store_true", help="run the long tests at their full size")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: whole files are handed to processes side by side."""
    if config.getoption("--hsm"):
        items[:] = [item for item in items if item.get_closest_marker("root_key") is None]
    items.sort(key=lambda item: next((n for n, part in enumerate(_LONGEST) if part in item.path.parts), len(_LONGEST)))


_LONGEST = ("fault", "fuzz", "compat", "e2e")


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    return SOAK if pytestconfig.getoption("--soak") else SMALL


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One PostgreSQL server for all tests; each makes a database of its own."""
    with running_postgresql() as postgresql:
        yield postgresql


@pytest.fixture(scope="session", autouse=True)
def protection(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> None:
    """What the installations of all tests are protected by."""
    if pytestconfig.getoption("--hsm"):
        softhsm: SoftHsm = request.getfixturevalue("softhsm")
        softhsm.add_token("strongroom")
        server_module.protection[:] = hsm_options(softhsm, "strongroom")


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """The SoftHSM of this process; whoever needs a token makes one. The library reads the variable once."""
    softhsm = make_softhsm(tmp_path_factory.mktemp("softhsm"))
    os.environ.update(softhsm.environment)
    return softhsm


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it running. At the end its audit log verifies."""
    with running_server(tmp_path_factory.mktemp("served") / "data") as server:
        yield server
        verified = strongroom("audit", "verify", "--config", server.data / "strongroom.yaml")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    assert verified.stdout.endswith(": 0 findings\n")


@pytest.fixture(scope="session")
def kms_client() -> Callable[..., Any]:
    """Makes KMS clients of boto3 that do not retry, so that every failure is seen."""

    def client(server: Server, region: str | None = None) -> Any:
        return boto3.client(
            "kms",
            endpoint_url=server.endpoint,
            region_name=region or server.region,
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    return client


@pytest.fixture(scope="session")
def kms(server: Server, kms_client: Callable[..., Any]) -> Any:
    return kms_client(server)


@pytest.fixture(scope="session")
def kms_elsewhere(server: Server, kms_client: Callable[..., Any]) -> Any:
    return kms_client(server, "eu-west-1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where an installation can be made."""
    return tmp_path / "data"
