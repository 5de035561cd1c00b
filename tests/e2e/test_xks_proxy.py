"""The XKS proxy: one Strongroom whose keys are in SoftHSM, and another whose external key store it is."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from strongroom.testing.server import Server, initialize, running_server, start_server
from strongroom.testing.softhsm import SoftHsm
from tests.e2e.calls import refusal
from tests.e2e.commands import strongroom
from tests.e2e.custom_key_stores import connect
from tests.e2e.xks_proxies import HOST, ProxyProcess, external_store
from tests.hsm import hsm_options, new_token
from tests.records import recorded
from tests.sizes import Size

CONTEXT = {"purpose": "test"}
LOADING = 3
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def proxy(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    label = new_token(softhsm)
    proxy = ProxyProcess(tmp_path_factory.mktemp("proxy") / "data", *hsm_options(softhsm, label))
    proxy.start()
    yield proxy
    assert proxy.stop() == 0
    verified = strongroom("audit", "verify", "--config", proxy.config)
    assert verified.stdout.endswith(": 0 findings\n"), verified.stdout


def served_by(proxy: ProxyProcess, data: Path) -> Path:
    """Make an installation that may have external key stores of the proxy; return where it is."""
    initialize(data)
    with (data / "strongroom.yaml").open("a") as file:
        file.write(f"xks_proxies: {{'https://{HOST}': {{connect: '{proxy.connect}', ca: {proxy.ca}}}}}\n")
    return data


@pytest.fixture(scope="module")
def served(proxy: ProxyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Strongroom whose external key store is the proxy."""
    with running_server(served_by(proxy, tmp_path_factory.mktemp("served") / "data")) as server:
        yield server


@pytest.fixture(scope="module")
def kms(served: Server, kms_client: Callable[..., Any]) -> Any:
    return kms_client(served)


def new_store(proxy: ProxyProcess, kms: Any, name: str, *options: str) -> tuple[str, dict[str, Any]]:
    """Make a key store at the proxy and one of KMS; return the latter, connected, and the first's credential."""
    issued = proxy.issued("store", "create", "--prefix", f"/{name}", *options)
    assert issued["XksProxyUriPath"] == f"/{name}/kms/xks/v1"
    store = kms.create_custom_key_store(**external_store(name, issued))["CustomKeyStoreId"]
    connect(kms, store)
    return store, issued


def new_key(proxy: ProxyProcess, kms: Any, store: str, name: str, *options: str) -> tuple[str, str]:
    """Make an external key and a KMS key; return the latter's ARN and the former's id."""
    external = proxy.run("key", "create", "--prefix", f"/{name}", *options).strip()
    made = kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId=external)
    return made["KeyMetadata"]["Arn"], external


def test_a_key_in_the_proxys_hsm_works_for_another_strongroom(proxy: ProxyProcess, kms: Any) -> None:
    store, _ = new_store(proxy, kms, "working")
    key, external = new_key(proxy, kms, store, "working")
    for length in (1, 4096):
        blob = kms.encrypt(KeyId=key, Plaintext=b"p" * length, EncryptionContext=CONTEXT)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"p" * length
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]
    code, text = refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext={})
    assert (code, text.rpartition(" ")[2]) == ("KMSInvalidStateException", "invalid.")

    assert proxy.run("key", "disable", "--prefix", "/working", "--id", external)
    code, text = refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert code == "KMSInvalidStateException"
    assert text.endswith("the external key is not enabled in the external key manager.")
    proxy.run("key", "enable", "--prefix", "/working", "--id", external)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"p" * 4096
    proxy.run("key", "disable", "--prefix", "/working", "--id", external)
    proxy.run("key", "delete", "--prefix", "/working", "--id", external)
    code, text = refusal(kms.decrypt, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert text.endswith("it could not find the external key.")


def test_every_call_is_recorded_with_its_metadata_and_without_a_plaintext(
    proxy: ProxyProcess, served: Server, kms: Any
) -> None:
    store, issued = new_store(proxy, kms, "recorded")
    key, external = new_key(proxy, kms, store, "recorded")
    sent = kms.encrypt(KeyId=key, Plaintext=b"very secret plaintext")
    request_id = sent["ResponseMetadata"]["RequestId"]
    records = [record for record in recorded(proxy.data) if record["eventSource"].startswith("kms-xks-proxy")]
    (record,) = [
        record
        for record in records
        if (record["requestParameters"] or {}).get("requestMetadata", {}).get("kmsRequestId") == request_id
    ]
    assert (record["eventName"], record["readOnly"], "errorCode" in record) == ("Encrypt", True, False)
    assert record["requestParameters"] == {
        "uriPathPrefix": "/recorded",
        "externalKeyId": external,
        "requestMetadata": {
            "awsPrincipalArn": key.split(":key/")[0].replace(":kms:us-east-1:", ":iam::") + ":root",
            "kmsOperation": "Encrypt",
            "kmsRequestId": request_id,
            "kmsKeyArn": key,
        },
    }
    credential = issued["XksProxyAuthenticationCredential"]
    assert record["userIdentity"]["accessKeyId"] == credential["AccessKeyId"]
    names = {record["eventName"] for record in records}
    assert {"GetHealthStatus", "GetKeyMetadata", "Encrypt"} <= names
    logs = b"".join(path.read_bytes() for path in (proxy.data / "audit").glob("*/*.log"))
    assert credential["RawSecretAccessKey"].encode() not in logs
    assert json.dumps("very secret plaintext").encode() not in logs


def test_a_credential_is_rotated_without_a_failed_call(proxy: ProxyProcess, kms: Any) -> None:
    store, first = new_store(proxy, kms, "rotating")
    key, _ = new_key(proxy, kms, store, "rotating")
    done = threading.Event()
    failures: list[Exception] = []
    answered = [0]

    def load() -> None:
        while not done.is_set():
            try:
                kms.encrypt(KeyId=key, Plaintext=b"x")
                answered[0] += 1
            except (ClientError, BotoCoreError) as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(LOADING)]
    for thread in threads:
        thread.start()
    second = proxy.issued("credential", "add", "--prefix", "/rotating")
    credential = second["XksProxyAuthenticationCredential"]
    kms.update_custom_key_store(CustomKeyStoreId=store, XksProxyAuthenticationCredential=credential)
    time.sleep(0.5)  # for what was under way
    old = first["XksProxyAuthenticationCredential"]["AccessKeyId"]
    proxy.run("credential", "remove", "--prefix", "/rotating", "--access-key-id", old)
    time.sleep(0.5)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert answered[0] > 20


