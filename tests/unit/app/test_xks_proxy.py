"""`strongroom xks-proxy`: what it makes, shows, refuses and records."""

import asyncio
import json
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from strongroom import app, cli
from strongroom.app.counted_uses import AT_ONCE
from strongroom.app.custom_key_stores import configured_key_stores
from strongroom.app.installing import Opened, audit_log, initialize, open_installation, open_secret
from strongroom.app.key_store import key_store_of, served_external_keys
from strongroom.app.measuring import new_memory
from strongroom.app.recorded_change import Commit, commit_recorded
from strongroom.audit.record import CloudTrailRecord
from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.config import Config, Hsm, HsmPin, read_config
from strongroom.errors import ConfigurationError, HsmError, IntegrityError, StorageError
from strongroom.jobs.calendar import Look, Office
from strongroom.jobs.deletion import DeletionJob
from strongroom.keystores.external_keys import ACCOUNT, ExternalKeys
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.metrics.meters import Meters
from strongroom.model.erasure import PendingErasure
from strongroom.model.xks import ExternalKey, XksCredential
from strongroom.snapshot import LiveSnapshot, Snapshot
from strongroom.storage.contract import Position, Write
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite_file import files
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import logged_in, new_token

RULES = '{"Version": 1, "Rules": [{"Effect": "Allow", "Keys": ["a"]}]}'

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def new_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation as it is made. It is made once."""
    data = tmp_path_factory.mktemp("new") / "data"
    initialize(data, region="us-east-1", port=0, account="111122223333", now=time.time())
    return data


@pytest.fixture
def data(new_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(new_data, tmp_path / "data"))


@pytest.fixture
def run(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the installation; return its exit code, standard output and standard error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(["xks-proxy", *arguments, "--config", str(data / "strongroom.yaml")])
        return code, *capsys.readouterr()

    return run_command


@pytest.fixture
def done(run: Run) -> Callable[..., str]:
    """Run a command that must succeed; return what it printed."""

    def run_command(*arguments: str) -> str:
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        return out

    return run_command


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must be refused; return the line that says why."""

    def run_command(*arguments: str) -> str:
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("strongroom: ")
        assert err.count("\n") == 1
        return err.removeprefix("strongroom: ").removesuffix("\n")

    return run_command


@pytest.fixture
def opened(data: Path) -> Iterator[Opened]:
    """The installation as a server has it open, from before any command."""
    opened = open_installation(read_config(data / "strongroom.yaml"))
    opened.storage.load()
    yield opened
    opened.close()


@pytest.fixture
def seen(opened: Opened) -> Callable[[], Snapshot]:
    """What a server that was there before sees now."""
    state = LiveSnapshot(opened.storage, partial(open_secret, opened), lambda *_: None)

    async def look() -> Snapshot:
        return state.fresh()

    return lambda: asyncio.run(look())


def events(data: Path) -> list[dict[str, Any]]:
    """What the audit log has of commands, in order."""
    lines = [line for path in (data / "audit").glob("*/*.log") for line in path.read_bytes().splitlines()]
    found = [json.loads(line.split(b" ", 3)[3]) for line in lines]
    told = [event for event in found if re.search("Xks|ExternalKey", event.get("eventName", ""))]
    assert all(event["eventType"] == "AwsServiceEvent" for event in told)
    return told


def in_files(data: Path, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in files(data / "strongroom.db") if path.exists())


