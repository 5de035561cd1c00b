"""CreateCustomKeyStore, DescribeCustomKeyStores, Update-, Delete-, Connect- and DisconnectCustomKeyStore.

`jobs/custom_key_stores.py` connects and disconnects; these only ask for it.
"""

import secrets
from collections.abc import Sequence

from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import (
    CustomKeyStoreHasCMKs,
    CustomKeyStoreInvalidState,
    CustomKeyStoreNameInUse,
    CustomKeyStoreNotFound,
    LimitExceeded,
    Validation,
)
from strongroom.messages.kms.custom_key_stores import (
    ConnectCustomKeyStoreRequest,
    ConnectCustomKeyStoreResponse,
    CreateCustomKeyStoreRequest,
    CreateCustomKeyStoreResponse,
    CustomKeyStoresListEntry,
    DeleteCustomKeyStoreRequest,
    DeleteCustomKeyStoreResponse,
    DescribeCustomKeyStoresRequest,
    DescribeCustomKeyStoresResponse,
    DisconnectCustomKeyStoreRequest,
    DisconnectCustomKeyStoreResponse,
    UpdateCustomKeyStoreRequest,
    UpdateCustomKeyStoreResponse,
    XksProxyConfigurationType,
)
from strongroom.model.custom_key_store import (
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    DISCONNECTING,
    FAILED,
    CustomKeyStore,
)
from strongroom.model.key_specs import AWS_CLOUDHSM, EXTERNAL_KEY_STORE
from strongroom.operations.call import Call, Change
from strongroom.operations.kms.cluster_key_stores import check_can_connect, check_new_cluster, updated_cluster
from strongroom.operations.kms.external_key_stores import check_new_proxy, check_vpc, updated_proxy
from strongroom.operations.logged import Logged, members
from strongroom.operations.pages import Listing
from strongroom.operations.targets import AccountTarget, CustomKeyStoreTarget
from strongroom.storage.contract import Delete, Insert, Keep, Replace, Write

MAX_CUSTOM_KEY_STORES = 10
"""Custom key stores of both types, in any state, that an account can have in a Region."""

_STORES = Listing("DescribeCustomKeyStores", default=1000, maximum=1000)
_OF_CLUSTER = ("cloud_hsm_cluster_id", "key_store_password", "trust_anchor_certificate")
_OF_PROXY = (
    "xks_proxy_uri_endpoint",
    "xks_proxy_uri_path",
    "xks_proxy_authentication_credential",
    "xks_proxy_connectivity",
    "xks_proxy_vpc_endpoint_service_name",
    "xks_proxy_vpc_endpoint_service_owner",
)
_ALWAYS_OF_PROXY = _OF_PROXY[:4]


