"""The changes after a position, as the log has them: what a database that is restored from before has not seen."""

from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from strongroom.audit.chain import Line
from strongroom.audit.digests import digested_segments, read_digest
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
    of the last lines of the chains, by chain id. `unrecorded` are the numbers of changes that have no record in it:
    those that never have one (notes of the last use), or else the log of a whole chain is missing.
    """

    changes: list[RecordedChange]
    damage: list[str]
    ends: dict[str, int]
    unrecorded: list[int]


class _Found(NamedTuple):
    """A record of a change: of a number there can be two, where a database was forked."""

    number: int
    chain_id: str
    event: RecordedEvent


def changes_after(
    directory: Path,
    installation: Installation,
    number: int,
    *,
    newest: int,
    registered: Mapping[str, int],
    chain_private_key: bytes,
) -> LaterChanges:
    """Read the whole log; believe its good lines alone. Raises OSError.

    `newest` is the newest change that the log's digests name. `registered` are the sequences that chains had come to at
    change `number`: what is missing behind them is damage.
    """
    found: dict[tuple[int, bytes], _Found] = {}
    damage: list[str] = []
    ends: dict[str, int] = {}

    def note(chain_id: str, line: Line) -> None:
        if line.change > number:
            try:
                event = msgspec.json.decode(line.record, type=RecordedEvent)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damage.append(f"the record of change {line.change} cannot be read")
            else:
                found[line.change, sha256(line.record).digest()] = _Found(line.change, chain_id, event)

    for chain_directory in chain_directories(directory):
        chain_id = chain_directory.name
        reader = ChainReader(
            chain_directory,
            installation=installation,
            chain_private_key=chain_private_key,
            on_record=partial(note, chain_id),
        )
        for segment in segments(chain_directory):
            reader.read(segment)
        reader.finish()
        ends[chain_id] = reader.last_sequence
        if reader.behind > registered.get(chain_id, 0):
            damage.append(f"audit chain {chain_id}: records 1 to {reader.behind} were removed")
        damage += [f"audit chain {chain_id}: {fault.message}" for fault in reader.damage.faults()]
        damage += _without_log(chain_directory, registered.get(chain_id, 0))
    in_order = [found[key] for key in sorted(found)]
    given_up = _GivenUp(in_order)
    changes = [RecordedChange(one.number, one.event) for one in in_order if not given_up.has(one)]
    recorded = {one.number for one in in_order}
    unrecorded = [
        missing
        for missing in range(number + 1, max({newest, *recorded}) + 1)
        if missing not in recorded and missing not in given_up.numbers and missing not in given_up.replayed
    ]
    return LaterChanges(changes, damage, ends, unrecorded)


def _without_log(chain_directory: Path, registered: int) -> list[str]:
    """The segments that were signed, and hold what was not registered yet, but are missing."""
    there = segments(chain_directory)
    missing = [number for number in digested_segments(chain_directory) if number not in there]
    digests = [(number, read_digest(chain_directory, number)) for number in missing]
    return [
        f"audit chain {chain_directory.name}: the log of segment {number} is missing"
        for number, signed in digests
        if signed is None or signed.digest.last_sequence > registered
    ]


class _GivenUp:
    """The changes that people gave up, but for those that a restore did again, or left to a person.

    Where the database had other changes under the same numbers, its own hold: they stand in chains that it knows.
    `replayed` are the numbers of what restores did again: those have no records.
    """

    def __init__(self, in_order: Iterable[_Found]) -> None:
        self.numbers: dict[int, frozenset[str] | None] = {}  # and in which chains, if not in all
        self.replayed: set[int] = set()
        for found in in_order:
            event = found.event
            if event.event_type == "AwsServiceEvent" and event.event_name in (ROLLBACK_EVENT, RESTORE_EVENT):
                kind = RestoreDetails if event.event_name == RESTORE_EVENT else RollbackDetails
                self._take(found.number, msgspec.convert(event.service_event_details, kind))

    def has(self, found: _Found) -> bool:
        """Whether this record tells of a change that was given up."""
        if found.number not in self.numbers:
            return False
        chains = self.numbers[found.number]
        return chains is None or found.chain_id in chains

    def _take(self, number: int, details: RollbackDetails) -> None:
        lost = frozenset(chain.chain_id for chain in details.lost_chains)
        for one in range(details.first_lost_change, details.newest_lost_change + 1):
            before = self.numbers.get(one, frozenset())
            own = one <= details.newest_change  # the database went on with a change of this number, too
            self.numbers[one] = before | lost if own and before is not None else None
        if isinstance(details, RestoreDetails):
            for one in (*details.done_again, *details.left):
                self.numbers.pop(one, None)
            self.replayed |= {*range(details.newest_lost_change + 1, number)}
