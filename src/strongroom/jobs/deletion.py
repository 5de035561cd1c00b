"""Deletes the KMS keys whose waiting period is over, for good (AWS: "Deleting AWS KMS keys").

Steps, each of which a killed process leaves to the next:
1. Only with a clock that can be trusted (`clock.py`). Waiting periods that were asked for while it could not be
   trusted begin now.
   That of a primary key begins when the last of its replica keys is deleted.
2. One change deletes the key, all its key material, its aliases, its grants and its last use, and notes what is to
   be erased. Its record is the event DeleteKey. A key that was saved meanwhile (CancelKeyDeletion) stays: the change
   conflicts.
3. The deleted bytes, of imported key material too, are erased from the database's files. Only then the note is dropped.

Of a key whose material is in an HSM cluster, the objects there are destroyed in the third step, once and if that can
be; the event DeleteKey, which says how it went, is recorded with it.
"""

import random
import time
from collections.abc import Callable, Collection
from functools import partial

import msgspec
from msgspec.structs import replace

from strongroom.audit.record import CloudTrailRecord, shown_time
from strongroom.errors import IntegrityError, OperatorError, RequestError, RollbackError
from strongroom.jobs.calendar import SECONDS, Done, Look, Office, event
from strongroom.keystores.contract import run_on
from strongroom.keystores.custom import CustomKeyStores
from strongroom.model.custom_key_store import CONNECTED
from strongroom.model.erasure import PendingErasure
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import AWS_CLOUDHSM
from strongroom.model.key_states import PENDING_DELETION, PENDING_REPLICA_DELETION
from strongroom.operations.key_material import erasure
from strongroom.operations.kms.deletion import end_of_waiting
from strongroom.operations.related_keys import replicas
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Delete, Insert, Replace, Write

_LONGEST_PAUSE = 600.0
"""Seconds between two attempts to erase, at most: each that fails doubles the pause, since it holds up others."""
_REST = 600.0
"""Seconds after an erasure in which none is made for imported key material alone: whoever may delete that can ask for
it at any time, and erasing holds up all others. A little more, so that two processes do not begin at once.
"""
_REST_OF_LONG = 100
"""How many times as long as it took, if that is more."""


