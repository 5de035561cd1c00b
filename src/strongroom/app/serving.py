"""Serve an installation: one server process, or several under a supervisor."""

import asyncio
import gc
import os
import shlex
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import NamedTuple

import uvloop
from msgspec.structs import replace
from uvicorn._types import ASGI3Application

from strongroom.app.client_files import write_client_environment
from strongroom.app.custom_key_stores import configured_key_stores
from strongroom.app.databases import audit_index, shared_nonces
from strongroom.app.history import missing_chains, note_seen, refuse_rollback
from strongroom.app.installing import Opened, audit_log, open_installation, open_secret, served_regions
from strongroom.app.key_store import served_external_keys, serving_key_store
from strongroom.app.measuring import SOFTWARE, new_memory
from strongroom.app.serving_lock import serving
from strongroom.app.usage_tracking import begin_tracking
from strongroom.app.watching import Parts, Watch
from strongroom.audit.indexing import Indexer
from strongroom.audit.recovery import recover
from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.authentication import Authenticator
from strongroom.config import Config, Health, Tls
from strongroom.errors import DatabaseAwayError, HsmError, OperatorError
from strongroom.federation import Federation
from strongroom.jobs.audit_index import index_forever
from strongroom.jobs.audit_tick import tick_forever
from strongroom.jobs.calendar import Job, Office, keep_calendar
from strongroom.jobs.custom_key_stores import CustomKeyStoreJob
from strongroom.jobs.deletion import DeletionJob
from strongroom.jobs.expiry import ExpiryJob
from strongroom.jobs.following import follow_forever
from strongroom.jobs.key_usage import UsageJob, store_forever, store_last
from strongroom.jobs.multi_region import MultiRegionJob
from strongroom.jobs.rotation import RotationJob
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.custom import CustomKeyStores
from strongroom.keystores.process import disable_core_dumps
from strongroom.metrics.memory import Memory
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import AUDIT_WRITES, KEY_STORE_CALLS
from strongroom.operations.uses import Uses
from strongroom.pipeline import Pipeline
from strongroom.snapshot import Lease, LiveSnapshot
from strongroom.storage.audit_events import EventIndex
from strongroom.storage.audit_index import SqliteEvents
from strongroom.storage.shared_audit_index import SharedAuditIndex
from strongroom.web_identity.issuers import Issuers
from strongroom.wire.asgi import Answering
from strongroom.wire.asgi import application as kms_application
from strongroom.wire.counting import Counted
from strongroom.wire.health import application as health_application
from strongroom.wire.server import Server, bind, require_tls_off_loopback
from strongroom.wire.tls import Certificate
from strongroom.wire.workers import GAVE_UP, TRY_AGAIN, supervise
from strongroom.wire.xks import application as xks_application

_POOL_THREADS = 8
"""Threads for what may wait for a disk or a device."""
_LOOK_UP_THREADS = 2
"""Threads for what is looked up in the index of the audit log."""
_ISSUER_THREADS = 4
"""Threads for what may wait for an issuer of web identities."""
_WATCHING_CONNECTIONS = 32
"""Connections of those who ask for health and metrics."""

Announce = Callable[[str], None]


