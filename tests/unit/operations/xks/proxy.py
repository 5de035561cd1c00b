"""The XKS proxy without sockets, and AWS KMS as it asks it. Signatures are made here by hand, faults and all."""

import asyncio
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import gmtime, strftime
from typing import Any, NamedTuple
from urllib.parse import quote

from strongroom.app.xks_proxy import IssuedCredential, create_xks_store
from strongroom.app.xks_proxy_keys import create_external_key, disable_external_key
from strongroom.config import Config
from strongroom.wire.xks import application
from tests.composed import NOW, Composed, composed

ONE, TWO, ROOT, RULED, SLOW = "/tenant-one", "/tenant-two", "", "/ruled", "/slow"
PLENTY = 1_000_000
RATE = 3
"""Of the slow key store."""
PRINCIPAL = "arn:aws:iam::111122223333:role/app"
KMS_KEY = "arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012"
RULES = json.dumps(
    {"Version": 1, "Rules": [{"Effect": "Allow", "Keys": ["allowed", "off"], "Principals": [PRINCIPAL]}]}
)
METADATA = {"kmsRequestId": "id of KMS", "kmsOperation": "Encrypt", "awsPrincipalArn": PRINCIPAL, "kmsKeyArn": KMS_KEY}
Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.body)
        return members

    @property
    def outcome(self) -> tuple[int, str]:
        """The status and the name of the error; no name if there is none."""
        return self.status, self.members.get("errorName", "")

    def bytes_of(self, member: str) -> bytes:
        """A member that is base64 of the standard alphabet, padded."""
        return b64decode(self.members[member], validate=True)


class Signer(NamedTuple):
    """Who signs, and what the signature says: what AWS KMS would say, or another thing, rightly signed."""

    access_key_id: str
    secret: str
    region: str = "us-east-1"
    service: str = "kms-xks-proxy"
    terminator: str = "aws4_request"
    algorithm: str = "AWS4-HMAC-SHA256"
    skew: int = 0
    """Seconds by which the clock is ahead."""
    scope_days: int = 0
    """Days by which the scope is ahead of the date."""
    names: tuple[str, ...] = ("host", "x-amz-date")

    def headers(self, path: bytes, query: bytes, body: bytes, now: float) -> Headers:
        """The headers of a POST of these."""
        date = strftime("%Y%m%dT%H%M%SZ", gmtime(now + self.skew))
        day = strftime("%Y%m%d", gmtime(now + self.skew + 86_400 * self.scope_days))
        values = {"host": "xks.example.test", "x-amz-date": date}
        canonical = "\n".join(
            [
                "POST",
                quote(path, safe="/~"),
                query.decode(),
                *(f"{name}:{values[name]}" for name in self.names),
                "",
                ";".join(self.names),
                sha256(body).hexdigest(),
            ]
        )
        scope = [day, self.region, self.service, self.terminator]
        key = f"AWS4{self.secret}".encode()
        for part in scope:
            key = hmac.digest(key, part.encode(), "sha256")
        to_sign = "\n".join([self.algorithm, date, "/".join(scope), sha256(canonical.encode()).hexdigest()])
        authorization = (
            f"{self.algorithm} Credential={'/'.join([self.access_key_id, *scope])}, "
            f"SignedHeaders={';'.join(self.names)}, Signature={hmac.digest(key, to_sign.encode(), 'sha256').hex()}"
        )
        return [
            *((name.encode(), value.encode()) for name, value in values.items()),
            (b"authorization", authorization.encode()),
        ]


