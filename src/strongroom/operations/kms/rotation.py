"""EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations.

`jobs/rotation.py` rotates what is due.
"""

from collections.abc import Sequence

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import Conflict, InvalidMarker, KMSInvalidState, LimitExceeded, UnsupportedOperation
from strongroom.messages.kms.rotation import (
    DisableKeyRotationRequest,
    EnableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    GetKeyRotationStatusResponse,
    ListKeyRotationsRequest,
    ListKeyRotationsResponse,
    RotateKeyOnDemandRequest,
    RotateKeyOnDemandResponse,
    RotationsListEntry,
)
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import AWS_KMS, EXTERNAL, SYMMETRIC_DEFAULT
from strongroom.model.key_states import PENDING_DELETION, PENDING_REPLICA_DELETION, wrong_origin
from strongroom.operations.call import Call, Change
from strongroom.operations.key_material import expiry, materials, rotations_on_demand
from strongroom.operations.pages import Listing
from strongroom.operations.related_keys import has_everywhere, not_primary, replaced
from strongroom.operations.targets import KeyTarget
from strongroom.snapshot import Snapshot

MAX_ON_DEMAND = 25
"""Rotations on demand that a key can have in its life."""

_DEFAULT_PERIOD = 365
_SECONDS_PER_DAY = 86_400
_SOON = 20 * 60
"""Seconds before an automatic rotation in which none can be demanded."""

_ALL = "ALL_KEY_MATERIAL"
_ROTATIONS = Listing("ListKeyRotations", default=100, maximum=1000)


def enable_key_rotation_targets(request: EnableKeyRotationRequest) -> list[KeyTarget]:
    """The key to rotate from time to time."""
    return [KeyTarget("kms:EnableKeyRotation", request.key_id)]


