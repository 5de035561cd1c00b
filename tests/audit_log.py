"""The audit log as tests read it: the lines as they stand."""

import json
from pathlib import Path
from typing import Any


def records(data: Path) -> list[dict[str, Any]]:
    """All that is in the chained log of a data directory."""
    return [parse(line) for line in lines(data)]


def record_of(data: Path, response: dict[str, Any]) -> dict[str, Any]:
    """The one record of the request that boto3 got `response` for."""
    request_id = response["ResponseMetadata"]["RequestId"]
    (record,) = [parse(line) for line in lines(data) if request_id.encode() in line]
    return record


def lines(data: Path) -> list[bytes]:
    return [line for path in (data / "audit").glob("*/*.log") for line in path.read_bytes().splitlines()]


def parse(line: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(line.split(b" ", 3)[3])
    return content
