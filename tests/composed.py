"""A pipeline over real parts, without sockets."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.app.custom_key_stores import configured_key_stores
from strongroom.app.installing import Opened, audit_log, initialize, open_installation, open_secret, served_regions
from strongroom.app.key_store import served_external_keys, serving_key_store
from strongroom.app.measuring import SOFTWARE, new_memory
from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.authentication import Authenticator
from strongroom.config import Hsm, read_config
from strongroom.directory import Credential as Signing
from strongroom.federation import Federation
from strongroom.jobs.calendar import Office
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.custom import CustomKeyStores
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import KEY_STORE_CALLS
from strongroom.model.exchange import Answer, Incoming
from strongroom.operations.uses import Uses
from strongroom.pipeline import Pipeline
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.audit_index import SqliteAuditIndex
from strongroom.storage.nonces import SqliteNonces
from strongroom.web_identity.issuers import Issuers

NOW = 1_790_000_000.0
DAY = 86_400.0


class MovingClock:
    """The clock of a pipeline, which moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def root_credential(state: LiveSnapshot) -> Signing:
    """The credential of the only access key."""
    snapshot = state.fresh()
    credential = snapshot.credential(next(iter(snapshot.access_key_accounts)))
    assert credential is not None
    return credential


class Composed(NamedTuple):
    """A pipeline, the parts that a test breaks, and what it was told is fatal."""

    pipeline: Pipeline
    opened: Opened
    state: LiveSnapshot
    uses: Uses
    fatal: list[str]
    clock: MovingClock
    office: Office
    key_store: KeyStore
    custom_key_stores: CustomKeyStores
    region: str = "us-east-1"
    """The Region that KMS is asked in; `_replace` it."""
    by: Credential | None = None
    """Who asks KMS, if not the root user; `_replace` it."""
    on_behalf_of: str | None = None
    """Whom a service that asks KMS names; `_replace` it."""

    async def call(self, name: str, members: dict[str, Any]) -> Answer:
        """Call an operation of KMS, as the root user if nobody else is to."""
        return await self.pipeline.answer(self.signed(name, members), "kms", name)

    def signed(self, name: str, members: dict[str, Any]) -> Incoming:
        """A request of KMS, by the root user if by nobody else."""
        key = self.by
        if key is None:
            credential = root_credential(self.state)
            key = Credential(credential.identity.principal.access_key_id, credential.secret)
        body = json.dumps(members).encode()
        headers = [(b"host", b"localhost"), (b"x-amz-target", f"TrentService.{name}".encode())]
        if self.on_behalf_of is not None:
            headers += [
                (b"x-strongroom-on-behalf-of", self.on_behalf_of.encode()),
                (b"x-strongroom-nonce", secrets.token_hex(16).encode()),
            ]
        signed = SignedRequest("POST", b"/", b"", headers)
        headers += sign(signed, key, region=self.region, service="kms", now=self.clock.now, body=body)
        return Incoming("POST", b"/", b"", headers, body, "192.0.2.1")

    async def ask(self, service: str, form: str, *, method: str = "POST") -> Answer:
        """Send a form, to STS perhaps in the query string."""
        credential = root_credential(self.state)
        body, query = (b"", form.encode()) if method == "GET" else (form.encode(), b"")
        headers = [(b"host", b"localhost")]
        key = Credential(credential.identity.principal.access_key_id, credential.secret)
        signed = SignedRequest(method, b"/", query, headers)
        headers += sign(signed, key, region="us-east-1", service=service, now=self.clock.now, body=body)
        name = form.partition("&")[0].partition("=")[2]
        return await self.pipeline.answer(Incoming(method, b"/", query, headers, body, "192.0.2.1"), service, name)

    async def ask_kms(self, name: str, **members: Any) -> Any:
        """Call an operation that must succeed; return its response. Bytes are sent as they are in JSON."""
        sent = {
            member: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for member, value in members.items()
        }
        answer = await self.call(name, sent)
        if answer.error is not None:
            raise answer.error
        return answer.response

    def records(self, event_type: str = "AwsApiCall") -> list[dict[str, Any]]:
        """The records of requests in the chained log, or of what the service did by itself."""
        lines = [
            line
            for path in sorted(self.opened.config.audit_directory.glob("*/*.log"))
            for line in path.read_bytes().splitlines()
        ]
        events = [json.loads(line.split(b" ", 3)[3]) for line in lines]
        return [event for event in events if event.get("eventType") == event_type]


@asynccontextmanager
async def composed(data: Path) -> AsyncIterator[Composed]:
    opened = open_installation(read_config(data / "strongroom.yaml"))
    fatal: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        meters = Meters(new_memory(opened.config), 0)
        key_store = serving_key_store(opened, fatal.append, meters)
        custom_key_stores = configured_key_stores(opened, key_store, meters)
        state = LiveSnapshot(opened.storage, partial(open_secret, opened), key_store.forget)
        audit = AuditWriter.open(audit_log(opened), now=time.time, executor=pool, on_fatal=fatal.append)
        events = SqliteAuditIndex(opened.config.audit_index)
        strangers = StrangersLog(opened.config.strangers_directory)
        uses = Uses()
        clock = MovingClock()
        office = Office(state, opened.storage, audit, pool)
        pipeline = Pipeline(
            state=state,
            storage=opened.storage,
            key_store=key_store,
            custom_key_stores=custom_key_stores,
            external_keys=served_external_keys(opened, key_store),
            audit=audit,
            events=events,
            looking_up=pool,
            strangers=strangers,
            uses=uses,
            software_calls=meters.histogram(KEY_STORE_CALLS, SOFTWARE),
            pool=pool,
            authenticator=Authenticator(state, opened.domain_keys.seals.session_tokens, served_regions(opened.config)),
            federation=Federation(state, Issuers(pool)),
            seals=opened.domain_keys.seals,
            nonces=SqliteNonces(opened.config.nonces),
            regions=served_regions(opened.config),
            clock=clock,
            hurry=office.hurry,
            on_fatal=fatal.append,
        )
        yield Composed(pipeline, opened, state, uses, fatal, clock, office, key_store, custom_key_stores)
        await audit.close()
        strangers.close()
        events.close()
    opened.close()


Test = Callable[[Composed], Coroutine[Any, Any, None]]
Run = Callable[[Test], None]


def run_composed(data: Path, test: Test, hsm: Hsm | None = None, configure: Callable[[], None] = lambda: None) -> None:
    """Run a test against a fresh installation, whose keys are in an HSM if one is given.

    `configure` adds to its configuration.
    """

    async def main() -> None:
        async with composed(data) as parts:
            await test(parts)

    initialize(data, region="us-east-1", port=0, account="111122223333", now=NOW, hsm=hsm)
    configure()
    asyncio.run(main())
