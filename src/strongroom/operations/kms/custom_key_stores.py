"""CreateCustomKeyStore, DescribeCustomKeyStores, Update-, Delete-, Connect- and DisconnectCustomKeyStore.

`jobs/custom_key_stores.py` connects and disconnects; these only ask for it.
"""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import (
    CloudHsmClusterInUse,
    CloudHsmClusterInvalidConfiguration,
    CloudHsmClusterNotActive,
    CloudHsmClusterNotFound,
    CloudHsmClusterNotRelated,
    CustomKeyStoreHasCMKs,
    CustomKeyStoreInvalidState,
    CustomKeyStoreNameInUse,
    CustomKeyStoreNotFound,
    IncorrectTrustAnchor,
    LimitExceeded,
    Validation,
    XksProxyUriEndpointInUse,
    XksProxyUriInUse,
    XksProxyVpcEndpointServiceInUse,
    XksProxyVpcEndpointServiceInvalidConfiguration,
    XksProxyVpcEndpointServiceNotFound,
)
from strongroom.keystores.custom import Cluster
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
    PUBLIC_ENDPOINT,
    VPC_ENDPOINT_SERVICE,
    CustomKeyStore,
)
from strongroom.model.key_specs import AWS_CLOUDHSM, EXTERNAL_KEY_STORE
from strongroom.operations.call import Call, Change
from strongroom.operations.logged import Logged, members
from strongroom.operations.pages import Listing
from strongroom.operations.targets import AccountTarget, CustomKeyStoreTarget
from strongroom.storage.contract import Delete, Insert, Keep, Replace, Write

MAX_CUSTOM_KEY_STORES = 10
"""Custom key stores of both types, in any state, that an account can have in a Region."""
HSMS_TO_CREATE = 2
"""HSMs that a cluster must have for a key store, and for a key, to be made (AWS: in different Availability Zones)."""

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
_NAMES = {
    "cloud_hsm_cluster_id": "CloudHsmClusterId",
    "key_store_password": "KeyStorePassword",
    "trust_anchor_certificate": "TrustAnchorCertificate",
    "xks_proxy_uri_endpoint": "XksProxyUriEndpoint",
    "xks_proxy_uri_path": "XksProxyUriPath",
    "xks_proxy_authentication_credential": "XksProxyAuthenticationCredential",
    "xks_proxy_connectivity": "XksProxyConnectivity",
    "xks_proxy_vpc_endpoint_service_name": "XksProxyVpcEndpointServiceName",
    "xks_proxy_vpc_endpoint_service_owner": "XksProxyVpcEndpointServiceOwner",
}


class _Credential(NamedTuple):
    """What a proxy is asked with."""

    access_key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"_Credential({self.access_key_id})"


