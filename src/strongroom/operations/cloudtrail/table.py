"""The operations of CloudTrail, one row each."""

from strongroom.operations.cloudtrail import events
from strongroom.operations.operation import Operation

BUILT = (
    Operation(
        name="LookupEvents",
        service="cloudtrail",
        targets=events.lookup_events_targets,
        run=events.lookup_events,
        looks_up=True,
        rate=2,
        logged=events.logged,
    ),
)
