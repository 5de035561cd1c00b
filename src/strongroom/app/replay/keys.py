"""Changes of KMS keys, their grants, aliases and custom key stores, done again."""

from collections.abc import Callable, Mapping

from msgspec import structs

from strongroom.app.replay.step import Left, Outcome, Step
from strongroom.authorization.documents import check_policy_size, compile_key_policy
from strongroom.errors import RequestError
from strongroom.jobs.deletion import removal_of_key
from strongroom.model.alias import Alias
from strongroom.model.custom_key_store import DISCONNECTED, CustomKeyStore
from strongroom.model.key_states import DISABLED, ENABLED, PENDING_DELETION, PENDING_IMPORT
from strongroom.model.numbered import Numbered
from strongroom.operations.key_material import associated, complete, removal
from strongroom.operations.kms.deletion import end_of_waiting
from strongroom.operations.kms.multi_region import counted_on
from strongroom.operations.related_keys import replaced
from strongroom.operations.remembered import remembered_principals
from strongroom.snapshot import KeyEntry
from strongroom.storage.contract import Delete, Insert, Replace

LOST: Mapping[str, str] = {
    "CreateGrant": "the grant is lost: make it again",
    "CreateKey": "the key is lost, and with it all that was encrypted under it",
    "DisableKeyRotation": "rotation is set as it was before",
    "EnableKeyRotation": "rotation is set as it was before",
    "ReplicateKey": "the replica key is lost: replicate the primary key again",
    "RotateKey": "the new key material is lost, and with it all that was encrypted under it; the key has the older one",
    "RotateKeyOnDemand": "a rotation that was asked for: ask again",
}
"""Events of keys by which nobody may do more than before, so that the key stays as it is without them."""

_DOUBTFUL: Mapping[str, str] = {
    "ImportKeyMaterial": "the key material is lost, or when it was to expire: import it again",
}
"""Others, by which a key could have been restricted."""


def done_again(step: Step) -> Outcome:
    """Do again what was done to a key. A key that is not there needs nothing."""
    name = step.event.event_name
    if name in _OF_ACCOUNTS:
        return _OF_ACCOUNTS[name](step)
    entries = [entry for arn in step.key_arns if (entry := step.key(arn)) is not None]
    if name == "CreateKey":
        return [] if entries else Left(LOST[name])
    if not entries:
        return []
    omitted = "omitted" in (step.event.request_parameters or {})  # it was too long for a record
    if name in _OF_KEYS and not omitted:
        return _OF_KEYS[name](step, entries[0])
    return Left(LOST.get(name) or _DOUBTFUL.get(name, "the log does not tell enough to do it again"))


def _schedule(step: Step, entry: KeyEntry) -> Outcome:
    days = step.told("pendingWindowInDays")
    state = step.told("keyState")
    if not isinstance(days, int) or not isinstance(state, str):
        return Left("the log does not tell the waiting period")
    if step.told("deletionDate") is None:
        return _replaced(entry, state=state, deletion_date=None, pending_window_in_days=days)
    return _replaced(entry, state=state, deletion_date=_end(step, days), pending_window_in_days=None)


def _begin_window(step: Step, entry: KeyEntry) -> Outcome:
    days = entry.key.pending_window_in_days
    if days is None:
        return []
    return _replaced(entry, state=PENDING_DELETION, deletion_date=_end(step, days), pending_window_in_days=None)


def _end(step: Step, days: int) -> float:
    """When a waiting period ends, and not a moment earlier: records tell whole seconds."""
    return end_of_waiting(step.at + 1, days)


def _cancel_deletion(_: Step, entry: KeyEntry) -> Outcome:
    state = DISABLED if complete(associated(entry)) else PENDING_IMPORT
    return _replaced(entry, state=state, deletion_date=None, pending_window_in_days=None)


def _delete(step: Step, entry: KeyEntry) -> Outcome:
    return removal_of_key(step.snapshot, entry)


def _disable(_: Step, entry: KeyEntry) -> Outcome:
    if entry.key.state not in (ENABLED, DISABLED):
        return Left(f"the key is {entry.key.state}: disable it when it can be")
    return _replaced(entry, state=DISABLED) if entry.key.state == ENABLED else []


def _enable(_: Step, entry: KeyEntry) -> Outcome:
    return _replaced(entry, state=ENABLED) if entry.key.state == DISABLED else []


def _remove_material(step: Step, entry: KeyEntry) -> Outcome:
    material_id = step.told("keyMaterialId") or entry.key.current_material_id
    material = entry.materials.get(str(material_id))
    if material is None or not material.record.present:
        return []
    return removal(step.snapshot, entry, material.record.material_id, step.at)


def _remove_grant(step: Step, entry: KeyEntry) -> Outcome:
    grant_id = step.told("grantId")
    if not isinstance(grant_id, str):
        return Left("the log does not tell the grant: look at the grants of the key")
    found = entry.grants.by_id.get(grant_id)
    return [] if found is None else [Delete(*found)]


