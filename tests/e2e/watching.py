"""What a server tells those who watch it."""

import http.client
import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from strongroom.app.watching import TOLD_FOR_SECONDS
from strongroom.testing.server import Server


def watched(data: Path) -> None:
    """Have an installation tell of its health and metrics, on a free port."""
    with (data / "strongroom.yaml").open("a") as file:
        file.write("health: {port: 0}\n")


def ask(server: Server, path: str) -> tuple[int, bytes]:
    """Status and body; whichever of its processes answers."""
    if path == "/metrics":
        time.sleep(2 * TOLD_FOR_SECONDS)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.health).netloc, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def readiness(server: Server) -> tuple[int, Any]:
    """Status, and what each part is."""
    status, body = ask(server, "/health/ready")
    return status, json.loads(body)


def metric(server: Server, name: str, **labels: str) -> float:
    """The value of one series, 0 if there is none, or several that differ in what is not named together."""
    families = text_string_to_metric_families(ask(server, "/metrics")[1].decode())
    samples = [one for family in families for one in family.samples]
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())
