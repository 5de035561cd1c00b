"""AWS managed keys come into being when they are first needed (AWS: DescribeKey; "AWS managed keys").

That is when the service uses the alias for somebody, or when anybody describes the key by its alias. Whoever may not do
with the key what they ask for does not have it made.
"""

import os
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from strongroom.crypto.ciphertext_blob import MATERIAL_ID_LENGTH
from strongroom.errors import NotFound, RequestError
from strongroom.model.alias import Alias
from strongroom.model.aws_managed_keys import ROTATION_PERIOD_IN_DAYS, ManagedKey, managed_keys
from strongroom.model.key import AWS, KmsKey
from strongroom.model.key_reference import parse_key_reference
from strongroom.model.key_specs import AWS_KMS, ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT
from strongroom.model.key_states import ENABLED
from strongroom.operations.authorizing import authorize_target
from strongroom.operations.call import Call
from strongroom.operations.kms.rotation import end_of_period
from strongroom.operations.targets import FoundKey, KeyTarget, Target, find
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Insert, Write

_MAKES_FOR_ANYBODY = "DescribeKey"


class Needed(NamedTuple):
    """A key that is to be made, its alias, and the service that it is for."""

    key: KmsKey
    alias: Alias
    service: str

    def writes(self, call: Call) -> list[Write]:
        """Make its key material; return all that is to be written."""
        material = call.key_store.generate(self.key, material_id=self.key.current_material_id, created=self.key.created)
        return [Insert(self.key), Insert(material), Insert(self.alias)]

    @property
    def details(self) -> dict[str, object]:
        """What the audit record says."""
        return {"keyId": self.key.arn, "aliasName": self.alias.name, "service": self.service}


def needed(call: Call, message: Struct | None, targets: Sequence[Target], operation: str) -> Needed | None:
    """The AWS managed key that an operation needs and that is not there, if its caller may have it made."""
    for target in targets:
        if not isinstance(target, KeyTarget):
            return None
        row = None if target.key_id is None or not target.by_alias else _named(call, target.key_id)
        if row is None and _is_there(call, target):
            continue
        if row is None or not (call.principal.service == row.service or operation == _MAKES_FOR_ANYBODY):
            return None
        key = _key(call, row)
        try:
            authorize_target(call, message, target, FoundKey(KeyEntry(key, 0, {}), None), operation)
        except RequestError:
            return None
        alias = Alias(key.account, key.region, row.alias, key.key_id, key.created, key.created)
        return Needed(key, alias, f"{row.service}.amazonaws.com")
    return None


def predefined(snapshot: Snapshot, account: str, region: str) -> list[str]:
    """The names of the AWS aliases that stand for no key yet, in order."""
    rows = managed_keys(service.record for service in snapshot.services.values())
    return sorted(name for name in rows if (region, account, name) not in snapshot.aliases)


def _is_there(call: Call, target: KeyTarget) -> bool:
    try:
        find(target, call.snapshot, call.principal, call.region)
    except RequestError:
        return False
    return True


def _named(call: Call, key_id: str) -> ManagedKey | None:
    """The row of the alias by which a request names a key of the caller's account, if that stands for no key yet."""
    try:
        reference = parse_key_reference(key_id, region=call.region, account=call.account)
    except NotFound:
        return None
    if not call.account or reference.account != call.account or reference in call.snapshot.aliases:
        return None
    return managed_keys(service.record for service in call.snapshot.services.values()).get(reference.name)


def _key(call: Call, row: ManagedKey) -> KmsKey:
    created = round(call.now, 3)
    key = KmsKey(
        account=call.account,
        region=call.region,
        key_id=str(uuid.UUID(bytes=os.urandom(16), version=4)),
        key_spec=SYMMETRIC_DEFAULT,
        key_usage=ENCRYPT_DECRYPT,
        origin=AWS_KMS,
        state=ENABLED,
        description=row.description,
        policy=row.policy(call.account, call.region),
        tags=(),
        created=created,
        current_material_id=os.urandom(MATERIAL_ID_LENGTH).hex(),
        key_manager=AWS,
        rotation_period_in_days=ROTATION_PERIOD_IN_DAYS,
    )
    if call.clock_is_trusted():  # if not, `jobs/rotation.py` dates it
        key = structs.replace(key, next_rotation=end_of_period(created, ROTATION_PERIOD_IN_DAYS))
    return key
