"""Reading the audit log as whoever stumbles over it would."""

import json
from pathlib import Path
from typing import Any


def recorded(data: Path) -> list[dict[str, Any]]:
    """All records of the chained log, chain by chain."""
    return [record for chain in recorded_by_chain(data).values() for record in chain]


def record_of_request(data: Path, response: dict[str, Any]) -> dict[str, Any]:
    """The one record of the request that boto3 got `response` for."""
    ((_, record),) = records_of_requests(data, {response["ResponseMetadata"]["RequestId"]})
    return record


def records_of_requests(data: Path, request_ids: set[str]) -> list[tuple[str, dict[str, Any]]]:
    """The chains and records of these requests. Of the other lines, which are many, nothing is read."""
    wanted = [request_id.encode() for request_id in request_ids]
    found = [
        (path.parent.name, record_of(line))
        for path in sorted((data / "audit").glob("*/*.log"))
        for line in path.read_bytes().splitlines()
        if any(request_id in line for request_id in wanted)
    ]
    return [(chain, record) for chain, record in found if record is not None and record.get("requestID") in request_ids]


def recorded_by_chain(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of each chain, in order."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((data / "audit").glob("*/*.log")):
        found = [record for line in path.read_bytes().splitlines() if (record := record_of(line)) is not None]
        chains.setdefault(path.parent.name, []).extend(found)
    return chains


def record_of(line: bytes) -> dict[str, Any] | None:
    """The CloudTrail record of a line; None for a line that a kill cut short, and for one that is no record."""
    try:
        record: dict[str, Any] = json.loads(line.split(b" ", 3)[3])
    except (IndexError, ValueError):
        return None
    return record if "eventName" in record else None
