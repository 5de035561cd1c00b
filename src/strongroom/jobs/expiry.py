"""Deletes imported key material that has expired (AWS: "Setting an expiration time").

Only with a clock that can be trusted (`clock.py`): until somebody imports it again, its key is of no use. The deleted
bytes are erased as those of deleted keys are (`deletion.py`).
"""

from strongroom.jobs.calendar import Look, Office
from strongroom.operations.key_material import removal
from strongroom.snapshot import KeyEntry


class ExpiryJob:
    """What a run needs."""

    name = "the expiry of key material"

    def __init__(self, office: Office) -> None:
        self._office = office

    async def run(self, look: Look) -> str | None:
        """Delete what has expired; of each key one material at a time. Returns what has to wait and why."""
        agenda = await self._office.agenda()
        expired = [
            (entry, material_id) for entry, material_id in agenda.expiring if _is_over(entry, material_id, look.now)
        ]
        if expired and look.doubtful is not None:
            return f"expired key material waits to be deleted until `strongroom confirm-time`: {look.doubtful}"
        for entry, material_id in expired:
            details = {"keyId": entry.key.key_id, "keyMaterialId": material_id}
            writes = removal(agenda.snapshot, entry, material_id, look.now)
            await self._office.commit_event("DeleteExpiredKeyMaterial", entry.key, writes, details, look.now)
        return None


def _is_over(entry: KeyEntry, material_id: str, now: float) -> bool:
    valid_to = entry.materials[material_id].record.valid_to
    return valid_to is not None and valid_to <= now
