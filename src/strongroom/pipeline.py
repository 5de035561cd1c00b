"""The life of a request, on one screen: authenticate, decode, find targets, authorize, run, audit, answer.

The order of checks is AWS's (docs/architecture.md numbers it; the numbers stand beside the code):
1 method and content type (wire), 2 target, 3 signature, 4 JSON, 5 types, 6 constraints, 7 parameters, 8 key,
9 authorization, 10 key state, 11 usage, 12 algorithm, 13 sizes, 14 work, 15 dry run.

Whatever happens, a request leaves exactly one audit record before its answer leaves; if the record cannot be kept, the
request fails. Plain functions do the work; what may wait for a disk or a device runs on the thread pool.
"""

import asyncio
import math
import random
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Container
from concurrent.futures import Executor
from contextlib import suppress
from time import perf_counter_ns

from msgspec import Struct

from strongroom.audit.record import encode, key_event
from strongroom.audit.strangers import StrangersLog
from strongroom.audit.writer import AuditWriter
from strongroom.authentication import Authenticator, Caller
from strongroom.authorization.ground import Decision
from strongroom.errors import (
    XKS_PROXY,
    AccessDenied,
    ConflictError,
    DependencyTimeout,
    DryRunOperation,
    IntegrityError,
    InvalidIdentityToken,
    InvalidUriPath,
    KMSInternal,
    NotFound,
    OperatorError,
    RequestError,
    RollbackError,
    StorageError,
    Throttling,
    UnrecognizedClient,
)
from strongroom.federation import Federation
from strongroom.keystores.contract import KeyStore, Threads, run_on
from strongroom.keystores.custom import CustomKeyStores
from strongroom.keystores.domain_keys import Seals
from strongroom.keystores.external_keys import ExternalKeys
from strongroom.messages import codec, query, xks
from strongroom.messages.declaration import Structure
from strongroom.messages.xks import XksRequest
from strongroom.metrics.meters import Histogram
from strongroom.model.exchange import Answer, Incoming
from strongroom.operations import managed_keys, targets
from strongroom.operations.authorizing import (
    applying,
    authorize_custom_key_store,
    authorize_external_key,
    authorize_grant,
    authorize_identity,
    authorize_named_alias,
    authorize_replica,
    authorize_role_target,
    authorize_target,
    authorize_without_key,
)
from strongroom.operations.call import Call, Change, Elsewhere
from strongroom.operations.event import Event, new_event, record_elsewhere, record_of_call, record_of_stranger
from strongroom.operations.operation import Operation
from strongroom.operations.registry import find_operation
from strongroom.operations.uses import Uses
from strongroom.rates import Rates
from strongroom.snapshot import LiveSnapshot, Snapshot
from strongroom.storage.audit_events import EventIndex
from strongroom.storage.contract import Nonces, OutboxEntry, Storage

_ATTEMPTS = 10
"""How often a change is decided again when others keep changing what it was decided on."""
_DECIDED_BY_STATE = (UnrecognizedClient, InvalidIdentityToken, InvalidUriPath)
"""How step 3 refuses what is not known: of other nodes something newer may be."""
_NOT_BY_STATE = (DependencyTimeout, DryRunOperation, KMSInternal, Throttling)
"""What newer state would not decide otherwise."""
_REPORT_SECONDS = 10.0
"""How long a failure is not told again."""
_REPORTS = 100
"""Failures that are remembered."""
_PAUSE = 0.005
"""Seconds by which the pause before each new attempt grows at most."""


