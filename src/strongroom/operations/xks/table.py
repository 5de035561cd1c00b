"""The operations of the XKS proxy, one row each."""

from collections.abc import Sequence

from msgspec import Struct, to_builtins

from strongroom.errors import XKS_PROXY
from strongroom.messages.xks import XksRequest
from strongroom.operations.operation import Operation
from strongroom.operations.xks import health, keys


def _logged(request: Struct, _keys: Sequence[object]) -> dict[str, object]:
    """Where it was sent, and all that KMS says of who asks it for what."""
    assert isinstance(request, XksRequest)
    told: dict[str, object] = {"uriPathPrefix": request.prefix}
    if request.external_key_id:
        told["externalKeyId"] = request.external_key_id
    return told | {"requestMetadata": to_builtins(request.body.request_metadata)}


BUILT = (
    Operation(
        name="Decrypt",
        service=XKS_PROXY,
        targets=keys.decrypt_targets,
        run=keys.decrypt,
        asks_key_store=True,
        logged=_logged,
    ),
    Operation(
        name="Encrypt",
        service=XKS_PROXY,
        targets=keys.encrypt_targets,
        run=keys.encrypt,
        asks_key_store=True,
        logged=_logged,
    ),
    Operation(
        name="GetHealthStatus",
        service=XKS_PROXY,
        targets=health.get_health_status_targets,
        run=health.get_health_status,
        asks_key_store=True,
        logged=_logged,
    ),
    Operation(
        name="GetKeyMetadata",
        service=XKS_PROXY,
        targets=keys.get_key_metadata_targets,
        run=keys.get_key_metadata,
        logged=_logged,
    ),
)
