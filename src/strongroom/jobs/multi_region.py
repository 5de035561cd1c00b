"""Ends what ReplicateKey and UpdatePrimaryRegion begin (AWS: "Key states", Creating and Updating).

A replica key that is being created has all that it shares already, and whatever is shared is changed in all Regions at
once: only the key states are left to change. They become what the key material allows.
"""

import uuid
from functools import partial

from msgspec.structs import replace

from strongroom.audit.record import synchronization_event
from strongroom.jobs.calendar import Done, Look, Office
from strongroom.model.key_states import CREATING, ENABLED, PENDING_IMPORT, UPDATING
from strongroom.operations.key_material import associated, complete
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Replace


class MultiRegionJob:
    """What a run needs."""

    name = "the synchronization of multi-Region keys"

    def __init__(self, office: Office) -> None:
        self._office = office

    async def run(self, look: Look) -> str | None:
        """End what was begun before this look. Nothing of it has to wait."""
        for entry in (await self._office.agenda()).unsettled:
            await self._office.change(entry.key, partial(_end, now=look.now))
        return None


def _end(snapshot: Snapshot, entry: KeyEntry, now: float) -> Done | None:
    if entry.key.state not in (CREATING, UPDATING):
        return None
    state = ENABLED if complete(associated(entry)) else PENDING_IMPORT
    writes = [Replace(replace(entry.key, state=state), entry.number)]
    if entry.key.state == UPDATING:
        return Done(writes, None)
    primary, *_ = snapshot.related(entry.key)
    event_id, request_id = str(uuid.uuid4()), str(uuid.uuid4())
    return Done(writes, synchronization_event(event_id=event_id, request_id=request_id, now=now, primary=primary.key))
