"""A server of two processes, and clients that each keep to one of them."""

import configparser
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from strongroom.testing.server import Server, initialize, running_server
from tests.e2e.commands import strongroom
from tests.issuer import Issuer, running_issuer
from tests.records import recorded_by_chain

START_SECONDS = 30
OTHER = "222233334444"


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """An OpenID Connect issuer that the pair's configuration lets be asked."""
    with running_issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Server]:
    """One server of two processes, with a second account."""
    data = tmp_path_factory.mktemp("pair") / "data"
    initialize(data)
    with (data / "strongroom.yaml").open("a") as file:
        file.write(f"web_identity: {{allow: ['{issuer.host}'], ca: {issuer.certificate}}}\n")
    with running_server(data, workers=2) as server:
        made = strongroom("account", "create", "--account", OTHER, "--config", server.data / "strongroom.yaml")
        assert made.returncode == 0, made.stderr
        yield server


@pytest.fixture(scope="module")
def owners(pair: Server) -> list[Any]:
    """The first account's client of either process."""
    return clients_of(pair, first_account(pair))


@pytest.fixture(scope="module")
def others(pair: Server) -> list[Any]:
    """The second account's client of either process."""
    return clients_of(pair, OTHER)


def first_account(server: Server) -> str:
    """The account that the server was initialized with, and its profile: other tests add accounts."""
    credentials = configparser.ConfigParser()
    credentials.read(server.data / "credentials")
    return credentials.sections()[0]


def clients_of(pair: Server, profile: str) -> list[Any]:
    """A boto3 client of each process; it keeps its connection."""
    credentials = configparser.ConfigParser()
    credentials.read(pair.data / "credentials")
    found: dict[str, Any] = {}
    deadline = time.monotonic() + START_SECONDS
    while len(found) < 2:  # the second process begins after the first listens
        assert time.monotonic() < deadline, "both processes take connections"
        client = boto3.client(
            "kms",
            endpoint_url=pair.endpoint,
            region_name=pair.region,
            aws_access_key_id=credentials[profile]["aws_access_key_id"],
            aws_secret_access_key=credentials[profile]["aws_secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        found.setdefault(chain_of(pair, client.list_keys()), client)
    return [found[chain] for chain in sorted(found)]


def chain_of(pair: Server, response: dict[str, Any]) -> str:
    """The audit chain, one for each process, that has the record of a request."""
    request_id = response["ResponseMetadata"]["RequestId"]
    (chain,) = [
        chain
        for chain, records in recorded_by_chain(pair.data).items()
        if any(record.get("requestID") == request_id for record in records)
    ]
    return chain