class Proxy:
    """The proxy, with five key stores, and whoever has their credentials."""

    def __init__(self, runner: asyncio.Runner, parts: Composed, signers: dict[str, Signer]) -> None:
        self.parts = parts
        self.config: Config = parts.opened.config
        self.signers = signers
        self.runner = runner
        self._application = application(parts.pipeline)

    def send(
        self, method: str, path: bytes, headers: Headers, body: bytes = b"", *, query: bytes = b"", whole: bool = True
    ) -> Reply:
        """Hand over a request as the connection does; `whole` is false if there was too much of it."""
        sent: list[Any] = []
        scope: Any = {
            "type": "http",
            "method": method,
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "client": ("192.0.2.1", 1),
            "state": {"tls": None},
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": not whole}

        async def send(message: Any) -> None:
            sent.append(message)

        async def main() -> None:
            await self._application(scope, receive, send)

        self.runner.run(main())
        start, content = sent
        assert not content["more_body"]
        return Reply(start["status"], dict(start["headers"]), content["body"])

    def post(self, path: str, body: bytes, signer: Signer | None = None) -> Reply:
        """Send a signed request, by the key store's first credential if by nobody else."""
        prefix = path.partition("/kms/")[0]
        signer = signer or self.signers[prefix]
        return self.send("POST", path.encode(), signer.headers(path.encode(), b"", body, self.parts.clock.now), body)

    def call(self, prefix: str, name: str, members: dict[str, Any], signer: Signer | None = None) -> Reply:
        """Ask for what stands behind the base of a key store's URIs; bytes are sent as they are in JSON."""
        return self.post(f"{prefix}/kms/xks/v1/{name}", encoded(members), signer)

    def encrypt(self, prefix: str, key: str, plaintext: bytes, **members: Any) -> Reply:
        return self.call(prefix, f"keys/{key}/encrypt", encrypting(plaintext) | members)

    def records(self) -> list[dict[str, Any]]:
        """The records of requests in the chained log."""
        return self.parts.records()

    def strangers(self) -> list[dict[str, Any]]:
        """The records of requests that nobody is known to have sent."""
        self.parts.pipeline._strangers.tick(self.parts.clock.now)
        return [
            json.loads(line)
            for path in sorted(self.config.strangers_directory.iterdir())
            for line in path.read_bytes().splitlines()
        ]


def encoded(members: dict[str, Any]) -> bytes:
    return json.dumps(members, default=lambda value: b64encode(value).decode()).encode()


def encrypting(plaintext: bytes) -> dict[str, Any]:
    """The members of Encrypt that must be there."""
    return {"requestMetadata": METADATA, "plaintext": plaintext, "encryptionAlgorithm": "AES_GCM"}


def decrypting(encrypted: Reply, **members: Any) -> dict[str, Any]:
    """The members of Decrypt for what Encrypt answered, some of them others."""
    assert encrypted.status == 200, encrypted.body
    parts = ("ciphertext", "initializationVector", "authenticationTag", "ciphertextMetadata")
    return {
        "requestMetadata": METADATA | {"kmsOperation": "Decrypt"},
        "encryptionAlgorithm": "AES_GCM",
        **{name: encrypted.bytes_of(name) for name in parts},
        **members,
    }


def signer_of(issued: IssuedCredential) -> Signer:
    return Signer(issued.access_key_id, issued.secret)


class Furnished(NamedTuple):
    """An installation with key stores, and their first credentials by prefix."""

    data: Path
    signers: dict[str, Signer]


def furnish(config: Config) -> dict[str, Signer]:
    """Make the key stores and their keys; return the credentials by prefix."""

    def store(prefix: str, keys: Sequence[str], rate: int = PLENTY, rules: str | None = None) -> Signer:
        issued = create_xks_store(config, prefix, rate=rate, rules=rules, now=NOW)
        for key in keys:
            create_external_key(config, prefix, key, label=None, now=NOW)
        return signer_of(issued)

    signers = {
        ONE: store(ONE, ["key-1", "key-2", "off", "." * 128]),
        TWO: store(TWO, ["key-1", "two"]),
        ROOT: store(ROOT, ["key-1"]),
        RULED: store(RULED, ["allowed", "forbidden", "off"], rules=RULES),
        SLOW: store(SLOW, ["key-1"], rate=RATE),
    }
    for prefix in (ONE, RULED):
        disable_external_key(config, prefix, "off", NOW)
    return signers


@contextmanager
def opened_proxy(furnished: Furnished) -> Iterator[Proxy]:
    """The proxy over an installation."""
    with asyncio.Runner() as runner:
        context = composed(furnished.data)
        parts = runner.run(context.__aenter__())
        yield Proxy(runner, parts, furnished.signers)
        runner.run(context.__aexit__(None, None, None))
        assert parts.fatal == []
