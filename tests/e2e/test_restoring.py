"""A machine is lost, and what it held is restored elsewhere: from a backup, the exported root key and the audit log."""

import contextlib
import io
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import boto3
import pytest
from botocore.exceptions import ClientError

from strongroom.cli import run
from strongroom.testing.server import Server, initialize, start_server
from tests.e2e.commands import refused

pytestmark = pytest.mark.root_key
PASSPHRASE = "correct horse battery staple"


def strongroom(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in this process: to start one takes longer than most of them do."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run([*map(str, arguments)])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def client(server: Server, service: str, access_key_id: str = "", secret_access_key: str = "") -> Any:
    """A client of the root user, or of whom else an access key is."""
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=access_key_id or server.access_key_id,
        aws_secret_access_key=secret_access_key or server.secret_access_key,
    )


class Known(NamedTuple):
    """What the clients of a machine know. All but `ciphertexts` was changed after the backup."""

    ciphertexts: list[tuple[str, bytes]]
    """Made before the backup: the key, and the blob of b"kept"."""
    enabled: str
    policy: str
    """The new policy of `enabled`."""
    disabled: str
    pending: str
    granted: tuple[str, str]
    """A key and a grant that was revoked."""
    access_key: tuple[str, str]
    made: str


class Lost(NamedTuple):
    """What is left of a machine that was lost."""

    backup: Path
    exported: Path
    passphrase: Path
    kept: Path
    """The audit log and the credentials."""
    known: Known


class Load:
    """A client that uses and changes keys all the time."""

    def __init__(self, server: Server, key_ids: list[str]) -> None:
        self.made: list[tuple[str, bytes]] = []
        self._kms = client(server, "kms")
        self._key_ids = key_ids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            key_id = self._key_ids[len(self.made) % len(self._key_ids)]
            blob = self._kms.encrypt(KeyId=key_id, Plaintext=b"kept")["CiphertextBlob"]
            self.made.append((key_id, blob))
            self._kms.update_key_description(KeyId=key_id, Description=f"{len(self.made)}")


def use_and_change(server: Server, tmp_path: Path) -> Known:
    """Serve under load, back up, export the root key, and change things afterwards."""
    config = ("--config", server.data / "strongroom.yaml")
    kms, iam = client(server, "kms"), client(server, "iam")
    keys = [kms.create_key()["KeyMetadata"] for _ in range(4)]
    enabled, granted, disabled, pending = key_ids = [key["KeyId"] for key in keys]
    root = f"arn:aws:iam::{keys[0]['AWSAccountId']}:root"
    grant = kms.create_grant(KeyId=granted, GranteePrincipal=root, Operations=["Encrypt"])["GrantId"]
    iam.create_user(UserName="ann")
    access_key = iam.create_access_key(UserName="ann")["AccessKey"]
    with Load(server, key_ids) as load:
        while len(load.made) < 5:
            time.sleep(0.01)
        before = list(load.made)
        backup = strongroom("backup", *config, "--out", tmp_path / "backup")
        assert backup.returncode == 0, backup.stderr
        assert len(load.made) > len(before), "it holds up nobody"
    assert "Not in it: the root key" in backup.stdout
    exported = strongroom(
        *("root-key", "export", *config, "--out", tmp_path / "exported", "--passphrase-file", tmp_path / "passphrase")
    )
    assert exported.returncode == 0, exported.stderr

    policy = json.dumps(
        {"Statement": {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}}
    )
    kms.put_key_policy(KeyId=enabled, Policy=policy)
    kms.revoke_grant(KeyId=granted, GrantId=grant)
    kms.disable_key(KeyId=disabled)
    kms.schedule_key_deletion(KeyId=pending, PendingWindowInDays=7)
    iam.delete_access_key(UserName="ann", AccessKeyId=access_key["AccessKeyId"])
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = (access_key["AccessKeyId"], access_key["SecretAccessKey"])
    return Known(before, enabled, policy, disabled, pending, (granted, grant), secret, made)


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    tmp_path = tmp_path_factory.mktemp("lost")
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    (tmp_path / "passphrase").chmod(0o600)
    initialize(tmp_path / "data")
    server = start_server(tmp_path / "data")
    try:
        known = use_and_change(server, tmp_path)
    finally:
        server.kill()
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "data" / "audit", kept / "audit")
    shutil.copy(tmp_path / "data" / "credentials", kept)
    shutil.rmtree(tmp_path / "data")
    return Lost(tmp_path / "backup", tmp_path / "exported", tmp_path / "passphrase", kept, known)


