"""What the configuration lets custom key stores be made of: HSM clusters, and endpoints of XKS proxies."""

import hmac
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.app.counted_uses import CountedUses
from strongroom.app.installing import Opened
from strongroom.app.measuring import CLUSTER, EXTERNAL
from strongroom.config import Config, HsmCluster, XksProxy
from strongroom.errors import ConfigurationError, KMSInvalidState, XksProxyUriUnreachable
from strongroom.keystores.cluster.store import ClusterKeyStore, absence
from strongroom.keystores.contract import CustomKeyStoreConnection, KeyStore
from strongroom.keystores.custom import Cluster, CustomKeyStores
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.proxy import Endpoint, Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.metrics.meters import Meters
from strongroom.metrics.table import KEY_STORE_CALLS, SUCCESS, XKS_CALLS
from strongroom.model.custom_key_store import CustomKeyStore

_LOOK_SECONDS = 5.0
"""How long a cluster may take to say that it is there."""


def configured_key_stores(opened: Opened, key_store: KeyStore, meters: Meters) -> CustomKeyStores:
    """The custom key stores of a server process. Raises ConfigurationError if a certificate cannot be read."""
    return CustomKeyStores(_Configured(opened, key_store, meters))


class _Look(threading.Thread):
    """One look at a cluster. Its thread stays for as long as the cluster's library hangs."""

    def __init__(self, cluster: HsmCluster) -> None:
        super().__init__(name="cluster-look", daemon=True)
        self._cluster = cluster
        self.until = time.monotonic() + _LOOK_SECONDS
        """When nobody waits for it any more, on the monotonic clock."""
        self.missing: str | None = "its library does not answer"
        """Why the cluster is not there; None if it is."""

    def run(self) -> None:
        """Look."""
        self.missing = absence(self._cluster.library, self._cluster.token)


