"""GetHealthStatus."""

from collections.abc import Sequence

from strongroom.authorization.external_keys import AuthorizedExternalKey
from strongroom.messages.xks import HealthResponse, Manager, XksRequest
from strongroom.operations.call import Call
from strongroom.operations.targets import ExternalKeyTarget

_VENDOR = "Strongroom"


def get_health_status_targets(_request: XksRequest) -> list[ExternalKeyTarget]:
    """No key, and no rule: whoever signs for the key store may ask."""
    return []


def get_health_status(call: Call, _request: XksRequest, _keys: Sequence[AuthorizedExternalKey]) -> HealthResponse:
    """XKS: GetHealthStatus. A key of its own is made, used and forgotten, at most every few seconds."""
    well = call.external_keys.is_well(call.now)
    manager = Manager(id=_VENDOR.lower(), model=call.key_store.name, health_status="ACTIVE" if well else "UNAVAILABLE")
    return HealthResponse(
        xks_proxy_fleet_size=1,
        xks_proxy_vendor=_VENDOR,
        xks_proxy_model=_VENDOR,
        ekm_vendor=_VENDOR,
        ekm_fleet_details=(manager,),
    )
