"""Custom key stores on an HSM cluster: real processes, over tokens of SoftHSM."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.testing.server import Server, initialize, running_server
from strongroom.testing.softhsm import SoftHsm
from tests.e2e.calls import refusal
from tests.e2e.conftest import clients_of, first_account
from tests.e2e.custom_key_stores import (
    HsmCluster,
    configure_clusters,
    connect,
    described,
    disconnect,
    make_cluster,
    of_cluster,
    wait_for,
)
from tests.records import record_of_request

UNREACHABLE = "KMS cannot communicate with your CloudHSM cluster."
CONTEXT = {"purpose": "test"}


@pytest.fixture(scope="module")
def clusters(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> list[HsmCluster]:
    folder = tmp_path_factory.mktemp("clusters")
    made = [make_cluster(softhsm, folder) for _ in range(5)]
    return [*made, make_cluster(softhsm, folder, related=made[4]), make_cluster(softhsm, folder)]


@pytest.fixture(scope="module")
def served(clusters: list[HsmCluster], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two server processes, whose configuration names all clusters. One has one HSM, one is another account's."""
    data = tmp_path_factory.mktemp("served") / "data"
    initialize(data)
    settings = {clusters[2].cluster_id: {"hsms": "1"}, clusters[3].cluster_id: {"account": "'999988887777'"}}
    configure_clusters(data, clusters, settings)
    with running_server(data, workers=2) as server:
        yield server


@pytest.fixture(scope="module")
def both(served: Server) -> list[Any]:
    """A client of either process."""
    return clients_of(served, first_account(served))


@pytest.fixture(scope="module")
def kms(both: list[Any]) -> Any:
    return both[0]


@pytest.fixture(scope="module")
def store(kms: Any, clusters: list[HsmCluster]) -> str:
    """A connected store on the first cluster."""
    made: str = kms.create_custom_key_store(**of_cluster(clusters[0], "connected"))["CustomKeyStoreId"]
    connect(kms, made)
    return made


def new_key(kms: Any, store: str) -> dict[str, Any]:
    metadata: dict[str, Any] = kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=store)["KeyMetadata"]
    return metadata


def test_the_life_of_a_store(both: list[Any], served: Server, clusters: list[HsmCluster]) -> None:
    kms, other = both
    cluster = clusters[1]
    made = kms.create_custom_key_store(**of_cluster(cluster, "life", "wrong-password"))
    store = made["CustomKeyStoreId"]
    assert store.startswith("cks-")
    assert len(store) == len("cks-") + 17
    entry = described(other, store)
    assert entry.pop("CreationDate") is not None
    assert entry == {
        "CustomKeyStoreId": store,
        "CustomKeyStoreName": "life",
        "CustomKeyStoreType": "AWS_CLOUDHSM",
        "CloudHsmClusterId": cluster.cluster_id,
        "TrustAnchorCertificate": cluster.certificate,
        "ConnectionState": "DISCONNECTED",
    }

    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert wait_for(kms, store, "FAILED")["ConnectionErrorCode"] == "INVALID_CREDENTIALS"
    assert refusal(kms.connect_custom_key_store, CustomKeyStoreId=store) == (
        "CustomKeyStoreInvalidStateException",
        f"Custom key store {store} is FAILED.",
    )
    disconnect(kms, store)
    assert "ConnectionErrorCode" not in described(kms, store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword="Kmsuser1")
    connect(other, store)

    key = new_key(kms, store)
    arn = key["Arn"]
    assert (key["Origin"], key["CustomKeyStoreId"], key["CloudHsmClusterId"]) == (
        "AWS_CLOUDHSM", store, cluster.cluster_id,
    )  # fmt: skip
    assert "CurrentKeyMaterialId" not in key
    ciphertext = kms.encrypt(KeyId=arn, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    decrypted = other.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)
    assert (decrypted["Plaintext"], decrypted["KeyId"]) == (b"secret", arn)

    disconnecting = kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert set(disconnecting) == {"ResponseMetadata"}
    for client in both:
        assert client.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Unavailable"
        assert client.describe_key(KeyId=arn)["KeyMetadata"]["Enabled"] is False
        assert refusal(client.decrypt, CiphertextBlob=ciphertext, EncryptionContext=CONTEXT) == (
            "KMSInvalidStateException",
            f"{arn} is unavailable.",
        )
    wait_for(kms, store, "DISCONNECTED")
    assert refusal(kms.create_key, Origin="AWS_CLOUDHSM", CustomKeyStoreId=store) == (
        "CustomKeyStoreInvalidStateException",
        f"Custom key store {store} is not connected.",
    )
    kms.disable_key(KeyId=arn)
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Unavailable"
    connect(kms, store)
    assert other.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=arn)
    assert other.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)["Plaintext"] == b"secret"

    cluster.away()
    for client in both:
        assert refusal(client.decrypt, CiphertextBlob=ciphertext, EncryptionContext=CONTEXT) == (
            "KMSInvalidStateException",
            UNREACHABLE,
        )
    assert described(kms, store)["ConnectionState"] == "CONNECTED"
    own = kms.create_key()["KeyMetadata"]["Arn"]
    assert kms.decrypt(CiphertextBlob=kms.encrypt(KeyId=own, Plaintext=b"x")["CiphertextBlob"])["Plaintext"] == b"x"
    cluster.back()
    for client in both:
        wait_until_decrypted(client, ciphertext)

    assert refusal(kms.delete_custom_key_store, CustomKeyStoreId=store)[0] == "CustomKeyStoreHasCMKsException"
    kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    disconnect(kms, store)
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert refusal(kms.delete_custom_key_store, CustomKeyStoreId=store)[0] == "CustomKeyStoreHasCMKsException"