def in_any_file(data: Path, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_a_key_store_from_beginning_to_end(
    done: Callable[..., str], seen: Callable[[], Snapshot], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "rules.json").write_text(RULES)
    shown = json.loads(done("store", "create", "--prefix", "/example"))
    credential = shown["XksProxyAuthenticationCredential"]
    assert shown == {"XksProxyUriPath": "/example/kms/xks/v1", "XksProxyAuthenticationCredential": credential}
    first, secret = credential["AccessKeyId"], credential["RawSecretAccessKey"]
    assert re.fullmatch("[A-Z2-7]{20}", first)
    assert re.fullmatch("[A-Za-z0-9/+]{43}=", secret)
    snapshot = seen()
    assert (snapshot.xks_stores["/example"].record.rate, snapshot.xks_stores["/example"].record.rules) == (1800, "")
    assert snapshot.xks_credentials[first].secret == secret

    added = json.loads(done("credential", "add", "--prefix", "/example"))
    second = added["XksProxyAuthenticationCredential"]["AccessKeyId"]
    assert added["XksProxyUriPath"] == "/example/kms/xks/v1"
    assert seen().xks_credentials.keys() == {first, second}
    done("store", "update", "--prefix", "/example", "--rate", "5", "--rules", str(tmp_path / "rules.json"))
    assert (seen().xks_stores["/example"].record.rate, seen().xks_stores["/example"].record.rules) == (5, RULES)
    assert done("store", "list") == f"/example  5/s  rules  {first},{second}  0 keys\n"

    assert done("credential", "remove", "--prefix", "/example", "--access-key-id", first) == f"Removed {first}\n"
    assert seen().xks_credentials.keys() == {second}
    done("store", "delete", "--prefix", "/example")
    assert (seen().xks_stores, seen().xks_credentials) == ({}, {})
    assert done("store", "list") == ""

    told = {event["eventName"]: event["serviceEventDetails"] for event in events(data)}
    assert told == {
        "CreateXksStore": {"prefix": "/example", "rate": 1800, "rules": "", "accessKeyId": first},
        "AddXksCredential": {"prefix": "/example", "accessKeyId": second},
        "UpdateXksStore": {"prefix": "/example", "rate": 5, "rules": RULES},
        "RemoveXksCredential": {"prefix": "/example", "accessKeyId": first},
        "DeleteXksStore": {"prefix": "/example"},
    }
    assert not in_any_file(data, secret.encode())


def test_keys_from_beginning_to_end(
    done: Callable[..., str], seen: Callable[[], Snapshot], opened: Opened, data: Path
) -> None:
    done("store", "create", "--prefix", "")
    random = done("key", "create", "--prefix", "").strip()
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", random)
    assert done("key", "create", "--prefix", "", "--id", "0.A_b-c") == "0.A_b-c\n"
    key = seen().external_keys["", "0.A_b-c"].record
    assert key.enabled
    aad = b"what goes with it"
    external_keys = ExternalKeys(SoftwareKeyStore(opened.domain_keys), None)
    made = external_keys.open(key).encrypt(b"plaintext", aad, integrity=True)
    assert external_keys.open(key).decrypt(made.ciphertext, made.iv, made.tag, made.metadata, aad) == b"plaintext"

    assert done("key", "disable", "--prefix", "", "--id", "0.A_b-c") == "Disabled 0.A_b-c\n"
    assert not seen().external_keys["", "0.A_b-c"].record.enabled
    listed = done("key", "list", "--prefix", "").splitlines()
    assert [line.split("  ")[:2] for line in listed] == sorted([["0.A_b-c", "disabled"], [random, "enabled"]])
    assert "''  1800/s  no rules  " in done("store", "list")
    done("key", "enable", "--prefix", "", "--id", "0.A_b-c")
    assert seen().external_keys["", "0.A_b-c"].record == key

    done("key", "disable", "--prefix", "", "--id", "0.A_b-c")
    done("key", "delete", "--prefix", "", "--id", "0.A_b-c")
    assert seen().external_keys.keys() == {("", random)}
    names = sorted(event["eventName"] for event in events(data) if "ExternalKey" in event["eventName"])
    assert names == [
        *["CreateExternalKey"] * 2,
        "DeleteExternalKey",
        *["DisableExternalKey"] * 2,
        "EnableExternalKey",
    ]
    deleted = [event for event in events(data) if event["eventName"] == "DeleteExternalKey"]
    told = {"prefix": "", "externalKeyId": "0.A_b-c", "materialId": key.material_id}
    assert deleted[0]["serviceEventDetails"] == told


def test_key_stores_have_keys_of_the_same_id_apart(done: Callable[..., str], seen: Callable[[], Snapshot]) -> None:
    for prefix in ("", "/a", "/a/b"):
        done("store", "create", "--prefix", prefix)
        done("key", "create", "--prefix", prefix, "--id", "key")
    done("key", "disable", "--prefix", "/a", "--id", "key")
    done("key", "delete", "--prefix", "/a", "--id", "key")
    assert seen().external_keys.keys() == {("", "key"), ("/a/b", "key")}
    done("store", "delete", "--prefix", "/a")
    assert seen().xks_stores.keys() == {"", "/a/b"}
    assert {held.record.prefix for held in seen().xks_credentials.values()} == {"", "/a/b"}


@pytest.mark.parametrize(
    "prefix",
    [
        "/", "a", "/a/", "//a", "/a//b", "/a b", "/ä", "/a\n", "/a.b", "/..", f"/{'a' * 101}",
        "/kms/xks", "/kms/xks/v1", "/b/kms/xks/c",
    ],
)  # fmt: skip
def test_what_is_no_prefix(refused: Callable[..., str], prefix: str) -> None:
    assert f"prefix {prefix!r}" in refused("store", "create", "--prefix", prefix)


@pytest.mark.parametrize("prefix", ["", "/a", f"/{'a' * 100}", "/A-z_0/kms/xksv1"])
def test_what_is_a_prefix(done: Callable[..., str], prefix: str) -> None:
    path = json.loads(done("store", "create", "--prefix", prefix))["XksProxyUriPath"]
    assert path == f"{prefix}/kms/xks/v1"
    assert len(path) <= 128


def test_what_is_refused_changes_nothing(
    done: Callable[..., str],
    refused: Callable[..., str],
    seen: Callable[[], Snapshot],
    tmp_path: Path,
) -> None:
    shown = json.loads(done("store", "create", "--prefix", "/a", "--rate", "1"))
    first = shown["XksProxyAuthenticationCredential"]["AccessKeyId"]
    done("key", "create", "--prefix", "/a", "--id", "key")
    before = seen()
    missing, bad, binary = tmp_path / "missing.json", tmp_path / "bad.json", tmp_path / "binary.json"
    bad.write_text("")
    binary.write_bytes(b"\xff")

    assert refused("store", "create", "--prefix", "/a") == "there is a key store '/a' already"
    assert "1 to 1,000,000" in refused("store", "create", "--prefix", "/b", "--rate", "0")
    assert "not JSON" in refused("store", "create", "--prefix", "/b", "--rules", str(bad))
    assert "not UTF-8" in refused("store", "create", "--prefix", "/b", "--rules", str(binary))
    assert "No such file" in refused("store", "create", "--prefix", "/b", "--rules", str(missing))
    assert "neither" in refused("store", "update", "--prefix", "/a")
    assert "1 to 1,000,000" in refused("store", "update", "--prefix", "/a", "--rate", "1000001")
    assert "not JSON" in refused("store", "update", "--prefix", "/a", "--rules", str(bad))
    assert refused("store", "update", "--prefix", "/b", "--rate", "2") == "there is no key store '/b'"
    assert refused("store", "delete", "--prefix", "/b") == "there is no key store '/b'"
    assert "has 1 keys" in refused("store", "delete", "--prefix", "/a")
    assert refused("credential", "add", "--prefix", "") == "there is no key store ''"
    assert "no credential 'X'" in refused("credential", "remove", "--prefix", "/a", "--access-key-id", "X")
    assert "the last credential" in refused("credential", "remove", "--prefix", "/a", "--access-key-id", first)
    assert refused("key", "create", "--prefix", "/b") == "there is no key store '/b'"
    assert "already" in refused("key", "create", "--prefix", "/a", "--id", "key")
    for wrong in ("", "a/b", "a b", "a" * 129, "ä", "a\n"):
        assert "key id" in refused("key", "create", "--prefix", "/a", "--id", wrong)
    assert "no HSM" in refused("key", "create", "--prefix", "/a", "--object", "label")
    assert refused("key", "list", "--prefix", "/b") == "there is no key store '/b'"
    for action in ("enable", "disable", "delete"):
        assert "no key 'other'" in refused("key", action, "--prefix", "/a", "--id", "other")
    after = seen()
    assert after is before, "nothing was committed"

    done("credential", "add", "--prefix", "/a")
    assert "has 2 credentials" in refused("credential", "add", "--prefix", "/a")


def test_a_credential_of_another_key_store_is_not_removed(
    done: Callable[..., str], refused: Callable[..., str]
) -> None:
    done("store", "create", "--prefix", "/a")
    done("credential", "add", "--prefix", "/a")
    other = json.loads(done("store", "create", "--prefix", "/b"))["XksProxyAuthenticationCredential"]["AccessKeyId"]
    assert "no credential" in refused("credential", "remove", "--prefix", "/a", "--access-key-id", other)


def test_of_two_changes_of_a_key_store_at_once_one_is_not_made(
    done: Callable[..., str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a key store could be deleted while it gets a key, or have three credentials."""
    done("store", "create", "--prefix", "/a")
    config = read_config(data / "strongroom.yaml")
    changes: list[Callable[[], object]] = [
        lambda: app.delete_xks_store(config, "/a", 1.0),
        lambda: app.add_xks_credential(config, "/a", 1.0),
        lambda: app.create_external_key(config, "/a", None, label=None, now=1.0),
    ]
    for change in changes:

        def after_another(log: AuditLog, record: CloudTrailRecord, writes: list[Write], commit: Commit) -> Position:
            with monkeypatch.context() as undone:
                undone.setattr("strongroom.app.xks_proxy.commit_recorded", commit_recorded)
                app.create_external_key(config, "/a", None, label=None, now=1.0)
            return commit_recorded(log, record, writes, commit)

        with monkeypatch.context() as between:
            between.setattr("strongroom.app.xks_proxy.commit_recorded", after_another)
            with pytest.raises(StorageError, match="nothing was done, try again"):
                change()


def test_a_stored_secret_is_its_credentials_alone(done: Callable[..., str], opened: Opened) -> None:
    done("store", "create", "--prefix", "/a")
    done("credential", "add", "--prefix", "/a")
    (one, _), (other, _) = opened.storage.find_all(XksCredential)
    assert open_secret(opened, one) != open_secret(opened, other)
    for moved in (
        XksCredential(one.access_key_id, "/b", 1.0, one.sealed_secret),
        XksCredential(one.access_key_id, "/a", 1.0, other.sealed_secret),
    ):
        with pytest.raises(IntegrityError, match=f"^the stored secret of credential {one.access_key_id} was altered$"):
            open_secret(opened, moved)


def test_a_key_that_is_enabled_is_not_deleted(done: Callable[..., str], refused: Callable[..., str]) -> None:
    done("store", "create", "--prefix", "/a")
    done("key", "create", "--prefix", "/a", "--id", "key")
    assert "is enabled: disable it first" in refused("key", "delete", "--prefix", "/a", "--id", "key")
    assert done("key", "list", "--prefix", "/a").startswith("key  enabled")


def test_a_deleted_key_leaves_no_byte_in_the_database(done: Callable[..., str], opened: Opened, data: Path) -> None:
    done("store", "create", "--prefix", "/a")
    done("key", "create", "--prefix", "/a", "--id", "doomed")
    done("key", "create", "--prefix", "/a", "--id", "kept")
    doomed, kept = (key.wrapped for key, _ in sorted_keys(opened))
    assert in_files(data, doomed)
    done("key", "disable", "--prefix", "/a", "--id", "doomed")
    done("key", "delete", "--prefix", "/a", "--id", "doomed")
    assert not in_files(data, doomed)
    assert in_files(data, kept)
    assert opened.storage.find_all(PendingErasure) == []
    opened.storage.load()


def sorted_keys(opened: Opened) -> list[tuple[ExternalKey, int]]:
    return sorted(opened.storage.find_all(ExternalKey), key=lambda found: found[0].external_key_id)


def test_what_cannot_be_erased_at_once_a_server_erases(run: Run, opened: Opened, data: Path) -> None:
    """Twice the same key: what the first deletion left is noted still when the second comes."""
    run("store", "create", "--prefix", "/a")
    wrapped = []
    with closing(sqlite3.connect(data / "strongroom.db")) as reader:
        for _ in range(2):
            assert run("key", "create", "--prefix", "/a", "--id", "key")[0] == 0
            wrapped.append(sorted_keys(opened)[0][0].wrapped)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM external_keys").fetchall()
            run("key", "disable", "--prefix", "/a", "--id", "key")
            code, out, err = run("key", "delete", "--prefix", "/a", "--id", "key")
            assert (code, out) == (0, "Deleted key\n")
            assert err.startswith("strongroom: its key material is not erased from the files yet")
            assert err.count("\n") == 1
            reader.rollback()
    ((note, _),) = opened.storage.find_all(PendingErasure)
    assert (note.account, note.region, note.key_id) == (ACCOUNT, "/a", "key")
    assert all(in_files(data, one) for one in wrapped)

    asyncio.run(run_deletion_job(opened))
    assert opened.storage.find_all(PendingErasure) == []
    assert not any(in_files(data, one) for one in wrapped)
    opened.storage.load()


async def run_deletion_job(opened: Opened) -> None:
    """A look of the job that a server runs."""
    with ThreadPoolExecutor(1) as pool:
        state = LiveSnapshot(opened.storage, partial(open_secret, opened), lambda *_: None)
        audit = AuditWriter.open(audit_log(opened), now=time.time, executor=pool, on_fatal=print)
        meters = Meters(new_memory(opened.config), 0)
        stores = configured_key_stores(opened, SoftwareKeyStore(opened.domain_keys), meters)
        try:
            job = DeletionJob(Office(state, opened.storage, audit, pool), stores)
            assert await job.run(Look(time.time(), None)) is None
        finally:
            stores.close()
            await audit.close()


def test_a_server_that_erases_at_the_same_time_may_say_so_first(
    done: Callable[..., str], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("store", "create", "--prefix", "/a")
    done("key", "create", "--prefix", "/a", "--id", "key")
    erase = DatabaseStorage.erase

    def erase_while_a_server_does(storage: DatabaseStorage) -> None:
        monkeypatch.setattr(DatabaseStorage, "erase", erase)
        erase(storage)
        asyncio.run(run_deletion_job(opened))

    monkeypatch.setattr(DatabaseStorage, "erase", erase_while_a_server_does)
    done("key", "disable", "--prefix", "/a", "--id", "key")
    done("key", "delete", "--prefix", "/a", "--id", "key")
    assert opened.storage.find_all(PendingErasure) == []


def test_nothing_shows_a_secret(done: Callable[..., str], seen: Callable[[], Snapshot], data: Path) -> None:
    done("store", "create", "--prefix", "/a")
    (held,) = seen().xks_credentials.values()
    issued = app.add_xks_credential(read_config(data / "strongroom.yaml"), "/a", 1.0)
    for shown in (repr(held), repr(held.record), repr(issued), repr(seen())):
        assert held.secret not in shown
        assert issued.secret not in shown


def encrypt_once(config: Config, key: ExternalKey) -> None:
    opened = open_installation(config)
    served_external_keys(opened, key_store_of(opened)).open(key).encrypt(b"x", b"", integrity=False)
    opened.close()


def of_two_that_attach_it_at_once_one_does(config: Config, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app.create_xks_store(config, "/b", rate=1, rules=None, now=1.0)

    def after_another(log: AuditLog, record: CloudTrailRecord, writes: list[Write], commit: Commit) -> Position:
        with monkeypatch.context() as undone:
            undone.setattr("strongroom.app.xks_proxy.commit_recorded", commit_recorded)
            app.create_external_key(config, "/b", "key", label=label, now=5.0)
        return commit_recorded(log, record, writes, commit)

    with monkeypatch.context() as between:
        between.setattr("strongroom.app.xks_proxy.commit_recorded", after_another)
        with pytest.raises(StorageError, match="nothing was done, try again"):
            app.create_external_key(config, "/a", "key", label=label, now=5.0)
    assert app.list_external_keys(config, "/a") == []


def test_an_object_of_the_token_becomes_one_key(
    tmp_path: Path, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Hsm(LIBRARY, new_token(softhsm), HsmPin(file=softhsm.pin_file))
    data = tmp_path / "data"
    initialize(data, region="us-east-1", port=0, account=None, hsm=settings, now=time.time())
    config = read_config(data / "strongroom.yaml")
    label = f"payments {secrets.token_hex(4)}"
    attributes: dict[int, Value] = {
        p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_KEY_TYPE: p11.CKK_AES, p11.CKA_VALUE_LEN: 32, p11.CKA_TOKEN: True,
        p11.CKA_PRIVATE: True, p11.CKA_SENSITIVE: True, p11.CKA_EXTRACTABLE: False, p11.CKA_ENCRYPT: True,
        p11.CKA_DECRYPT: True, p11.CKA_LABEL: label.encode(),
    }  # fmt: skip
    with logged_in(softhsm, settings.token) as session:
        session.generate_key(Mechanism(p11.CKM_AES_KEY_GEN), Template(attributes))
    app.create_xks_store(config, "/a", rate=1, rules=None, now=1.0)
    with pytest.raises(HsmError, match="no secret keys labelled"):
        app.create_external_key(config, "/a", "key", label="another", now=1.0)
    attached = app.create_external_key(config, "/a", "key", label=label, now=1.0)
    assert (attached.key_store, attached.wrapped) == ("object", label.encode())
    with pytest.raises(ConfigurationError, match="is key key of key store '/a' already"):
        app.create_external_key(config, "/a", "again", label=label, now=1.0)
    made = app.create_external_key(config, "/a", None, label=None, now=1.0)
    assert made.key_store == "hsm"
    assert app.list_external_keys(config, "/a") == sorted([attached, made], key=lambda key: key.external_key_id)
    encrypt_once(config, attached)
    for key in (attached, made):
        app.disable_external_key(config, "/a", key.external_key_id, 2.0)
        assert app.delete_external_key(config, "/a", key.external_key_id, 2.0) is None
    again = app.create_external_key(config, "/a", "again", label=label, now=3.0)
    assert again.uses == AT_ONCE, "what it encrypted before counts"
    app.disable_external_key(config, "/a", "again", 4.0)
    app.delete_external_key(config, "/a", "again", 4.0)
    of_two_that_attach_it_at_once_one_does(config, label, monkeypatch)
    with logged_in(softhsm, settings.token) as session:
        assert len(session.find(Template({p11.CKA_LABEL: label.encode()}))) == 1, "it is not ours to destroy"
