"""What the materials of a KMS key mean for the key: whether it can be used, when they expire, what takes them away.

All materials of a key are associated with it for ever, but for one that was imported and waits for a rotation.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from strongroom.model.erasure import PendingErasure
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import EXTERNAL
from strongroom.model.key_states import DISABLED, ENABLED, PENDING_IMPORT
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Delete, Insert, Replace, Write

EXPIRES = "KEY_MATERIAL_EXPIRES"
DOES_NOT_EXPIRE = "KEY_MATERIAL_DOES_NOT_EXPIRE"

_OF_MATERIAL = frozenset({ENABLED, DISABLED, PENDING_IMPORT})
"""Key states that say whether the material is there; the others pass, and are told by it when they end."""

AUTOMATIC = "AUTOMATIC"
ON_DEMAND = "ON_DEMAND"


class Expiry(NamedTuple):
    """How AWS tells it: the expiration model, and until when the material is valid (seconds since the epoch)."""

    expiration_model: str | None
    valid_to: float | None


def materials(entry: KeyEntry) -> list[KeyMaterial]:
    """All materials of a key in order of their rotations: the first one first, one that waits for a rotation last."""
    found = [numbered.record for numbered in entry.materials.values()]

    def place(material: KeyMaterial) -> tuple[bool, float]:
        return material.material_id == entry.key.pending_material_id, material.rotated or 0.0

    return sorted(found, key=place)


def associated(entry: KeyEntry) -> list[KeyMaterial]:
    """The materials that a key needs."""
    return [material for material in materials(entry) if material.material_id != entry.key.pending_material_id]


def complete(needed: Sequence[KeyMaterial]) -> bool:
    """Whether a key that needs these materials has them all, and any."""
    return bool(needed) and all(material.present for material in needed)


def expiry(found: Sequence[KeyMaterial], origin: str) -> Expiry:
    """When the first of some materials expires. Nothing is told of material that is not imported, or not there."""
    present = [material for material in found if material.present]
    if origin != EXTERNAL or not present:
        return Expiry(None, None)
    valid_to = min((material.valid_to for material in present if material.valid_to is not None), default=None)
    return Expiry(DOES_NOT_EXPIRE if valid_to is None else EXPIRES, valid_to)


def rotations_on_demand(entry: KeyEntry) -> int:
    """How many rotations on demand a key has had."""
    return sum(numbered.record.rotation_type == ON_DEMAND for numbered in entry.materials.values())


def time_of_rotation(entry: KeyEntry, now: float) -> float:
    """When a rotation that is made at `now` is said to be made: after all before it, whatever the clock says."""
    before = [material.rotated for material in materials(entry) if material.rotated is not None]
    return round(max([now, *(rotated + 0.001 for rotated in before)]), 3)


def removal(snapshot: Snapshot, entry: KeyEntry, material_id: str, now: float) -> list[Write]:
    """The writes that take imported material away, by request or because it expired, and have its bytes erased.

    A key that needs it can be used no more until it is imported again: the rest of the record stays for that. What
    waits for a rotation goes for good, and from replica keys too; one of those loses it for itself alone.
    """
    key = entry.key
    material, number = entry.materials[material_id]
    pending = material_id == key.pending_material_id
    if pending and not key.is_replica:
        return [write for one in snapshot.related(key) for write in _unrotated(snapshot, one, material_id, now)]
    if not pending and key.state in _OF_MATERIAL:
        key = structs.replace(key, state=PENDING_IMPORT)
    gone = structs.replace(material, wrapped=b"", recovery=None, valid_to=None)
    return [Replace(gone, number), Replace(key, entry.number), erasure(snapshot, key, now)]


def _unrotated(snapshot: Snapshot, entry: KeyEntry, material_id: str, now: float) -> list[Write]:
    key = structs.replace(entry.key, pending_material_id=None, on_demand_rotation_start=None)
    writes: list[Write] = [Delete(*entry.materials[material_id]), Replace(key, entry.number)]
    if entry.materials[material_id].record.present:
        writes.append(erasure(snapshot, key, now))
    return writes


def erasure(snapshot: Snapshot, key: KmsKey, now: float) -> Write:
    """The note that bytes of a key's material are to be erased since `now`; one that is there is written anew."""
    noted = snapshot.erasures.get((key.region, key.account, key.key_id))
    if noted is None:
        return Insert(PendingErasure(key.account, key.region, key.key_id, now))
    return Replace(noted.record, noted.number)
