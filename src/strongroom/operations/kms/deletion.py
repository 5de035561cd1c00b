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
from strongroom.model.key_states import DISABLED, PENDING_DELETION
from strongroom.operations.call import Call, Change
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
    """AWS: ScheduleKeyDeletion. From now on the key can only be described, and saved by CancelKeyDeletion."""
    (key,) = keys
    days = request.pending_window_in_days or _DAYS[-1]
    deletion_date = round(call.now, 3) + days * _SECONDS_PER_DAY
    response = ScheduleKeyDeletionResponse(
        key_id=key.key.arn, deletion_date=deletion_date, key_state=PENDING_DELETION, pending_window_in_days=days
    )
    return Change(response, [call.replace(key, state=PENDING_DELETION, deletion_date=deletion_date)])


def logged_scheduled_deletion(response: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows when the key will be deleted."""
    assert isinstance(response, ScheduleKeyDeletionResponse)
    assert response.deletion_date is not None, "schedule_key_deletion sets it"
    return {
        "keyId": response.key_id,
        "keyState": response.key_state,
        "deletionDate": shown_time(response.deletion_date),
        "pendingWindowInDays": response.pending_window_in_days,
    }


def cancel_key_deletion_targets(request: CancelKeyDeletionRequest) -> list[KeyTarget]:
    """The key to keep."""
    return [KeyTarget("kms:CancelKeyDeletion", request.key_id)]


def cancel_key_deletion(call: Call, _request: CancelKeyDeletionRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CancelKeyDeletion. The key is disabled afterwards, whatever it was before."""
    (key,) = keys
    response = CancelKeyDeletionResponse(key_id=key.key.arn)
    return Change(response, [call.replace(key, state=DISABLED, deletion_date=None)])
