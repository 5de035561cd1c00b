"""A local OpenID Connect issuer over TLS, whose tokens are real and whose answers a test can spoil."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.tls import write_certificate

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what tests ask for."""


class Issuer:
    """An issuer at `https://127.0.0.1:<port>/a`. `asked` are the paths that it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.certificate = write_certificate(folder)
        self.asked: list[str] = []
        self.keys: dict[str, tuple[str, PrivateKey]] = {
            "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
        }
        """Key id -> algorithm and key."""
        self.spoiled: dict[str, Any] = {}
        """Path -> what is answered there instead: bytes, a status with headers, seconds to wait, or a text that
        more and more is added to, a character each twentieth of a second."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"https://{self.host}/a"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, key_id: str = "rsa", *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good now, but for what is given; a claim that is None is left out."""
        now = int(time.time())
        stated = {"iss": self.url, "sub": "job-1", "aud": "app", "iat": now, "exp": now + 600} | claims
        algorithm, key = self.keys[key_id]
        present = {name: value for name, value in stated.items() if value is not None}
        return jwt.encode(present, key, algorithm, headers={"kid": key_id} | (header or {}))

    def documents(self) -> dict[str, bytes]:
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {
            "/a/.well-known/openid-configuration": json.dumps(discovery).encode(),
            "/a/keys": json.dumps({"keys": [self._public(key_id) for key_id in self.keys]}).encode(),
        }

    def _public(self, key_id: str) -> dict[str, Any]:
        algorithm, key = self.keys[key_id]
        if isinstance(key, rsa.RSAPrivateKey):
            found = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            found = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return found | {"kid": key_id, "alg": algorithm, "use": "sig"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                spoiled = issuer.spoiled.get(self.path)
                status, headers, body = 200, {}, issuer.documents().get(self.path, b"")
                if isinstance(spoiled, bytes):
                    body = spoiled
                elif isinstance(spoiled, tuple):
                    status, headers = spoiled
                elif isinstance(spoiled, float):
                    time.sleep(spoiled)
                elif isinstance(spoiled, str):
                    self.wfile.write(spoiled.encode())
                    for _ in range(60):
                        time.sleep(0.05)
                        self.wfile.write(b"x")
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def running_issuer(folder: Path) -> Iterator[Issuer]:
    """An issuer that answers."""
    issuer = Issuer(folder)
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.stop()


def unsigned(token: str, **header: Any) -> str:
    """A token with another header and without a signature."""
    parts = token.split(".")
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return f"{encoded}.{parts[1]}."
