"""CreateKey, DescribeKey, ListKeys."""

import base64
import binascii
import uuid
from collections.abc import Sequence

from msgspec import Struct

from strongroom.audit.record import utc_time
from strongroom.authorization.decide import AuthorizedKey, authorize_key
from strongroom.authorization.policy import check_policy_size, compile_policy, default_key_policy
from strongroom.errors import (
    AccessDenied,
    CustomKeyStoreNotFound,
    IntegrityError,
    InvalidMarker,
    MalformedPolicyDocument,
    NotFound,
    TagError,
    UnsupportedOperation,
    Validation,
)
from strongroom.messages.kms.keys import (
    CreateKeyRequest,
    CreateKeyResponse,
    DescribeKeyRequest,
    DescribeKeyResponse,
    KeyListEntry,
    ListKeysRequest,
    ListKeysResponse,
)
from strongroom.messages.kms.shapes import KeyMetadata
from strongroom.model.key import KmsKey
from strongroom.model.key_reference import is_key_id
from strongroom.model.key_specs import ENCRYPT_DECRYPT, KEY_SPECS, SYMMETRIC_DEFAULT
from strongroom.model.key_states import ENABLED
from strongroom.operations.call import Call, Change
from strongroom.operations.logged import lower_camel
from strongroom.operations.targets import AccountTarget, KeyTarget
from strongroom.storage.contract import Insert

MAX_TAGS = 50
_DEFAULT_PAGE = 100


def create_key_targets(request: CreateKeyRequest) -> list[AccountTarget]:
    """No key yet: the caller's IAM permissions alone; tags need their own."""
    _check_kind(request)
    _check_tags([tag.tag_key or "" for tag in request.tags or ()])
    actions = ["kms:CreateKey"] + (["kms:TagResource"] if request.tags else [])
    return [AccountTarget(action) for action in actions]


