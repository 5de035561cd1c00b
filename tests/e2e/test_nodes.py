"""Two nodes over one PostgreSQL database, driven as one service."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from strongroom.testing.postgresql import Postgresql, running_postgresql
from strongroom.testing.server import Server, start_server
from tests.e2e.commands import strongroom
from tests.e2e.nodes import LEASE, client, make_nodes, start_nodes

pytestmark = pytest.mark.root_key


class Cluster(NamedTuple):
    """The database, the nodes' data directories, and their servers."""

    postgresql: Postgresql
    nodes: dict[str, Path]
    servers: dict[str, Server]

    def client(self, name: str, service: str = "kms") -> Any:
        return client(self.servers[name], service)

    def restart(self, name: str) -> None:
        self.servers[name] = start_server(self.nodes[name])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """At the end the log of both nodes verifies from either."""
    with running_postgresql() as postgresql:
        nodes = make_nodes(tmp_path_factory.mktemp("nodes"), postgresql.create_database())
        cluster = Cluster(postgresql, nodes, start_nodes(nodes))
        try:
            yield cluster
        finally:
            codes = [server.stop() for server in cluster.servers.values()]
        assert codes == [0, 0]
        for data in nodes.values():
            verified = strongroom("audit", "verify", "--config", data / "strongroom.yaml")
            assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
            assert verified.stdout.endswith(": 0 findings\n")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_one_node_made_the_other_uses_at_once(cluster: Cluster) -> None:
    """It asks the database before it says that there is none."""
    here, there = cluster.client("a"), cluster.client("b")
    for _ in range(20):
        key_id = here.create_key()["KeyMetadata"]["KeyId"]
        here.create_alias(AliasName=f"alias/{key_id}", TargetKeyId=key_id)
        blob = there.encrypt(KeyId=f"alias/{key_id}", Plaintext=b"from one")["CiphertextBlob"]
        assert here.decrypt(CiphertextBlob=blob)["Plaintext"] == b"from one"


def test_no_use_succeeds_after_the_lease(cluster: Cluster) -> None:
    here, there = cluster.client("a"), cluster.client("b")
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    for _ in range(5):
        there.encrypt(KeyId=key_id, Plaintext=b"x")
        here.disable_key(KeyId=key_id)
        time.sleep(LEASE)
        with pytest.raises(ClientError, match="DisabledException"):
            there.encrypt(KeyId=key_id, Plaintext=b"x")
        there.enable_key(KeyId=key_id)
        here.encrypt(KeyId=key_id, Plaintext=b"x")  # a refusal is never of old state


def test_a_new_credential_is_known_to_every_node_at_once(cluster: Cluster) -> None:
    here = cluster.client("a", "iam")
    here.create_user(UserName="ada")
    for _ in range(5):
        made = here.create_access_key(UserName="ada")["AccessKey"]
        other = cluster.servers["b"]
        sts = client(
            Server(
                other.data,
                other.process,
                other.endpoint,
                other.region,
                made["AccessKeyId"],
                made["SecretAccessKey"],
            ),
            "sts",
        )
        assert sts.get_caller_identity()["Arn"].endswith(":user/ada")
        here.delete_access_key(UserName="ada", AccessKeyId=made["AccessKeyId"])


def test_who_was_made_on_one_node_is_known_to_operations_of_another(cluster: Cluster) -> None:
    """What an operation itself finds, beyond whether it is allowed, is asked anew before it refuses."""
    here, there = cluster.client("a", "iam"), cluster.client("b", "iam")
    kms = cluster.client("b")
    for number in range(10):
        name = f"new-{number}"
        arn = here.create_user(UserName=name)["User"]["Arn"]
        there.create_access_key(UserName=name)
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        other = here.create_user(UserName=f"other-{number}")["User"]["Arn"]
        kms.create_grant(KeyId=key_id, GranteePrincipal=other, RetiringPrincipal=arn, Operations=["Encrypt"])


def test_changes_of_one_key_on_both_nodes_follow_each_other(cluster: Cluster) -> None:
    here, there = cluster.client("a"), cluster.client("b")
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    for number in range(20):
        (here, there)[number % 2].update_key_description(KeyId=key_id, Description=f"{number}")
        described = (there, here)[number % 2].describe_key(KeyId=key_id)["KeyMetadata"]["Description"]
        assert described == f"{number}"


def test_while_the_database_is_away_keys_are_used_within_the_lease_and_nothing_is_changed(cluster: Cluster) -> None:
    here = cluster.client("a")
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    blob = here.encrypt(KeyId=key_id, Plaintext=b"before")["CiphertextBlob"]
    cluster.postgresql.crash()
    gone = time.monotonic()
    assert here.decrypt(CiphertextBlob=blob)["Plaintext"] == b"before"
    assert time.monotonic() - gone < LEASE, "it is the lease that is tried here"
    with pytest.raises(ClientError) as changed:
        here.update_key_description(KeyId=key_id, Description="lost")
    assert code_of(changed) == ("KMSInternalException", 500)
    time.sleep(LEASE)
    with pytest.raises(ClientError) as used:
        here.decrypt(CiphertextBlob=blob)
    assert code_of(used) == ("KMSInternalException", 500)
    cluster.postgresql.start()
    for name in cluster.servers:
        recovered(cluster.client(name), blob)
    assert here.describe_key(KeyId=key_id)["KeyMetadata"]["Description"] == ""
    here.update_key_description(KeyId=key_id, Description="kept")