class Pipeline:
    """What all requests share. For one event loop."""

    def __init__(  # noqa: PLR0913 — the composition root names every part
        self,
        *,
        state: LiveSnapshot,
        storage: Storage,
        key_store: KeyStore,
        custom_key_stores: CustomKeyStores,
        external_keys: ExternalKeys,
        audit: AuditWriter,
        events: EventIndex,
        looking_up: Executor,
        strangers: StrangersLog,
        uses: Uses,
        software_calls: Histogram,
        pool: Executor,
        authenticator: Authenticator,
        federation: Federation,
        seals: Seals,
        nonces: Nonces,
        regions: Container[str],
        clock: Callable[[], float],
        hurry: Callable[[], None],
        on_fatal: Callable[[str], None],
    ) -> None:
        """`looking_up` has the threads for what takes its time and may wait. `regions` are those that are served.

        `clock` gives seconds since the epoch. `hurry` wakes the calendar.

        `on_fatal` is told why this process must not go on serving.
        """
        self._state = state
        self._storage = storage
        self._key_store = key_store
        self._custom_key_stores = custom_key_stores
        self._external_keys = external_keys
        self._audit = audit
        self._events = events
        self._looking_up = looking_up
        self._strangers = strangers
        self._uses = uses
        self._software_calls = software_calls
        self._pool = pool
        self._authenticator = authenticator
        self._federation = federation
        self._seals = seals
        self._nonces = nonces
        self._regions = regions
        self._clock = clock
        self._hurry = hurry
        self._on_fatal = on_fatal
        self._rates = Rates()
        self._reported: dict[str, float] = {}

    async def answer(self, incoming: Incoming, service: str, name: str | None) -> Answer:
        """Answer one request. Never raises."""
        event = new_event(incoming, self._clock())
        try:
            operation = find_operation(service, name)  # 2
            snapshot = await self._state.confirm() if self._state.stale else self._state.current()
            try:
                caller = await self._identify(event, operation, snapshot)  # 3
            except _DECIDED_BY_STATE:
                newer = await self._state.newer_than(snapshot)
                if newer is None:
                    raise
                caller = await self._identify(event, operation, newer)
        except Exception as error:  # noqa: BLE001 — nothing a stranger sends ends without an answer
            return self._refuse_stranger(event, service, name or "", self._told(error))
        principal = caller.credential.identity.principal
        if principal.access_key_id and principal.issued is None:
            self._uses.note_access_key(principal.access_key_id, now=event.now, region=caller.region, service=service)
        try:
            caller = await self._caller(event, operation, caller)
            return await self._serve(event, operation, caller)
        except Exception as error:  # noqa: BLE001 — nothing a caller sends ends without a record and an answer
            return await self._refuse_caller(event, operation, caller, self._told(error))

    def refuse(self, incoming: Incoming, error: RequestError, service: str | None) -> Answer:
        """Answer a request in which no operation can be told, and in a form not even the service."""
        return self._refuse_stranger(new_event(incoming, self._clock()), service, "", error)

    async def _identify(self, event: Event, operation: Operation, snapshot: Snapshot) -> Caller:
        """Step 3. A token stands among the request's members, which are decoded first."""
        if operation.by_web_identity:
            return await self._federation.identify(_decode_message(operation, event.incoming), event.now, snapshot)
        return self._authenticator.authenticate(event.incoming, operation.service, event.now, snapshot)

    async def _caller(self, event: Event, operation: Operation, caller: Caller) -> Caller:
        """Whom the request is for: the user that a service names, or else who signed. Raises AccessDenied."""
        try:
            named = self._authenticator.on_behalf(event.incoming, caller, operation, event.now)
        except RequestError:
            newer = await self._state.newer_than(caller.snapshot)
            if newer is None:
                raise
            caller = self._authenticator.authenticate(event.incoming, operation.service, event.now, newer)
            named = self._authenticator.on_behalf(event.incoming, caller, operation, event.now)
        if named is None:
            return caller
        service = caller.credential.identity.principal.arn
        if not await run_on(self._pool, self._nonces.first_use, service, named.nonce, event.now):
            raise AccessDenied("This request was sent before: its nonce is used up.")
        event.on_behalf_by = caller.credential.identity.principal
        return named.caller

    async def _serve(self, event: Event, operation: Operation, caller: Caller) -> Answer:
        """Steps 4 to 15, the record, and the answer of a request that succeeds."""
        request = _decode(operation, event.incoming)  # 4, 5, 6
        event.request = request
        event.declared = operation.targets(request)  # 7
        if caller.xks_store is not None:  # once, however often it is decided again
            self._rates.take(caller.xks_store.prefix, caller.xks_store.rate, event.now)
        for token in getattr(request, "grant_tokens", None) or ():
            self._seals.grant_tokens.open(token)  # that is all: a grant is in force as soon as it is made
        decided_again = False
        for attempt in range(_ATTEMPTS):
            call = self._call(event, operation, caller)
            try:
                self._authorize(event, operation, call)  # 8, 9, 10, 11
                if operation.change is not None:
                    return await self._change(event, operation, caller, call)
                return await self._run(event, operation, caller, call)
            except ConflictError:
                await asyncio.sleep(attempt * random.uniform(0, _PAUSE))  # noqa: S311 — so that not all come at once
            except _NOT_BY_STATE:
                raise
            except RequestError as error:
                if not decided_again and await self._state.newer_than(caller.snapshot) is not None:
                    decided_again = True
                elif not (isinstance(error, NotFound) and await self._make_managed_key(event, operation, call)):
                    raise
            caller = await self._again(event, operation)
        raise KMSInternal("The request could not be completed because of concurrent changes. Try again.")

    def _authorize(self, event: Event, operation: Operation, call: Call) -> None:
        """Steps 8 to 11. Leaves in the event what was found and decided."""
        event.found, event.keys, event.roles, event.aliases, event.decisions = (), (), (), (), ()
        event.custom_key_stores, event.external_keys = (), ()
        for target in applying(event.declared, call.principal):
            match target:
                case targets.KeyTarget() | targets.GrantTarget():  # first: they are what most requests have
                    decision = self._authorize_key(event, operation, call, target)
                case targets.ExternalKeyTarget():
                    assert isinstance(event.request, XksRequest), "nothing else acts on external keys"
                    event.external_keys += (authorize_external_key(call, event.request, target),)
                    continue
                case targets.AliasTarget():
                    arn, decision = authorize_named_alias(call, event.request, target)
                    event.aliases += (arn,)
                case targets.ReplicaTarget():
                    decision = authorize_replica(call, event.request, target, event.found)
                case targets.IdentityTarget():
                    decision = authorize_identity(call, event.request, target)
                case targets.RoleTarget():
                    role = authorize_role_target(call, event.request, target)
                    event.roles += (role,)
                    decision = role.decision
                case targets.CustomKeyStoreTarget():
                    store, decision = authorize_custom_key_store(call, event.request, target)
                    event.custom_key_stores += (store,)
                case targets.AccountTarget():
                    decision = authorize_without_key(call, event.request, target)
            event.decisions += (decision,)

    def _authorize_key(
        self, event: Event, operation: Operation, call: Call, target: targets.KeyTarget | targets.GrantTarget
    ) -> Decision:
        """Steps 8 to 11 for a key, or a grant on one."""
        if isinstance(target, targets.KeyTarget):
            found = targets.find(target, call.snapshot, call.principal, call.region)
            event.found += (found.entry.key,)
            key_store = call.snapshot.custom_key_store(found.entry.key)
            if key_store is not None:
                event.custom_key_stores += (key_store,)
            authorized = authorize_target(call, event.request, target, found, operation.name)
        else:
            found_grant = targets.find_grant(
                target, call.snapshot, call.principal, call.region, call.seals.grant_tokens
            )
            event.found += (found_grant.entry.key,)
            authorized = authorize_grant(call, event.request, target, found_grant, operation.name)
        event.keys += (authorized,)
        return authorized.decision

    async def _make_managed_key(self, event: Event, operation: Operation, call: Call) -> bool:
        """Make the AWS managed key that was not found, if it is one: whether it may be there now."""
        needed = managed_keys.needed(call, event.request, event.declared, operation.name)
        if needed is None:
            return False
        _end_dry_run(event)
        writes = await run_on(self._key_store.generation or self._pool, needed.writes, call)
        details = {**needed.details, "requestId": event.request_id}
        made = key_event(name="CreateKey", event_id=str(uuid.uuid4()), now=event.now, key=needed.key, details=details)
        record = encode(made)
        outbox = OutboxEntry(self._audit.chain_id, made.event_id, record)
        try:
            with self._audit.committing(made.event_id):
                position = await run_on(self._pool, self._storage.commit, writes, outbox)
        except ConflictError:  # another made it
            return True
        await self._audit.write(record, change=position.number)
        return True

    async def _run(self, event: Event, operation: Operation, caller: Caller, call: Call) -> Answer:
        """Steps 12 to 15 of an operation that changes nothing; its record is on disk before it is answered."""
        assert operation.run is not None, "an operation runs or changes"
        if operation.rate is not None:  # who is not allowed to takes nothing from those who are
            self._rates.take(f"{operation.name} {call.account} {call.region}", operation.rate, event.now)
        threads = self._threads(event, operation)
        if threads is None:
            began = perf_counter_ns()
            response = operation.run(call, event.request, event.authorized)
            if operation.asks_key_store:
                self._software_calls.add(perf_counter_ns() - began)
        else:
            response = await run_on(threads, operation.run, call, event.request, event.authorized)
            if operation.asks_key_store or operation.generates:
                caller = await self._still_allowed(event, operation, caller)
        _end_dry_run(event)
        await self._audit.write(self._record(event, operation, caller, response))
        if operation.uses_material:
            self._uses.note(
                event.found,
                now=event.now,
                operation=operation.name,
                request_id=event.request_id,
                event_id=event.event_id,
            )
        return Answer(event.request_id, response)

    async def _change(self, event: Event, operation: Operation, caller: Caller, call: Call) -> Answer:
        """Steps 12 to 15 of an operation that changes state; its record is committed with the change, then chained."""
        assert operation.change is not None, "asked for changes only"
        threads = self._threads(event, operation) or self._pool
        change = await run_on(threads, operation.change, call, event.request, event.authorized)
        assert isinstance(change, Change), "a change says what to write"
        try:
            if operation.generates:
                caller = await self._still_allowed(event, operation, caller)
            with self._audit.committing(event.event_id):
                response, record, number = await run_on(self._pool, self._commit, event, operation, caller, change)
        except (ConflictError, RequestError):
            if change.undo is not None:
                with suppress(RequestError):  # what it was undone for counts
                    await run_on(threads, change.undo)
            raise
        if operation.hurries:
            self._hurry()
        try:
            await self._audit.write(record, change=number)
            if change.elsewhere is not None:
                await self._audit.write(self._record_elsewhere(event, operation, caller, change.elsewhere))
        except RequestError as error:
            # The change is made and its record is in the outbox, to be chained later: it must not have a second one.
            return Answer(event.request_id, error=error)
        try:
            await self._state.newer_than(caller.snapshot)  # whoever asks here next sees it
        except (IntegrityError, RollbackError) as error:
            self._on_fatal(str(error))
        except StorageError:
            pass  # then they see it when the database can be asked
        return Answer(event.request_id, response)

    def _threads(self, event: Event, operation: Operation) -> Threads | Executor | None:
        """Where an operation must run: on a key store's threads, on the pool, or (None) right here."""
        if operation.configures_key_store:
            return self._custom_key_stores.configuring
        if event.custom_key_stores and (operation.generates or operation.asks_key_store):
            return self._custom_key_stores.threads(event.custom_key_stores)
        if operation.looks_up:
            return self._looking_up
        if operation.generates:
            return self._key_store.generation or self._pool
        if operation.asks_key_store and self._key_store.calls is not None:
            return self._key_store.calls
        return self._pool if operation.blocks or operation.change is not None else None

    async def _still_allowed(self, event: Event, operation: Operation, caller: Caller) -> Caller:
        """Decide again what waited for others, if anything changed meanwhile: what it made may not be given out then.

        Return the caller as they are now. Raises what steps 3 and 8 to 11 raise; ConflictError if the same names now
        mean other keys, so that the work has to be done again.
        """
        snapshot = await self._state.confirm() if self._state.stale else self._state.current()
        if snapshot is caller.snapshot:
            return caller
        used = event.used
        caller = await self._again(event, operation)
        self._authorize(event, operation, self._call(event, operation, caller))
        if event.used != used:
            raise ConflictError("the names of the request mean other keys now")
        return caller

    def _commit(
        self, event: Event, operation: Operation, caller: Caller, change: Change
    ) -> tuple[Struct | None, bytes, int]:
        """Make a change durable together with its audit record. Blocks on the disk."""
        _end_dry_run(event)
        if change.made is not None:
            event.found = (change.made,)
        record = self._record(event, operation, caller, change.response)
        outbox = OutboxEntry(self._audit.chain_id, event.event_id, record)
        position = self._storage.commit(change.writes, outbox)
        return change.response, record, position.number

    async def _again(self, event: Event, operation: Operation) -> Caller:
        """Whom the request is for, on fresh state: what changed may be the caller. Raises as `_caller` and step 3."""
        snapshot = await self._state.confirm()
        caller = self._authenticator.authenticate(event.incoming, operation.service, event.now, snapshot)
        named = self._authenticator.on_behalf(event.incoming, caller, operation, event.now)
        return caller if named is None else named.caller

    def _call(self, event: Event, operation: Operation, caller: Caller) -> Call:
        return Call(
            event.now,
            event.request_id,
            event.incoming,
            caller.credential.identity,
            caller.region,
            caller.snapshot,
            self._key_store,
            self._storage,
            self._uses,
            self._seals,
            self._regions,
            self._custom_key_stores,
            operation.name,
            self._external_keys,
            self._events,
        )

    def _record(
        self, event: Event, operation: Operation, caller: Caller, outcome: Struct | RequestError | None
    ) -> bytes:
        credential = caller.credential
        account = credential.identity.principal.account
        return record_of_call(event, operation, credential.user_identity, account, caller.region, outcome)

    def _record_elsewhere(self, event: Event, operation: Operation, caller: Caller, elsewhere: Elsewhere) -> bytes:
        credential = caller.credential
        account = credential.identity.principal.account
        return record_elsewhere(event, operation, credential.user_identity, account, elsewhere)

    async def _refuse_caller(self, event: Event, operation: Operation, caller: Caller, error: RequestError) -> Answer:
        try:
            record = self._record(event, operation, caller, error)
        except Exception as unspeakable:  # noqa: BLE001 — then the record says nothing of what was asked
            error = self._told(unspeakable)
            event.request = None
            record = self._record(event, operation, caller, error)
        try:
            await self._audit.write(record)
        except Exception as unrecorded:  # noqa: BLE001 — then that is what the caller is told
            error = self._told(unrecorded)
        return Answer(event.request_id, error=error)

    def _refuse_stranger(self, event: Event, service: str | None, name: str, error: RequestError) -> Answer:
        self._strangers.write(record_of_stranger(event, service, name, error), event.now)
        return Answer(event.request_id, error=error)

    def _report(self, error: Exception) -> None:
        """Say on standard error what failed; the same once in a while: callers could fill the operator's log."""
        text, now = _told_to_operator(error), time.monotonic()
        if now - self._reported.get(text, -math.inf) < _REPORT_SECONDS:
            return
        if len(self._reported) >= _REPORTS:
            self._reported.clear()
        self._reported[text] = now
        sys.stderr.write(f"strongroom: {text}\n")

    def _told(self, error: Exception) -> RequestError:
        """What the caller is told of a failure. Our own failures say nothing of their cause."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, IntegrityError | RollbackError):
            self._on_fatal(str(error))
        else:
            self._report(error)
        return KMSInternal("An internal error occurred. Try the request again.")


def _decode(operation: Operation, incoming: Incoming) -> Structure | XksRequest:
    """Steps 4 to 6, in the protocol of the service."""
    if operation.service != XKS_PROXY:
        return _decode_message(operation, incoming)
    where = xks.route(incoming.path.decode("latin-1"))
    assert where is not None, "it told the operation"
    return xks.decode(where, incoming.body)


def _decode_message(operation: Operation, incoming: Incoming) -> Structure:
    """The same for services of AWS. What is asked with GET stands in the query string."""
    if operation.service not in query.VERSIONS:
        return codec.decode(operation.messages.request, incoming.body)
    return query.decode(operation.messages.request, incoming.query if incoming.method == "GET" else incoming.body)


def _end_dry_run(event: Event) -> None:
    """Step 15."""
    if getattr(event.request, "dry_run", None):
        raise DryRunOperation("The request would have succeeded, but the DryRun option is set.")


def _told_to_operator(error: Exception) -> str:
    """Where a request crashed, without the exception's text: it may quote what it was given."""
    if isinstance(error, OperatorError):  # its text is for the operator, and says nothing of the request
        return str(error)
    places = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{place.filename.rpartition('/')[2]}:{place.lineno}" for place in reversed(places))
    return f"{type(error).__name__} at {where}"