def wait_until_decrypted(kms: Any, ciphertext: bytes) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)["Plaintext"] == b"secret"
        except kms.exceptions.KMSInvalidStateException:
            assert time.monotonic() < deadline, "the token is back"
            time.sleep(0.2)
        else:
            return


def test_every_operation_on_a_key(kms: Any, served: Server, store: str, clusters: list[HsmCluster]) -> None:
    key = new_key(kms, store)
    arn = key["Arn"]
    for length in (1, 4096):
        blob = kms.encrypt(KeyId=arn, Plaintext=b"p" * length)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, KeyId=arn)["Plaintext"] == b"p" * length
    data_key = kms.generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT)
    opened = kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == data_key["Plaintext"]
    without = kms.generate_data_key_without_plaintext(KeyId=arn, NumberOfBytes=64)
    assert len(kms.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == 64
    own = kms.create_key()["KeyMetadata"]["Arn"]
    there = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=own)["CiphertextBlob"]
    back = kms.re_encrypt(CiphertextBlob=there, DestinationKeyId=arn)
    assert (back["SourceKeyId"], back["KeyId"]) == (own, arn)
    assert kms.decrypt(CiphertextBlob=back["CiphertextBlob"])["Plaintext"] == b"p" * 4096
    altered = blob[:-1] + bytes([blob[-1] ^ 1])
    assert refusal(kms.decrypt, CiphertextBlob=altered) == ("InvalidCiphertextException", "")
    assert refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=CONTEXT) == ("InvalidCiphertextException", "")
    assert len(kms.generate_random(NumberOfBytes=33, CustomKeyStoreId=store)["Plaintext"]) == 33

    wrong_origin = f"{arn} origin is AWS_CLOUDHSM which is not valid for this operation."
    for method, parameters in (
        (kms.generate_data_key_pair, {"KeyPairSpec": "ECC_NIST_P256"}),
        (kms.generate_data_key_pair_without_plaintext, {"KeyPairSpec": "ECC_NIST_P256"}),
        (kms.enable_key_rotation, {}),
        (kms.disable_key_rotation, {}),
        (kms.get_key_rotation_status, {}),
        (kms.list_key_rotations, {}),
        (kms.rotate_key_on_demand, {}),
        (kms.get_parameters_for_import, {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}),
        (kms.delete_imported_key_material, {}),
    ):
        assert refusal(method, KeyId=arn, **parameters) == ("UnsupportedOperationException", wrong_origin)
    for parameters in ({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, {"Origin": "EXTERNAL_KEY_STORE"}):
        refused = refusal(kms.create_key, **{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store} | parameters)
        assert refused[0] == "ValidationException"

    record = record_of_request(served.data, opened)
    assert record["additionalEventData"]["customKeyStoreId"] == store
    assert record["additionalEventData"]["clusterId"] == clusters[0].cluster_id
    assert "keyMaterialId" not in record["additionalEventData"]


def test_what_is_recorded_of_a_store(kms: Any, served: Server, clusters: list[HsmCluster], store: str) -> None:
    told = kms.create_custom_key_store(**of_cluster(clusters[4], "recorded"))
    made = told["CustomKeyStoreId"]
    record = record_of_request(served.data, told)
    assert record["requestParameters"] == {
        "customKeyStoreName": "recorded",
        "clusterId": clusters[4].cluster_id,
    }
    assert record["responseElements"] == {"customKeyStoreId": made}
    assert "resources" not in record
    again = kms.create_custom_key_store(**of_cluster(clusters[4], "recorded"))
    assert again["CustomKeyStoreId"] == made
    related = kms.update_custom_key_store(CustomKeyStoreId=made, CloudHsmClusterId=clusters[5].cluster_id)
    record = record_of_request(served.data, related)
    assert record["requestParameters"] == {"customKeyStoreId": made, "clusterId": clusters[5].cluster_id}
    assert record["additionalEventData"]["customKeyStoreName"] == "recorded"
    deleted = kms.delete_custom_key_store(CustomKeyStoreId=made)
    assert set(deleted) == {"ResponseMetadata"}
    assert record_of_request(served.data, deleted)["readOnly"] is False
    assert refusal(kms.describe_custom_key_stores, CustomKeyStoreId=made)[0] == "CustomKeyStoreNotFoundException"
    logged = "".join(path.read_text() for path in (served.data / "audit").glob("*/*.log"))
    assert "Kmsuser1" not in logged
    assert json.dumps("wrong-password") not in logged


def test_stores_that_cannot_be_made(kms: Any, served: Server, clusters: list[HsmCluster], store: str) -> None:
    used, _, few, foreign, free, related, lost = clusters

    def refused(cluster: HsmCluster, **members: str) -> str:
        return refusal(kms.create_custom_key_store, **of_cluster(cluster, "refused") | members)[0]

    assert refused(used) == "CloudHsmClusterInUseException"
    assert refused(few) == "CloudHsmClusterInvalidConfigurationException"
    assert refused(foreign) == "CloudHsmClusterNotFoundException"
    assert refused(free, CloudHsmClusterId="cluster-aaaaaaaaaaa") == "CloudHsmClusterNotFoundException"
    assert refused(free, TrustAnchorCertificate=used.certificate) == "IncorrectTrustAnchorException"
    assert refused(free, TrustAnchorCertificate="none") == "IncorrectTrustAnchorException"
    assert refused(free, CustomKeyStoreName="connected") == "CustomKeyStoreNameInUseException"
    assert refused(free, CustomKeyStoreType="EXTERNAL_KEY_STORE") == "ValidationException"
    lost.away()
    assert refused(lost) == "CloudHsmClusterNotActiveException"
    made = kms.create_custom_key_store(**of_cluster(free, "first"))["CustomKeyStoreId"]
    assert refused(related) == "CloudHsmClusterInUseException"
    for change, error in (
        ({"CloudHsmClusterId": used.cluster_id}, "CloudHsmClusterNotRelatedException"),
        ({"CloudHsmClusterId": "cluster-aaaaaaaaaaa"}, "CloudHsmClusterNotFoundException"),
        ({"NewCustomKeyStoreName": "connected"}, "CustomKeyStoreNameInUseException"),
        ({"XksProxyUriPath": "/kms/xks/v1"}, "ValidationException"),
    ):
        assert refusal(kms.update_custom_key_store, CustomKeyStoreId=made, **change)[0] == error
    for change in ({"KeyStorePassword": "Kmsuser2"}, {"CloudHsmClusterId": related.cluster_id}):
        refused_now = refusal(kms.update_custom_key_store, CustomKeyStoreId=store, **change)
        assert refused_now[0] == "CustomKeyStoreInvalidStateException"
    kms.update_custom_key_store(CustomKeyStoreId=store, NewCustomKeyStoreName="renamed")
    assert described(kms, store)["CustomKeyStoreName"] == "renamed"
    kms.update_custom_key_store(CustomKeyStoreId=store, NewCustomKeyStoreName="connected")
    for method in (kms.disconnect_custom_key_store, kms.generate_random):
        parameters = {"NumberOfBytes": 1} if method == kms.generate_random else {}
        refused_now = refusal(method, CustomKeyStoreId=made, **parameters)
        assert refused_now[0] == "CustomKeyStoreInvalidStateException"
    assert refusal(kms.delete_custom_key_store, CustomKeyStoreId=store)[0] in (
        "CustomKeyStoreHasCMKsException", "CustomKeyStoreInvalidStateException",
    )  # fmt: skip
    kms.delete_custom_key_store(CustomKeyStoreId=made)


def test_a_store_is_told_of_by_id_by_name_and_page_by_page(kms: Any, store: str) -> None:
    named = kms.describe_custom_key_stores(CustomKeyStoreName="connected")["CustomKeyStores"]
    assert [entry["CustomKeyStoreId"] for entry in named] == [store]
    assert refusal(kms.describe_custom_key_stores, CustomKeyStoreName="nothing")[0] == "CustomKeyStoreNotFoundException"
    refused = refusal(kms.describe_custom_key_stores, CustomKeyStoreName="connected", CustomKeyStoreId=store)
    assert refused[0] == "ValidationException"
    every = kms.describe_custom_key_stores()["CustomKeyStores"]
    told: list[Any] = []
    marker: dict[str, str] = {}
    for _ in every:
        page = kms.describe_custom_key_stores(Limit=1, **marker)
        told += page["CustomKeyStores"]
        marker = {"Marker": page["NextMarker"]} if page["Truncated"] else {}
    assert told == every


def test_the_store_is_another_accounts_nobodys_business(kms: Any, store: str, kms_elsewhere: Any) -> None:
    for name in ("connect", "delete", "disconnect", "update"):
        method = getattr(kms_elsewhere, f"{name}_custom_key_store")
        assert refusal(method, CustomKeyStoreId=store) == (
            "CustomKeyStoreNotFoundException",
            f"Custom key store {store} was not found.",
        )
