"""The keys of issuers, fetched over TLS and kept (OpenID Connect Discovery 1.0).

An issuer is asked only if an account has registered it. Its addresses are looked up once and must be public, or its
host be named in the configuration; the connection goes to the address that was looked at. Redirects are not followed,
and proxies not used. Who waits for an issuer keeps nobody else waiting: fetches have threads of their own.
"""

import asyncio
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import urllib3

from strongroom.errors import IDPCommunicationError, InvalidIdentityToken
from strongroom.model.addresses import meant
from strongroom.web_identity.tokens import Key, key_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SECONDS = 5.0
"""How long an issuer may take for its documents. Looking up its name counts, but is not cut short."""
_PATIENCE_SECONDS = 10.0
"""How long a request waits for an issuer, with the time until a thread is free."""
_MAX_BYTES = 1 << 20
_KEEP_SECONDS = 3600.0
_AGAIN_SECONDS = 60.0
"""How soon an issuer is asked again for a key that it did not have, and after a failure."""
_MAX_ISSUERS = 1_000
_MAX_KEYS = 100
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All global unicast addresses of IPv6 that were given out."""

_log = logging.getLogger("strongroom.web_identity")

Name = tuple[str, tuple[str, ...]]
"""What keys are kept by: an issuer's URL, and the thumbprints that it was trusted for."""


class _Kept(NamedTuple):
    """What is known of an issuer. Without keys, the last fetch failed. Times are of the clock."""

    keys: tuple[Key, ...] | None
    fetched: float
    asked: float