def create_key(call: Call, request: CreateKeyRequest, _keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CreateKey. The policy and the description are kept as they came."""
    key_id = str(uuid.UUID(bytes=call.key_store.random_bytes(16), version=4))
    created = round(call.now, 3)  # AWS tells milliseconds
    material = call.key_store.generate_symmetric(
        account=call.account, region=call.region, key_id=key_id, created=created
    )
    key = KmsKey(
        account=call.account,
        region=call.region,
        key_id=key_id,
        key_spec=SYMMETRIC_DEFAULT,
        key_usage=ENCRYPT_DECRYPT,
        origin="AWS_KMS",
        state=ENABLED,
        description=request.description or "",
        policy=default_key_policy(call.account) if request.policy is None else request.policy,
        tags=tuple((tag.tag_key or "", tag.tag_value or "") for tag in request.tags or ()),
        created=created,
        current_material_id=material.material_id,
    )
    check_policy_size(key.policy)
    policy = compile_policy(key.policy)
    if not request.bypass_policy_lockout_safety_check:
        try:
            authorize_key(call.principal, "kms:PutKeyPolicy", key, policy, None)
        except AccessDenied as error:
            raise MalformedPolicyDocument(
                "The new key policy will not allow you to update the key policy in the future."
            ) from error
    return Change(CreateKeyResponse(key_metadata=metadata(key)), [Insert(key), Insert(material)], made=key)


def describe_key_targets(request: DescribeKeyRequest) -> list[KeyTarget]:
    """The key described."""
    return [KeyTarget("kms:DescribeKey", request.key_id)]


def describe_key(call: Call, _request: DescribeKeyRequest, keys: Sequence[AuthorizedKey]) -> DescribeKeyResponse:
    """AWS: DescribeKey. Reads storage, so that it tells what anyone wrote."""
    key = keys[0].key
    found = call.storage.find(KmsKey, (key.account, key.region, key.key_id))
    if found is None:
        raise NotFound(f"Key '{key.arn}' does not exist")
    if found[1] < call.snapshot.keys[key.region, key.account, key.key_id].number:
        raise IntegrityError(f"the row of {key.arn} was put back from before")
    return DescribeKeyResponse(key_metadata=metadata(found[0]))


def list_keys_targets(_request: ListKeysRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    return [AccountTarget("kms:ListKeys")]


def list_keys(call: Call, request: ListKeysRequest, _keys: Sequence[AuthorizedKey]) -> ListKeysResponse:
    """AWS: ListKeys, in order of key id. Nothing is shared through RAM."""
    limit = request.limit or _DEFAULT_PAGE
    after = _read_marker(request.marker) if request.marker is not None else ""
    if request.resource_owners is not None and "SELF" not in request.resource_owners:
        return ListKeysResponse(keys=(), truncated=False)
    page = call.storage.list_keys(call.account, call.region, after=after, limit=limit + 1)
    truncated = len(page) > limit
    return ListKeysResponse(
        keys=tuple(KeyListEntry(key_id=key.key_id, key_arn=key.arn) for key in page[:limit]),
        truncated=truncated,
        next_marker=_write_marker(page[limit - 1].key_id) if truncated else None,
    )


def metadata(key: KmsKey) -> KeyMetadata:
    """A key as CreateKey and DescribeKey tell of it (AWS: KeyMetadata)."""
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
        encryption_algorithms=KEY_SPECS[key.key_spec].algorithms[key.key_usage],
        multi_region=key.multi_region,
        current_key_material_id=key.current_material_id,
    )


def logged_create_key(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows CreateKey's defaults as if they had been given."""
    assert isinstance(request, CreateKeyRequest)
    spec = request.key_spec or request.customer_master_key_spec or SYMMETRIC_DEFAULT
    logged: dict[str, object] = {
        "description": request.description or "",
        "origin": request.origin or "AWS_KMS",
        "keySpec": spec,
        "customerMasterKeySpec": spec,
        "keyUsage": request.key_usage or ENCRYPT_DECRYPT,
        "multiRegion": bool(request.multi_region),
        "bypassPolicyLockoutSafetyCheck": bool(request.bypass_policy_lockout_safety_check),
    }
    if request.policy is not None:
        logged["policy"] = request.policy
    if request.tags:
        logged["tags"] = [{"tagKey": tag.tag_key, "tagValue": tag.tag_value} for tag in request.tags]
    return logged


def logged_created_key(response: Struct) -> dict[str, object]:
    """CloudTrail shows the metadata of the key that CreateKey made."""
    assert isinstance(response, CreateKeyResponse)
    made = response.key_metadata
    assert made is not None, "create_key sets it"
    shown = {lower_camel(name): value for name in made.__struct_fields__ if (value := getattr(made, name)) is not None}
    shown["creationDate"] = utc_time(int(made.creation_date or 0))
    return {"keyMetadata": shown}


def _check_kind(request: CreateKeyRequest) -> None:
    """Refuse what no key can be, and what no key can be yet."""
    if request.key_spec is not None and request.customer_master_key_spec is not None:
        raise Validation(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
            "CustomerMasterKeySpec is deprecated."
        )
    spec = request.key_spec or request.customer_master_key_spec or SYMMETRIC_DEFAULT
    if request.key_usage is None and spec != SYMMETRIC_DEFAULT:
        raise Validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
    if spec not in KEY_SPECS:
        raise UnsupportedOperation(f"KeySpec {spec} is not supported.")
    usage = request.key_usage or ENCRYPT_DECRYPT
    if usage not in KEY_SPECS[spec].algorithms:
        raise Validation(f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    if request.custom_key_store_id is not None:
        raise CustomKeyStoreNotFound(f"Custom key store {request.custom_key_store_id} was not found.")
    if request.origin not in (None, "AWS_KMS") or request.xks_key_id is not None:
        raise UnsupportedOperation(f"Origin {request.origin} is not supported.")
    if request.multi_region:
        raise UnsupportedOperation("MultiRegion is not supported.")


def _check_tags(tag_keys: list[str]) -> None:
    if len(tag_keys) > MAX_TAGS:
        raise TagError("Too many tags")
    if len(set(tag_keys)) != len(tag_keys):
        raise TagError("Duplicate tag keys")
    if any(tag_key.lower().startswith("aws:") for tag_key in tag_keys):
        raise TagError("Tags beginning with aws: are reserved")


def _write_marker(key_id: str) -> str:
    return base64.b64encode(key_id.encode()).decode()


def _read_marker(marker: str) -> str:
    try:
        key_id = base64.b64decode(marker, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidMarker from error
    if not is_key_id(key_id):
        raise InvalidMarker
    return key_id
