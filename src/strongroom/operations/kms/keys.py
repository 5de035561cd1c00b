"""CreateKey, DescribeKey, GetKeyLastUsage, ListKeys; EnableKey, DisableKey, UpdateKeyDescription."""

import os
import uuid
from collections.abc import Sequence
from functools import partial

from msgspec import Struct, structs

from strongroom.audit.record import shown_time
from strongroom.authorization.decide import AuthorizedKey
from strongroom.authorization.documents import default_key_policy
from strongroom.crypto.ciphertext_blob import MATERIAL_ID_LENGTH
from strongroom.errors import (
    CustomKeyStoreInvalidState,
    KMSInvalidState,
    LimitExceeded,
    UnsupportedOperation,
    Validation,
    XksKeyAlreadyInUse,
)
from strongroom.messages.kms.keys import (
    CreateKeyRequest,
    CreateKeyResponse,
    DescribeKeyRequest,
    DescribeKeyResponse,
    DisableKeyRequest,
    EnableKeyRequest,
    GetKeyLastUsageRequest,
    GetKeyLastUsageResponse,
    KeyLastUsageData,
    KeyListEntry,
    ListKeysRequest,
    ListKeysResponse,
    UpdateKeyDescriptionRequest,
)
from strongroom.messages.kms.shapes import KeyMetadata, XksKeyConfigurationType
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import (
    AWS_CLOUDHSM,
    AWS_KMS,
    ENCAPSULATE_DECAPSULATE,
    ENCRYPT_DECRYPT,
    EXTERNAL,
    EXTERNAL_KEY_STORE,
    GENERATE_VERIFY_MAC,
    KEY_AGREEMENT,
    KEY_SPECS,
    SIGN_VERIFY,
    SYMMETRIC_DEFAULT,
)
from strongroom.model.key_states import CREATING, DISABLED, ENABLED, PENDING_IMPORT
from strongroom.model.numbered import Numbered
from strongroom.operations.call import Call, Change
from strongroom.operations.key_material import associated, expiry
from strongroom.operations.kms.algorithms import offered
from strongroom.operations.kms.cluster_key_stores import check_can_make_keys
from strongroom.operations.kms.policies import checked_policy
from strongroom.operations.kms.tags import logged_tags, requested_tags
from strongroom.operations.logged import lower_camel, told
from strongroom.operations.pages import Listing
from strongroom.operations.related_keys import configuration
from strongroom.operations.targets import AccountTarget, CustomKeyStoreTarget, KeyTarget, use_of_key
from strongroom.storage.contract import Insert, Keep, Replace

MAX_KEYS = 100_000
"""KMS keys, in any state, that an account can have in a Region."""

_KEYS = Listing("ListKeys", default=100, maximum=1000)


def create_key_targets(request: CreateKeyRequest) -> list[AccountTarget | CustomKeyStoreTarget]:
    """No key yet: the caller's IAM permissions alone; tags need their own. And the custom key store that it is for."""
    _check_kind(request)
    requested_tags(request.tags)
    tagging = [AccountTarget("kms:TagResource")] if request.tags else []
    if request.custom_key_store_id is None:
        return [AccountTarget("kms:CreateKey"), *tagging]
    return [CustomKeyStoreTarget("kms:CreateKey", request.custom_key_store_id, connected=True), *tagging]


