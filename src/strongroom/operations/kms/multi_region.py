"""ReplicateKey, UpdatePrimaryRegion. `jobs/multi_region.py` ends what they begin."""

from collections.abc import Sequence

from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.authorization.documents import default_key_policy
from strongroom.errors import AlreadyExists, UnsupportedOperation
from strongroom.messages.kms.multi_region import (
    ReplicateKeyRequest,
    ReplicateKeyResponse,
    UpdatePrimaryRegionRequest,
)
from strongroom.messages.kms.shapes import Tag
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_states import CREATING, UPDATING
from strongroom.operations.call import Call, Change, Elsewhere
from strongroom.operations.key_material import materials
from strongroom.operations.kms.keys import check_quota, logged_create_key, logged_metadata, metadata
from strongroom.operations.kms.policies import checked_policy
from strongroom.operations.kms.tags import logged_tags, requested_tags
from strongroom.operations.related_keys import as_created, copied
from strongroom.operations.targets import KeyTarget, ReplicaTarget
from strongroom.snapshot import KeyEntry
from strongroom.storage.contract import Insert, Keep, Replace, Write


def replicate_key_targets(request: ReplicateKeyRequest) -> list[KeyTarget | ReplicaTarget]:
    """The primary key, and the key to make in the other Region by the caller's IAM permissions; tags need their own."""
    assert request.replica_region is not None, "the model requires it"
    requested_tags(request.tags)
    actions = ["kms:CreateKey"] + (["kms:TagResource"] if request.tags else [])
    return [
        KeyTarget("kms:ReplicateKey", request.key_id, primary=True),
        *(ReplicaTarget(action, request.replica_region) for action in actions),
    ]


def replicate_key(call: Call, request: ReplicateKeyRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: ReplicateKey. The replica has what related keys share, and what the request says; it cannot be used yet."""
    (authorized,) = keys
    primary = authorized.key
    region = request.replica_region or ""
    _check_served(call, region)
    regions = call.snapshot.regions[primary.account, primary.key_id]
    replica = _replica(call, request, primary, region)
    if region in regions:
        raise AlreadyExists(f"Key '{replica.arn}' already exists")
    check_quota(call, region)
    if request.policy is not None:  # the default policy leaves all to the account
        there = structs.replace(call, region=region)
        replica = checked_policy(there, replica, bypass_lockout_check=request.bypass_policy_lockout_safety_check)
    entry = call.entry(authorized)
    response = ReplicateKeyResponse(
        replica_key_metadata=metadata(replica, (), regions | {region}),
        replica_policy=replica.policy,
        replica_tags=tuple(Tag(tag_key=key, tag_value=value) for key, value in replica.tags) or None,
    )
    copies = [Insert(copied(material, replica)) for material in materials(entry)]
    primary_anew = Replace(primary, entry.number)  # whoever decided on the Regions that there were decides again
    return Change(response, [Insert(replica), *copies, primary_anew], elsewhere=_created(response, request, replica))


def logged_replicate_key(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows ReplicateKey's defaults as if they had been given."""
    assert isinstance(request, ReplicateKeyRequest)
    logged: dict[str, object] = {
        "keyId": request.key_id,
        "replicaRegion": request.replica_region,
        "description": request.description or "",
        "bypassPolicyLockoutSafetyCheck": bool(request.bypass_policy_lockout_safety_check),
    }
    if request.policy is not None:
        logged["policy"] = request.policy
    if request.tags:
        logged["tags"] = logged_tags(request.tags)
    return logged


def logged_replica(response: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows all that ReplicateKey answers."""
    assert isinstance(response, ReplicateKeyResponse)
    assert response.replica_key_metadata is not None, "replicate_key sets it"
    logged: dict[str, object] = {
        "replicaKeyMetadata": logged_metadata(response.replica_key_metadata),
        "replicaPolicy": response.replica_policy,
    }
    if response.replica_tags:
        logged["replicaTags"] = logged_tags(response.replica_tags)
    return logged


def update_primary_region_targets(request: UpdatePrimaryRegionRequest) -> list[KeyTarget]:
    """The key that is the primary key, and the one that will be."""
    action = "kms:UpdatePrimaryRegion"
    return [
        KeyTarget(action, request.key_id, primary=True),
        KeyTarget(action, request.key_id, region=request.primary_region),
    ]


def update_primary_region(call: Call, request: UpdatePrimaryRegionRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: UpdatePrimaryRegion. Both keys go on working."""
    before, after = (authorized.key for authorized in keys)
    _check_served(call, after.region)
    if before.region == after.region:
        raise UnsupportedOperation(f"{before.arn} is the primary key already.")
    writes: list[Write] = []
    for entry in call.snapshot.related(before):
        changed = structs.replace(entry.key, primary_region=after.region)
        if changed.region in (before.region, after.region):
            changed = structs.replace(changed, state=UPDATING)
        writes.append(Replace(changed, entry.number))
    writes += counted_on(call.entry(keys[0]), call.entry(keys[1]))
    parameters: dict[str, object] = {"keyId": after.arn, "primaryRegion": request.primary_region}
    elsewhere = Elsewhere("UpdatePrimaryRegion", after.region, parameters, {"keyId": after.arn})
    return Change(None, writes, elsewhere=elsewhere)


def logged_former_primary(_response: Struct | None, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows the key that the request was for."""
    return {"keyId": keys[0].key.arn}


def _check_served(call: Call, region: str) -> None:
    if region not in call.regions:
        raise UnsupportedOperation(f"Region {region} is not supported.")


def _replica(call: Call, request: ReplicateKeyRequest, primary: KmsKey, region: str) -> KmsKey:
    """A replica key that is being created."""
    return structs.replace(
        primary,
        region=region,
        state=CREATING,
        description=request.description or "",
        policy=default_key_policy(primary.account) if request.policy is None else request.policy,
        policy_principals=None,
        tags=requested_tags(request.tags),
        created=round(call.now, 3),
    )


def _created(response: ReplicateKeyResponse, request: ReplicateKeyRequest, replica: KmsKey) -> Elsewhere:
    """The event that the key was created in its Region."""
    assert response.replica_key_metadata is not None, "replicate_key sets it"
    parameters = logged_create_key(as_created(replica, request), ()) | {"policy": replica.policy}
    made: dict[str, object] = {"keyMetadata": logged_metadata(response.replica_key_metadata)}
    return Elsewhere("CreateKey", replica.region, parameters, made, replica)


def counted_on(before: KeyEntry, after: KeyEntry) -> list[Write]:
    """The primary key's material counts the uses of all Regions: the next one goes on from there."""
    writes: list[Write] = []
    for material_id, (counted, number) in before.materials.items():
        if counted.uses is None:
            continue
        counting, after_number = after.materials[material_id]
        taken_over: KeyMaterial = structs.replace(counting, uses=max(counted.uses, counting.uses or 0))
        writes += [Keep(counted, number), Replace(taken_over, after_number)]
    return writes
