"""Three nodes on one PostgreSQL under load, while nodes, the database and what is between them fail."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.testing.postgresql import Postgresql, running_postgresql
from strongroom.testing.server import Server, start_server
from strongroom.testing.signed_client import Reply, SignedClient
from tests.e2e.commands import strongroom
from tests.e2e.nodes import LEASE, client, make_nodes
from tests.fault.history import Call, History, Outcome
from tests.records import record_of
from tests.sizes import Size

pytestmark = [pytest.mark.soak, pytest.mark.root_key]

NODES = "abc"
OWNERS, USERS, KEYS = 3, 4, 2
ROTATIONS = 8
"""Of each key at most: AWS allows few."""
SETTLE_SECONDS = 60.0
"""How long what was asked for may take when all is well again."""
BEHIND_SECONDS = 3.0
"""How long nodes are left with a standby that is behind."""

Gone = (OSError, http.client.HTTPException)


class Cluster:
    """The nodes, as clients find them: a node that was started anew is somewhere else."""

    def __init__(self, nodes: dict[str, Path]) -> None:
        self.nodes = nodes
        self.servers = {name: start_server(data) for name, data in nodes.items()}
        self.credentials: dict[str, tuple[str, str]] = {}

    def server(self, node: str, user: str | None) -> Server:
        server = self.servers[node]
        if user is None:
            return server
        access_key_id, secret = self.credentials[user]
        return replace(server, access_key_id=access_key_id, secret_access_key=secret)

    def restart(self, node: str) -> None:
        self.servers[node] = start_server(self.nodes[node])

    def restart_those_that_ended(self) -> list[str]:
        ended = [name for name, server in self.servers.items() if server.process.poll() is not None]
        for name in ended:
            self.servers[name].stop()  # it has ended: what is left is to hear no more of it
            self.restart(name)
        return ended


class Client:
    """One thread's way to the nodes."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self.history = history

    def call(
        self,
        kind: Any,
        gate: str,
        operation: str,
        body: dict[str, object],
        *,
        user: str | None = None,
        value: Callable[[Reply], str] | str = "",
    ) -> tuple[Outcome, Reply | None]:
        """Ask a node and note it. Who gets no answer, or one of the server's own failures, knows nothing."""
        node = random.choice(NODES)
        sent = time.monotonic()
        reply: Reply | None = None
        outcome: Outcome = "unknown"
        try:
            with SignedClient(self._cluster.server(node, user), timeout=20) as connection:
                reply = connection.call(operation, body)
        except Gone:
            time.sleep(0.05)
        if reply is not None and reply.status < 500:
            outcome = "done" if reply.status == 200 else "refused"
        told = value if isinstance(value, str) else value(reply) if reply is not None and outcome == "done" else ""
        request_id = reply.request_id if reply is not None and outcome == "done" else ""
        self.history.add(Call(kind, gate, node, sent, time.monotonic(), outcome, told, request_id))
        return outcome, reply