def create_key(call: Call, request: CreateKeyRequest, _keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CreateKey. The policy and the description are kept as they came."""
    check_quota(call, call.region)
    created = round(call.now, 3)  # AWS tells milliseconds
    origin = request.origin or AWS_KMS
    multi_region = bool(request.multi_region)
    key = KmsKey(
        account=call.account,
        region=call.region,
        key_id=_multi_region_id() if multi_region else str(uuid.UUID(bytes=os.urandom(16), version=4)),
        key_spec=_spec(request),
        key_usage=request.key_usage or ENCRYPT_DECRYPT,
        origin=origin,
        state=PENDING_IMPORT if origin == EXTERNAL else ENABLED,
        description=request.description or "",
        policy=default_key_policy(call.account) if request.policy is None else request.policy,
        tags=requested_tags(request.tags),
        created=created,
        current_material_id="" if origin == EXTERNAL else os.urandom(MATERIAL_ID_LENGTH).hex(),
        multi_region=multi_region,
        primary_region=call.region if multi_region else None,
        custom_key_store_id=request.custom_key_store_id,
        xks_key_id=request.xks_key_id,
    )
    if request.policy is not None:  # the default policy leaves all to the account
        key = checked_policy(call, key, bypass_lockout_check=request.bypass_policy_lockout_safety_check)
    materials = []
    if request.custom_key_store_id is not None:
        return _created_in(call, call.custom_key_store(request.custom_key_store_id), key)
    if origin == EXTERNAL:
        call.key_store.check_kind(key.key_spec, key.key_usage)
    else:
        materials.append(call.key_store.generate(key, material_id=key.current_material_id, created=created))
    response = CreateKeyResponse(key_metadata=metadata(key, materials, frozenset({key.region})))
    return Change(response, [Insert(key), *map(Insert, materials)], made=key)


def _created_in(call: Call, store: Numbered[CustomKeyStore], key: KmsKey) -> Change:
    """Make a key in a custom key store that is connected.

    The store stays as it is meanwhile, so that one that is deleted has none; or is written anew, so that an external
    key becomes one KMS key and no other.
    """
    if store.record.type != key.origin:
        raise Validation(f"Origin {key.origin} is not valid for custom key store {store.record.custom_key_store_id}.")
    if store.record.cluster_id is not None:
        check_can_make_keys(call, store.record.cluster_id)
    if key.xks_key_id is not None and any(_same_external_key(entry.key, key) for entry in call.snapshot.keys.values()):
        raise XksKeyAlreadyInUse(f"The external key {key.xks_key_id} is already associated with a KMS key.")
    try:
        connection = call.custom_key_stores.connection(store.record)
    except KMSInvalidState as error:  # which says so of keys
        raise CustomKeyStoreInvalidState(error.message) from None
    material = connection.new_material(call.use(), key, material_id=key.current_material_id, created=key.created)
    response = CreateKeyResponse(key_metadata=metadata(key, [material], frozenset(), store.record.cluster_id))
    return Change(
        response,
        [Insert(key), Insert(material), (Replace if store.record.is_external else Keep)(*store)],
        made=key,
        undo=partial(connection.discard, key, material.material_id),
    )


def _same_external_key(key: KmsKey, other: KmsKey) -> bool:
    return (key.xks_key_id, key.custom_key_store_id) == (other.xks_key_id, other.custom_key_store_id)


def describe_key_targets(request: DescribeKeyRequest) -> list[KeyTarget]:
    """The key described."""
    return [use_of_key("kms:DescribeKey", request.key_id)]


def describe_key(call: Call, _request: DescribeKeyRequest, keys: Sequence[AuthorizedKey]) -> DescribeKeyResponse:
    """AWS: DescribeKey. Reads storage, so that it tells what anyone wrote."""
    key = call.read(keys[0])
    regions = call.snapshot.regions.get((key.account, key.key_id), frozenset())
    store = call.snapshot.custom_key_store(key)
    told = structs.replace(key, state=call.snapshot.key_state(key))
    cluster_id = None if store is None else store.cluster_id
    return DescribeKeyResponse(key_metadata=metadata(told, associated(call.entry(keys[0])), regions, cluster_id))


def get_key_last_usage_targets(request: GetKeyLastUsageRequest) -> list[KeyTarget]:
    """The key whose last use is told."""
    return [KeyTarget("kms:GetKeyLastUsage", request.key_id)]


def get_key_last_usage(
    call: Call, _request: GetKeyLastUsageRequest, keys: Sequence[AuthorizedKey]
) -> GetKeyLastUsageResponse:
    """AWS: GetKeyLastUsage, in whole seconds as there. Other processes' uses may be missing: `jobs/key_usage.py`."""
    key = keys[0].key
    usage = call.uses.last(call.entry(keys[0]))
    last = KeyLastUsageData()
    if usage is not None:
        last = KeyLastUsageData(
            operation=usage.operation,
            timestamp=float(int(usage.used)),
            cloud_trail_event_id=usage.event_id,
            kms_request_id=usage.request_id,
        )
    return GetKeyLastUsageResponse(
        key_id=key.key_id,
        key_last_usage=last,
        tracking_start_date=max(key.created, call.snapshot.usage_tracked_since),
        key_creation_date=key.created,
    )


def enable_key_targets(request: EnableKeyRequest) -> list[KeyTarget]:
    """The key to enable."""
    return [KeyTarget("kms:EnableKey", request.key_id)]


def enable_key(call: Call, _request: EnableKeyRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: EnableKey. Idempotent."""
    return Change(None, [call.replace(keys[0], state=ENABLED)])


def disable_key_targets(request: DisableKeyRequest) -> list[KeyTarget]:
    """The key to disable."""
    return [KeyTarget("kms:DisableKey", request.key_id)]


def disable_key(call: Call, _request: DisableKeyRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: DisableKey. Idempotent. No server process uses the key after the answer."""
    return Change(None, [call.replace(keys[0], state=DISABLED)])


def update_key_description_targets(request: UpdateKeyDescriptionRequest) -> list[KeyTarget]:
    """The key to describe otherwise."""
    return [KeyTarget("kms:UpdateKeyDescription", request.key_id)]


def update_key_description(call: Call, request: UpdateKeyDescriptionRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: UpdateKeyDescription. The description is kept as it came."""
    assert request.description is not None, "the model requires it"
    return Change(None, [call.replace(keys[0], description=request.description)])


def list_keys_targets(_request: ListKeysRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    return [AccountTarget("kms:ListKeys")]


def list_keys(call: Call, request: ListKeysRequest, _keys: Sequence[AuthorizedKey]) -> ListKeysResponse:
    """AWS: ListKeys, in order of key id. Nothing is shared through RAM."""
    if request.resource_owners is not None and "SELF" not in request.resource_owners:
        return ListKeysResponse(keys=(), truncated=False)
    page = _KEYS.page(
        lambda after, limit: call.storage.list_keys(call.account, call.region, after=after, limit=limit),
        lambda key: key.key_id,
        limit=request.limit,
        marker=request.marker,
        of=" ".join(request.resource_owners or ("SELF",)),
    )
    return ListKeysResponse(
        keys=tuple(KeyListEntry(key_id=key.key_id, key_arn=key.arn) for key in page.items),
        truncated=page.truncated,
        next_marker=page.next_marker,
    )


def check_quota(call: Call, region: str) -> None:
    """Raise LimitExceeded if the caller's account can have no more KMS keys in a Region."""
    if call.storage.count_keys(call.account, region) >= MAX_KEYS:
        raise LimitExceeded(f"The account has {MAX_KEYS} KMS keys in {region}, the most that it can have.")


def _multi_region_id() -> str:
    return f"mrk-{os.urandom(16).hex()}"


def metadata(
    key: KmsKey, materials: Sequence[KeyMaterial], regions: frozenset[str], cluster_id: str | None = None
) -> KeyMetadata:
    """A key and the materials that it needs, as CreateKey and DescribeKey tell of it (AWS: KeyMetadata).

    `regions` are those of a multi-Region key; `cluster_id` is the cluster that has the material.
    """
    usable = any(material.present and material.material_id == key.current_material_id for material in materials)
    expiration_model, valid_to = expiry(materials if usable else (), key.origin)
    return KeyMetadata(
        aws_account_id=key.account,
        key_id=key.key_id,
        arn=key.arn,
        creation_date=key.created,
        enabled=key.enabled,
        description=key.description,
        key_usage=key.key_usage,
        key_state=key.state,
        origin=key.origin,
        key_manager=key.key_manager,
        customer_master_key_spec=key.key_spec,
        key_spec=key.key_spec,
        encryption_algorithms=offered(key, ENCRYPT_DECRYPT),
        signing_algorithms=offered(key, SIGN_VERIFY),
        mac_algorithms=offered(key, GENERATE_VERIFY_MAC),
        key_agreement_algorithms=offered(key, KEY_AGREEMENT),
        encapsulation_algorithms=offered(key, ENCAPSULATE_DECAPSULATE),
        multi_region=key.multi_region,
        multi_region_configuration=configuration(key, regions),
        current_key_material_id=_told_material(key),
        expiration_model=expiration_model,
        valid_to=valid_to,
        custom_key_store_id=key.custom_key_store_id,
        cloud_hsm_cluster_id=cluster_id,
        xks_key_configuration=None if key.xks_key_id is None else XksKeyConfigurationType(id=key.xks_key_id),
        deletion_date=key.deletion_date,
        pending_deletion_window_in_days=key.pending_window_in_days,
    )


def _told_material(key: KmsKey) -> str | None:
    """The id of the current material; AWS tells none if not symmetric, in a custom key store, or not made yet."""
    told = key.key_spec == SYMMETRIC_DEFAULT and key.custom_key_store_id is None and key.state != CREATING
    return (key.current_material_id or None) if told else None


def logged_create_key(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows CreateKey's defaults as if they had been given."""
    assert isinstance(request, CreateKeyRequest)
    spec = _spec(request)
    logged: dict[str, object] = {
        "description": request.description or "",
        "origin": request.origin or AWS_KMS,
        "keySpec": spec,
        "customerMasterKeySpec": spec,
        "keyUsage": request.key_usage or ENCRYPT_DECRYPT,
        "multiRegion": bool(request.multi_region),
        "bypassPolicyLockoutSafetyCheck": bool(request.bypass_policy_lockout_safety_check),
    }
    if request.custom_key_store_id is not None:
        logged["customKeyStoreId"] = request.custom_key_store_id
    if request.xks_key_id is not None:
        logged["xksKeyId"] = request.xks_key_id
    if request.policy is not None:
        logged["policy"] = request.policy
    if request.tags:
        logged["tags"] = logged_tags(request.tags)
    return logged


def logged_created_key(response: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows the metadata of the key that CreateKey made."""
    assert isinstance(response, CreateKeyResponse)
    assert response.key_metadata is not None, "create_key sets it"
    return {"keyMetadata": logged_metadata(response.key_metadata)}


def logged_metadata(made: KeyMetadata) -> dict[str, object]:
    """The metadata of a key as CloudTrail shows it."""
    shown = told(made)
    shown["AWSAccountId"] = shown.pop(lower_camel("aws_account_id"))
    shown["creationDate"] = shown_time(made.creation_date or 0)
    return shown


def _check_kind(request: CreateKeyRequest) -> None:
    """Refuse what no key can be, and what no key can be yet."""
    if request.key_spec is not None and request.customer_master_key_spec is not None:
        raise Validation(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
            "CustomerMasterKeySpec is deprecated."
        )
    spec = _spec(request)
    if request.key_usage is None and spec != SYMMETRIC_DEFAULT:
        raise Validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
    usage = request.key_usage or ENCRYPT_DECRYPT
    if usage not in KEY_SPECS[spec].algorithms:
        raise Validation(f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    origin = request.origin or AWS_KMS
    if origin not in KEY_SPECS[spec].origins:
        raise Validation(f"KeySpec {spec} is not supported for Origin {origin}")
    in_store = origin in (AWS_CLOUDHSM, EXTERNAL_KEY_STORE)
    if in_store != (request.custom_key_store_id is not None):
        word = "required" if in_store else "not valid"
        raise Validation(f"CustomKeyStoreId is {word} for Origin {origin}.")
    if (origin == EXTERNAL_KEY_STORE) != (request.xks_key_id is not None):
        word = "required" if origin == EXTERNAL_KEY_STORE else "not valid"
        raise Validation(f"XksKeyId is {word} for Origin {origin}.")
    if in_store and request.multi_region:
        raise UnsupportedOperation("Multi-Region keys are not supported in custom key stores.")


def _spec(request: CreateKeyRequest) -> str:
    return request.key_spec or request.customer_master_key_spec or SYMMETRIC_DEFAULT
