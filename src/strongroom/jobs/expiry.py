"""Deletes imported key material that has expired (AWS: "Setting an expiration time").

Only with a clock that can be trusted (`clock.py`): until somebody imports it again, its key is of no use. The deleted
bytes are erased as those of deleted keys are (`deletion.py`).
"""

from functools import partial

from strongroom.jobs.calendar import Done, Look, Office, event
from strongroom.operations.key_material import removal
from strongroom.snapshot import KeyEntry, Snapshot


class ExpiryJob:
    """What a run needs."""

    name = "the expiry of key material"

    def __init__(self, office: Office) -> None:
        self._office = office

    async def run(self, look: Look) -> str | None:
        """Delete what has expired. Returns what has to wait and why."""
        agenda = await self._office.agenda()
        expired = [
            (entry, material_id) for entry, material_id in agenda.expiring if _is_over(entry, material_id, look.now)
        ]
        if expired and look.doubtful is not None:
            return f"expired key material waits to be deleted until `strongroom confirm-time`: {look.doubtful}"
        for entry, material_id in expired:
            await self._office.change(entry.key, partial(_expire, material_id=material_id, now=look.now))
        return None


def _expire(snapshot: Snapshot, entry: KeyEntry, *, material_id: str, now: float) -> Done | None:
    if not _is_over(entry, material_id, now):
        return None
    details = {"keyId": entry.key.key_id, "keyMaterialId": material_id}
    return Done(removal(snapshot, entry, material_id, now), event("DeleteExpiredKeyMaterial", entry.key, details, now))


def _is_over(entry: KeyEntry, material_id: str, now: float) -> bool:
    material = entry.materials.get(material_id)
    valid_to = None if material is None else material.record.valid_to
    return valid_to is not None and valid_to <= now
