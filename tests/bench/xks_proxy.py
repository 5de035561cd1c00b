"""The XKS proxy alone, over TLS: what AWS KMS asks of it, with keys of the software store and of SoftHSM.

Each Encrypt asks for the integrity value, as KMS does, so that what it encrypts is decrypted before it is answered. The
plaintext is a data key in its inner layer. Requests are signed at the start of a stage, and replayed.
"""

import base64
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.keystores.external.messages import Encrypted
from strongroom.keystores.external.proxy import Endpoint, Proxy
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.testing.softhsm import make_softhsm
from tests.bench.load import Load, Result
from tests.bench.machine import cores
from tests.e2e.xks_proxies import HOST, ProxyProcess
from tests.hsm import hsm_options, new_token

CONNECTIONS = 16
VARIANTS = 256
PLAINTEXT = 92
AAD = 88
RATE_AIM = 1_800
MILLISECONDS_AIM = 250
USE = KeyStoreUse("request", "Encrypt", "arn:aws:iam::111122223333:root", "arn:aws:kms:us-east-1:111122223333:key/1")


class Row(NamedTuple):
    """What one stage came to."""

    name: str
    result: Result


def measure_xks_proxy(seconds: int) -> list[Row]:
    """Measure Encrypt and Decrypt with a key of each store."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        folder = Path(directory).absolute()
        (folder / "softhsm").mkdir()
        softhsm = make_softhsm(folder / "softhsm")
        os.environ.update(softhsm.environment)
        hsm = hsm_options(softhsm, new_token(softhsm))
        return [
            *_measured("software", ProxyProcess(folder / "software"), seconds),
            *_measured("SoftHSM", ProxyProcess(folder / "hsm", *hsm), seconds),
        ]


def report_xks_proxy(rows: list[Row]) -> Iterator[str]:
    """The table."""
    yield f"\n| XKS proxy, {CONNECTIONS} connections | requests/s | p50 ms | p99 ms | p99.9 ms |\n|---|---|---|---|---|"
    for name, result in rows:
        yield f"| {name} | {result.rate:,.0f} | {result.p50:.2f} | {result.p99:.2f} | {result.p999:.2f} |"
    yield f"\nAim: {RATE_AIM:,} requests a second, of which 99.9 % are answered within {MILLISECONDS_AIM} ms."


def _measured(name: str, proxy: ProxyProcess, seconds: int) -> Iterator[Row]:
    issued = proxy.issued("store", "create", "--prefix", "/bench", "--rate", "1000000")
    key = proxy.run("key", "create", "--prefix", "/bench").strip()
    proxy.start(wrapper=["taskset", "-c", str(cores()[0])])
    try:
        for operation, bodies in (("encrypt", _to_encrypt()), ("decrypt", _to_decrypt(proxy, issued, key))):
            path = f"{issued['XksProxyUriPath']}/keys/{key}/{operation}"
            requests = [_signed(proxy, issued, path, body) for body in bodies]
            endpoint = f"https://{proxy.connect}"
            load = Load(endpoint, requests, process_id=proxy.process.pid, connections=CONNECTIONS)
            load.run(1)
            result = load.run(seconds)
            if result.refused or result.broken:
                raise SystemExit(f"{name}: {result.refused} answers were no 200, {result.broken} did not come")
            yield Row(f"{operation.capitalize()}, {name}", result)
    finally:
        proxy.stop()


def _to_encrypt() -> list[dict[str, Any]]:
    return [
        {
            "requestMetadata": _metadata("Encrypt"),
            "plaintext": _text(os.urandom(PLAINTEXT)),
            "encryptionAlgorithm": "AES_GCM",
            "additionalAuthenticatedData": _text(bytes(AAD)),
            "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
        }
        for _ in range(VARIANTS)
    ]


def _to_decrypt(proxy: ProxyProcess, issued: dict[str, Any], key: str) -> list[dict[str, Any]]:
    credential = issued["XksProxyAuthenticationCredential"]
    client = Proxy(
        Endpoint(
            f"https://{HOST}", issued["XksProxyUriPath"], "us-east-1", credential["AccessKeyId"],
            credential["RawSecretAccessKey"], proxy.connect, proxy.ca,
        )
    )  # fmt: skip
    encrypted = [client.encrypt(USE, key, os.urandom(PLAINTEXT), bytes(AAD)) for _ in range(VARIANTS)]
    client.close()
    return [_decrypting(one) for one in encrypted]


def _decrypting(encrypted: Encrypted) -> dict[str, Any]:
    return {
        "requestMetadata": _metadata("Decrypt"),
        "ciphertext": _text(encrypted.ciphertext),
        "encryptionAlgorithm": "AES_GCM",
        "additionalAuthenticatedData": _text(bytes(AAD)),
        "initializationVector": _text(encrypted.initialization_vector),
        "authenticationTag": _text(encrypted.authentication_tag),
        "ciphertextMetadata": _text(encrypted.ciphertext_metadata),
    }


def _metadata(operation: str) -> dict[str, str]:
    return {
        "awsPrincipalArn": USE.principal_arn,
        "kmsKeyArn": USE.key_arn or "",
        "kmsOperation": operation,
        "kmsRequestId": USE.request_id,
    }


def _signed(proxy: ProxyProcess, issued: dict[str, Any], path: str, body: dict[str, Any]) -> bytes:
    sent = json.dumps(body).encode()
    credential = issued["XksProxyAuthenticationCredential"]
    key = Credential(credential["AccessKeyId"], credential["RawSecretAccessKey"])
    headers = [(b"host", f"{HOST}:{proxy.port}".encode())]
    request = SignedRequest("POST", path.encode(), b"", headers)
    headers += sign(request, key, region="us-east-1", service="kms-xks-proxy", now=time.time(), body=sent)
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(sent)).encode())]
    lines = [b"POST " + path.encode() + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + sent


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
