"""ScheduleKeyDeletion and CancelKeyDeletion. `jobs/deletion.py` deletes what is due."""

from collections.abc import Sequence

from msgspec import Struct

from strongroom.audit.record import shown_time
from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import Validation
from strongroom.messages.kms.deletion import (
    CancelKeyDeletionRequest,
    CancelKeyDeletionResponse,
    ScheduleKeyDeletionRequest,
    ScheduleKeyDeletionResponse,
)
from strongroom.model.key_states import DISABLED, PENDING_DELETION, PENDING_IMPORT, PENDING_REPLICA_DELETION
from strongroom.operations.call import Call, Change
from strongroom.operations.key_material import associated, complete
from strongroom.operations.related_keys import replicas
from strongroom.operations.targets import KeyTarget

_DAYS = range(7, 31)
"""Waiting periods that can be asked for, in days; the longest is the default."""
_SECONDS_PER_DAY = 86_400


def schedule_key_deletion_targets(request: ScheduleKeyDeletionRequest) -> list[KeyTarget]:
    """The key to delete when its waiting period is over."""
    if request.pending_window_in_days is not None and request.pending_window_in_days not in _DAYS:
        raise Validation(f"PendingWindowInDays must be between {_DAYS[0]} and {_DAYS[-1]}")
    return [KeyTarget("kms:ScheduleKeyDeletion", request.key_id)]


def schedule_key_deletion(call: Call, request: ScheduleKeyDeletionRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: ScheduleKeyDeletion. From now on nothing is encrypted or decrypted with the key; CancelKeyDeletion saves it.

    That of a primary key begins when the last of its replica keys is deleted. While the clock cannot be trusted none
    begins. No date is told then: `jobs/deletion.py` dates it.
    """
    (key,) = keys
    days = request.pending_window_in_days or _DAYS[-1]
    replicated = key.key.is_primary and bool(replicas(call.snapshot, key.key))
    state = PENDING_REPLICA_DELETION if replicated else PENDING_DELETION
    begins = not replicated and call.clock_is_trusted()
    deletion_date = end_of_waiting(call.now, days) if begins else None
    response = ScheduleKeyDeletionResponse(
        key_id=key.key.arn, deletion_date=deletion_date, key_state=state, pending_window_in_days=days
    )
    waiting = None if begins else days
    scheduled = call.replace(key, state=state, deletion_date=deletion_date, pending_window_in_days=waiting)
    return Change(response, [scheduled])


def end_of_waiting(now: float, days: int) -> float:
    """When a waiting period ends that begins now, in seconds since the epoch: whole milliseconds, as AWS tells them."""
    return round(now, 3) + days * _SECONDS_PER_DAY


def logged_scheduled_deletion(response: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows when the key will be deleted."""
    assert isinstance(response, ScheduleKeyDeletionResponse)
    logged: dict[str, object] = {
        "keyId": response.key_id,
        "keyState": response.key_state,
        "pendingWindowInDays": response.pending_window_in_days,
    }
    if response.deletion_date is not None:
        logged["deletionDate"] = shown_time(response.deletion_date)
    return logged


def cancel_key_deletion_targets(request: CancelKeyDeletionRequest) -> list[KeyTarget]:
    """The key to keep."""
    return [KeyTarget("kms:CancelKeyDeletion", request.key_id)]


def cancel_key_deletion(call: Call, _request: CancelKeyDeletionRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CancelKeyDeletion. The key is disabled afterwards, whatever it was before, or waits for its material."""
    (key,) = keys
    response = CancelKeyDeletionResponse(key_id=key.key.arn)
    state = DISABLED if complete(associated(call.entry(key))) else PENDING_IMPORT
    return Change(response, [call.replace(key, state=state, deletion_date=None, pending_window_in_days=None)])
