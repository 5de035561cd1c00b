"""The load: requests that boto3 signed, replayed by wrk over keep-alive connections."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from msgspec import Struct

from tests.bench.machine import cores, cpu_seconds

_SCRIPT = """\
local requests = {{
{requests}
}}
local at = 0
request = function()
  at = at % #requests + 1
  return requests[at]
end
done = function(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    'RESULT {{"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "p999": %.3f, "refused": %d, "broken": %d}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class Result(Struct, frozen=True):
    """What wrk saw: answers, the time it ran, latencies in milliseconds, answers that were no success, and failures.

    `cpu` is the server's CPU time per request in microseconds, user and system, in all its threads.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    refused: int
    broken: int
    cpu: float = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def client(endpoint: str, access_key_id: str = "AKIAIOSFODNN7EXAMPLE", secret: str = "none") -> Any:
    """Make boto3's KMS client, which does not retry."""
    return boto3.client(
        "kms",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def signed(kms: Any, calls: list[Callable[[], object]]) -> list[bytes]:
    """Return the requests that the calls would send, as bytes, signed now; nothing is sent."""
    with _captured(kms) as requests:
        for call in calls:
            call()
    return [_raw(request) for request in requests]


@contextmanager
def _captured(kms: Any) -> Iterator[list[AWSPreparedRequest]]:
    captured: list[AWSPreparedRequest] = []

    def capture(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        captured.append(request)
        response = AWSResponse(request.url, 200, {}, None)
        response._content = b"{}"  # or it would be read from a socket
        return response

    kms.meta.events.register("before-send.kms", capture)
    try:
        yield captured
    finally:
        kms.meta.events.unregister("before-send.kms", capture)


def _raw(request: AWSPreparedRequest) -> bytes:
    """Write a request as boto3's HTTP library does."""
    lines = [b"POST / HTTP/1.1", b"Host: " + urlsplit(request.url).netloc.encode(), b"Accept-Encoding: identity"]
    for name, value in request.headers.items():
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else str(value).encode()))
    body = request.body
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if isinstance(body, bytes) else body.encode())


class Load:
    """wrk on the load's core, replaying requests against a server process."""

    def __init__(self, endpoint: str, requests: list[bytes], *, process_id: int, connections: int) -> None:
        script = Path(f"build/bench-{process_id}.lua")
        written = ",\n".join(json.dumps(request.decode("ascii")) for request in requests)
        script.write_text(_SCRIPT.format(requests=written))
        self._command = ["taskset", "-c", str(cores()[1]), "wrk", "-t1", f"-c{connections}", "--timeout", "10"]
        self._command += ["-s", str(script), endpoint]
        self._process_id = process_id

    def run(self, seconds: int) -> Result:
        """Replay for so long; what is under way at the end is not waited for, nor counted."""
        before = cpu_seconds(self._process_id)
        command = [*self._command, f"-d{seconds}"]
        output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        used = cpu_seconds(self._process_id) - before
        found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
        assert found, output
        values = json.loads(found[1])
        return Result(**values, cpu=used / max(values["requests"], 1) * 1e6)