def create_custom_key_store_targets(request: CreateCustomKeyStoreRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    type_ = request.custom_key_store_type or AWS_CLOUDHSM
    if type_ == AWS_CLOUDHSM:
        _check_members(request, type_, needed=_OF_CLUSTER, foreign=_OF_PROXY)
    else:
        _check_members(request, type_, needed=_ALWAYS_OF_PROXY, foreign=_OF_CLUSTER)
        _check_vpc(request.xks_proxy_connectivity, request.xks_proxy_vpc_endpoint_service_name)
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
        _check_new_cluster(call, store)
    else:
        _check_uri(call, store)
        if store.connectivity == PUBLIC_ENDPOINT:  # that of a VPC is asked when the store is connected
            _check_proxy(call, store, secret)
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
    updated = (_updated_cluster if store.is_cluster else _updated_proxy)(call, updated, request)
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
    # Keys are made only in a store that is connected, and write it anew: none was made since it was not.
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
    if store.is_cluster:
        assert store.cluster_id is not None, "it is on a cluster"
        cluster = call.custom_key_stores.backing.cluster(store.cluster_id, call.account)
        if cluster is not None and cluster.hsms < 1:
            raise CloudHsmClusterInvalidConfiguration(f"Cluster {store.cluster_id} has no HSM.")
        if cluster is not None and not call.custom_key_stores.backing.cluster_is_there(store.cluster_id):
            raise CloudHsmClusterNotActive(f"Cluster {store.cluster_id} is not active.")
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


def check_hsms(cluster: Cluster | None, cluster_id: str) -> Cluster:
    """Return a cluster in which keys can be made.

    Raises CloudHsmClusterNotFound, CloudHsmClusterInvalidConfiguration.
    """
    if cluster is None:
        raise CloudHsmClusterNotFound(f"Cluster {cluster_id} was not found.")
    if cluster.hsms < HSMS_TO_CREATE:
        raise CloudHsmClusterInvalidConfiguration(f"Cluster {cluster_id} must have at least {HSMS_TO_CREATE} HSMs.")
    return cluster


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
        sealed_secret=_sealed(call, custom_key_store_id, secret),
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


def _sealed(call: Call, custom_key_store_id: str, secret: str) -> bytes:
    return call.seals.seal_store_secret(
        secret.encode(), account=call.account, region=call.region, custom_key_store_id=custom_key_store_id
    )


def _own_stores(call: Call) -> list[CustomKeyStore]:
    """The stores of the caller's account in the Region."""
    return [
        store
        for store, _ in call.snapshot.custom_key_stores.values()
        if (store.account, store.region) == (call.account, call.region)
    ]


def _others(call: Call, store: CustomKeyStore) -> list[CustomKeyStore]:
    """All other stores, of whatever account and Region."""
    return [
        other
        for other, _ in call.snapshot.custom_key_stores.values()
        if other.custom_key_store_id != store.custom_key_store_id
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


def _check_new_cluster(call: Call, store: CustomKeyStore) -> None:
    """The cluster is there, nobody else's, and the certificate is its own."""
    assert store.cluster_id is not None, "checked with the targets"
    backing = call.custom_key_stores.backing
    cluster = backing.cluster(store.cluster_id, call.account)
    if cluster is None:
        raise CloudHsmClusterNotFound(f"Cluster {store.cluster_id} was not found.")
    _check_cluster_is_free(call, store, cluster)
    if _der(store.trust_anchor_certificate) != cluster.certificate:
        raise IncorrectTrustAnchor(f"The trust anchor certificate is not that of cluster {store.cluster_id}.")
    check_hsms(cluster, store.cluster_id)
    if not backing.cluster_is_there(store.cluster_id):
        raise CloudHsmClusterNotActive(f"Cluster {store.cluster_id} is not active.")


def _check_cluster_is_free(call: Call, store: CustomKeyStore, cluster: Cluster) -> None:
    """No other store is on the cluster, whosever it is, or on one with its certificate."""
    for other in _others(call, store):
        related = other.is_cluster and _der(other.trust_anchor_certificate) == cluster.certificate
        if other.is_cluster and (related or other.cluster_id == store.cluster_id):
            raise CloudHsmClusterInUse(f"Cluster {store.cluster_id} is already associated with a custom key store.")


def _der(certificate: str | None) -> bytes | None:
    """A certificate in DER; None for what is none."""
    try:
        return x509.load_pem_x509_certificate((certificate or "").encode()).public_bytes(Encoding.DER)
    except ValueError:
        return None


def _updated_cluster(call: Call, store: CustomKeyStore, request: UpdateCustomKeyStoreRequest) -> CustomKeyStore:
    if request.cloud_hsm_cluster_id not in (None, store.cluster_id):
        assert request.cloud_hsm_cluster_id is not None, "it is another one"
        backing = call.custom_key_stores.backing
        cluster = backing.cluster(request.cloud_hsm_cluster_id, call.account)
        if cluster is None:
            raise CloudHsmClusterNotFound(f"Cluster {request.cloud_hsm_cluster_id} was not found.")
        if _der(store.trust_anchor_certificate) != cluster.certificate:
            raise CloudHsmClusterNotRelated(f"Cluster {request.cloud_hsm_cluster_id} has another certificate.")
        check_hsms(cluster, request.cloud_hsm_cluster_id)
        if not backing.cluster_is_there(request.cloud_hsm_cluster_id):
            raise CloudHsmClusterNotActive(f"Cluster {request.cloud_hsm_cluster_id} is not active.")
        store = structs.replace(store, cluster_id=request.cloud_hsm_cluster_id)
        _check_cluster_is_free(call, store, cluster)
    if request.key_store_password is None:
        return store
    return structs.replace(store, sealed_secret=_sealed(call, store.custom_key_store_id, request.key_store_password))


def _updated_proxy(call: Call, store: CustomKeyStore, request: UpdateCustomKeyStoreRequest) -> CustomKeyStore:
    """The external key store as it is to be, after its proxy was asked with that."""
    credential, secret = request.xks_proxy_authentication_credential, None
    updated = structs.replace(
        store,
        uri_endpoint=request.xks_proxy_uri_endpoint or store.uri_endpoint,
        uri_path=request.xks_proxy_uri_path or store.uri_path,
        connectivity=request.xks_proxy_connectivity or store.connectivity,
        vpc_endpoint_service_name=request.xks_proxy_vpc_endpoint_service_name or store.vpc_endpoint_service_name,
        vpc_endpoint_service_owner=request.xks_proxy_vpc_endpoint_service_owner or store.vpc_endpoint_service_owner,
    )
    if updated.connectivity != store.connectivity and updated.uri_endpoint == store.uri_endpoint:
        raise Validation("You must specify a new XksProxyUriEndpoint to change XksProxyConnectivity.")
    if updated.connectivity == PUBLIC_ENDPOINT:
        _check_vpc(PUBLIC_ENDPOINT, request.xks_proxy_vpc_endpoint_service_name)
        updated = structs.replace(updated, vpc_endpoint_service_name=None, vpc_endpoint_service_owner=None)
    else:
        _check_vpc(VPC_ENDPOINT_SERVICE, updated.vpc_endpoint_service_name)
        owner = updated.vpc_endpoint_service_owner or call.account
        updated = structs.replace(updated, vpc_endpoint_service_owner=owner)
    if credential is not None:
        assert credential.access_key_id is not None, "the model requires it"
        assert credential.raw_secret_access_key is not None, "the model requires it"
        secret = credential.raw_secret_access_key
        sealed = _sealed(call, store.custom_key_store_id, secret)
        updated = structs.replace(updated, access_key_id=credential.access_key_id, sealed_secret=sealed)
    if structs.replace(updated, name=store.name) == store:
        return updated
    _check_uri(call, updated)
    if updated.connectivity == PUBLIC_ENDPOINT or store.state == CONNECTED:
        _check_proxy(call, updated, secret)
    return updated


def _check_proxy(call: Call, store: CustomKeyStore, secret: str | None) -> None:
    call.custom_key_stores.backing.check_proxy(store, secret, request_id=call.request_id, operation=call.operation)


def _check_uri(call: Call, store: CustomKeyStore) -> None:
    """The URI is not another store's, and of what stands for a VPC nothing is shared (AWS: "Uniqueness requirements").

    That holds in a Region, for the whole URI in an account of it.
    """
    others = [other for other in _others(call, store) if other.region == store.region and other.is_external]
    mine = (store.account, store.uri_endpoint, store.uri_path)
    if any((other.account, other.uri_endpoint, other.uri_path) == mine for other in others):
        raise XksProxyUriInUse("The XksProxyUriEndpoint and XksProxyUriPath are already in use together.")
    for other in others:
        if other.uri_endpoint == store.uri_endpoint and VPC_ENDPOINT_SERVICE in (
            other.connectivity,
            store.connectivity,
        ):
            raise XksProxyUriEndpointInUse(f"The XksProxyUriEndpoint {store.uri_endpoint} is already in use.")
        service = store.vpc_endpoint_service_name
        if service is not None and other.vpc_endpoint_service_name == service:
            raise XksProxyVpcEndpointServiceInUse(f"The VPC endpoint service {service} is already in use.")
    if store.vpc_endpoint_service_name is not None:
        services = call.custom_key_stores.backing.vpc_endpoint_services()
        endpoint = services.get(store.vpc_endpoint_service_name)
        if endpoint is None:
            raise XksProxyVpcEndpointServiceNotFound(
                f"The VPC endpoint service {store.vpc_endpoint_service_name} was not found."
            )
        if endpoint != store.uri_endpoint:
            raise XksProxyVpcEndpointServiceInvalidConfiguration(
                f"The private DNS name of the VPC endpoint service is not that of {store.uri_endpoint}."
            )


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
            raise Validation(f"{_NAMES[name]} is required when the CustomKeyStoreType is {type_}.")
    for name in foreign:
        if getattr(request, name) is not None:
            raise Validation(f"{_NAMES[name]} is not valid when the CustomKeyStoreType is {type_}.")


def _check_vpc(connectivity: str | None, service: str | None) -> None:
    """A VPC endpoint service is named if and only if it is used. AWS's text is not known."""
    if (connectivity == VPC_ENDPOINT_SERVICE) != (service is not None):
        word = "required" if service is None else "not valid"
        raise Validation(f"XksProxyVpcEndpointServiceName is {word} when XksProxyConnectivity is {connectivity}.")


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