class DeletionJob:
    """What a run needs."""

    name = "deletion"

    def __init__(
        self, office: Office, custom_key_stores: CustomKeyStores, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`monotonic` is a clock that nobody sets."""
        self._office = office
        self._custom_key_stores = custom_key_stores
        self._monotonic = monotonic
        self._pause = SECONDS
        self._erase_from = 0.0  # on the monotonic clock
        self._rest_until = 0.0
        self._seen: dict[tuple[str, str, str], float] = {}
        self._unerased: str | None = None

    async def run(self, look: Look) -> str | None:
        """Delete what is due and erase what was deleted. Returns what has to wait and why, if anything has."""
        waits = None
        agenda = await self._office.agenda()
        if look.doubtful is None:
            for entry in agenda.deletions:
                await self._office.change(entry.key, partial(_begin_or_delete, now=look.now))
        elif any(_is_due(entry, look.now) for entry in agenda.deletions):
            waits = f"KMS keys wait to be deleted until `strongroom confirm-time`: {look.doubtful}"
        for note, number in list(self._office.state.current().erasures.values()):
            if note.backing_keys is not None:
                await self._destroy(note, note.backing_keys, number, look.now)
        await self._erase()
        return waits or self._unerased

    async def _destroy(self, note: PendingErasure, backing_keys: tuple[str, ...], number: int, now: float) -> None:
        """Step 3 in an HSM cluster, and the event."""
        stores = self._office.state.current().custom_key_stores
        store, _ = stores.get((note.region, note.account, note.custom_key_store_id or ""), (None, 0))
        destroyed: Collection[str] = ()
        if store is not None and store.state == CONNECTED:
            try:
                connection = self._custom_key_stores.connection(store)
                destroyed = await run_on(connection.calls, connection.destroy, note.arn, backing_keys)
            except RequestError:
                pass  # nobody can tell: it is told to have failed
        told = [{"backingKeyId": one} for one in backing_keys]
        status = [
            {"backingKeyId": one, "deletionStatus": "SUCCESS" if one in destroyed else "FAILURE"}
            for one in backing_keys
        ]
        data: dict[str, object] = {"customKeyStoreId": note.custom_key_store_id}
        if store is not None and store.cluster_id is not None:
            data["clusterId"] = store.cluster_id
        data |= {"backingKeys": _json(told), "backingKeysDeletionStatus": _json(status)}
        deleted = replace(_deleted(note, now), additional_event_data=data)
        await self._office.commit([Delete(note, number)], deleted)

    async def _erase(self) -> None:
        """Step 3. What cannot be erased now is tried again after a pause."""
        snapshot = self._office.state.current()
        in_files = {identity: noted for identity, noted in snapshot.erasures.items() if noted[0].backing_keys is None}
        erasures = list(in_files.values())
        urgent = any(identity not in snapshot.keys for identity in in_files)
        noted = {identity: erased.deleted for identity, (erased, _) in in_files.items()}
        seen_before, self._seen = self._seen, noted
        if seen_before.items() - noted.items():  # another process has erased
            self._rest(0.0)
        first_seen = not seen_before.items() & noted.items()  # every process is to see a note
        resting = first_seen or self._monotonic() < self._rest_until
        if not erasures or self._monotonic() < self._erase_from or (resting and not urgent):
            return
        began = self._monotonic()
        try:
            await self._office.in_pool(self._office.storage.erase)
        except (IntegrityError, RollbackError):
            raise
        except OperatorError as error:
            self._unerased = f"deleted key material is not erased from the files yet: {error}"
            self._erase_from = self._monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return
        self._unerased, self._pause = None, SECONDS
        self._rest(self._monotonic() - began)
        for erased, number in erasures:  # each alone: of one that was noted anew meanwhile something is left
            await self._office.commit([Delete(erased, number)], None)
        self._seen = {}

    def _rest(self, took: float) -> None:
        self._rest_until = self._monotonic() + max(_REST, _REST_OF_LONG * took) * random.uniform(1.0, 1.2)  # noqa: S311


def _begin_or_delete(snapshot: Snapshot, entry: KeyEntry, now: float) -> Done | None:
    """Steps 1 and 2."""
    key = entry.key
    if _is_due(entry, now):
        return _delete(snapshot, entry, now)
    waits = key.state == PENDING_REPLICA_DELETION and replicas(snapshot, key)
    if key.pending_window_in_days is None or waits:
        return None
    date = end_of_waiting(now, key.pending_window_in_days)
    dated = replace(key, state=PENDING_DELETION, deletion_date=date, pending_window_in_days=None)
    details = {"keyId": key.arn, "deletionDate": shown_time(date)}
    return Done([Replace(dated, entry.number)], event("BeginKeyDeletionWindow", key, details, now))


def removal_of_key(snapshot: Snapshot, entry: KeyEntry) -> list[Write]:
    """The writes that take a key away with all that belongs to it. Its bytes are still to be erased."""
    key = entry.key
    aliases = [snapshot.aliases[key.region, key.account, name] for name in sorted(entry.aliases)]
    writes: list[Write] = [Delete(key, entry.number)]
    writes += [Delete(material, number) for material, number in entry.materials.values()]
    writes += [Delete(alias, number) for alias, number in aliases]
    if entry.usage is not None:
        writes.append(Delete(*entry.usage))
    writes += [Delete(grant, number) for grant, number in entry.grants.by_id.values()]
    return writes


def _delete(snapshot: Snapshot, entry: KeyEntry, now: float) -> Done:
    key = entry.key
    writes = removal_of_key(snapshot, entry)
    if key.origin == AWS_CLOUDHSM:
        note = PendingErasure(
            key.account, key.region, key.key_id, now, key.custom_key_store_id, tuple(sorted(entry.materials))
        )
        return Done([*writes, Insert(note)], None)
    writes.append(erasure(snapshot, key, now))
    record = _deleted(key, now)
    if key.xks_key_id is not None:
        data = {"customKeyStoreId": key.custom_key_store_id, "xksKeyId": key.xks_key_id}
        record = replace(record, additional_event_data=data)
    return Done(writes, record)


def _deleted(key: KmsKey | PendingErasure, now: float) -> CloudTrailRecord:
    return replace(event("DeleteKey", key, {"keyId": key.arn}, now), response_elements={"keyId": key.arn})


def _json(value: object) -> str:
    """CloudTrail shows what a cluster has as text."""
    return msgspec.json.encode(value).decode()


def _is_due(entry: KeyEntry, now: float) -> bool:
    """Whether the waiting period of a key is over at `now` (seconds since the epoch)."""
    return entry.key.deletion_date is not None and entry.key.deletion_date <= now
