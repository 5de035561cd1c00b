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
    found = [
        (path.parent.name, record_of(line))
        for path in sorted((data / "audit").glob("*/*.log"))
        for line in _lines_with(path.read_bytes(), [request_id.encode() for request_id in request_ids])
    ]
    return [(chain, record) for chain, record in found if record is not None and record.get("requestID") in request_ids]


def _lines_with(log: bytes, words: list[bytes]) -> list[bytes]:
    """The lines that have any of these words, in order."""
    begins = set()
    for word in words:
        at = log.find(word)
        while at >= 0:
            begins.add(log.rfind(b"\n", 0, at) + 1)
            at = log.find(word, at + len(word))
    return [log[begin : _end_of_line(log, begin)] for begin in sorted(begins)]


def _end_of_line(log: bytes, begin: int) -> int:
    end = log.find(b"\n", begin)
    return len(log) if end < 0 else end


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