def test_rules_decide_who_may_use_a_key(proxy: ProxyProcess, kms: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    allowing = {"Effect": "Allow", "Operations": ["CreateKey", "Encrypt"], "Principals": ["arn:aws:iam::*:root"]}
    rules.write_text(json.dumps({"Version": 1, "Rules": [allowing]}))
    store, _ = new_store(proxy, kms, "ruled", "--rules", str(rules))
    key, _ = new_key(proxy, kms, store, "ruled")
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    code, text = refusal(kms.decrypt, CiphertextBlob=blob)
    assert code == "KMSInvalidStateException"
    assert text.startswith("The external key store proxy denied access to the operation.")


def test_a_rate_throttles(proxy: ProxyProcess, kms: Any) -> None:
    store, _ = new_store(proxy, kms, "slow", "--rate", "5")
    key, _ = new_key(proxy, kms, store, "slow")
    refused = []
    for _ in range(20):
        try:
            kms.encrypt(KeyId=key, Plaintext=b"x")
        except kms.exceptions.KMSInvalidStateException as error:
            refused.append(str(error))
    assert refused
    assert "very high request rate" in refused[0]


def test_stores_do_not_see_each_others_keys(proxy: ProxyProcess, kms: Any) -> None:
    first, _ = new_store(proxy, kms, "mine")
    second, _ = new_store(proxy, kms, "yours")
    _, external = new_key(proxy, kms, first, "mine")
    refused = refusal(kms.create_key, Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=second, XksKeyId=external)
    assert refused[0] == "XksKeyNotFoundException"


def test_a_renewed_certificate_is_taken_up(proxy: ProxyProcess) -> None:
    before, deadline = proxy.serial_number(), time.monotonic() + PATIENCE_SECONDS
    proxy.renew_certificate()
    while proxy.serial_number() == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.soak
def test_either_side_is_killed_under_load_and_all_that_was_acknowledged_decrypts(
    proxy: ProxyProcess, kms_client: Callable[..., Any], size: Size, tmp_path: Path
) -> None:
    data = served_by(proxy, tmp_path / "data")
    server = start_server(data)
    kms = [kms_client(server)]
    store, _ = new_store(proxy, kms[0], "killed")
    key, _ = new_key(proxy, kms[0], store, "killed")
    acknowledged: list[bytes] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                acknowledged.append(kms[0].encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"])
            except (ClientError, BotoCoreError):
                time.sleep(0.02)

    threads = [threading.Thread(target=load) for _ in range(LOADING)]
    for thread in threads:
        thread.start()
    for _ in range(size.xks_kills):
        wait_for_more(acknowledged)
        proxy.kill()
        proxy.start()
        wait_for_more(acknowledged)
        server.kill()
        server = start_server(data)
        kms[0] = kms_client(server)
    wait_for_more(acknowledged)
    done.set()
    for thread in threads:
        thread.join()
    assert all(kms[0].decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret" for blob in acknowledged)
    print(f"{2 * size.xks_kills} kills, {len(acknowledged)} acknowledged ciphertexts")
    assert server.stop() == 0


def wait_for_more(acknowledged: list[bytes]) -> None:
    """Wait until some more has been acknowledged."""
    deadline, before = time.monotonic() + PATIENCE_SECONDS, len(acknowledged)
    while len(acknowledged) < before + 20:
        assert time.monotonic() < deadline, "nothing is encrypted any more"
        time.sleep(0.05)
