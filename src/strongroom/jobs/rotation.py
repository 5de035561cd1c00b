"""Rotates KMS keys: when their period is over, and when somebody demands it (AWS: "Rotate AWS KMS keys").

A rotation is one change: a new material, or the imported one that waits for it, becomes the current one. Whatever older
materials encrypted, they decrypt for ever. A key that is disabled or pending deletion is not rotated; what became due
meanwhile is done when it is enabled again. Of a multi-Region key the primary key is rotated, and all others with it in
the same change, whatever their states. A period is over only by a clock that can be trusted (`clock.py`): one that is
ahead would rotate everything, and then nothing for as long as it was ahead.
"""

import os
from functools import partial

from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import MATERIAL_ID_LENGTH
from strongroom.errors import UnsupportedOperation
from strongroom.jobs.calendar import Done, Look, Office, event
from strongroom.keystores.contract import KeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import AWS_KMS
from strongroom.model.key_states import ENABLED
from strongroom.operations.key_material import AUTOMATIC, ON_DEMAND, time_of_rotation
from strongroom.operations.kms.rotation import end_of_period
from strongroom.operations.related_keys import copied, has_everywhere, replaced
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Insert, Replace, Write


class RotationJob:
    """What a run needs."""

    name = "rotation"

    def __init__(self, office: Office, key_store: KeyStore) -> None:
        self._office = office
        self._key_store = key_store

    async def run(self, look: Look) -> str | None:
        """Rotate what is due. A key that cannot be rotated holds up no other. Returns what has to wait and why."""
        waits = None
        agenda = await self._office.agenda()
        for entry in agenda.rotating:
            rotation_type = due(agenda.snapshot, entry.key, look.now)
            if rotation_type == AUTOMATIC and look.doubtful is not None:
                waits = f"KMS keys wait to be rotated until `strongroom confirm-time`: {look.doubtful}"
            elif rotation_type is not None:
                try:
                    await self._rotate(entry, rotation_type, look.now)
                except UnsupportedOperation as error:  # its own fault: the key store cannot protect such a key any more
                    waits = f"{entry.key.arn} waits to be rotated: {error}"
            elif entry.key.next_rotation is None and look.doubtful is None:
                await self._office.change(entry.key, partial(_dated, now=look.now))
        return waits

    async def _rotate(self, entry: KeyEntry, rotation_type: str, now: float) -> None:
        made = await self._made(entry.key, now) if entry.key.origin == AWS_KMS else None
        await self._office.change(entry.key, partial(_rotated, rotation_type=rotation_type, made=made, now=now))

    async def _made(self, key: KmsKey, now: float) -> KeyMaterial:
        def make() -> KeyMaterial:
            return self._key_store.generate(key, material_id=os.urandom(MATERIAL_ID_LENGTH).hex(), created=now)

        threads = self._key_store.generation
        return await (self._office.in_pool(make) if threads is None else threads.run(make))


def _dated(snapshot: Snapshot, entry: KeyEntry, now: float) -> Done | None:
    """Begin a period that was asked for while the clock could not be trusted."""
    days = entry.key.rotation_period_in_days
    if days is None or entry.key.next_rotation is not None:
        return None
    return Done(replaced(snapshot, entry.key, next_rotation=end_of_period(now, days)), None)


def _rotated(
    snapshot: Snapshot, entry: KeyEntry, *, rotation_type: str, made: KeyMaterial | None, now: float
) -> Done | None:
    """Rotate to the material that was made for it, or to the imported one that waits. None if that is not due now."""
    key = entry.key
    if due(snapshot, key, now) != rotation_type or key.is_replica:
        return None
    moment = time_of_rotation(entry, max(now, key.on_demand_rotation_start or 0.0))
    written, material_id = _new_material(snapshot, entry, made, rotation_type, moment)
    changed: dict[str, object] = {"current_material_id": material_id, "pending_material_id": None}
    if rotation_type == ON_DEMAND:
        changed["on_demand_rotation_start"] = None
    else:
        assert key.rotation_period_in_days is not None, "there is a next rotation"
        changed["next_rotation"] = end_of_period(moment, key.rotation_period_in_days)
    details = {
        "keyId": key.key_id,
        "rotationType": rotation_type,
        "keyOrigin": key.origin,
        "previousKeyMaterialId": key.current_material_id,
        "currentKeyMaterialId": material_id,
    }
    return Done([*written, *replaced(snapshot, key, **changed)], event("RotateKey", key, details, moment))


def _new_material(
    snapshot: Snapshot, entry: KeyEntry, made: KeyMaterial | None, rotation_type: str, moment: float
) -> tuple[list[Write], str]:
    """The material that is to be the current one, as it is to be written for each Region, and its id."""
    related = snapshot.related(entry.key)
    if made is not None:
        made = replace(made, created=moment, rotated=moment, rotation_type=rotation_type)
        return [Insert(copied(made, one.key)) for one in related], made.material_id
    pending = entry.key.pending_material_id
    assert pending is not None, "it is due"
    waiting = [one.materials[pending] for one in related]
    return [
        Replace(replace(imported, rotated=moment, rotation_type=rotation_type), number) for imported, number in waiting
    ], pending


def due(snapshot: Snapshot, key: KmsKey, now: float) -> str | None:
    """Which rotation of a key is due at `now` (seconds since the epoch); what is demanded comes first."""
    if key.state != ENABLED:
        return None
    if key.on_demand_rotation_start is not None and _can_rotate(snapshot, key):
        return ON_DEMAND
    return AUTOMATIC if key.next_rotation is not None and key.next_rotation <= now else None


def _can_rotate(snapshot: Snapshot, key: KmsKey) -> bool:
    """Whether there is material to rotate to: it is made, or was imported in every Region."""
    return key.origin == AWS_KMS or has_everywhere(snapshot, key, key.pending_material_id)
