"""What the calendar has to look at: of all keys those that have a date, or of which something is demanded."""

from typing import NamedTuple

from strongroom.model.key_states import PENDING_DELETION
from strongroom.snapshot import KeyEntry, Snapshot


class Agenda(NamedTuple):
    """The keys that are to be deleted, the imported materials that expire, and the keys that rotate."""

    snapshot: Snapshot
    deletions: list[KeyEntry]
    expiring: list[tuple[KeyEntry, str]]
    rotating: list[KeyEntry]


def agenda_of(snapshot: Snapshot) -> Agenda:
    """Look through the keys that the snapshot knows to have something to do."""
    agenda = Agenda(snapshot, [], [], [])
    for identity in snapshot.dated:
        entry = snapshot.keys[identity]
        key = entry.key
        if key.state == PENDING_DELETION:
            agenda.deletions.append(entry)
        if key.rotation_period_in_days is not None or key.on_demand_rotation_start is not None:
            agenda.rotating.append(entry)
        for material_id, (material, _) in entry.materials.items():
            if material.valid_to is not None and material.present:
                agenda.expiring.append((entry, material_id))
    return agenda