def restore(lost: Lost, data: Path, *log: str | Path) -> subprocess.CompletedProcess[str]:
    root_key = ("--root-key", lost.exported, "--passphrase-file", lost.passphrase)
    return strongroom("restore", lost.backup, "--data", data, *root_key, *log)


@pytest.fixture(scope="module")
def restored(lost: Lost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("elsewhere") / "data"
    done = restore(lost, data, "--audit", lost.kept / "audit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The old machine must never serve again")
    left = [line for line in done.stdout.splitlines() if line.startswith(("LEFT", "WRONG"))]
    assert len(left) == 1
    assert "CreateKey" in left[0]
    assert lost.known.made in left[0]
    shutil.copy(lost.kept / "credentials", data)
    config = ("--config", data / "strongroom.yaml")
    for command in (("doctor", *config), ("audit", "verify", *config)):
        said = strongroom(*command)
        assert (said.returncode, said.stderr) == (0, ""), said.stdout
    server = start_server(data)
    try:
        yield server
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()
    verified = strongroom("audit", "verify", *config)
    assert verified.returncode == 0, verified.stdout


def test_every_ciphertext_made_before_the_backup_decrypts(lost: Lost, restored: Server) -> None:
    kms = client(restored, "kms")
    kms.enable_key(KeyId=lost.known.disabled)
    kms.cancel_key_deletion(KeyId=lost.known.pending)
    kms.enable_key(KeyId=lost.known.pending)
    for key_id, blob in lost.known.ciphertexts:
        assert kms.decrypt(KeyId=key_id, CiphertextBlob=blob)["Plaintext"] == b"kept"
    kms.disable_key(KeyId=lost.known.disabled)
    kms.schedule_key_deletion(KeyId=lost.known.pending)


def test_what_was_taken_away_does_not_come_back(lost: Lost, restored: Server) -> None:
    kms, known = client(restored, "kms"), lost.known
    assert kms.describe_key(KeyId=known.pending)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert kms.describe_key(KeyId=known.disabled)["KeyMetadata"]["KeyState"] == "Disabled"
    assert kms.list_grants(KeyId=known.granted[0])["Grants"] == []
    assert client(restored, "iam").list_access_keys(UserName="ann")["AccessKeyMetadata"] == []
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client(restored, "kms", *known.access_key).list_keys()


def test_a_policy_that_the_log_tells_holds_again(lost: Lost, restored: Server) -> None:
    kms = client(restored, "kms")
    assert kms.get_key_policy(KeyId=lost.known.enabled)["Policy"] == lost.known.policy
    assert kms.describe_key(KeyId=lost.known.enabled)["KeyMetadata"]["KeyState"] == "Enabled"


def test_without_the_audit_log_it_is_refused_unless_that_is_said(lost: Lost, tmp_path: Path) -> None:
    done = restore(lost, tmp_path / "data")
    assert done.returncode == 2
    assert "--without-audit-log" in done.stderr
    done = restore(lost, tmp_path / "data", "--without-audit-log")
    assert done.returncode == 0, done.stderr
    assert "What came after that is not known" in done.stdout
    assert b'"withoutAuditLog":true' in b"".join(log.read_bytes() for log in (tmp_path / "data").glob("audit/*/*.log"))


def test_another_root_key_is_refused_in_one_line_and_nothing_is_left(lost: Lost, tmp_path: Path) -> None:
    initialize(tmp_path / "other")
    root_key = ("--root-key", tmp_path / "other" / "root.key")
    done = strongroom("restore", lost.backup, "--data", tmp_path / "data", *root_key, "--audit", lost.kept / "audit")
    assert refused(done) == f"{lost.backup}: the backup was made under another root key"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
