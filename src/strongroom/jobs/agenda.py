"""What the calendar has to look at: of all keys those that have a date, or of which something is demanded or begun."""

from typing import NamedTuple

from strongroom.model.key_states import CREATING, PENDING_DELETION, PENDING_REPLICA_DELETION, UPDATING
from strongroom.snapshot import KeyEntry, Snapshot


class Agenda(NamedTuple):
    """The keys that are to be deleted, the imported materials that expire, the keys that rotate, and those to settle.

    Those are being created or updated.
    """

    snapshot: Snapshot
    deletions: list[KeyEntry]
    expiring: list[tuple[KeyEntry, str]]
    rotating: list[KeyEntry]
    unsettled: list[KeyEntry]


def agenda_of(snapshot: Snapshot) -> Agenda:
    """Look through the keys that the snapshot knows to have something to do."""
    agenda = Agenda(snapshot, [], [], [], [])
    for identity in snapshot.dated:
        entry = snapshot.keys[identity]
        key = entry.key
        if key.state in (PENDING_DELETION, PENDING_REPLICA_DELETION):
            agenda.deletions.append(entry)
        if key.state in (CREATING, UPDATING):
            agenda.unsettled.append(entry)
        rotates = key.rotation_period_in_days is not None or key.on_demand_rotation_start is not None
        if rotates and not key.is_replica:  # that is rotated with its primary key
            agenda.rotating.append(entry)
        for material_id, (material, _) in entry.materials.items():
            if material.valid_to is not None and material.present:
                agenda.expiring.append((entry, material_id))
    return agenda
