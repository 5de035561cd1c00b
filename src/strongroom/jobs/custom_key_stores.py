"""Connects and disconnects custom key stores, and looks from time to time how external ones are.

Each is done on a task of its own, and waits on the store's own threads: a store that does not answer holds up no other,
and no fault that one brings about ends more than its own connecting.
Every server process has connections of its own. Whichever ends first says how it went; one that was killed leaves it to
the others, or to the next start.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from functools import partial

from msgspec.structs import replace

from strongroom.errors import (
    ConnectionFailedError,
    DependencyTimeout,
    IntegrityError,
    OperatorError,
    RequestError,
    RollbackError,
)
from strongroom.jobs.calendar import Look, Office
from strongroom.keystores.contract import run_on
from strongroom.keystores.custom import CustomKeyStores
from strongroom.model.custom_key_store import (
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    DISCONNECTING,
    FAILED,
    CustomKeyStore,
)
from strongroom.model.numbered import Numbered
from strongroom.storage.contract import Replace

_CHECK_SECONDS = 180.0
"""From one look at an external key store to the next, in each process (AWS: "every few minutes")."""

_Identity = tuple[str, str, str]


class CustomKeyStoreJob:
    """What a run needs."""

    name = "custom key stores"

    def __init__(
        self, office: Office, custom_key_stores: CustomKeyStores, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`monotonic` is a clock that nobody sets."""
        self._office = office
        self._stores = custom_key_stores
        self._monotonic = monotonic
        self._tasks: dict[tuple[_Identity, int], asyncio.Task[None]] = {}
        self._check_from: dict[_Identity, float] = {}
        self._wrong: dict[_Identity, str | None] = {}

    async def run(self, look: Look) -> str | None:  # noqa: ARG002 — no clock decides here
        """Begin what is to be done. Raises what ended a task that was begun before, if it failed."""
        for place, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[place]
                task.result()
        stores = self._office.state.current().custom_key_stores
        used = [store for store, _ in stores.values() if store.state in (CONNECTED, CONNECTING)]
        self._stores.close_all_but(used)
        for identity, numbered in stores.items():
            state = numbered.record.state
            if state == CONNECTING:
                self._begin((identity, numbered.number), partial(self._connect, numbered))
            elif state == DISCONNECTING:
                disconnected = replace(numbered.record, state=DISCONNECTED)
                await self._office.commit([Replace(disconnected, numbered.number)], None)
            elif state == CONNECTED and self._check_is_due(identity, numbered.record):
                self._begin((identity, numbered.number), partial(self._check, identity, numbered.record))
        return None

    def _begin(self, place: tuple[_Identity, int], work: Callable[[], Coroutine[None, None, None]]) -> None:
        if place not in self._tasks:
            self._tasks[place] = asyncio.create_task(work())

    async def _connect(self, store: Numbered[CustomKeyStore]) -> None:
        record = store.record
        try:
            connection = self._stores.connection(record)
            await run_on(connection.calls, connection.connect, str(uuid.uuid4()))
            connected = replace(record, state=CONNECTED)
        except (IntegrityError, RollbackError):
            raise
        except Exception as error:  # noqa: BLE001 — whatever it is, it is this store's
            code, reason = _failure(error, record)
            sys.stderr.write(f"strongroom: {record.custom_key_store_id} cannot be connected: {reason}\n")
            connected = replace(record, state=FAILED, error_code=code)
        await self._office.commit([Replace(connected, store.number)], None)

    def _check_is_due(self, identity: _Identity, store: CustomKeyStore) -> bool:
        """Whether it is time; from the first look on, and not for all stores at once."""
        now = self._monotonic()
        due = self._check_from.setdefault(identity, now + random.uniform(0, _CHECK_SECONDS))  # noqa: S311
        if not store.is_external or now < due:
            return False
        self._check_from[identity] = now + _CHECK_SECONDS
        return True

    async def _check(self, identity: _Identity, store: CustomKeyStore) -> None:
        """Tell the operator how an external key store is, when that has changed."""
        try:
            connection = self._stores.connection(store)
            wrong = await run_on(connection.calls, connection.check, str(uuid.uuid4()))
        except (IntegrityError, RollbackError):
            raise
        except Exception as error:  # noqa: BLE001 — whatever it is, it is this store's
            wrong = _failure(error, store)[1]
        if wrong != self._wrong.get(identity):
            self._wrong[identity] = wrong
            sys.stderr.write(f"strongroom: external key store {store.custom_key_store_id}: {wrong or 'well again'}\n")


def _failure(error: Exception, store: CustomKeyStore) -> tuple[str, str]:
    """The ConnectionErrorCode of a failure, and what the operator is told."""
    match error:
        case ConnectionFailedError(code=code):
            return code, str(error)
        case DependencyTimeout():
            return "NETWORK_ERRORS" if store.is_cluster else "XKS_PROXY_TIMED_OUT", "it does not answer in time"
        case RequestError(message=message):  # it is configured no more
            return "CLUSTER_NOT_FOUND" if store.is_cluster else "XKS_PROXY_NOT_REACHABLE", message or error.code
        case OperatorError() | OSError():
            return "INTERNAL_ERROR", str(error)
    return "INTERNAL_ERROR", f"a fault of its own: {type(error).__name__}"