class Issuers:
    """Fetches and keeps the keys of issuers. For one event loop."""

    def __init__(
        self,
        pool: Executor,
        *,
        allow: Collection[str] = (),
        ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pool` is for fetches alone; it limits how many there are at a time.

        `allow` names hosts, or `host:port`, that may have private addresses. `ca` is a PEM file of authorities to
        trust besides the system's. `clock` is for what is kept, in seconds from any beginning.
        """
        self._pool = pool
        self._allow = allow
        self._ca = ca
        self._clock = clock
        self._kept: dict[Name, _Kept] = {}
        self._asking: dict[Name, asyncio.Task[_Kept]] = {}

    async def keys(self, issuer: str, thumbprints: tuple[str, ...], *, unknown: bool = False) -> Sequence[Key]:
        """The keys of an issuer (a URL). `unknown` says that those kept have not the one that is needed.

        Raises InvalidIdentityToken; IDPCommunicationError if it takes too long, and is worth another try.
        """
        name = (issuer, thumbprints)
        kept = self._kept.get(name)
        if kept is None or self._is_due(kept, unknown=unknown):
            kept = await self._asked(name)
        if kept.keys is None:
            raise InvalidIdentityToken(
                "Couldn't retrieve verification key from your identity provider,  please reference "
                "AssumeRoleWithWebIdentity documentation for requirements"
            )
        return kept.keys

    def _is_due(self, kept: _Kept, *, unknown: bool) -> bool:
        now = self._clock()
        if kept.keys is not None and now >= kept.fetched + _KEEP_SECONDS:
            return True
        return (kept.keys is None or unknown) and now >= kept.asked + _AGAIN_SECONDS

    async def _asked(self, name: Name) -> _Kept:
        """What an issuer says, which is asked once for all who wait. Raises IDPCommunicationError."""
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.create_task(self._ask(name))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await asyncio.shield(asking)
        except TimeoutError:
            raise IDPCommunicationError(
                "The request could not be fulfilled because the identity provider (IDP) that was asked to verify the "
                "incoming identity token could not be reached."
            ) from None

    async def _ask(self, name: Name) -> _Kept:
        """Ask an issuer and keep what it says. If that fails, keys stay that are less than an hour old."""
        issuer, thumbprints = name
        before, asked = self._kept.get(name), self._clock()
        try:
            keys = await asyncio.get_running_loop().run_in_executor(self._pool, self._fetch, issuer, thumbprints)
            kept = _Kept(keys, asked, asked)
        except (OSError, ValueError, urllib3.exceptions.HTTPError, RecursionError) as error:
            _log.warning("the keys of the issuer %s cannot be fetched: %r", issuer, error)
            good = before is not None and before.keys is not None and asked < before.fetched + _KEEP_SECONDS
            kept = before._replace(asked=asked) if before is not None and good else _Kept(None, asked, asked)
        finally:
            del self._asking[name]
        if len(self._kept) >= _MAX_ISSUERS:
            self._kept.clear()
        self._kept[name] = kept
        return kept

    def _fetch(self, issuer: str, thumbprints: Sequence[str]) -> tuple[Key, ...]:
        deadline = time.monotonic() + _SECONDS
        discovered = self._get(f"{issuer.removesuffix('/')}/.well-known/openid-configuration", thumbprints, deadline)
        if discovered.get("issuer") != issuer or not isinstance(discovered.get("jwks_uri"), str):
            raise ValueError("the discovery document is another issuer's")
        documents = self._get(discovered["jwks_uri"], thumbprints, deadline).get("keys")
        if not isinstance(documents, list) or len(documents) > _MAX_KEYS:
            raise ValueError("the keys are no list")
        return tuple(key for document in documents if (key := key_of(document)) is not None)

    def _get(self, url: str, thumbprints: Sequence[str], deadline: float) -> dict[str, Any]:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
            raise ValueError("not an https URL")
        address = self._address(parts)
        try:
            body = self._request(parts, address, None, deadline)
        except urllib3.exceptions.SSLError:
            if not thumbprints:
                raise
            body = self._pinned(parts, address, thumbprints, deadline)
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not an object")  # noqa: TRY004 — as any other document that is not what it should be
        return document

    def _pinned(self, parts: SplitResult, address: str, thumbprints: Sequence[str], deadline: float) -> bytes:
        """Ask a server whose own certificate has one of these SHA-1 hashes: that is then what it is known by."""
        for thumbprint in thumbprints:
            try:
                return self._request(parts, address, thumbprint, deadline)
            except urllib3.exceptions.SSLError:
                continue
        raise ValueError("the server's certificate has none of the thumbprints")

    def _request(self, parts: SplitResult, address: str, thumbprint: str | None, deadline: float) -> bytes:
        context = ssl.create_default_context()
        context.sslsocket_class = _reading_until(deadline)
        if self._ca is not None:
            context.load_verify_locations(self._ca)
        if thumbprint is not None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib3.HTTPSConnectionPool(
            address,
            parts.port or 443,
            ssl_context=context,
            server_hostname=parts.hostname,
            assert_hostname=parts.hostname,
            assert_fingerprint=thumbprint,
            timeout=_left(deadline),
            retries=False,
        ) as pool:
            path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            headers = {"Host": parts.netloc, "Accept": "application/json", "User-Agent": "strongroom"}
            response = pool.request("GET", path, headers=headers, redirect=False, preload_content=False)
            if response.status != 200:  # noqa: PLR2004 — OK
                raise ValueError(f"answered with {response.status}")
            return _bounded(response)

    def _address(self, parts: SplitResult) -> str:
        """An address of the host that may be connected to. Raises ValueError or OSError."""
        host = parts.hostname or ""
        named = host in self._allow or parts.netloc in self._allow
        for found in socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM):
            address = str(found[4][0])
            if named or _is_public(address):
                return address
        raise ValueError("no address that may be connected to")


def _is_public(address: str) -> bool:
    """Whether an address is of the Internet. One that stands for an IPv4 address is what that is."""
    parsed = meant(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed in _UNICAST and parsed.is_global
    return parsed.is_global and not parsed.is_multicast


def _left(deadline: float) -> float:
    """Seconds until then, and at least a millisecond: no time at all would mean to not wait, or to wait forever."""
    return max(deadline - time.monotonic(), 0.001)


def _reading_until(deadline: float) -> type[ssl.SSLSocket]:
    """Sockets that read nothing after a time: a server that sends a little at a time never runs into a timeout."""

    class Timed(ssl.SSLSocket):
        def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
            self.settimeout(_left(deadline))
            return super().recv_into(buffer, nbytes, flags)

    return Timed


def _bounded(response: urllib3.BaseHTTPResponse) -> bytes:
    body = b""
    for chunk in response.stream(64 * 1024, decode_content=False):
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ValueError("too much")
    return body