def serve(config: Config, announce: Announce) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code. Raises OperatorError if it cannot begin."""
    require_tls_off_loopback(config.listen.host, tls=config.tls is not None)
    listener = bind(config.listen.host, config.listen.port)
    config = _with_port(config, listener.getsockname()[1])
    front = Front(config.tls, config.listen.balancers, kms_application, config.health)
    return _serve_on(config, front, listener, partial(_announce, config, announce), announce)


def serve_xks_proxy(config: Config, announce: Announce) -> int:
    """Serve the XKS proxy in the same way, over the same installation. Raises OperatorError if it cannot begin."""
    settings = config.xks_proxy
    require_tls_off_loopback(settings.host, tls=settings.tls is not None)
    listener = bind(settings.host, settings.port)
    scheme = "http" if settings.tls is None else "https"
    line = f"The XKS proxy listens on {scheme}://{settings.host}:{listener.getsockname()[1]}"
    front = Front(settings.tls, settings.balancers, xks_application, settings.health)
    return _serve_on(config, front, listener, partial(announce, line), announce)


class Front(NamedTuple):
    """What is seen of a server process: its certificate, the balancers before it, what answers, where it is watched."""

    tls: Tls | None
    balancers: Sequence[IPv4Network | IPv6Network]
    application: Callable[[Answering], ASGI3Application]
    health: Health | None


def _serve_on(
    config: Config, front: Front, listener: socket.socket, ready: Callable[[], None], announce: Announce
) -> int:
    listeners = [listener]
    if front.health is not None:
        listeners.append(bind(front.health.host, front.health.port))
        announce(f"Health and metrics are told on {front.health.url(listeners[1].getsockname()[1])}")
    memory = new_memory(config)
    if config.workers == 1 and config.hsm is None:  # a process whose HSM hangs has to be replaced
        code = _serve_process(config, front, Meters(memory, 0), listeners, ready)
        _leave(config, code)
        return code
    return supervise(config.workers, partial(_serve_worker, config, front, memory), listeners, ready=ready)


def _serve_worker(
    config: Config,
    front: Front,
    memory: Memory,
    number: int,
    listeners: Sequence[socket.socket],
    ready: Callable[[], None],
) -> None:
    """Be one of several server processes (workers.StartWorker)."""
    try:
        code = _serve_process(config, front, Meters(memory, number), listeners, ready)
    except (OperatorError, OSError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        code = TRY_AGAIN if isinstance(error, HsmError | DatabaseAwayError) else GAVE_UP
    _leave(config, code)
    sys.exit(code)


def _leave(config: Config, code: int) -> None:
    """End the process, if it has used an HSM's library.

    Not by the ways that exits take: a thread may be in the library, which then crashes or waits for it.
    """
    if config.hsm is not None or config.hsm_clusters:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve_process(
    config: Config, front: Front, meters: Meters, listeners: Sequence[socket.socket], ready: Callable[[], None]
) -> int:
    """Be one server process, until a signal ends it; return its exit code."""
    disable_core_dumps()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, front, meters, listeners, ready))


async def _serve(
    config: Config, front: Front, meters: Meters, listeners: Sequence[socket.socket], ready: Callable[[], None]
) -> int:
    """Compose the parts from storage up to HTTP, serve, and close them in reverse order."""
    fatal: list[str] = []
    async with AsyncExitStack() as closing:
        closing.enter_context(serving(config))
        opened = open_installation(config)
        closing.callback(opened.close)
        pool = closing.enter_context(ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="blocking"))

        server: Server | None = None

        def stop(reason: str) -> None:
            if not fatal:
                fatal.append(reason)
                sys.stderr.write(f"strongroom: stopping: {reason}\n")
            if server is not None:
                server.stop()

        key_store = serving_key_store(opened, stop, meters)
        custom_key_stores = configured_key_stores(opened, key_store, meters)
        closing.callback(custom_key_stores.close)
        external_keys = served_external_keys(opened, key_store)
        forget = partial(_forget, (key_store, custom_key_stores))
        state = _live_snapshot(opened, forget, closing, on_fatal=stop)
        refuse_rollback(opened)
        begin_tracking(opened, time.time())
        for chain_id in missing_chains(opened):
            sys.stderr.write(f"strongroom: the log of audit chain {chain_id} is missing\n")
        certificate = None if front.tls is None else Certificate(front.tls.certificate, front.tls.key)

        audit = AuditWriter.open(
            audit_log(opened),
            now=time.time,
            executor=pool,
            on_fatal=stop,
            on_written=meters.histogram(AUDIT_WRITES).observe,
            sync=config.audit.sync,
        )
        closing.push_async_callback(audit.close)
        await _recover(opened, audit)
        strangers = StrangersLog(config.strangers_directory)
        closing.callback(strangers.close)
        ticking = asyncio.create_task(
            tick_forever(
                opened.storage, audit, strangers, pool, note_position=partial(_note_position, opened), on_fatal=stop
            )
        )
        closing.callback(ticking.cancel)
        office = Office(state, opened.storage, audit, pool)
        jobs: list[Job] = [
            CustomKeyStoreJob(office, custom_key_stores),
            DeletionJob(office, custom_key_stores),
            ExpiryJob(office),
            MultiRegionJob(office),
            RotationJob(office, key_store),
        ]
        working = asyncio.create_task(keep_calendar(office, jobs, on_fatal=stop))
        closing.callback(working.cancel)
        fetching = closing.enter_context(ThreadPoolExecutor(_ISSUER_THREADS, thread_name_prefix="issuers"))
        issuers = Issuers(fetching, allow=config.web_identity.allow, ca=config.web_identity.ca)
        uses = Uses()
        usage_job = UsageJob(state, opened.storage, uses, pool)
        closing.push_async_callback(store_last, usage_job)
        storing = asyncio.create_task(store_forever(usage_job, on_fatal=stop))
        closing.callback(storing.cancel)
        pipeline = Pipeline(
            state=state,
            storage=opened.storage,
            key_store=key_store,
            custom_key_stores=custom_key_stores,
            external_keys=external_keys,
            audit=audit,
            events=_index(opened, audit, pool, closing),
            looking_up=closing.enter_context(ThreadPoolExecutor(_LOOK_UP_THREADS, thread_name_prefix="events")),
            strangers=strangers,
            uses=uses,
            software_calls=meters.histogram(KEY_STORE_CALLS, SOFTWARE),
            pool=pool,
            authenticator=Authenticator(state, opened.domain_keys.seals.session_tokens, served_regions(config)),
            federation=Federation(state, issuers),
            seals=opened.domain_keys.seals,
            nonces=shared_nonces(config, opened.storage),
            regions=served_regions(config),
            clock=time.time,
            hurry=office.hurry,
            on_fatal=stop,
        )
        application = front.application(Counted(pipeline, meters.requests()))
        server = Server(application, certificate=certificate, balancers=front.balancers, ready=ready)
        if fatal:
            return 1
        _settle_garbage_collector()
        parts = Parts(state, audit, strangers, office, opened.hsm, server)
        async with _telling(Watch(parts, meters), listeners[1:]):
            await server.serve([listeners[0]])
    return 1 if fatal else 0


@asynccontextmanager
async def _telling(watch: Watch, listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Look after the process, and tell whoever asks there, until what it serves is over."""
    health = Server(health_application(watch), capacity=_WATCHING_CONNECTIONS, signals=False, grace=1)
    looking = asyncio.create_task(watch.look_forever())
    telling = asyncio.create_task(health.serve(list(listeners))) if listeners else None
    try:
        yield
    finally:
        looking.cancel()
        if telling is not None:
            health.stop()
            await telling
        watch.leave()