def enable_key_rotation(call: Call, request: EnableKeyRotationRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: EnableKeyRotation. The period begins now, also if rotation was enabled before. Replica keys follow.

    While the clock cannot be trusted it does not begin, and no date is told: `jobs/rotation.py` dates it.
    """
    (key,) = keys
    _check_rotates_itself(key.key)
    days = request.rotation_period_in_days or _DEFAULT_PERIOD
    next_rotation = end_of_period(call.now, days) if call.clock_is_trusted() else None
    enabled = replaced(call.snapshot, key.key, rotation_period_in_days=days, next_rotation=next_rotation)
    return Change(None, enabled)


def end_of_period(now: float, days: int) -> float:
    """When a rotation period ends that begins now, in seconds since the epoch: whole milliseconds, as AWS tells it."""
    return round(now, 3) + days * _SECONDS_PER_DAY


def disable_key_rotation_targets(request: DisableKeyRotationRequest) -> list[KeyTarget]:
    """The key to rotate no more, unless it is demanded."""
    return [KeyTarget("kms:DisableKeyRotation", request.key_id)]


def disable_key_rotation(call: Call, _request: DisableKeyRotationRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: DisableKeyRotation. Idempotent; a rotation on demand that is in progress goes on."""
    (key,) = keys
    _check_rotates_itself(key.key)
    return Change(None, replaced(call.snapshot, key.key, rotation_period_in_days=None, next_rotation=None))


def get_key_rotation_status_targets(request: GetKeyRotationStatusRequest) -> list[KeyTarget]:
    """The key whose rotation is asked about."""
    return [KeyTarget("kms:GetKeyRotationStatus", request.key_id, foreign=True)]


def get_key_rotation_status(
    call: Call, _request: GetKeyRotationStatusRequest, keys: Sequence[AuthorizedKey]
) -> GetKeyRotationStatusResponse:
    """AWS: GetKeyRotationStatus. False while the key is pending deletion; canceling that restores what was."""
    key = call.read(keys[0])
    _check_can_rotate(key)
    if key.state in (PENDING_DELETION, PENDING_REPLICA_DELETION):
        return GetKeyRotationStatusResponse(key_id=key.key_id, key_rotation_enabled=False)
    return GetKeyRotationStatusResponse(
        key_id=key.key_id,
        key_rotation_enabled=key.rotation_period_in_days is not None,
        rotation_period_in_days=key.rotation_period_in_days,
        next_rotation_date=key.next_rotation,
        on_demand_rotation_start_date=key.on_demand_rotation_start,
    )


def rotate_key_on_demand_targets(request: RotateKeyOnDemandRequest) -> list[KeyTarget]:
    """The key to rotate."""
    return [KeyTarget("kms:RotateKeyOnDemand", request.key_id)]


def rotate_key_on_demand(call: Call, _request: RotateKeyOnDemandRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: RotateKeyOnDemand. The rotation is only asked for; the job does it within seconds."""
    (authorized,) = keys
    key = authorized.key
    if key.key_spec != SYMMETRIC_DEFAULT:
        raise UnsupportedOperation
    _check_can_rotate(key)
    if key.is_replica:
        raise not_primary(key)
    if key.origin == EXTERNAL and not has_everywhere(call.snapshot, key, key.pending_material_id):
        raise KMSInvalidState(f"No available key material pending rotation for the key: {key.arn}.")
    if key.on_demand_rotation_start is not None:
        raise Conflict(f"A rotation of {key.arn} is in progress.")
    if key.next_rotation is not None and key.next_rotation - call.now <= _SOON:
        raise Conflict(f"An automatic rotation of {key.arn} is in progress or begins within the next 20 minutes.")
    if rotations_on_demand(call.entry(authorized)) >= MAX_ON_DEMAND:
        raise LimitExceeded(
            "The on-demand rotations limit has been reached for the given keyId. "
            f"No more on-demand rotations can be performed for this key: {key.arn}"
        )
    response = RotateKeyOnDemandResponse(key_id=key.arn)
    return Change(response, replaced(call.snapshot, key, on_demand_rotation_start=round(call.now, 3)))


def list_key_rotations_targets(request: ListKeyRotationsRequest) -> list[KeyTarget]:
    """The key whose rotations are listed."""
    _ROTATIONS.check(request.limit)
    return [KeyTarget("kms:ListKeyRotations", request.key_id)]


def list_key_rotations(
    call: Call, request: ListKeyRotationsRequest, keys: Sequence[AuthorizedKey]
) -> ListKeyRotationsResponse:
    """AWS: ListKeyRotations, in order of rotation. A rotation writes the key too: its materials are what it says."""
    key = call.read(keys[0])
    _check_can_rotate(key)
    all_material = request.include_key_material == _ALL
    if all_material and key.key_spec != SYMMETRIC_DEFAULT:
        raise UnsupportedOperation
    told = [material for material in materials(call.entry(keys[0])) if all_material or material.rotated is not None]
    names = [material.material_id for material in told]

    def following(after: str, limit: int) -> list[KeyMaterial]:
        if after and after not in names:  # it was deleted before it was rotated to
            raise InvalidMarker
        start = names.index(after) + 1 if after else 0
        return told[start : start + limit]

    page = _ROTATIONS.page(
        following,
        lambda material: material.material_id,
        limit=request.limit,
        marker=request.marker,
        of=f"{key.arn} {all_material}",
    )
    return ListKeyRotationsResponse(
        rotations=tuple(_told(call.snapshot, key, material) for material in page.items),
        truncated=page.truncated,
        next_marker=page.next_marker,
    )


def _told(snapshot: Snapshot, key: KmsKey, material: KeyMaterial) -> RotationsListEntry:
    external = key.origin == EXTERNAL
    expiration_model, valid_to = expiry([material], key.origin)
    return RotationsListEntry(
        key_id=key.key_id,
        key_material_id=material.material_id,
        key_material_description=material.description,
        import_state=("IMPORTED" if material.present else "PENDING_IMPORT") if external else None,
        key_material_state=_material_state(snapshot, key, material),
        expiration_model=expiration_model,
        valid_to=valid_to,
        rotation_date=material.rotated,
        rotation_type=material.rotation_type,
    )


def _material_state(snapshot: Snapshot, key: KmsKey, material: KeyMaterial) -> str:
    if material.material_id == key.current_material_id:
        return "CURRENT"
    if material.material_id != key.pending_material_id:
        return "NON_CURRENT"
    ready = not key.multi_region or has_everywhere(snapshot, key, material.material_id)
    return "PENDING_ROTATION" if ready else "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"


def _check_can_rotate(key: KmsKey) -> None:
    """Refuse a key in a custom key store, which has one material for ever."""
    if key.custom_key_store_id is not None:
        raise wrong_origin(key.arn, key.origin)


def _check_rotates_itself(key: KmsKey) -> None:
    """Refuse automatic rotation of what the service cannot make anew."""
    if key.origin != AWS_KMS:
        raise wrong_origin(key.arn, key.origin)
    if key.key_spec != SYMMETRIC_DEFAULT:
        raise UnsupportedOperation
    if key.is_replica:
        raise not_primary(key)
