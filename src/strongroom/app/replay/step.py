"""One recorded change that is to be done again, and what can come of it."""

import calendar
import time
from typing import NamedTuple

from strongroom.audit.changes import RecordedEvent
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Write


class Step(NamedTuple):
    """An event, and the state in which it is done again."""

    event: RecordedEvent
    snapshot: Snapshot

    @property
    def at(self) -> float:
        """When it was, in whole seconds since the epoch."""
        return float(calendar.timegm(time.strptime(self.event.event_time, "%Y-%m-%dT%H:%M:%SZ")))

    @property
    def key_arns(self) -> list[str]:
        """The KMS keys that it was about."""
        return [resource.arn for resource in self.event.resources if ":key/" in resource.arn]

    def key(self, arn: str) -> KeyEntry | None:
        """A KMS key, if it is there."""
        _, _, _, region, account, resource = arn.split(":", 5)
        return self.snapshot.keys.get((region, account, resource.removeprefix("key/")))

    def told(self, member: str) -> object:
        """What the record tells of this name, wherever; None if nothing."""
        event = self.event
        for told in (
            event.service_event_details,
            event.response_elements,
            event.additional_event_data,
            event.request_parameters,
        ):
            if told is not None and member in told:
                return told[member]
        return None


class Left(NamedTuple):
    """It was not done again, and why, in plain words."""

    reason: str


Outcome = list[Write] | Left
"""The writes that do it again; none if nothing is left to be done."""
