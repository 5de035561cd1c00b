"""Go through the later changes in their order, and do again what can be done again."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from msgspec import structs

from strongroom.app.custom_key_stores import configured_key_stores
from strongroom.app.databases import audit_index
from strongroom.app.installing import Opened, open_secret, served_regions
from strongroom.app.key_store import key_store_of, served_external_keys
from strongroom.app.measuring import new_memory
from strongroom.app.replay import identities, keys, operator
from strongroom.app.replay.step import Left, Outcome, Step
from strongroom.audit.changes import RecordedChange
from strongroom.authorization.identity import Identity
from strongroom.metrics.meters import Meters
from strongroom.model.exchange import Incoming
from strongroom.model.key_states import DISABLED, ENABLED
from strongroom.model.principal import Principal
from strongroom.operations.call import Call
from strongroom.operations.uses import Uses
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.contract import Replace, Storage, Write

_NOBODY = Incoming("", b"", b"", (), b"", "")


class LeftChange(NamedTuple):
    """A change that was not done again: its event, what it was about, and why."""

    change: RecordedChange
    about: str
    reason: str


class Replayed(NamedTuple):
    """What was done again (numbers of changes), what is left to a person, and keys (ARNs) that are to be disabled.

    A key is to be disabled if it may be used in ways that a change which is left had ended. `writes` disable them.
    `not_disabled` are those whose state does not let them be: ARN and state.
    """

    done_again: list[int]
    left: list[LeftChange]
    disabled: list[str]
    not_disabled: list[tuple[str, str]]
    writes: list[Write]


def replay(opened: Opened, changes: Sequence[RecordedChange], *, beyond: int) -> Replayed:
    """Do later changes again, each in a change of its own, numbered after `beyond`. Raises OperatorError."""
    return asyncio.run(_replay(opened, changes, beyond))


async def _replay(opened: Opened, changes: Sequence[RecordedChange], beyond: int) -> Replayed:
    key_store = key_store_of(opened)
    custom_key_stores = configured_key_stores(
        opened, key_store, Meters(new_memory(opened.config), 0)
    )  # nobody reads them
    events = audit_index(opened.config, opened.storage)  # nothing is looked up in it
    state = LiveSnapshot(opened.storage, partial(open_secret, opened), lambda *_: None)

    def call_for(step: Step, principal: Principal) -> Call:
        return Call(
            now=step.at,
            request_id="",
            incoming=_NOBODY,
            identity=Identity(principal),
            region=step.event.aws_region,
            snapshot=step.snapshot,
            key_store=key_store,
            storage=opened.storage,
            uses=Uses(),
            seals=opened.domain_keys.seals,
            regions=served_regions(opened.config),
            custom_key_stores=custom_key_stores,
            operation=step.event.event_name,
            external_keys=served_external_keys(opened, key_store),
            events=events,
        )

    done: list[int] = []
    left: list[LeftChange] = []
    doubtful: set[str] = set()
    try:
        for change in changes:
            step = Step(change.event, state.fresh())
            doubtful.difference_update(operator.disabled_by(change.event))
            outcome = _done(step, call_for, opened.storage, beyond)
            if isinstance(outcome, Left):
                left.append(LeftChange(change, _about(step), outcome.reason))
                if change.event.event_name not in keys.LOST:
                    doubtful.update(step.key_arns)
            else:
                done.append(change.number)
    finally:
        custom_key_stores.close()
        events.close()
    snapshot = state.fresh()
    entries = {arn: Step(changes[-1].event, snapshot).key(arn) for arn in sorted(doubtful)}
    there = {arn: entry for arn, entry in entries.items() if entry is not None}
    disabled = {arn: entry for arn, entry in there.items() if entry.key.state == ENABLED}
    writes: list[Write] = [
        Replace(structs.replace(entry.key, state=DISABLED), entry.number) for entry in disabled.values()
    ]
    others = [(arn, entry.key.state) for arn, entry in there.items() if entry.key.state not in (ENABLED, DISABLED)]
    return Replayed(done, left, list(disabled), others, writes)


def _done(step: Step, call_for: identities.CallFor, storage: Storage, beyond: int) -> Outcome:
    """Do it again. Whatever is in the way of one change leaves it to a person, and is never the end of the restore."""
    try:
        outcome = _outcome(step, call_for, storage)
        if outcome and not isinstance(outcome, Left):
            storage.commit(outcome, None, beyond=beyond)
    except Exception as error:  # noqa: BLE001 a caller chose what stands in a record
        return Left(f"it cannot be done again ({type(error).__name__}): see to it by hand")
    return outcome


def _outcome(step: Step, call_for: identities.CallFor, storage: Storage) -> Outcome:
    if step.event.event_source == "iam.amazonaws.com":
        return identities.done_again(step, call_for)
    if step.event.event_type == "AwsServiceEvent" and not step.key_arns:
        return operator.done_again(step, storage)
    return keys.done_again(step)


def _about(step: Step) -> str:
    """What a change was about, as its record tells it."""
    if step.key_arns:
        return " ".join(step.key_arns)
    parameters = step.event.service_event_details or step.event.request_parameters or {}
    if "omitted" in parameters:
        return f"asked by {step.event.user_identity.get('arn', 'somebody')} in a request too long for its record"
    return " ".join(f"{name}={value}" for name, value in parameters.items() if isinstance(value, str | int))
