"""One external key store proxy: its four calls."""

import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from strongroom.keystores.external.addresses import Addresses
from strongroom.keystores.external.breaker import Breaker
from strongroom.keystores.external.connections import Connections
from strongroom.keystores.external.deadline import new_deadline
from strongroom.keystores.external.failures import NAMED, OF_CALLERS, Kind, ProxyError
from strongroom.keystores.external.messages import (
    Answer,
    DecryptRequest,
    DecryptResponse,
    Encrypted,
    EncryptRequest,
    EncryptResponse,
    ErrorResponse,
    Health,
    KeyMetadata,
    MetadataRequest,
    RequestMetadata,
    metadata_of_key_request,
    metadata_of_use,
    read_answer,
)
from strongroom.keystores.external.signing import Signer
from strongroom.messages.xks import AES_GCM
from strongroom.model.custom_key_store import KeyStoreUse

_OK = 200
_FIRST_ERROR_STATUS = 400
_TELL_SECONDS = 10.0
"""From one line that tells of a failure to the next, at least."""

Result = TypeVar("Result")


class Endpoint(NamedTuple):
    """Where a proxy is, and the credential by which it knows us.

    `uri_endpoint` and `uri_path` are as the custom key store has them. `connect` and `ca` are the operator's
    (`config.XksProxy`). `region` is that of the key store.
    """

    uri_endpoint: str
    uri_path: str
    region: str
    access_key_id: str
    secret_access_key: str
    connect: str | None = None
    ca: Path | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.uri_endpoint}{self.uri_path})"


class Proxy:
    """A proxy. Its calls take at most 250 ms, and raise ProxyError. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint, on_called: Callable[[Kind | None], None] = lambda _: None) -> None:
        """Connects to nothing yet. Raises ConfigurationError if the file of certificates cannot be used.

        `on_called` is told of each call how it failed, if it did. Not of those that are not made (`Breaker`).
        """
        self._host = endpoint.uri_endpoint.removeprefix("https://")
        self._path = endpoint.uri_path
        self._signer = Signer(endpoint.access_key_id, endpoint.secret_access_key, endpoint.region)
        self._connections = Connections(self._host, Addresses(self._host, endpoint.connect), endpoint.ca)
        self._breaker = Breaker()
        self._on_called = on_called
        self._told: Kind | None = None
        """How the calls fail, as the operator was told; None since one did not."""
        self._tell_from = -math.inf
        """On the monotonic clock."""
        self._telling = threading.Lock()

    def health(self, request_id: str, operation: str) -> Health:
        """How the proxy says that it is. It is asked even if it could not be reached before."""
        request = MetadataRequest(RequestMetadata(request_id, operation))
        return self._call(lambda: self._ask("health", request, Health), always=True)

    def check_health(self, request_id: str, operation: str) -> Health:
        """As `health`; and fail if no external key manager serves."""
        health = self.health(request_id, operation)
        health.judge()
        return health

    def key_metadata(self, use: KeyStoreUse, xks_key_id: str) -> KeyMetadata:
        """What the proxy says of an external key."""
        request = MetadataRequest(metadata_of_key_request(use))
        return self._call(lambda: self._ask(f"keys/{xks_key_id}/metadata", request, KeyMetadata))

    def encrypt(self, use: KeyStoreUse, xks_key_id: str, plaintext: bytes, associated_data: bytes) -> Encrypted:
        """Encrypt under an external key."""
        request = EncryptRequest(metadata_of_use(use), plaintext, associated_data)

        def work() -> Encrypted:
            answer = self._ask(f"keys/{xks_key_id}/encrypt", request, EncryptResponse)
            answer.check(plaintext, associated_data)
            return answer

        return self._call(work)

    def decrypt(self, use: KeyStoreUse, xks_key_id: str, encrypted: Encrypted, associated_data: bytes) -> bytes:
        """Decrypt what was encrypted under an external key."""
        request = DecryptRequest(
            metadata_of_use(use),
            encrypted.ciphertext,
            encrypted.initialization_vector,
            encrypted.authentication_tag,
            associated_data,
            AES_GCM,
            encrypted.ciphertext_metadata,
        )

        def work() -> bytes:
            answer = self._ask(f"keys/{xks_key_id}/decrypt", request, DecryptResponse)
            answer.check(encrypted.ciphertext)
            return answer.plaintext

        return self._call(work)

    def close(self) -> None:
        """Close its connections. Idempotent."""
        self._connections.close()

    def _call(self, work: Callable[[], Result], *, always: bool = False) -> Result:
        """Do some work with the proxy. The operator is told of a failure, unless it is how calls failed before."""

        def told() -> Result:
            try:
                result = work()
            except ProxyError as error:
                self._on_called(error.kind)
                if error.kind in OF_CALLERS:
                    self._told = None
                else:
                    self._tell(error)
                raise
            self._on_called(None)
            self._told = None
            return result

        return self._breaker.call(told, always=always)

    def _tell(self, error: ProxyError) -> None:
        """Tell the operator, without the proxy's own words, which may have anything in them; not time and again."""
        with self._telling:
            now = time.monotonic()
            if error.kind == self._told or now < self._tell_from:
                return
            self._told, self._tell_from = error.kind, now + _TELL_SECONDS
        reason = "" if error.__cause__ is None else f" ({error.__cause__})"
        sys.stderr.write(f"strongroom: the external key store proxy {self._host} fails: {error.kind}{reason}\n")

    def _ask(self, what: str, request: Struct, kind: type[Answer]) -> Answer:
        """Send a request; return the answer. Raises ProxyError."""
        path = f"{self._path}/{what}"
        body = msgspec.json.encode(request)
        headers = self._signer.headers(self._host, path, body, time.time())
        response = self._connections.post(path, headers, body, new_deadline())
        if response.status == _OK:
            return read_answer(response.body, kind)
        if response.status < _FIRST_ERROR_STATUS:
            raise ProxyError(Kind.INVALID_RESPONSE)
        name = read_answer(response.body, ErrorResponse).error_name
        raise ProxyError(NAMED.get(name, Kind.INVALID_RESPONSE))
