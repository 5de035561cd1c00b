"""External key stores: whether their proxy can be used, and its URI is theirs alone."""

from msgspec import structs

from strongroom.errors import (
    Validation,
    XksProxyUriEndpointInUse,
    XksProxyUriInUse,
    XksProxyVpcEndpointServiceInUse,
    XksProxyVpcEndpointServiceInvalidConfiguration,
    XksProxyVpcEndpointServiceNotFound,
)
from strongroom.messages.kms.custom_key_stores import UpdateCustomKeyStoreRequest
from strongroom.model.custom_key_store import CONNECTED, PUBLIC_ENDPOINT, VPC_ENDPOINT_SERVICE, CustomKeyStore
from strongroom.operations.call import Call


def check_new_proxy(call: Call, store: CustomKeyStore, secret: str) -> None:
    """See that the proxy of a new store can be used. One of a VPC is asked when the store is connected.

    Raises the XksProxy… errors.
    """
    _check_uri(call, store)
    if store.connectivity == PUBLIC_ENDPOINT:
        _check_proxy(call, store, secret)


def updated_proxy(call: Call, store: CustomKeyStore, request: UpdateCustomKeyStoreRequest) -> CustomKeyStore:
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
        check_vpc(PUBLIC_ENDPOINT, request.xks_proxy_vpc_endpoint_service_name)
        updated = structs.replace(updated, vpc_endpoint_service_name=None, vpc_endpoint_service_owner=None)
    else:
        check_vpc(VPC_ENDPOINT_SERVICE, updated.vpc_endpoint_service_name)
        owner = updated.vpc_endpoint_service_owner or call.account
        updated = structs.replace(updated, vpc_endpoint_service_owner=owner)
    if credential is not None:
        assert credential.access_key_id is not None, "the model requires it"
        assert credential.raw_secret_access_key is not None, "the model requires it"
        secret = credential.raw_secret_access_key
        sealed = call.sealed_store_secret(store.custom_key_store_id, secret)
        updated = structs.replace(updated, access_key_id=credential.access_key_id, sealed_secret=sealed)
    if structs.replace(updated, name=store.name) == store:
        return updated
    _check_uri(call, updated)
    if updated.connectivity == PUBLIC_ENDPOINT or store.state == CONNECTED:
        _check_proxy(call, updated, secret)
    return updated


def check_vpc(connectivity: str | None, service: str | None) -> None:
    """Raise Validation unless a VPC endpoint service is named if and only if it is used. AWS's text is not known."""
    if (connectivity == VPC_ENDPOINT_SERVICE) != (service is not None):
        word = "required" if service is None else "not valid"
        raise Validation(f"XksProxyVpcEndpointServiceName is {word} when XksProxyConnectivity is {connectivity}.")


def _check_proxy(call: Call, store: CustomKeyStore, secret: str | None) -> None:
    call.custom_key_stores.backing.check_proxy(store, secret, request_id=call.request_id, operation=call.operation)


def _check_uri(call: Call, store: CustomKeyStore) -> None:
    """The URI is not another store's, and of what stands for a VPC nothing is shared (AWS: "Uniqueness requirements").

    That holds in a Region, for the whole URI in an account of it.
    """
    others = [
        other
        for other in call.snapshot.other_custom_key_stores(store)
        if other.region == store.region and other.is_external
    ]
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
