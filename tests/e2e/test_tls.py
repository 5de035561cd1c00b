"""The service over TLS, as an AWS SDK uses it; a replaced certificate is taken up without a restart."""

import datetime as dt
import ipaddress
import json
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import SSLError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from strongroom.testing.server import Server, initialize, start_server


def write_certificate(folder: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1; return its path, its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "strongroom")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder / "server.pem"


def kms_over_tls(server: Server, trusted: Path) -> Any:
    return boto3.client(
        "kms",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        verify=str(trusted),
    )


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