def _forget(key_stores: Sequence[KeyStore | CustomKeyStores], region: str, material_id: str) -> None:
    for key_store in key_stores:
        key_store.forget(region, material_id)


def _live_snapshot(
    opened: Opened, forget: Callable[[str, str], None], closing: AsyncExitStack, *, on_fatal: Callable[[str], None]
) -> LiveSnapshot:
    """The state that requests read; of a database that nodes share, on a lease, and followed."""
    shared = opened.config.postgresql
    open_secrets = partial(open_secret, opened)
    if shared is None:
        return LiveSnapshot(opened.storage, open_secrets, forget)
    asking = closing.enter_context(ThreadPoolExecutor(1, thread_name_prefix="confirming"))
    state = LiveSnapshot(opened.storage, open_secrets, forget, Lease(shared.lease, asking))
    hearing = closing.enter_context(ThreadPoolExecutor(1, thread_name_prefix="notices"))
    following = asyncio.create_task(
        follow_forever(
            state,
            opened.storage,
            hearing,
            shared.lease,
            note_seen=partial(note_seen, opened.config),
            on_fatal=on_fatal,
        )
    )
    closing.push_async_callback(state.settle)
    closing.push_async_callback(_end, following)
    return state


def _note_position(opened: Opened) -> None:
    """Remember how far the database has come, unless that is done where it is followed."""
    if opened.config.postgresql is None:
        note_seen(opened.config, opened.storage.position())


async def _end(task: asyncio.Task[None]) -> None:
    while not task.done():  # what it waits for may swallow one cancellation
        task.cancel()
        await asyncio.wait([task], timeout=1)


async def _recover(opened: Opened, audit: AuditWriter) -> None:
    """Close what processes that are gone left behind; then forget the key that opens the log's past."""
    private_key = opened.domain_keys.chain_private_key
    recovered = await recover(audit_log(opened), audit, chain_private_key=private_key, now=time.time())
    opened.domain_keys.drop_chain_private_key()
    for details in recovered:
        for damage in details.damage:
            sys.stderr.write(f"strongroom: the audit log of chain {details.chain_id} is damaged: {damage}\n")


def _index(opened: Opened, audit: AuditWriter, pool: Executor, closing: AsyncExitStack) -> EventIndex:
    """Where events are looked up, and what brings it up to the log, until it is closed."""
    index = audit_index(opened.config, opened.storage)
    closing.callback(index.close)
    indexer = Indexer(index, audit_log(opened), audit.chain_id)
    indexing = asyncio.create_task(index_forever(indexer, audit, pool))
    closing.callback(indexing.cancel)
    return index if isinstance(index, SharedAuditIndex) else SqliteEvents(opened.config.audit_index)


def _announce(config: Config, announce: Announce) -> None:
    """Tell clients where we are, once we are there."""
    environment = write_client_environment(config)
    if environment.is_relative_to(Path.cwd()):
        environment = environment.relative_to(Path.cwd())
    announce(f"Listening on {config.endpoint}")
    announce(f"Paste this to use it:  set -a; . {shlex.quote(str(environment))}; set +a; aws kms create-key")


def _with_port(config: Config, port: int) -> Config:
    """The configuration with the port that was really taken."""
    return replace(config, listen=replace(config.listen, port=port))


def _settle_garbage_collector() -> None:
    """What start-up made stays for ever: do not walk it again and again, and look for garbage less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
