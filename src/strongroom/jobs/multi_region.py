"""Ends what ReplicateKey and UpdatePrimaryRegion begin (AWS: "Key states", Creating and Updating).

A replica key that is being created has all that it shares already, and whatever is shared is changed in all Regions at
once: only the key states are left to change. They become what the key material allows.
"""

from msgspec.structs import replace

from strongroom.jobs.calendar import Look, Office
from strongroom.model.key_states import CREATING, ENABLED, PENDING_IMPORT
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
        agenda = await self._office.agenda()
        for entry in agenda.unsettled:
            await self._end(agenda.snapshot, entry, look.now)
        return None

    async def _end(self, snapshot: Snapshot, entry: KeyEntry, now: float) -> None:
        state = ENABLED if complete(associated(entry)) else PENDING_IMPORT
        writes = [Replace(replace(entry.key, state=state), entry.number)]
        if entry.key.state == CREATING:
            primary, *_ = snapshot.related(entry.key)
            await self._office.commit_synchronization(primary.key, writes, now)
        else:
            await self._office.commit(writes, None)
