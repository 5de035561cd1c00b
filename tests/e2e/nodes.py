"""Nodes over one PostgreSQL database: made, started, and asked."""

from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from strongroom.testing.server import Server, initialize, join, start_server

LEASE = 1.0


def make_nodes(folder: Path, url: str, names: str = "ab", lease: float = LEASE) -> dict[str, Path]:
    """Make an installation in a database, and a data directory for each node; all are named by one letter."""
    first = folder / names[0]
    initialize(first, "--postgresql", url)
    with (first / "strongroom.yaml").open("a") as configuration:
        configuration.write(f"  lease: {lease}\n")  # the section of the database is the last
    for name in names[1:]:
        join(folder / name, first, name)
    with (first / "strongroom.yaml").open("a") as configuration:
        configuration.write(f"node: {names[0]}\n")
    return {name: folder / name for name in names}


def start_nodes(nodes: dict[str, Path], *, workers: int = 1) -> dict[str, Server]:
    """Start every node."""
    return {name: start_server(data, workers=workers) for name, data in nodes.items()}


def client(server: Server, service: str = "kms") -> Any:
    """A client of one node, as the root user, which tries nothing twice."""
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5),
    )
