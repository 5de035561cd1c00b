"""Custom key stores by the calendar: what connecting comes to, deletion, checks; and changes at once."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from strongroom.app import custom_key_stores as app_module
from strongroom.app.installing import new_access_key
from strongroom.crypto.ciphertext_blob import parse
from strongroom.errors import (
    AccessDenied,
    CloudHsmClusterNotActive,
    ConflictError,
    CustomKeyStoreHasCMKs,
    CustomKeyStoreInvalidState,
    KMSInvalidState,
    LimitExceeded,
)
from strongroom.jobs.calendar import Look
from strongroom.jobs.custom_key_stores import CustomKeyStoreJob
from strongroom.jobs.deletion import DeletionJob
from strongroom.keystores.cluster.store import ClusterKeyStore
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.model.custom_key_store import CONNECTING, CustomKeyStore
from strongroom.model.principal import Service
from strongroom.sigv4.signing import Credential
from strongroom.storage.contract import Insert, Replace
from strongroom.testing.softhsm import SoftHsm
from tests.composed import DAY, NOW, Composed, run_composed
from tests.e2e.custom_key_stores import HsmCluster, configure_clusters, make_cluster, of_cluster
from tests.xks.proxy import BASE, XksProxy, running_proxy

LOOKS = 100
PATIENCE_SECONDS = 20


class Around(NamedTuple):
    """A test's installation, and what backs its custom key stores."""

    parts: Composed
    cluster: HsmCluster
    xks: XksProxy
    job: CustomKeyStoreJob

    async def store(self, name: str = "external", **members: Any) -> str:
        """Make a store at the proxy, or on the cluster if it is called so."""
        parameters = of_cluster(self.cluster, name) if name == "cluster" else self.of_proxy(name)
        made = await self.parts.ask_kms("CreateCustomKeyStore", **parameters | members)
        store: str = made.custom_key_store_id
        return store

    def of_proxy(self, name: str) -> dict[str, Any]:
        path = f"/{name}-store{BASE}"
        self.xks.prefixes[path.removesuffix(BASE)] = self.xks.prefixes[""]
        access_key_id, secret = next(iter(self.xks.credentials.items()))
        return {
            "CustomKeyStoreName": name,
            "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
            "XksProxyConnectivity": "PUBLIC_ENDPOINT",
            "XksProxyUriEndpoint": self.xks.endpoint,
            "XksProxyUriPath": path,
            "XksProxyAuthenticationCredential": {"AccessKeyId": access_key_id, "RawSecretAccessKey": secret},
        }

    def record(self, store: str) -> CustomKeyStore:
        stores = self.parts.state.fresh().custom_key_stores
        (found,) = [one.record for one in stores.values() if one.record.custom_key_store_id == store]
        return found

    async def work(self) -> None:
        """Have the job look until nothing is under way."""
        for _ in range(LOOKS):
            await self.job.run(Look(NOW, None))
            states = {one.record.state for one in self.parts.state.fresh().custom_key_stores.values()}
            if not states & {"CONNECTING", "DISCONNECTING"} and all(task.done() for task in self.job._tasks.values()):
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it does not come to an end")

    async def connected(self, name: str = "external") -> str:
        store = await self.store(name)
        await self.parts.ask_kms("ConnectCustomKeyStore", CustomKeyStoreId=store)
        await self.work()
        assert self.record(store).state == "CONNECTED"
        return store

    async def key(self, store: str, **members: Any) -> str:
        origin = "AWS_CLOUDHSM" if self.record(store).is_cluster else "EXTERNAL_KEY_STORE"
        made = await self.parts.ask_kms("CreateKey", CustomKeyStoreId=store, Origin=origin, **members)
        arn: str = made.key_metadata.arn
        return arn

    async def key_elsewhere(self) -> str:
        """Make a key in no custom key store."""
        arn: str = (await self.parts.ask_kms("CreateKey")).key_metadata.arn
        return arn

    async def deleted(self, key: str) -> dict[str, Any]:
        """Delete a key for good; return the event."""
        await self.parts.ask_kms("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
        job = DeletionJob(self.parts.office, self.parts.custom_key_stores)
        for _ in range(2):
            await job.run(Look(NOW + 8 * DAY, None))
        assert not self.parts.state.fresh().erasures
        events = [event for event in self.parts.records("AwsServiceEvent") if event["eventName"] == "DeleteKey"]
        return [event for event in events if event["resources"][0]["ARN"] == key][-1]

    def objects(self, key: str) -> int:
        """How many objects of the token belong to a key."""
        connection: Any = next(iter(self.parts.custom_key_stores._connections.values()))[1]
        return len(connection._opened().run(lambda lease: lease.session.find(Template({p11.CKA_LABEL: key.encode()}))))


@pytest.fixture(scope="module")
def cluster(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> HsmCluster:
    return make_cluster(softhsm, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def proxy(softhsm: SoftHsm, cluster: HsmCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XksProxy]:
    with running_proxy(tmp_path_factory.mktemp("xks"), softhsm) as proxy:
        yield proxy


@pytest.fixture
def run(data: Path, cluster: HsmCluster, proxy: XksProxy) -> Callable[[Callable[[Around], Awaitable[None]]], None]:
    """Run a test against a fresh installation whose configuration names the cluster and the proxy."""
    proxy.reset()

    def configure() -> None:
        configure_clusters(data, [cluster])
        with (data / "strongroom.yaml").open("a") as file:
            file.write(f"xks_proxies: {{'{proxy.endpoint}': {{connect: '{proxy.connect}', ca: {proxy.ca}}}}}\n")

    def run_it(test: Callable[[Around], Awaitable[None]]) -> None:
        async def around(parts: Composed) -> None:
            try:
                await test(Around(parts, cluster, proxy, CustomKeyStoreJob(parts.office, parts.custom_key_stores)))
            finally:
                parts.custom_key_stores.close()

        run_composed(data, around, configure=configure)

    return run_it


Run = Callable[[Callable[[Around], Awaitable[None]]], None]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ({"credentials": {}}, "INVALID_CREDENTIALS"),
        ({"error": (403, "AccessDeniedException")}, "XKS_PROXY_ACCESS_DENIED"),
        ({"error": (404, "InvalidUriPathException")}, "XKS_PROXY_INVALID_CONFIGURATION"),
        ({"error": (400, "ValidationException")}, "XKS_PROXY_INVALID_RESPONSE"),
        ({"error": (500, "InternalException")}, "XKS_PROXY_INVALID_RESPONSE"),
        ({"error": (503, "DependencyTimeoutException")}, "XKS_PROXY_TIMED_OUT"),
        ({"error": (429, "ThrottlingException")}, "XKS_PROXY_TIMED_OUT"),
        ({"body": b"no JSON"}, "XKS_PROXY_INVALID_RESPONSE"),
        ({"delay": 0.3}, "XKS_PROXY_TIMED_OUT"),
        ({"hang_up": 9}, "XKS_PROXY_NOT_REACHABLE"),
        ({"fleet": [{"id": "1", "model": "m", "healthStatus": "UNAVAILABLE"}]}, "XKS_PROXY_NOT_REACHABLE"),
    ],
    ids=str,
)
def test_a_store_that_cannot_be_connected_says_why(run: Run, spoil: dict[str, Any], code: str) -> None:
    async def test(around: Around) -> None:
        store = await around.store()
        for name, value in spoil.items():
            if name == "credentials":
                around.xks.credentials.clear()
            else:
                setattr(around.xks, name, value)
        await around.parts.ask_kms("ConnectCustomKeyStore", CustomKeyStoreId=store)
        await around.work()
        assert (around.record(store).state, around.record(store).error_code) == ("FAILED", code)
        around.xks.reset()
        around.of_proxy("external")
        await around.parts.ask_kms("DisconnectCustomKeyStore", CustomKeyStoreId=store)
        await around.work()
        await around.parts.ask_kms("ConnectCustomKeyStore", CustomKeyStoreId=store)
        await around.work()
        assert (around.record(store).state, around.record(store).error_code) == ("CONNECTED", None)

    run(test)


def test_what_a_killed_process_began_to_connect_another_does(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.store("cluster")
        snapshot = around.parts.state.fresh()
        ((record, number),) = snapshot.custom_key_stores.values()
        await around.parts.office.commit([Replace(replace(record, state=CONNECTING), number)], None)
        await around.work()
        assert around.record(store).state == "CONNECTED"

    run(test)


def test_a_fault_of_one_store_is_no_fault_of_another(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test(around: Around) -> None:
        cluster, external = await around.store("cluster"), await around.store()

        def fail(_self: ClusterKeyStore, _request_id: str) -> None:
            raise AssertionError("nobody thought of this")

        with monkeypatch.context() as spoilt:
            spoilt.setattr(ClusterKeyStore, "connect", fail)
            for store in (cluster, external):
                await around.parts.ask_kms("ConnectCustomKeyStore", CustomKeyStoreId=store)
            await around.work()
        assert (around.record(cluster).state, around.record(cluster).error_code) == ("FAILED", "INTERNAL_ERROR")
        assert around.record(external).state == "CONNECTED"
        assert f"{cluster} cannot be connected: a fault of its own: AssertionError" in capsys.readouterr().err

    run(test)


def test_a_connection_that_hangs_when_it_is_closed_holds_up_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(around: Around) -> None:
        cluster, goes_on, ended = await around.connected("cluster"), threading.Event(), threading.Event()
        close = ClusterKeyStore.close

        def hang(self: ClusterKeyStore) -> None:
            goes_on.wait(PATIENCE_SECONDS)
            close(self)
            ended.set()

        monkeypatch.setattr(ClusterKeyStore, "close", hang)
        await around.parts.ask_kms("DisconnectCustomKeyStore", CustomKeyStoreId=cluster)
        await around.work()
        await around.connected()
        assert around.record(cluster).state == "DISCONNECTED"
        assert not ended.is_set()
        goes_on.set()
        assert await asyncio.to_thread(ended.wait, PATIENCE_SECONDS)

    run(test)


def test_a_cluster_whose_library_hangs_is_not_active_and_holds_up_nobody_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(around: Around) -> None:
        goes_on, looks = threading.Event(), []

        def hang(*_: object) -> str | None:
            looks.append(1)
            goes_on.wait(PATIENCE_SECONDS)
            return None

        monkeypatch.setattr(app_module, "_LOOK_SECONDS", 0.3)
        monkeypatch.setattr(app_module, "absence", hang)
        for _ in range(2):
            attempts = (around.store("cluster") for _ in range(8))
            made = await asyncio.gather(*attempts, around.key_elsewhere(), return_exceptions=True)
            assert {type(one) for one in made[:-1]} == {CloudHsmClusterNotActive}
            assert isinstance(made[-1], str)
        assert len(looks) == 1
        goes_on.set()
        await asyncio.sleep(0.05)
        assert await around.store("cluster")

    run(test)


def test_a_key_in_what_is_configured_no_more_is_not_made(run: Run) -> None:
    async def test(around: Around) -> None:
        backing: Any = around.parts.custom_key_stores.backing
        for name in ("cluster", "external"):
            store = await around.connected(name)
            around.parts.custom_key_stores.close_all_but(())
            backing._clusters, backing._proxies = {}, {}
            with pytest.raises(CustomKeyStoreInvalidState, match="is not in the configuration"):
                await around.key(store, **({} if name == "cluster" else {"XksKeyId": "key-1"}))
            backing._clusters = backing._opened.config.hsm_clusters
            backing._proxies = backing._opened.config.xks_proxies

    run(test)


def test_keys_that_are_made_at_once_are_all_made(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.connected("cluster")
        keys = await asyncio.gather(*(around.key(store) for _ in range(20)))
        assert [around.objects(key) for key in keys] == [1] * 20

    run(test)


def test_deletion_of_a_key_destroys_its_object_in_the_cluster(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.connected("cluster")
        key = await around.key(store)
        (material,) = around.parts.state.fresh().keys["us-east-1", key.split(":")[4], key.rpartition("/")[2]].materials
        assert around.objects(key) == 1
        event = await around.deleted(key)
        assert around.objects(key) == 0
        backing = [{"backingKeyId": material}]
        assert event["additionalEventData"] == {
            "customKeyStoreId": store,
            "clusterId": around.cluster.cluster_id,
            "backingKeys": json.dumps(backing, separators=(",", ":")),
            "backingKeysDeletionStatus": json.dumps(
                [backing[0] | {"deletionStatus": "SUCCESS"}], separators=(",", ":")
            ),
        }
        assert event["responseElements"] == {"keyId": key}
        await around.parts.ask_kms("DisconnectCustomKeyStore", CustomKeyStoreId=store)
        await around.work()
        await around.parts.ask_kms("DeleteCustomKeyStore", CustomKeyStoreId=store)
        assert around.parts.state.fresh().custom_key_stores == {}

    run(test)


def test_deletion_that_does_not_reach_the_cluster_says_so_once(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.connected("cluster")
        key = await around.key(store)
        await around.parts.ask_kms("DisconnectCustomKeyStore", CustomKeyStoreId=store)
        await around.work()
        with pytest.raises(CustomKeyStoreHasCMKs):
            await around.parts.ask_kms("DeleteCustomKeyStore", CustomKeyStoreId=store)
        event = await around.deleted(key)
        (status,) = json.loads(event["additionalEventData"]["backingKeysDeletionStatus"])
        assert status["deletionStatus"] == "FAILURE"

    run(test)


def test_a_deleted_key_cannot_be_made_again_from_its_external_key(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.connected()
        key = await around.key(store, XksKeyId="key-1")
        blob = (await around.parts.ask_kms("Encrypt", KeyId=key, Plaintext=b"secret")).ciphertext_blob
        event = await around.deleted(key)
        assert event["additionalEventData"] == {"customKeyStoreId": store, "xksKeyId": "key-1"}
        again = await around.key(store, XksKeyId="key-1")
        with pytest.raises(AccessDenied):
            await around.parts.ask_kms("Decrypt", CiphertextBlob=blob)
        sealed = (await around.parts.ask_kms("Encrypt", KeyId=again, Plaintext=b"x")).ciphertext_blob
        forged = blob[:3] + bytes.fromhex(parse(sealed).material_id) + blob[35:]
        with pytest.raises(KMSInvalidState):
            await around.parts.ask_kms("Decrypt", CiphertextBlob=forged)

    run(test)


def test_of_two_keys_that_are_made_at_once_one_has_the_external_key(run: Run) -> None:
    async def test(around: Around) -> None:
        store = await around.connected()
        made = await asyncio.gather(*(around.key(store, XksKeyId="key-1") for _ in range(5)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in made) == [*["XksKeyAlreadyInUse"] * 4, "str"]

    run(test)


def test_of_two_stores_that_are_made_at_once_one_has_the_name(run: Run) -> None:
    async def test(around: Around) -> None:
        made = await asyncio.gather(*(around.store() for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(one, str) for one in made) == 1

    run(test)


def test_a_key_that_is_not_stored_leaves_nothing_in_the_cluster(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(around: Around) -> None:
        store = await around.connected("cluster")
        there = around.objects(await around.key(store))
        made: list[str] = []
        storage, commit = around.parts.opened.storage, around.parts.opened.storage.commit

        def refusing(writes: Any, *rest: Any, **more: Any) -> Any:
            made.extend(write.record.arn for write in writes if hasattr(write.record, "key_usage"))
            if made:
                raise ConflictError("another came first")
            return commit(writes, *rest, **more)

        monkeypatch.setattr(storage, "commit", refusing)
        answer = await around.parts.call("CreateKey", {"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store})
        assert answer.error is not None
        monkeypatch.undo()
        assert (there, len(made)) == (1, 10)
        assert {around.objects(key) for key in made} == {0}

    run(test)


def test_a_proxy_is_told_of_a_service_that_calls_for_a_user(run: Run) -> None:
    async def test(around: Around) -> None:
        parts = around.parts
        key = await around.key(await around.connected(), XksKeyId="key-1")
        access_key, secret = new_access_key(parts.opened.domain_keys, "", NOW, service="s3")
        declared = Service("s3", NOW, ("111122223333",), ("Encrypt",))
        parts.opened.storage.commit([Insert(declared), Insert(access_key)], None)
        root = "arn:aws:iam::111122223333:root"
        service = parts._replace(by=Credential(access_key.access_key_id, secret), on_behalf_of=root)
        await service.ask_kms("Encrypt", KeyId=key, Plaintext=b"x")
        told = around.xks.asked[-1].body["requestMetadata"]
        assert (told["awsPrincipalArn"], told["kmsViaService"]) == (root, "s3.us-east-1.amazonaws.com")

    run(test)


def test_an_account_has_ten_stores_in_a_region(run: Run) -> None:
    async def test(around: Around) -> None:
        for number in range(10):
            await around.store(f"number{number}")
        with pytest.raises(LimitExceeded):
            await around.store("onemore")
        elsewhere = around._replace(parts=around.parts._replace(region="eu-west-1"))
        around.xks.error = (401, "AuthenticationFailedException")  # it checks the Region of the signature
        with pytest.raises(Exception, match="could not authenticate"):
            await elsewhere.store("onemore")

    run(test)


def test_how_an_external_store_is_is_told_when_it_changes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(around: Around) -> None:
        store = await around.connected()
        moment = [0.0]
        job = CustomKeyStoreJob(around.parts.office, around.parts.custom_key_stores, lambda: moment[0])
        around = around._replace(job=job)
        await around.work()
        for fleet in ("ACTIVE", "DEGRADED", "DEGRADED", "ACTIVE"):
            around.xks.fleet = [{"id": "1", "model": "m", "healthStatus": fleet}]
            moment[0] += 200  # it is due
            await around.work()
        told = [line for line in capsys.readouterr().err.splitlines() if store in line]
        assert told == [
            f"strongroom: external key store {store}: 1 of 1 external key managers are not active",
            f"strongroom: external key store {store}: well again",
        ]
        checks = [asked for asked in around.xks.asked if asked.path.endswith("health")]
        assert checks[-1].body["requestMetadata"]["kmsOperation"] == "KmsHealthCheck"

    run(test)
