"""The service over TLS, as an AWS SDK uses it; a replaced certificate is taken up without a restart."""

import json
import time
from pathlib import Path

from botocore.exceptions import SSLError

from strongroom.testing.server import initialize, start_server
from tests.tls import kms_over_tls, write_certificate


def test_boto3_over_tls_and_a_certificate_that_is_replaced(data: Path, tmp_path: Path) -> None:
    initialize(data)
    first = tmp_path / "first.pem"
    first.write_bytes(write_certificate(data).read_bytes())
    with (data / "strongroom.yaml").open("a") as configuration:
        configuration.write("tls: {certificate: server.pem, key: server.key}\n")
    server = start_server(data)
    try:
        assert server.endpoint.startswith("https://127.0.0.1:")
        assert kms_over_tls(server, first).generate_random(NumberOfBytes=1)["Plaintext"]

        second = tmp_path / "second.pem"
        second.write_bytes(write_certificate(data).read_bytes())
        deadline = time.monotonic() + 20
        while True:
            try:
                kms_over_tls(server, second).generate_random(NumberOfBytes=1)
                break
            except SSLError:
                assert time.monotonic() < deadline, "the new certificate is taken up"
                time.sleep(0.2)
    finally:
        assert server.stop() == 0

    records = [
        json.loads(line.split(b" ", 3)[3])
        for path in (data / "audit").glob("*/*.log")
        for line in path.read_bytes().splitlines()
    ]
    details = [record["tlsDetails"] for record in records if record.get("eventName") == "GenerateRandom"]
    assert {entry["tlsVersion"] for entry in details} == {"TLSv1.3"}
    assert {entry["clientProvidedHostHeader"] for entry in details} == {server.endpoint.removeprefix("https://")}
