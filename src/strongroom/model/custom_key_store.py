"""The custom key store: keys that live in an HSM cluster of the customer's, or in an external key manager."""

from typing import NamedTuple

from msgspec import Struct

from strongroom.model.key_specs import AWS_CLOUDHSM, EXTERNAL_KEY_STORE

CONNECTED = "CONNECTED"
CONNECTING = "CONNECTING"
DISCONNECTED = "DISCONNECTED"
DISCONNECTING = "DISCONNECTING"
FAILED = "FAILED"
"""Connection states. Only CONNECTED says that keys can be made and used; it says nothing of how the store is now."""

PUBLIC_ENDPOINT = "PUBLIC_ENDPOINT"
VPC_ENDPOINT_SERVICE = "VPC_ENDPOINT_SERVICE"


class CustomKeyStore(Struct, frozen=True):
    """A custom key store as stored. `created` is in seconds since the epoch.

    `type` is the origin of its keys: AWS_CLOUDHSM or EXTERNAL_KEY_STORE. `state` is its connection state, and
    `error_code` why it is FAILED. `sealed_secret` is the password of the cluster's `kmsuser`, or the secret access key
    for the external key store proxy, sealed under a domain key whose version it names; each is sealed anew when it is
    given, so that a secret that was refused is known by it.

    A key store on a cluster has `cluster_id` and `trust_anchor_certificate` (PEM, as it came). An external one has
    `connectivity`, `uri_endpoint`, `uri_path`, `access_key_id`, and perhaps the name and owner of its VPC endpoint
    service.
    """

    account: str
    region: str
    custom_key_store_id: str
    name: str
    type: str
    created: float
    state: str
    sealed_secret: bytes
    error_code: str | None = None
    cluster_id: str | None = None
    trust_anchor_certificate: str | None = None
    connectivity: str | None = None
    uri_endpoint: str | None = None
    uri_path: str | None = None
    access_key_id: str | None = None
    vpc_endpoint_service_name: str | None = None
    vpc_endpoint_service_owner: str | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether its keys are in an HSM cluster."""
        return self.type == AWS_CLOUDHSM

    @property
    def is_external(self) -> bool:
        """Whether its keys are in an external key manager."""
        return self.type == EXTERNAL_KEY_STORE

    def __repr__(self) -> str:
        return f"CustomKeyStore({self.custom_key_store_id})"


class KeyStoreUse(NamedTuple):
    """Who uses a custom key store for what: an external key manager is told.

    `principal_arn` is the caller's ARN, `key_arn` the KMS key's (None if there is none yet), `via_service` the name of
    the service that calls for the caller, such as `s3.us-east-1.amazonaws.com`.
    """

    request_id: str
    operation: str
    principal_arn: str
    key_arn: str | None = None
    via_service: str | None = None
