"""Access keys of users, and of root users: Create, List, Update, Delete, GetAccessKeyLastUsed."""

import base64
import os
from collections.abc import Sequence

from msgspec import structs

from strongroom.errors import AccessDenied, NoSuchEntity, Validation
from strongroom.messages.constraints import report, violation
from strongroom.messages.iam import access_keys as messages
from strongroom.model.iam import User
from strongroom.model.principal import AccessKey
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import check_quota, user_named
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.unique_ids import ACCESS_KEY, new_unique_id
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert, Replace

_MAX_KEYS = 2
_SECRET_BYTES = 30
_INACTIVE = "Inactive"


def create_access_key(call: Call, request: messages.CreateAccessKeyRequest, _nothing: Sequence[object]) -> Change:
    """AWS: CreateAccessKey. The secret is told here and never again; it is stored sealed."""
    user = _owner(call, request.user_name)
    user_id = None if user is None else user.user_id
    check_quota(len(call.directory.access_keys_of(user_id)), "AccessKeysPerUser", _MAX_KEYS)
    access_key_id = new_unique_id(ACCESS_KEY, os.urandom)
    secret = base64.b64encode(os.urandom(_SECRET_BYTES))
    sealed = call.seals.seal_secret(secret, account=call.account, access_key_id=access_key_id)
    key = AccessKey(access_key_id, call.account, float(int(call.now)), sealed, user_id=user_id)
    told = messages.AccessKey(
        user_name=None if user is None else user.name,
        access_key_id=access_key_id,
        status="Active",
        secret_access_key=secret.decode(),
        create_date=key.created,
    )
    return call.identity_change(messages.CreateAccessKeyResponse(access_key=told), Insert(key))


def list_access_keys(
    call: Call, request: messages.ListAccessKeysRequest, _nothing: Sequence[object]
) -> messages.ListAccessKeysResponse:
    """AWS: ListAccessKeys."""
    user = _owner(call, request.user_name)
    keys = call.directory.access_keys_of(None if user is None else user.user_id)
    page = paged(request, keys, lambda key: key.access_key_id)
    return messages.ListAccessKeysResponse(
        access_key_metadata=tuple(
            messages.AccessKeyMetadata(
                user_name=None if user is None else user.name,
                access_key_id=key.access_key_id,
                status="Active" if key.deactivated is None else _INACTIVE,
                create_date=key.created,
            )
            for key in page.items
        ),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def update_access_key(call: Call, request: messages.UpdateAccessKeyRequest, _nothing: Sequence[object]) -> Change:
    """AWS: UpdateAccessKey. An inactive one signs nothing. Raises Validation, NoSuchEntity."""
    if request.status not in ("Active", _INACTIVE):
        text = "Member must satisfy enum value set: [Active, Inactive]"  # the model knows keys that expired, too
        raise Validation(report([violation(request.status, "status", text)]))
    key, number = _key_of(call, request.user_name, request.access_key_id)
    deactivated = (key.deactivated or call.now) if request.status == _INACTIVE else None
    return call.identity_change(None, Replace(structs.replace(key, deactivated=deactivated), number))


def delete_access_key(call: Call, request: messages.DeleteAccessKeyRequest, _nothing: Sequence[object]) -> Change:
    """AWS: DeleteAccessKey. Its last use goes with the next run of `jobs/key_usage.py`."""
    return call.identity_change(None, Delete(*_key_of(call, request.user_name, request.access_key_id)))


def get_access_key_last_used_targets(request: messages.GetAccessKeyLastUsedRequest) -> list[IdentityTarget]:
    """The user of the access key."""
    called = f"access key {request.access_key_id}"
    return [IdentityTarget("iam:GetAccessKeyLastUsed", "access-key", request.access_key_id, called=called)]


def get_access_key_last_used(
    call: Call, request: messages.GetAccessKeyLastUsedRequest, _nothing: Sequence[object]
) -> messages.GetAccessKeyLastUsedResponse:
    """AWS: GetAccessKeyLastUsed. Another server process's use of the last minute may not be known yet."""
    held = call.directory.access_keys.get(request.access_key_id or "")
    if held is None:
        raise AccessDenied(
            f"User: {call.principal.arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: "
            f"access key {request.access_key_id}"
        )
    user = call.directory.users.get(held.record.user_id or "")
    used = call.uses.last_of_access_key(held.record.access_key_id, call.snapshot)
    told = messages.AccessKeyLastUsed(service_name="N/A", region="N/A")
    if used is not None:
        told = messages.AccessKeyLastUsed(last_used_date=used.used, service_name=used.service, region=used.region)
    return messages.GetAccessKeyLastUsedResponse(
        user_name=None if user is None else user.record.name, access_key_last_used=told
    )


def _owner(call: Call, name: str | None) -> User | None:
    """The user of this name; without one the caller, who may be the root user (None). Raises NoSuchEntity."""
    return None if name is None and call.principal.is_root_user else user_named(call, name).record


def _key_of(call: Call, user_name: str | None, access_key_id: str | None) -> tuple[AccessKey, int]:
    user = _owner(call, user_name)
    held = call.directory.access_keys.get(access_key_id or "")
    if held is None or held.record.user_id != (None if user is None else user.user_id):
        raise NoSuchEntity(f"The Access Key with id {access_key_id} cannot be found.")
    return held.record, held.number
