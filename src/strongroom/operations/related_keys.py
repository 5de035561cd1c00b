"""What the keys of one multi-Region key share, and how it is changed (AWS: "Multi-Region keys", shared properties).

They share key id, key spec, key usage, origin, key material with its rotations, and whether and when it is rotated. All
else is each key's own. What is shared is written to all of them in one change, so that none is ever behind. Imported
material is an exception, as at AWS: each Region knows of it, and has it when it was imported there.

Everything here takes single-Region keys too: those are related to themselves alone.
"""

from msgspec import structs

from strongroom.errors import UnsupportedOperation
from strongroom.messages.kms.keys import CreateKeyRequest
from strongroom.messages.kms.multi_region import ReplicateKeyRequest
from strongroom.messages.kms.shapes import MultiRegionConfiguration, MultiRegionKey
from strongroom.model.arn import key_arn
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import EXTERNAL
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Replace, Write

PRIMARY = "PRIMARY"
REPLICA = "REPLICA"


def kind_of(key: KmsKey) -> str | None:
    """AWS: MultiRegionKeyType; None for a single-Region key."""
    return None if key.primary_region is None else PRIMARY if key.is_primary else REPLICA


def not_primary(key: KmsKey) -> UnsupportedOperation:
    """The refusal of what only a primary key does."""
    return UnsupportedOperation(f"{key.arn} is not a multi-region primary key.")


def as_created(primary: KmsKey, request: ReplicateKeyRequest) -> CreateKeyRequest:
    """The request by which CreateKey would make a replica key: so it is authorized and recorded in its Region."""
    return CreateKeyRequest(
        policy=request.policy,
        description=request.description,
        key_usage=primary.key_usage,
        key_spec=primary.key_spec,
        origin=primary.origin,
        bypass_policy_lockout_safety_check=request.bypass_policy_lockout_safety_check,
        tags=request.tags,
        multi_region=True,
    )


def replicas(snapshot: Snapshot, key: KmsKey) -> list[KeyEntry]:
    """The replica keys of the multi-Region key that a key belongs to, by Region."""
    return [entry for entry in snapshot.related(key) if entry.key.is_replica]


def others(snapshot: Snapshot, key: KmsKey) -> list[KeyEntry]:
    """The related keys in other Regions."""
    return [entry for entry in snapshot.related(key) if entry.key.region != key.region]


def replaced(snapshot: Snapshot, key: KmsKey, **members: object) -> list[Write]:
    """The writes that give a key and all that are related to it other shared `members`."""
    return [Replace(structs.replace(entry.key, **members), entry.number) for entry in snapshot.related(key)]


def copied(material: KeyMaterial, key: KmsKey) -> KeyMaterial:
    """A material of a related key as this key has it. What was imported has to be imported for this one too."""
    copy = structs.replace(material, region=key.region)
    return structs.replace(copy, wrapped=b"", recovery=None, valid_to=None) if key.origin == EXTERNAL else copy


def has_everywhere(snapshot: Snapshot, key: KmsKey, material_id: str | None) -> bool:
    """Whether a key and all that are related to it have a material; not if it is None."""
    if material_id is None:
        return False
    there = [entry.materials.get(material_id) for entry in snapshot.related(key)]
    return all(material is not None and material.record.present for material in there)


def configuration(key: KmsKey, regions: frozenset[str]) -> MultiRegionConfiguration | None:
    """AWS: MultiRegionConfiguration of a key that is in these Regions; None for a single-Region key."""
    if key.primary_region is None:
        return None

    def told(region: str) -> MultiRegionKey:
        return MultiRegionKey(arn=key_arn(region, key.account, key.key_id), region=region)

    return MultiRegionConfiguration(
        multi_region_key_type=kind_of(key),
        primary_key=told(key.primary_region),
        replica_keys=tuple(told(region) for region in sorted(regions - {key.primary_region})),
    )
