"""The changes after a position, as the log has them: what a database that is restored from before has not seen."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from strongroom.audit.chain import Line
from strongroom.audit.reading import ChainReader
from strongroom.audit.rollback import RESTORE_EVENT, ROLLBACK_EVENT, RestoreDetails, RollbackDetails
from strongroom.audit.segments import chain_directories, segments
from strongroom.model.installation import Installation


class RecordedResource(Struct, frozen=True):
    """A resource that an event touched."""

    arn: str = msgspec.field(name="ARN", default="")


class RecordedEvent(Struct, frozen=True, rename="camel"):
    """What a record says, as far as it tells what was done to what."""

    event_time: str
    event_name: str
    event_type: str
    event_source: str = ""
    aws_region: str = ""
    recipient_account_id: str = ""
    user_identity: dict[str, object] = {}
    request_parameters: dict[str, object] | None = None
    response_elements: dict[str, object] | None = None
    additional_event_data: dict[str, object] | None = None
    service_event_details: dict[str, object] | None = None
    resources: tuple[RecordedResource, ...] = ()


class RecordedChange(NamedTuple):
    """A change by its number, and the event that its record tells."""

    number: int
    event: RecordedEvent


class LaterChanges(NamedTuple):
    """The changes after a position in their order, and what is wrong with the log that tells them, in sentences.

    Changes that were given up since (`accept-rollback`, a restored backup) are not among them. `ends` are the sequences
    of the last lines of the chains, by chain id.
    """

    changes: list[RecordedChange]
    damage: list[str]
    ends: dict[str, int]


def changes_after(
    directory: Path, installation: Installation, number: int, *, chain_private_key: bytes
) -> LaterChanges:
    """Read the whole log; believe its good lines alone. Raises OSError."""
    found: dict[tuple[int, bytes], RecordedEvent] = {}  # one number can have two: where a database was forked
    damage: list[str] = []
    ends: dict[str, int] = {}

    def note(line: Line) -> None:
        if line.change > number:
            try:
                event = msgspec.json.decode(line.record, type=RecordedEvent)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damage.append(f"the record of change {line.change} cannot be read")
            else:
                found[line.change, sha256(line.record).digest()] = event

    for chain_directory in chain_directories(directory):
        reader = ChainReader(
            chain_directory, installation=installation, chain_private_key=chain_private_key, on_record=note
        )
        for segment in segments(chain_directory):
            reader.read(segment)
        reader.finish()
        ends[chain_directory.name] = reader.last_sequence
        damage += [f"audit chain {chain_directory.name}: {fault.message}" for fault in reader.damage.faults()]
    given_up = _given_up(found.values())
    changes = [RecordedChange(number, found[number, digest]) for number, digest in sorted(found)]
    return LaterChanges([change for change in changes if change.number not in given_up], damage, ends)


def _given_up(events: Iterable[RecordedEvent]) -> set[int]:
    """The changes that people gave up, but for those that a restore did again."""
    given_up: set[int] = set()
    for event in events:
        if event.event_type == "AwsServiceEvent" and event.event_name in (ROLLBACK_EVENT, RESTORE_EVENT):
            kind = RestoreDetails if event.event_name == RESTORE_EVENT else RollbackDetails
            details = msgspec.convert(event.service_event_details, kind)
            given_up |= {*range(details.first_lost_change, details.newest_lost_change + 1)}
            if isinstance(details, RestoreDetails):
                given_up -= {*details.done_again}
    return given_up
