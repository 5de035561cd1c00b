"""What tests of custom key stores share: clusters over tokens of SoftHSM, and waiting for connection states."""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.tls import write_certificate

PASSWORD = "Kmsuser1"
PATIENCE_SECONDS = 30


class HsmCluster(NamedTuple):
    """A cluster that a configuration can name: its id, its token's label and directory, and its certificate."""

    cluster_id: str
    token: str
    directory: Path
    certificate: str

    def away(self) -> None:
        """Take the token away."""
        self.directory.rename(self.directory.with_name(f"{self.directory.name}-away"))

    def back(self) -> None:
        """Bring it back."""
        self.directory.with_name(f"{self.directory.name}-away").rename(self.directory)


def make_cluster(softhsm: SoftHsm, folder: Path, *, related: HsmCluster | None = None) -> HsmCluster:
    """Make a token, whose user has `PASSWORD`, and a certificate; or with that of a related cluster."""
    label, before = f"cluster-{secrets.token_hex(4)}", set(softhsm.tokens.iterdir())
    softhsm.add_token(label, PASSWORD)
    (directory,) = set(softhsm.tokens.iterdir()) - before
    if related is None:
        (folder / label).mkdir()
        certificate = write_certificate(folder / label).read_text()
    else:
        certificate = related.certificate
    letters = secrets.token_hex(6).translate(str.maketrans("0189", "ghjk"))[:11]
    return HsmCluster(f"cluster-{letters}", label, directory, certificate)


def configure_clusters(
    data: Path, clusters: list[HsmCluster], settings: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> None:
    """Name clusters in a configuration. `settings` are further ones, by cluster id."""
    lines = ["hsm_clusters:"]
    for cluster in clusters:
        certificate = data / f"{cluster.cluster_id}.crt"
        certificate.write_text(cluster.certificate)
        lines += [f"  {cluster.cluster_id}:", f"    certificate: {certificate}", f"    library: {LIBRARY}"]
        lines += [f"    token: {cluster.token}"]
        lines += [f"    {name}: {value}" for name, value in settings.get(cluster.cluster_id, {}).items()]
    with (data / "strongroom.yaml").open("a") as file:
        file.write("\n".join(lines) + "\n")


def of_cluster(cluster: HsmCluster, name: str, password: str = PASSWORD) -> dict[str, str]:
    """The parameters of CreateCustomKeyStore for a cluster."""
    return {
        "CustomKeyStoreName": name,
        "CloudHsmClusterId": cluster.cluster_id,
        "TrustAnchorCertificate": cluster.certificate,
        "KeyStorePassword": password,
    }


def described(kms: Any, store: str) -> dict[str, Any]:
    """What DescribeCustomKeyStores says of one store."""
    (entry,) = kms.describe_custom_key_stores(CustomKeyStoreId=store)["CustomKeyStores"]
    found: dict[str, Any] = entry
    return found


def wait_for(kms: Any, store: str, state: str) -> dict[str, Any]:
    """Wait until a store has a connection state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (entry := described(kms, store))["ConnectionState"] != state:
        assert time.monotonic() < deadline, entry
        assert entry["ConnectionState"] in ("CONNECTING", "DISCONNECTING"), entry
        time.sleep(0.1)
    return entry


def connect(kms: Any, store: str) -> None:
    """Connect a store, and wait until it is."""
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    wait_for(kms, store, "CONNECTED")


def disconnect(kms: Any, store: str) -> None:
    """Disconnect a store, and wait until it is."""
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    wait_for(kms, store, "DISCONNECTED")
