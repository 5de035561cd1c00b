"""Custom key stores on an HSM cluster: whether the cluster that is named can be what they are on."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import structs

from strongroom.errors import (
    CloudHsmClusterInUse,
    CloudHsmClusterInvalidConfiguration,
    CloudHsmClusterNotActive,
    CloudHsmClusterNotFound,
    CloudHsmClusterNotRelated,
    IncorrectTrustAnchor,
)
from strongroom.keystores.custom import Cluster
from strongroom.messages.kms.custom_key_stores import UpdateCustomKeyStoreRequest
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.operations.call import Call

HSMS_TO_CREATE = 2
"""HSMs that a cluster must have for a key store, and for a key, to be made (AWS: in different Availability Zones)."""


def check_new_cluster(call: Call, store: CustomKeyStore) -> None:
    """See that the cluster of a new store is there, nobody else's, and the certificate its own.

    Raises the CloudHsmCluster… errors, IncorrectTrustAnchor.
    """
    assert store.cluster_id is not None, "checked with the targets"
    cluster = _found(call, store.cluster_id)
    _check_is_free(call, store, cluster)
    if _der(store.trust_anchor_certificate) != cluster.certificate:
        raise IncorrectTrustAnchor(f"The trust anchor certificate is not that of cluster {store.cluster_id}.")
    _check_hsms(cluster, store.cluster_id)
    _check_is_there(call, store.cluster_id)


def updated_cluster(call: Call, store: CustomKeyStore, request: UpdateCustomKeyStoreRequest) -> CustomKeyStore:
    """The store as UpdateCustomKeyStore wants it: with another password, on a related cluster."""
    cluster_id = request.cloud_hsm_cluster_id
    if cluster_id is not None and cluster_id != store.cluster_id:
        cluster = _found(call, cluster_id)
        if _der(store.trust_anchor_certificate) != cluster.certificate:
            raise CloudHsmClusterNotRelated(f"Cluster {cluster_id} has another certificate.")
        store = structs.replace(store, cluster_id=cluster_id)
        _check_is_free(call, store, cluster)
        _check_hsms(cluster, cluster_id)
        _check_is_there(call, cluster_id)
    if request.key_store_password is None:
        return store
    sealed = call.sealed_store_secret(store.custom_key_store_id, request.key_store_password)
    return structs.replace(store, sealed_secret=sealed)


def check_can_connect(call: Call, cluster_id: str) -> None:
    """See that a cluster has an HSM and answers; one that is not configured any more is told of by the connection."""
    cluster = call.custom_key_stores.backing.cluster(cluster_id, call.account)
    if cluster is None:
        return
    if cluster.hsms < 1:
        raise CloudHsmClusterInvalidConfiguration(f"Cluster {cluster_id} has no HSM.")
    _check_is_there(call, cluster_id)


def check_can_make_keys(call: Call, cluster_id: str) -> None:
    """See that a cluster has HSMs enough for a key to be made; one that is not configured any more says so itself."""
    cluster = call.custom_key_stores.backing.cluster(cluster_id, call.account)
    if cluster is not None:
        _check_hsms(cluster, cluster_id)


def _found(call: Call, cluster_id: str) -> Cluster:
    cluster = call.custom_key_stores.backing.cluster(cluster_id, call.account)
    if cluster is None:
        raise CloudHsmClusterNotFound(f"Cluster {cluster_id} was not found.")
    return cluster


def _check_hsms(cluster: Cluster, cluster_id: str) -> None:
    if cluster.hsms < HSMS_TO_CREATE:
        raise CloudHsmClusterInvalidConfiguration(f"Cluster {cluster_id} must have at least {HSMS_TO_CREATE} HSMs.")


def _check_is_there(call: Call, cluster_id: str) -> None:
    if not call.custom_key_stores.backing.cluster_is_there(cluster_id):
        raise CloudHsmClusterNotActive(f"Cluster {cluster_id} is not active.")


def _check_is_free(call: Call, store: CustomKeyStore, cluster: Cluster) -> None:
    """No other store is on the cluster, whosever it is, or on one with its certificate."""
    for other in call.snapshot.other_custom_key_stores(store):
        related = other.is_cluster and _der(other.trust_anchor_certificate) == cluster.certificate
        if other.is_cluster and (related or other.cluster_id == store.cluster_id):
            raise CloudHsmClusterInUse(
                f"Cluster {store.cluster_id}, or a related one, is already associated with a custom key store."
            )


def _der(certificate: str | None) -> bytes | None:
    """A certificate in DER; None for what is none."""
    try:
        return x509.load_pem_x509_certificate((certificate or "").encode()).public_bytes(Encoding.DER)
    except ValueError:
        return None