class Owner(threading.Thread):
    """Makes keys, and changes them, one call after the other."""

    def __init__(self, cluster: Cluster, history: History, arns: dict[str, str], ended: threading.Event) -> None:
        super().__init__()
        self._client = Client(cluster, history)
        self._arns = arns
        self._ended = ended
        self.keys: list[str] = []
        self._grants: dict[str, str] = {}
        self._rotations: dict[str, int] = {}
        self._number = 0

    def make_key(self) -> None:
        while True:
            outcome, reply = self._client.call(
                "make",
                "keys",
                "CreateKey",
                {"Policy": self._policy(ada=True)},
                value=lambda reply: str(reply.json()["KeyMetadata"]["KeyId"]),  # type: ignore[index]
            )
            if outcome == "done" and reply is not None:
                self.keys.append(str(reply.json()["KeyMetadata"]["KeyId"]))  # type: ignore[index]
                return

    def run(self) -> None:
        actions = [self._switch, self._change_policy, self._grant, self._describe, self._rotate]
        while not self._ended.is_set():
            random.choice(actions)(random.choice(self.keys))

    def _until_done(self, kind: str, gate: str, operation: str, body: dict[str, object]) -> Reply | None:
        """Repeat what can be repeated until it is done, or the test ends."""
        while True:
            outcome, reply = self._client.call(kind, gate, operation, body)
            if outcome != "unknown" or self._ended.is_set():
                return reply if outcome == "done" else None
            time.sleep(0.05)

    def _pause(self) -> None:
        """Let users try."""
        self._ended.wait(LEASE + random.uniform(0.1, 0.6))

    def _switch(self, key: str) -> None:
        self._until_done("close", f"state {key}", "DisableKey", {"KeyId": key})
        self._pause()
        self._until_done("open", f"state {key}", "EnableKey", {"KeyId": key})

    def _change_policy(self, key: str) -> None:
        for kind, ada in (("close", False), ("open", True)):
            body: dict[str, object] = {"KeyId": key, "Policy": self._policy(ada=ada)}
            self._until_done(kind, f"policy {key}", "PutKeyPolicy", body)
            self._pause()

    def _grant(self, key: str) -> None:
        """The grant is made by name, so that it is the same one if the call is repeated."""
        self._number += 1
        body: dict[str, object] = {
            "KeyId": key,
            "GranteePrincipal": self._arns["bob"],
            "Operations": ["Encrypt"],
            "Name": f"grant-{self._number}",
        }
        reply = self._until_done("open", f"grant {key}", "CreateGrant", body)
        if reply is None:
            return
        self._pause()
        self._until_done("close", f"grant {key}", "RevokeGrant", {"KeyId": key, "GrantId": reply.json()["GrantId"]})
        self._pause()

    def _describe(self, key: str) -> None:
        for _ in range(10):
            self._number += 1
            text = f"{self._number}"
            body: dict[str, object] = {"KeyId": key, "Description": text}
            self._client.call("set", f"description {key}", "UpdateKeyDescription", body, value=text)

    def _rotate(self, key: str) -> None:
        if self._rotations.get(key, 0) < ROTATIONS:
            self._rotations[key] = self._rotations.get(key, 0) + 1
            self._client.call("rotate", key, "RotateKeyOnDemand", {"KeyId": key})
            self._ended.wait(0.3)

    def _policy(self, *, ada: bool) -> str:
        account = self._arns["ada"].split(":")[4]
        root = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "kms:*", "Resource": "*"}
        user = {"Effect": "Allow", "Principal": {"AWS": self._arns["ada"]}, "Action": "kms:Encrypt", "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [root, user] if ada else [root]})


class User(threading.Thread):
    """Uses keys in the three ways that owners open and close."""

    def __init__(self, cluster: Cluster, history: History, keys: list[str], ended: threading.Event) -> None:
        super().__init__()
        self._client = Client(cluster, history)
        self._keys = keys
        self._ended = ended

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            key = random.choice(self._keys)
            gate, user = random.choice((("state", None), ("policy", "ada"), ("grant", "bob")))
            plaintext = "QUJD" if number % 2 else "REVG"
            body: dict[str, object] = {"KeyId": key, "Plaintext": plaintext}
            outcome, reply = self._client.call("use", f"{gate} {key}", "Encrypt", body, user=user)
            if outcome == "done" and reply is not None and number % 5 == 0:
                self._client.history.add_blob(plaintext, str(reply.json()["CiphertextBlob"]))


class Faults:
    """What goes wrong, one after the other."""

    def __init__(self, cluster: Cluster, postgresql: Postgresql) -> None:
        self._cluster = cluster
        self._postgresql = postgresql
        self.done: list[str] = []

    def one(self, name: str) -> None:
        getattr(self, f"_{name}")(random.choice(NODES))
        self.done.append(name)

    def _kill(self, node: str) -> None:
        self._cluster.servers[node].kill()
        time.sleep(random.uniform(0, 0.5))
        self._cluster.restart(node)

    def _restart_database(self, _node: str) -> None:
        self._postgresql.crash()
        time.sleep(random.uniform(0, 2 * LEASE))
        self._postgresql.start()

    def _freeze(self, node: str) -> None:
        group = self._cluster.servers[node].process.pid
        os.killpg(group, signal.SIGSTOP)
        time.sleep(LEASE + random.uniform(0.2, 2.0))
        os.killpg(group, signal.SIGCONT)

    def _drop(self, node: str) -> None:
        where = f"application_name = 'strongroom-{node}'"
        self._postgresql.query(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {where}")

    def behind(self, standby: Postgresql) -> None:
        """Put a standby into the place of the database that has nothing of what was done, and the database back."""
        self._postgresql.crash()
        standby.start()
        standby.promote()
        time.sleep(BEHIND_SECONDS)
        standby.crash()
        self._postgresql.start()
        self.done.append("behind")


KINDS = ("kill", "restart_database", "freeze", "drop")


@contextmanager
def loaded(cluster: Cluster, history: History, arns: dict[str, str]) -> Iterator[None]:
    """Owners and users at work, for a block."""
    ended = threading.Event()
    owners = [Owner(cluster, history, arns, ended) for _ in range(OWNERS)]
    for owner in owners:
        for _ in range(KEYS):
            owner.make_key()
    keys = [key for owner in owners for key in owner.keys]
    threads = [*owners, *(User(cluster, history, keys, ended) for _ in range(USERS))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_nothing_acknowledged_is_lost_or_undone(tmp_path: Path, size: Size) -> None:
    with running_postgresql() as postgresql:
        nodes = make_nodes(tmp_path, postgresql.create_database(), NODES)
        standby = postgresql.copy()
        for name, data in nodes.items():
            configuration = data / "strongroom.yaml"
            both = f"host={postgresql.folder},{standby.folder}"
            text = configuration.read_text()
            assert f"host={postgresql.folder}" in text
            named = f"{both}&application_name=strongroom-{name}"
            configuration.write_text(text.replace(f"host={postgresql.folder}", named))
        cluster, history = Cluster(nodes), History()
        try:
            arns = make_users(cluster)
            faults = Faults(cluster, postgresql)
            with loaded(cluster, history, arns):
                deadline = time.monotonic() + size.node_seconds
                while len(faults.done) < len(KINDS) or time.monotonic() < deadline:
                    time.sleep(random.uniform(0.5, 1.5))
                    faults.one(KINDS[len(faults.done) % len(KINDS)])
                faults.behind(standby)
                with suppress_refusals():
                    cluster.restart_those_that_ended()
                time.sleep(2 * LEASE)
            violations = check(cluster, history)
        finally:
            standby.remove()
            for server in cluster.servers.values():
                if server.process.poll() is None:
                    server.stop()
        violations += check_log(nodes["a"], history)
        print(
            f"\n{len(history.calls)} operations ({history.count('done')} done, {history.count('refused')} refused,"
            f" {history.count('unknown')} without an answer, {history.closings()} closings),"
            f" faults: {', '.join(f'{faults.done.count(kind)} {kind}' for kind in (*KINDS, 'behind'))},"
            f" violations: {len(violations)}"
        )
        assert violations == []
        assert history.closings() > 0


@contextmanager
def suppress_refusals() -> Iterator[None]:
    with suppress(RuntimeError):
        yield


def make_users(cluster: Cluster) -> dict[str, str]:
    iam = client(cluster.servers["a"], "iam")
    arns = {}
    for name in ("ada", "bob"):
        arns[name] = iam.create_user(UserName=name)["User"]["Arn"]
        made = iam.create_access_key(UserName=name)["AccessKey"]
        cluster.credentials[name] = (made["AccessKeyId"], made["SecretAccessKey"])
    return arns


def check(cluster: Cluster, history: History) -> list[str]:
    """What is wrong with what clients saw, and with what is there now."""
    violations = history.late_uses(LEASE)
    with SignedClient(cluster.servers["b"]) as connection:
        for key in history.made():
            connection.call("EnableKey", {"KeyId": key})
            described = connection.call("DescribeKey", {"KeyId": key})
            if described.status != 200:
                violations.append(f"{key} is lost")
                continue
            description: Any = described.json()["KeyMetadata"]
            expected = history.last_values().get(f"description {key}", {""})
            if description["Description"] not in expected:
                violations.append(f"{key} is described as {description['Description']!r}, and not one of {expected}")
            least, most = history.rotations().get(key, (0, 0))
            await_rotation(connection, key)
            rotations: Any = connection.call("ListKeyRotations", {"KeyId": key}).json()["Rotations"]
            if not least <= len(rotations) <= most:
                violations.append(f"{key} was rotated {len(rotations)} times, and not {least} to {most}")
        for plaintext, blob in history.blobs:
            decrypted = connection.call("Decrypt", {"CiphertextBlob": blob})
            if decrypted.status != 200 or decrypted.json()["Plaintext"] != plaintext:
                violations.append(f"a ciphertext does not decrypt: {decrypted.body.decode()}")
    return violations


def await_rotation(connection: SignedClient, key: str) -> None:
    """A rotation is asked for, and made a while later: at most in the next look of the calendar."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while "OnDemandRotationStartDate" in connection.call("GetKeyRotationStatus", {"KeyId": key}).json():
        assert time.monotonic() < deadline, f"the rotation of {key} that was asked for is not made"
        time.sleep(0.2)


def check_log(data: Path, history: History) -> list[str]:
    """The log of all nodes verifies, and has each acknowledged call once."""
    configuration = data / "strongroom.yaml"
    verified = strongroom("audit", "verify", "--config", configuration)
    violations = [] if verified.returncode == 0 else [f"the log: {verified.stdout}{verified.stderr}"]
    folder = data / "exported"
    assert strongroom("audit", "export", "--config", configuration, "--to", folder).returncode == 0
    outcomes: dict[str, list[str]] = defaultdict(list)
    for path in folder.rglob("*.log"):
        for line in path.read_bytes().splitlines():
            record = record_of(line)
            if record is not None and "requestID" in record:
                outcomes[record["requestID"]].append(record.get("errorCode", "done"))
    done = {call.request_id for call in history.calls if call.request_id}
    violations += [
        f"{request_id} has the records {outcomes[request_id]}" for request_id in done if len(outcomes[request_id]) != 1
    ]
    # A commit without an answer: the caller was told that one may ask again, and then the change was found to be made.
    twice = {request_id: told for request_id, told in outcomes.items() if len(told) != 1 and request_id not in done}
    violations += [
        f"{request_id} has the records {told}"
        for request_id, told in twice.items()
        if sorted(told) != ["KMSInternalException", "done"]
    ]
    print(f"\n{len(twice)} requests whose commit got no answer have two records")
    return violations