def create_custom_key_store_targets(request: CreateCustomKeyStoreRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    type_ = request.custom_key_store_type or AWS_CLOUDHSM
    if type_ == AWS_CLOUDHSM:
        _check_members(request, type_, needed=_OF_CLUSTER, foreign=_OF_PROXY)
    else:
        _check_members(request, type_, needed=_ALWAYS_OF_PROXY, foreign=_OF_CLUSTER)
        check_vpc(request.xks_proxy_connectivity, request.xks_proxy_vpc_endpoint_service_name)
    return [AccountTarget("kms:CreateCustomKeyStore")]


def create_custom_key_store(call: Call, request: CreateCustomKeyStoreRequest, _keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CreateCustomKeyStore. The same request again, for a cluster, has the same answer while disconnected."""
    store, secret = _new_store(call, request)
    stores = _own_stores(call)
    for other in stores:
        if _is_retry(call, request, other):
            again = CreateCustomKeyStoreResponse(custom_key_store_id=other.custom_key_store_id)
            return Change(again, [Keep(*call.custom_key_store(other.custom_key_store_id))])
    if len(stores) >= MAX_CUSTOM_KEY_STORES:
        raise LimitExceeded(f"The account has {MAX_CUSTOM_KEY_STORES} custom key stores, the most that it can have.")
    _check_name(call, store)
    if store.is_cluster:
        check_new_cluster(call, store)
    else:
        check_new_proxy(call, store, secret)
    response = CreateCustomKeyStoreResponse(custom_key_store_id=store.custom_key_store_id)
    return Change(response, [Insert(store), *_one_at_a_time(call)])


def logged_settings(*names: str) -> Logged:
    """Log these members and those that say what a store is made of, as CloudTrail calls them; no credential."""
    of_store = members(*names, "cloud_hsm_cluster_id", *(name for name in _OF_PROXY if "credential" not in name))

    def logged(request: Struct, keys: Sequence[AuthorizedKey]) -> dict[str, object] | None:
        told = of_store(request, keys) or {}
        if "cloudHsmClusterId" in told:
            told["clusterId"] = told.pop("cloudHsmClusterId")
        return told

    return logged


def describe_custom_key_stores_targets(request: DescribeCustomKeyStoresRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    if request.custom_key_store_id is not None and request.custom_key_store_name is not None:
        raise Validation("You cannot specify both CustomKeyStoreId and CustomKeyStoreName in the same request.")
    return [AccountTarget("kms:DescribeCustomKeyStores")]


def describe_custom_key_stores(
    call: Call, request: DescribeCustomKeyStoresRequest, _keys: Sequence[AuthorizedKey]
) -> DescribeCustomKeyStoresResponse:
    """AWS: DescribeCustomKeyStores, in order of id. Secrets are never told."""
    name, custom_key_store_id = request.custom_key_store_name, request.custom_key_store_id
    found = sorted(
        (
            store
            for store, _ in call.storage.find_all(CustomKeyStore)
            if (store.account, store.region) == (call.account, call.region)
            and custom_key_store_id in (None, store.custom_key_store_id)
            and name in (None, store.name)
        ),
        key=lambda store: store.custom_key_store_id,
    )
    if not found and (name is not None or custom_key_store_id is not None):
        raise CustomKeyStoreNotFound(f"Custom key store {name or custom_key_store_id} was not found.")
    page = _STORES.page(
        lambda after, limit: [store for store in found if store.custom_key_store_id > after][:limit],
        lambda store: store.custom_key_store_id,
        limit=request.limit,
        marker=request.marker,
    )
    return DescribeCustomKeyStoresResponse(
        custom_key_stores=tuple(map(_described, page.items)), truncated=page.truncated, next_marker=page.next_marker
    )


def update_custom_key_store_targets(request: UpdateCustomKeyStoreRequest) -> list[CustomKeyStoreTarget]:
    """The custom key store to change."""
    return [_target("kms:UpdateCustomKeyStore", request.custom_key_store_id)]


def update_custom_key_store(call: Call, request: UpdateCustomKeyStoreRequest, _keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: UpdateCustomKeyStore. A proxy is asked with the new values before they are stored."""
    assert request.custom_key_store_id is not None, "the model requires it"
    store, number = call.custom_key_store(request.custom_key_store_id)
    _check_members(request, store.type, needed=(), foreign=_OF_PROXY if store.is_cluster else _OF_CLUSTER[:2])
    _check_editable(store, request)
    updated = structs.replace(store, name=request.new_custom_key_store_name or store.name)
    _check_name(call, updated)
    updated = (updated_cluster if store.is_cluster else updated_proxy)(call, updated, request)
    return Change(UpdateCustomKeyStoreResponse(), [Replace(updated, number), *_one_at_a_time(call)])


def delete_custom_key_store_targets(request: DeleteCustomKeyStoreRequest) -> list[CustomKeyStoreTarget]:
    """The custom key store to delete."""
    return [_target("kms:DeleteCustomKeyStore", request.custom_key_store_id)]


def delete_custom_key_store(call: Call, request: DeleteCustomKeyStoreRequest, _keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: DeleteCustomKeyStore. What backs it stays as it is."""
    assert request.custom_key_store_id is not None, "the model requires it"
    store, number = call.custom_key_store(request.custom_key_store_id)
    if any(_is_in(entry.key.custom_key_store_id, store) for entry in call.snapshot.keys.values()):
        raise CustomKeyStoreHasCMKs(f"Custom key store {store.custom_key_store_id} contains KMS keys.")
    if store.state != DISCONNECTED:
        raise _wrong_state(store, "is not disconnected")
    # Keys are made only in a store that is connected, and stays as it is meanwhile: none was made since it was not.
    return Change(DeleteCustomKeyStoreResponse(), [Delete(store, number)])


def connect_custom_key_store_targets(request: ConnectCustomKeyStoreRequest) -> list[CustomKeyStoreTarget]:
    """The custom key store to connect."""
    return [_target("kms:ConnectCustomKeyStore", request.custom_key_store_id)]


def connect_custom_key_store(
    call: Call, request: ConnectCustomKeyStoreRequest, _keys: Sequence[AuthorizedKey]
) -> Change:
    """AWS: ConnectCustomKeyStore. The answer says that it is begun, and no more."""
    assert request.custom_key_store_id is not None, "the model requires it"
    store, number = call.custom_key_store(request.custom_key_store_id)
    if store.state in (DISCONNECTING, FAILED):
        raise _wrong_state(store, f"is {store.state}")
    if store.state in (CONNECTING, CONNECTED):
        return Change(ConnectCustomKeyStoreResponse(), [Keep(store, number)])
    if store.cluster_id is not None:
        check_can_connect(call, store.cluster_id)
    connecting = structs.replace(store, state=CONNECTING, error_code=None)
    return Change(ConnectCustomKeyStoreResponse(), [Replace(connecting, number)])


def disconnect_custom_key_store_targets(request: DisconnectCustomKeyStoreRequest) -> list[CustomKeyStoreTarget]:
    """The custom key store to disconnect."""
    return [_target("kms:DisconnectCustomKeyStore", request.custom_key_store_id)]


def disconnect_custom_key_store(
    call: Call, request: DisconnectCustomKeyStoreRequest, _keys: Sequence[AuthorizedKey]
) -> Change:
    """AWS: DisconnectCustomKeyStore. Its keys are Unavailable from now on."""
    assert request.custom_key_store_id is not None, "the model requires it"
    store, number = call.custom_key_store(request.custom_key_store_id)
    if store.state in (DISCONNECTING, DISCONNECTED):
        raise _wrong_state(store, f"is {store.state}")
    disconnecting = structs.replace(store, state=DISCONNECTING, error_code=None)
    return Change(DisconnectCustomKeyStoreResponse(), [Replace(disconnecting, number)])


def _target(action: str, custom_key_store_id: str | None) -> CustomKeyStoreTarget:
    assert custom_key_store_id is not None, "the model requires it"
    return CustomKeyStoreTarget(action, custom_key_store_id)


def _new_store(call: Call, request: CreateCustomKeyStoreRequest) -> tuple[CustomKeyStore, str]:
    """The store that is asked for, and its secret."""
    credential = request.xks_proxy_authentication_credential
    secret = request.key_store_password if credential is None else credential.raw_secret_access_key
    assert request.custom_key_store_name is not None, "the model requires it"
    assert secret is not None, "checked with the targets"
    custom_key_store_id = f"cks-{secrets.token_hex(9)[:17]}"
    vpc = request.xks_proxy_vpc_endpoint_service_name
    store = CustomKeyStore(
        account=call.account,
        region=call.region,
        custom_key_store_id=custom_key_store_id,
        name=request.custom_key_store_name,
        type=request.custom_key_store_type or AWS_CLOUDHSM,
        created=round(call.now, 3),
        state=DISCONNECTED,
        sealed_secret=call.sealed_store_secret(custom_key_store_id, secret),
        cluster_id=request.cloud_hsm_cluster_id,
        trust_anchor_certificate=request.trust_anchor_certificate,
        connectivity=request.xks_proxy_connectivity,
        uri_endpoint=request.xks_proxy_uri_endpoint,
        uri_path=request.xks_proxy_uri_path,
        access_key_id=None if credential is None else credential.access_key_id,
        vpc_endpoint_service_name=vpc,
        vpc_endpoint_service_owner=None
        if vpc is None
        else request.xks_proxy_vpc_endpoint_service_owner or call.account,
    )
    return store, secret


def _own_stores(call: Call) -> list[CustomKeyStore]:
    """The stores of the caller's account in the Region."""
    return [
        store
        for store, _ in call.snapshot.custom_key_stores.values()
        if (store.account, store.region) == (call.account, call.region)
    ]


def _one_at_a_time(call: Call) -> list[Write]:
    """What makes one of two such changes at once be decided again, whatever their accounts: names must stay unique."""
    account, number = call.snapshot.directories[min(call.snapshot.directories)].account
    return [Replace(account, number)]


def _is_retry(call: Call, request: CreateCustomKeyStoreRequest, store: CustomKeyStore) -> bool:
    """Whether a request for a cluster asks for a disconnected store as it is there (AWS: CreateCustomKeyStore)."""
    same = (
        store.is_cluster
        and store.state == DISCONNECTED
        and (store.name, store.cluster_id, store.trust_anchor_certificate)
        == (request.custom_key_store_name, request.cloud_hsm_cluster_id, request.trust_anchor_certificate)
    )
    return same and call.custom_key_stores.backing.has_secret(store, request.key_store_password or "")


def _check_name(call: Call, store: CustomKeyStore) -> None:
    named = [other for other in _own_stores(call) if other.name == store.name]
    if any(other.custom_key_store_id != store.custom_key_store_id for other in named):
        raise CustomKeyStoreNameInUse(f"The custom key store name {store.name} is already in use.")


def _check_editable(store: CustomKeyStore, request: UpdateCustomKeyStoreRequest) -> None:
    """Refuse what cannot be changed in this connection state."""
    while_connected = {"xks_proxy_authentication_credential", "xks_proxy_uri_path"}
    asked = {name for name in (*_OF_CLUSTER[:2], *_OF_PROXY) if getattr(request, name) is not None}
    if store.state not in (CONNECTED, DISCONNECTED) or (store.state == CONNECTED and asked - while_connected):
        raise _wrong_state(store, "is not disconnected")


def _wrong_state(store: CustomKeyStore, why: str) -> CustomKeyStoreInvalidState:
    return CustomKeyStoreInvalidState(f"Custom key store {store.custom_key_store_id} {why}.")


def _is_in(custom_key_store_id: str | None, store: CustomKeyStore) -> bool:
    return custom_key_store_id == store.custom_key_store_id


def _check_members(
    request: CreateCustomKeyStoreRequest | UpdateCustomKeyStoreRequest,
    type_: str,
    *,
    needed: Sequence[str],
    foreign: Sequence[str],
) -> None:
    """Refuse a request without what its type needs, or with what belongs to the other. AWS's text is not known."""
    for name in needed:
        if getattr(request, name) is None:
            raise Validation(f"{_as_sent(name)} is required when the CustomKeyStoreType is {type_}.")
    for name in foreign:
        if getattr(request, name) is not None:
            raise Validation(f"{_as_sent(name)} is not valid when the CustomKeyStoreType is {type_}.")


def _as_sent(name: str) -> str:
    """A member's name as it is sent."""
    return "".join(word.capitalize() for word in name.split("_"))


def _described(store: CustomKeyStore) -> CustomKeyStoresListEntry:
    proxy = XksProxyConfigurationType(
        connectivity=store.connectivity,
        access_key_id=store.access_key_id,
        uri_endpoint=store.uri_endpoint,
        uri_path=store.uri_path,
        vpc_endpoint_service_name=store.vpc_endpoint_service_name,
        vpc_endpoint_service_owner=store.vpc_endpoint_service_owner,
    )
    return CustomKeyStoresListEntry(
        custom_key_store_id=store.custom_key_store_id,
        custom_key_store_name=store.name,
        custom_key_store_type=store.type,
        cloud_hsm_cluster_id=store.cluster_id,
        trust_anchor_certificate=store.trust_anchor_certificate,
        connection_state=store.state,
        connection_error_code=store.error_code,
        creation_date=store.created,
        xks_proxy_configuration=proxy if store.type == EXTERNAL_KEY_STORE else None,
    )
