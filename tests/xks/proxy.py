"""A small external key store proxy over SoftHSM, in this process, that a test can spoil.

It checks requests as the XKS specification says, and signatures with botocore.
"""

import base64
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from strongroom.keystores.hsm.failures import Pkcs11Error
from strongroom.testing.softhsm import SoftHsm
from tests.xks.certificates import Authority
from tests.xks.rules import HOST, STATUSES, FailedError, authenticate, decoded, parsed, require
from tests.xks.token import TAG_LENGTH, ExternalToken, external_token

BASE = "/kms/xks/v1"
PREFIX = "/second-store"
"""Of another key store at the same proxy."""


@dataclass
class ExternalKey:
    """A key in the token, and what the proxy says of it."""

    handle: int
    spec: str = "AES_256"
    status: str = "ENABLED"
    usage: list[str] = field(default_factory=lambda: ["DECRYPT", "ENCRYPT"])
    may_decrypt: bool = True


@dataclass
class Prefix:
    """A key store at the proxy: access key id -> secret, and external key id -> key."""

    credentials: dict[str, str]
    keys: dict[str, ExternalKey]


@dataclass
class Asked:
    """A request as it came. `connection` numbers the connections."""

    path: str
    headers: list[tuple[str, str]]
    body: Any
    connection: int


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: "XksProxy"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what tests ask for."""


class XksProxy:
    """A proxy at `endpoint`, which is `connect`. What tests may set is plain attributes; `reset` takes it back."""

    def __init__(self, folder: Path, token: ExternalToken) -> None:
        self.token = token
        self.authority = Authority(folder)
        self.ca = self.authority.certificate
        self.certificate = self.authority.issue(HOST)
        self.endpoint = f"https://{HOST}"
        self.port = 0
        self.reset()
        self.start()

    def reset(self) -> None:
        """Be as a new proxy is, but for the keys in the token and the port."""
        self.credentials = {"AKIAXKS2345672345672": "b" * 43, "AKIAXKS7654327654327": "/+" * 22}
        self.keys = {name: ExternalKey(self.token.new_key()) for name in ("key-1", "key.2_B")}
        second = Prefix({"AKIASECOND2345672345": "c" * 44}, {"key-1": ExternalKey(self.token.new_key())})
        self.prefixes = {"": Prefix(self.credentials, self.keys), PREFIX: second}
        self.fleet = [{"id": "ekm-1", "model": "m", "healthStatus": "ACTIVE"}]
        self.asked: list[Asked] = []
        self.connections = 0
        self.delay = 0.0
        """Seconds before an answer."""
        self.drip = 0.0
        """Seconds before each byte of an answer."""
        self.hang_up = 0
        """How many of the next requests are not answered: their connections are cut."""
        self.raw: bytes | None = None
        """A whole response, instead of any other."""
        self.last = False
        """Whether connections end after an answer."""
        self.body: bytes | None = None
        """The body of an answer with status 200."""
        self.error: tuple[int, str] | None = None
        """Status and name of the error that is answered."""
        self.spoiled: dict[str, Any] = {}
        """Members of an answer: what is said instead; None leaves it out."""
        self.metadata = b""
        """The metadata of ciphertexts. It is not said if empty."""
        self.iv_length = 12
        """Of 12 bytes that the token has drawn, and zeros behind them."""
        self.url_alphabet = False

    def start(self, tls: Callable[[ssl.SSLContext], None] = lambda _: None) -> None:
        """Listen, on the same port as before. `tls` may change how."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        tls(context)
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.proxy = self
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self.connect = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and cut all connections."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """Cut the connections that there are. What was still to be read from them is not heard."""
        for connection in list(self._open):
            self.left(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def hears(self, connection: socket.socket) -> bool:
        """Whether a connection was not cut."""
        return connection in self._open

    def entered(self, connection: socket.socket) -> int:
        self._open.add(connection)
        self.connections += 1
        return self.connections

    def left(self, connection: socket.socket) -> None:
        self._open.discard(connection)

    def answer(self, path: str, headers: Message, body: bytes) -> dict[str, Any]:
        """Answer a request, in the order of checks that AWS's test client wants. Raises FailedError."""
        prefix, found, rest = path.rpartition(BASE)
        if not found or prefix not in self.prefixes:
            raise FailedError("InvalidUriPathException")
        store = self.prefixes[prefix]
        authenticate(store.credentials, path, headers, body)
        request = parsed(body)
        match rest.split("/"):
            case ["", "health"]:
                require(request["requestMetadata"], "kmsRequestId", "kmsOperation")
                return {
                    "xksProxyFleetSize": 1,
                    "xksProxyVendor": "v",
                    "xksProxyModel": "m",
                    "ekmVendor": "e",
                    "ekmFleetDetails": self.fleet,
                    "unheardOf": {},
                }
            case ["", "keys", name, ("metadata" | "encrypt" | "decrypt") as operation]:
                require(request["requestMetadata"], "kmsRequestId", "kmsOperation", "awsPrincipalArn")
                if name not in store.keys:
                    raise FailedError("KeyNotFoundException")
                return self._of_key(store.keys[name], operation, request)
        raise FailedError("InvalidUriPathException")

    def _of_key(self, key: ExternalKey, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == "metadata":
            return {"keySpec": key.spec, "keyUsage": key.usage, "keyStatus": key.status}
        require(request["requestMetadata"], "kmsKeyArn")
        if key.status != "ENABLED":
            raise FailedError("InvalidStateException")
        if operation.upper() not in key.usage or not key.may_decrypt:  # a trial decryption goes with each encryption
            raise FailedError("InvalidKeyUsageException")
        if request.get("encryptionAlgorithm") != "AES_GCM":
            raise FailedError("ValidationException")
        return self._encrypt(key, request) if operation == "encrypt" else self._decrypt(key, request)

    def _encrypt(self, key: ExternalKey, request: dict[str, Any]) -> dict[str, Any]:
        plaintext, aad = decoded(request, "plaintext"), decoded(request, "additionalAuthenticatedData", limit=8192)
        if request.get("ciphertextDataIntegrityValueAlgorithm") not in (None, "SHA_256"):
            raise FailedError("ValidationException")
        drawn, sealed = self.token.encrypt(key.handle, plaintext, aad, self.metadata[:255])
        iv = (drawn + bytes(8))[: self.iv_length]
        value = hashlib.sha256(aad + self.metadata + iv + sealed).digest()
        assert self.token.decrypt(key.handle, drawn, sealed, aad, self.metadata[:255]) == plaintext
        answer = {
            "ciphertext": self._encoded(sealed[:-TAG_LENGTH]),
            "initializationVector": self._encoded(iv),
            "authenticationTag": self._encoded(sealed[-TAG_LENGTH:]),
        }
        if "ciphertextDataIntegrityValueAlgorithm" in request:
            answer["ciphertextDataIntegrityValue"] = self._encoded(value)
        if self.metadata:
            answer["ciphertextMetadata"] = self._encoded(self.metadata)
        return answer

    def _decrypt(self, key: ExternalKey, request: dict[str, Any]) -> dict[str, Any]:
        iv, tag = decoded(request, "initializationVector"), decoded(request, "authenticationTag")
        aad = decoded(request, "additionalAuthenticatedData", limit=8192)
        metadata = decoded(request, "ciphertextMetadata", limit=20)
        if len(iv) not in (12, 16) or len(tag) != TAG_LENGTH:
            raise FailedError("ValidationException")
        try:
            plaintext = self.token.decrypt(key.handle, iv[:12], decoded(request, "ciphertext") + tag, aad, metadata)
        except Pkcs11Error:
            raise FailedError("InvalidCiphertextException") from None
        return {"plaintext": self._encoded(plaintext)}

    def _encoded(self, value: bytes) -> str:
        return (base64.urlsafe_b64encode if self.url_alphabet else base64.b64encode)(value).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self.proxy = self.server.proxy
        self.number = self.proxy.entered(self.connection)

    def finish(self) -> None:
        self.proxy.left(self.connection)
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        self.send_error(405)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.proxy.hears(self.connection):
            self.close_connection = True
            return
        self.proxy.asked.append(Asked(self.path, self.headers.items(), json.loads(body), self.number))
        if self.proxy.hang_up:
            self.proxy.hang_up -= 1
            self.close_connection = True
            return
        whole = self.proxy.raw or self._response(*self._answer(body))
        time.sleep(self.proxy.delay)
        for piece in (whole[at : at + 1] for at in range(len(whole))) if self.proxy.drip else (whole,):
            time.sleep(self.proxy.drip)
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = self.close_connection or self.proxy.last

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        proxy = self.proxy
        if proxy.body is not None:
            return 200, proxy.body
        try:
            answer = proxy.answer(self.path, self.headers, body) | proxy.spoiled
        except FailedError as error:
            status, name = STATUSES[str(error)], str(error)
        else:
            if proxy.error is None:
                return 200, json.dumps({k: v for k, v in answer.items() if v is not None}).encode()
            status, name = proxy.error
        return status, json.dumps({"errorName": name, "errorMessage": "the proxy's own words"}).encode()

    def _response(self, status: int, body: bytes) -> bytes:
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_proxy(folder: Path, softhsm: SoftHsm) -> Iterator[XksProxy]:
    """A proxy that answers. `folder` is for its certificates."""
    with external_token(softhsm) as token:
        proxy = XksProxy(folder, token)
        try:
            yield proxy
        finally:
            proxy.stop()