class _Configured:
    """Implements `Backing`."""

    def __init__(self, opened: Opened, key_store: KeyStore, meters: Meters) -> None:
        self._opened = opened
        self._key_store = key_store
        self._clusters = opened.config.hsm_clusters
        self._proxies = opened.config.xks_proxies
        self._certificates = check_certificates(opened.config)
        self._count_use = CountedUses(opened.storage).count
        self._cluster_calls = meters.histogram(KEY_STORE_CALLS, CLUSTER)
        self._external_calls = meters.histogram(KEY_STORE_CALLS, EXTERNAL)
        self._proxy_calls = meters.tally(XKS_CALLS)
        self._looks: dict[str, _Look] = {}
        self._looks_lock = threading.Lock()

    def cluster(self, cluster_id: str, account: str) -> Cluster | None:
        """A cluster that an account may use; None if there is none."""
        cluster = self._clusters.get(cluster_id)
        if cluster is None or cluster.account not in (None, account):
            return None
        return Cluster(self._certificates[cluster_id], cluster.hsms)

    def cluster_is_there(self, cluster_id: str) -> bool:
        """Whether a cluster answers within some seconds, without logging in."""
        missing = self._missing(cluster_id, self._clusters[cluster_id])
        if missing is not None:
            sys.stderr.write(f"strongroom: HSM cluster {cluster_id} is not active: {missing}\n")
        return missing is None

    def _missing(self, cluster_id: str, cluster: HsmCluster) -> str | None:
        """Why a cluster is not there. Who comes while another looks waits for the same look: its library may hang."""
        with self._looks_lock:
            look = self._looks.get(cluster_id)
            if look is None or not look.is_alive():
                look = self._looks[cluster_id] = _Look(cluster)
                look.start()
        look.join(max(0.0, look.until - time.monotonic()))
        return look.missing

    def vpc_endpoint_services(self) -> dict[str, str]:
        """The names of VPC endpoint services, each with its endpoint."""
        return {
            proxy.vpc_endpoint_service: endpoint
            for endpoint, proxy in self._proxies.items()
            if proxy.vpc_endpoint_service is not None
        }

    def check_proxy(self, store: CustomKeyStore, secret: str | None, *, request_id: str, operation: str) -> None:
        """See that an external key store as it is to be can be used. Raises the Xks… errors of CreateCustomKeyStore."""
        settings = self._proxies.get(store.uri_endpoint or "")
        if settings is None:
            raise XksProxyUriUnreachable(
                f"The configuration of this service names no external key store proxy at {store.uri_endpoint}."
            )
        proxy = Proxy(self._endpoint(store, settings, secret), self._count_call)
        try:
            proxy.check_health(request_id, operation)
        except ProxyError as error:
            raise error.of_configuration() from error
        finally:
            proxy.close()

    def has_secret(self, store: CustomKeyStore, secret: str) -> bool:
        """Whether this is the secret of a store."""
        return hmac.compare_digest(self._secret(store).encode(), secret.encode())

    def open(self, store: CustomKeyStore) -> CustomKeyStoreConnection:
        """Make the connection of a store. Raises KMSInvalidState if it is configured no more."""
        if store.is_cluster:
            cluster = self._clusters.get(store.cluster_id or "")
            if cluster is None or cluster.account not in (None, store.account):
                raise _no_more(store)
            return self._cluster_connection(store, cluster)
        settings = self._proxies.get(store.uri_endpoint or "")
        if settings is None:
            raise _no_more(store)
        proxy = Proxy(self._endpoint(store, settings, None), self._count_call)
        return ExternalKeyStore(self._key_store, proxy, self._external_calls.observe)

    def _count_call(self, failure: Kind | None) -> None:
        self._proxy_calls.count(SUCCESS if failure is None else failure)

    def _cluster_connection(self, store: CustomKeyStore, cluster: HsmCluster) -> ClusterKeyStore:
        return ClusterKeyStore(
            library=cluster.library,
            label=cluster.token,
            password=self._secret(store),
            marker=password_marker(self._opened.config, store),
            count_use=self._count_use,
            on_ended=self._cluster_calls.observe,
        )

    def _endpoint(self, store: CustomKeyStore, settings: XksProxy, secret: str | None) -> Endpoint:
        assert store.uri_endpoint is not None, "it is an external key store"
        assert store.uri_path is not None, "it is an external key store"
        assert store.access_key_id is not None, "it is an external key store"
        return Endpoint(
            store.uri_endpoint,
            store.uri_path,
            store.region,
            store.access_key_id,
            self._secret(store) if secret is None else secret,
            settings.connect,
            settings.ca,
        )

    def _secret(self, store: CustomKeyStore) -> str:
        return self._opened.domain_keys.open_store_secret(
            store.sealed_secret,
            account=store.account,
            region=store.region,
            custom_key_store_id=store.custom_key_store_id,
        ).decode()


def password_marker(config: Config, store: CustomKeyStore) -> Path:
    """The file that is there if the cluster of a store has refused its password.

    It is not tried again until one is given anew, which is sealed otherwise.
    """
    given = sha256(store.sealed_secret).hexdigest()[:16]
    return config.refused_passwords / store.custom_key_store_id / given


def _no_more(store: CustomKeyStore) -> KMSInvalidState:
    return KMSInvalidState(f"What backs {store.custom_key_store_id} is not in the configuration of this service.")


def check_certificates(config: Config) -> dict[str, bytes]:
    """The trust anchors of clusters by id, in DER. Raises ConfigurationError, also for authorities of proxies."""
    for proxy in config.xks_proxies.values():
        _check_authorities(proxy)
    return {name: _certificate(cluster) for name, cluster in config.hsm_clusters.items()}


def _check_authorities(proxy: XksProxy) -> None:
    """Raises ConfigurationError, now and not when a proxy is to be asked."""
    if proxy.ca is not None:
        _certificates("xks_proxies", proxy.ca)


def _certificate(cluster: HsmCluster) -> bytes:
    """A cluster's trust anchor in DER. Raises ConfigurationError."""
    return _certificates("hsm_clusters", cluster.certificate)[0].public_bytes(Encoding.DER)


def _certificates(section: str, path: Path) -> list[x509.Certificate]:
    """The certificates of a file, one at least. Raises ConfigurationError."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{section}: cannot read {path}: {error.strerror}") from None
    except ValueError:
        found = []
    if not found:
        raise ConfigurationError(f"{section}: {path} has no PEM certificate")
    return found