def recovered(kms: Any, blob: bytes) -> None:
    """Decrypt as soon as that is possible again."""
    assert patiently(lambda: kms.decrypt(CiphertextBlob=blob))["Plaintext"] == b"before"


def patiently(call: Callable[[], Any]) -> Any:
    """Ask again while the answer is that one may: not every connection to a server that went is known to be gone."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return call()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 500 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_connections_that_were_dropped_are_made_anew(cluster: Cluster) -> None:
    here = cluster.client("a")
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    blob = here.encrypt(KeyId=key_id, Plaintext=b"before")["CiphertextBlob"]
    for _ in range(3):
        cluster.postgresql.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'strongroom'"
        )
        for name in cluster.servers:
            recovered(cluster.client(name), blob)


def test_a_node_that_lost_its_disk_starts_again(cluster: Cluster) -> None:
    """Its log is in the database, and so is what its last process left behind."""
    here = cluster.client("b")
    key_id = here.create_key()["KeyMetadata"]["KeyId"]
    cluster.servers["b"].kill()
    shutil.rmtree(cluster.nodes["b"] / "audit")
    cluster.restart("b")
    cluster.client("b").describe_key(KeyId=key_id)
    verified = strongroom("audit", "verify", "--config", cluster.nodes["a"] / "strongroom.yaml")
    assert verified.returncode == 0, verified.stdout


def test_the_log_verifies_while_nodes_write_it(cluster: Cluster) -> None:
    ended = threading.Event()

    def change() -> None:
        kms = cluster.client("b")
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        while not ended.is_set():
            kms.update_key_description(KeyId=key_id, Description="again")

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        verified = strongroom("audit", "verify", "--config", cluster.nodes["a"] / "strongroom.yaml")
        ended.set()
        changing.result()
    assert verified.returncode == 0, verified.stdout


def test_the_log_of_all_nodes_can_be_written_into_files(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client("b").list_keys()
    exported = strongroom(
        "audit", "export", "--config", cluster.nodes["a"] / "strongroom.yaml", "--to", tmp_path / "log"
    )
    assert exported.returncode == 0, exported.stderr
    files = [path.read_text() for path in (tmp_path / "log").rglob("*.log")]
    assert any('"eventName":"ListKeys"' in text for text in files)
    key = cluster.nodes["a"] / "audit-public-key.pem"
    verified = strongroom("audit", "verify", "--log", tmp_path / "log", "--public-key", key)
    assert verified.returncode == 0, verified.stdout


def test_any_node_tells_what_any_node_recorded(cluster: Cluster) -> None:
    made = cluster.client("a").create_key()["KeyMetadata"]
    cluster.client("b").encrypt(KeyId=made["KeyId"], Plaintext=b"x")
    for name in cluster.servers:
        trail = cluster.client(name, "cloudtrail")
        deadline = time.monotonic() + 60
        told: set[str] = set()
        while told != {"CreateKey", "Encrypt"}:
            assert time.monotonic() < deadline, told
            time.sleep(1)  # no more than two a second
            attribute = {"AttributeKey": "ResourceName", "AttributeValue": made["Arn"]}
            told = {event["EventName"] for event in trail.lookup_events(LookupAttributes=[attribute])["Events"]}


def test_a_database_that_is_behind_is_refused_also_by_who_made_none_of_its_changes(tmp_path: Path) -> None:
    with running_postgresql() as postgresql:
        nodes = make_nodes(tmp_path, postgresql.create_database())
        servers = start_nodes(nodes)
        standby = postgresql.copy()
        try:
            kms, other = client(servers["a"]), client(servers["b"])
            key_id = kms.create_key()["KeyMetadata"]["KeyId"]
            other.describe_key(KeyId=key_id)
            other.encrypt(KeyId=key_id, Plaintext=b"x")
            time.sleep(LEASE)  # until b has noted how far it is
            postgresql.crash()
            moved(nodes, postgresql, standby)
            standby.start()
            standby.promote()
            for name, server in servers.items():
                server.kill()
                with pytest.raises(RuntimeError, match="the server ended with code 2"):
                    start_server(nodes[name])
        finally:
            standby.remove()


def test_a_synchronous_standby_takes_over_with_everything_that_was_acknowledged(tmp_path: Path) -> None:
    """By docs/operations.md: the URL names both servers, and nodes find the one that can be written."""
    with running_postgresql() as postgresql:
        standby = postgresql.copy()
        try:
            url = f"{postgresql.create_database()},{standby.folder}"
            nodes = make_nodes(tmp_path, url)
            standby.start()
            postgresql.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
            postgresql.query("SELECT pg_reload_conf()")
            servers = start_nodes(nodes)
            kms = client(servers["a"])
            keys = [kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(10)]
            blob = kms.encrypt(KeyId=keys[-1], Plaintext=b"before")["CiphertextBlob"]
            postgresql.crash()
            standby.promote()
            for server in servers.values():
                recovered(client(server), blob)
            there = client(servers["b"])
            assert {key["KeyId"] for key in patiently(there.list_keys)["Keys"]} == set(keys)
            patiently(lambda: there.update_key_description(KeyId=keys[0], Description="after"))
            assert patiently(lambda: kms.describe_key(KeyId=keys[0]))["KeyMetadata"]["Description"] == "after"
            assert [server.stop() for server in servers.values()] == [0, 0]
        finally:
            standby.remove()


def moved(nodes: dict[str, Path], before: Postgresql, after: Postgresql) -> None:
    """Point the nodes to another server of the same database."""
    for data in nodes.values():
        path = data / "strongroom.yaml"
        path.write_text(path.read_text().replace(str(before.folder), str(after.folder)))