def _put_policy(step: Step, entry: KeyEntry) -> Outcome:
    policy = step.told("policy")
    if not isinstance(policy, str):
        return Left("the log does not tell the policy")
    try:
        check_policy_size(policy)
        principals, unknown = remembered_principals(step.snapshot, compile_key_policy(policy))
    except RequestError:
        return Left("the policy cannot be read any more")
    if unknown:
        return Left(f"the policy names {unknown[0]}, who is not there")
    return _replaced(entry, policy=policy, policy_principals=principals or None)


def _tag(step: Step, entry: KeyEntry) -> Outcome:
    tags = step.told("tags")
    assert isinstance(tags, list), "TagResource is recorded so"
    added = {tag["tagKey"]: tag["tagValue"] for tag in tags}
    return _replaced(entry, tags=tuple((dict(entry.key.tags) | added).items()))


def _untag(step: Step, entry: KeyEntry) -> Outcome:
    gone = step.told("tagKeys")
    assert isinstance(gone, list), "UntagResource is recorded so"
    return _replaced(entry, tags=tuple(tag for tag in entry.key.tags if tag[0] not in gone))


def _describe(step: Step, entry: KeyEntry) -> Outcome:
    return _replaced(entry, description=str(step.told("description") or ""))


def _move_primary(step: Step, entry: KeyEntry) -> Outcome:
    region, related = step.told("primaryRegion"), {one.key.region: one for one in step.snapshot.related(entry.key)}
    if region not in related:
        return Left("the key that became the primary key is lost")
    before, after = entry.key.primary_region, str(region)
    writes = replaced(step.snapshot, entry.key, primary_region=after)
    return writes if before is None or before == after else [*writes, *counted_on(related[before], related[after])]


def _replaced(entry: KeyEntry, **members: object) -> Outcome:
    return [Replace(structs.replace(entry.key, **members), entry.number)]


def _put_alias(step: Step) -> Outcome:
    target = step.key(step.key_arns[-1]) if step.key_arns else None
    name, found = str(step.told("aliasName")), _alias(step)
    if target is None:  # what it names is lost; it must not name what it named before
        return [] if found is None else [Delete(*found)]
    if found is None:
        key = target.key
        return [Insert(Alias(key.account, key.region, name, key.key_id, step.at, step.at))]
    return [Replace(structs.replace(found.record, target_key_id=target.key.key_id, last_updated=step.at), found.number)]


def _delete_alias(step: Step) -> Outcome:
    found = _alias(step)
    return [] if found is None else [Delete(*found)]


def _alias(step: Step) -> Numbered[Alias] | None:
    event = step.event
    return step.snapshot.aliases.get((event.aws_region, event.recipient_account_id, str(step.told("aliasName"))))


def _disconnect_store(step: Step) -> Outcome:
    found = _store(step)
    return [] if found is None else [Replace(structs.replace(found.record, state=DISCONNECTED), found.number)]


def _delete_store(step: Step) -> Outcome:
    found = _store(step)
    return [] if found is None else [Delete(*found)]


def _store(step: Step) -> Numbered[CustomKeyStore] | None:
    event = step.event
    identity = (event.aws_region, event.recipient_account_id, str(step.told("customKeyStoreId")))
    return step.snapshot.custom_key_stores.get(identity)


def _lost_store(step: Step) -> Outcome:
    found = _store(step)
    reason = "the log does not tell secrets: see that the custom key store is as it should be"
    return Left(reason) if step.event.event_name == "CreateCustomKeyStore" or found is not None else []


_OF_KEYS: Mapping[str, Callable[[Step, KeyEntry], Outcome]] = {
    "BeginKeyDeletionWindow": _begin_window,
    "CancelKeyDeletion": _cancel_deletion,
    "DeleteExpiredKeyMaterial": _remove_material,
    "DeleteImportedKeyMaterial": _remove_material,
    "DeleteKey": _delete,
    "DisableKey": _disable,
    "EnableKey": _enable,
    "PutKeyPolicy": _put_policy,
    "RetireGrant": _remove_grant,
    "RevokeGrant": _remove_grant,
    "ScheduleKeyDeletion": _schedule,
    "SynchronizeMultiRegionKey": lambda *_: [],  # the job ends by itself what was begun
    "TagResource": _tag,
    "UntagResource": _untag,
    "UpdateKeyDescription": _describe,
    "UpdatePrimaryRegion": _move_primary,
}
"""Event -> how it is done again to its key."""

_OF_ACCOUNTS: Mapping[str, Callable[[Step], Outcome]] = {
    "ConnectCustomKeyStore": _lost_store,
    "CreateAlias": _put_alias,
    "CreateCustomKeyStore": _lost_store,
    "DeleteAlias": _delete_alias,
    "DeleteCustomKeyStore": _delete_store,
    "DisconnectCustomKeyStore": _disconnect_store,
    "UpdateAlias": _put_alias,
    "UpdateCustomKeyStore": _lost_store,
}
"""Event -> how it is done again, where it is not to a key alone."""
