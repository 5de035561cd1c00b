"""A writer of the database at work: whatever is altered is refused, and named."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import IntegrityError, RollbackError
from strongroom.model.alias import Alias
from strongroom.model.clock_reading import ClockReading
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.domain_key import DomainKey
from strongroom.model.erasure import PendingErasure
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, PolicyVersion, Role, User
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, AccessKeyUsage, Account, Service
from strongroom.model.xks import AttachedObject, ExternalKey, XksCredential, XksStore
from strongroom.storage import feed
from strongroom.storage.contract import AuditChain, Delete, Insert, OutboxEntry, Record, Replace
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite import create_storage, open_storage
from strongroom.storage.tables import RECORD_TABLES, column_names

ROW_KEY = bytes(range(32))
ACCOUNT, REGION = "111122223333", "us-east-1"

Row = dict[str, Any]


def records(version: int) -> list[Record]:
    """Two records of each kind; those of another version have the same keys and other contents."""
    time = float(version)
    both: list[Record] = []
    for number in (1, 2):
        key_id = f"{number:08x}-12ab-34cd-56ef-1234567890ab"
        both += [
            Installation(f"installation-{number}", time, b"chain", b"digest", time, b"recovery", time),
            DomainKey("rows", number, time, b"wrapped %d" % number, b"recovery"),
            Account(f"{number:012d}", time, time),
            AccessKey(f"AKIA{number:016d}", ACCOUNT, time, b"sealed %d" % number, "AIDA", "s3", time),
            AccessKeyUsage(f"AKIA{number:016d}", time, REGION, "kms"),
            User(
                ACCOUNT, f"AIDA{number}", f"user-{number}", "/", time, (("a", "b"),), ("AGPA1",), (("p", "{}"),),
                ("arn:1",), "arn:2", time,
            ),
            Group(ACCOUNT, f"AGPA{number}", f"group-{number}", "/", time, (("p", "{}"),), ("arn:1",)),
            Role(
                ACCOUNT, f"AROA{number}", f"role-{number}", "/", time, "{}", (("arn:3", "AIDA1"),), "for", 3600,
                (("a", "b"),), (("p", "{}"),), ("arn:1",), "arn:2", time,
            ),
            ManagedPolicy(
                ACCOUNT, f"ANPA{number}", f"policy-{number}", "/", time, time, "for",
                (PolicyVersion("v1", "{}", time),), "v1", 1, (("a", "b"),),
            ),
            IdentityProvider(ACCOUNT, f"issuer-{number}.example", time, ("app",), ("ab" * 20,), (("a", "b"),)),
            Service(f"service-{number}", time, (ACCOUNT,), ("Decrypt",), "files"),
            KmsKey(
                ACCOUNT, REGION, key_id, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled",
                f"number {number}", "{}", (("a", "b"),), time, "ab" * 32, deletion_date=time,
                pending_window_in_days=version, policy_principals=(("arn:1", "AIDA1"),),
                rotation_period_in_days=version, next_rotation=time, on_demand_rotation_start=time,
                pending_material_id="cd" * 32, primary_region="us-east-1",
                custom_key_store_id="cks-1", xks_key_id="key",
            ),
            CustomKeyStore(
                ACCOUNT, REGION, f"cks-{number}", f"store {number}", "AWS_CLOUDHSM", time, "FAILED",
                b"sealed %d" % number,
                "INTERNAL_ERROR", "cluster-1", "PEM", "PUBLIC_ENDPOINT", "https://xks.example.com", "/kms/xks/v1",
                "AKID", "com.amazonaws.vpce", ACCOUNT,
            ),
            KeyMaterial(
                ACCOUNT, REGION, key_id, "ab" * 32, number, "software", 1, b"wrapped %d" % number, time, b"public",
                number, b"recovery", "description", time, time, "AUTOMATIC",
            ),
            Alias(ACCOUNT, REGION, f"alias/{number}", key_id, 1.0, time),
            Grant(
                ACCOUNT, REGION, key_id, "cd" * 32, time, ACCOUNT, ("Encrypt",), "name", "arn:1",
                "rds.amazonaws.com", "arn:2", "x.amazonaws.com", GrantConstraints({"a": "b"}),
                "AIDA1", "AIDA2",
            ),
            KeyUsage(ACCOUNT, REGION, key_id, time, "Encrypt", "request", f"event {version}"),
            PendingErasure(ACCOUNT, REGION, key_id, time, "cks-1", ("ab" * 32,)),
            ClockReading(f"boot-{number}", 1.0, 2.0, time),
            XksStore(f"/store-{number}", time, 1800, "{}"),
            XksCredential(f"AKID{number:016d}", "/store-1", time, b"sealed %d" % number),
            ExternalKey(
                "/store-1", f"key-{number}", time, True, "ab" * 32, 2, "hsm", 1, b"wrapped %d" % number, 7,
                b"recovery",
            ),
            AttachedObject(f"object {number}", 7),
        ]  # fmt: skip
    return both


FIRST = {
    "installation": "installation-1",
    "domain_keys": "rows/1",
    "accounts": "000000000001",
    "access_keys": "AKIA0000000000000001",
    "access_key_usages": "AKIA0000000000000001",
    "users": f"{ACCOUNT}/AIDA1",
    "groups": f"{ACCOUNT}/AGPA1",
    "roles": f"{ACCOUNT}/AROA1",
    "managed_policies": f"{ACCOUNT}/ANPA1",
    "identity_providers": f"{ACCOUNT}/issuer-1.example",
    "services": "service-1",
    "kms_keys": f"{ACCOUNT}/{REGION}/00000001-12ab-34cd-56ef-1234567890ab",
    "custom_key_stores": f"{ACCOUNT}/{REGION}/cks-1",
    "key_materials": f"{ACCOUNT}/{REGION}/00000001-12ab-34cd-56ef-1234567890ab/{'ab' * 32}",
    "aliases": f"{ACCOUNT}/{REGION}/alias/1",
    "grants": f"{ACCOUNT}/{REGION}/00000001-12ab-34cd-56ef-1234567890ab/{'cd' * 32}",
    "key_usages": f"{ACCOUNT}/{REGION}/00000001-12ab-34cd-56ef-1234567890ab",
    "pending_erasures": f"{ACCOUNT}/{REGION}/00000001-12ab-34cd-56ef-1234567890ab",
    "clock_readings": "boot-1",
    "xks_stores": "/store-1",
    "xks_credentials": "AKID0000000000000001",
    "external_keys": "/store-1/key-1",
    "attached_objects": "object 1",
}
"""Table -> the name of its first row."""
TABLES = list(FIRST)
KEYS = {table.name: table.key for table in RECORD_TABLES.values()}
KINDS = {table.name: kind for kind, table in RECORD_TABLES.items()}
COLUMNS = [(table.name, column) for table in RECORD_TABLES.values() for column in table.columns]
TRUTHS = {"multi_region", "enabled"}


class Intruder:
    """Writes to the database behind the service's back."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.row_factory = sqlite3.Row

    def run(self, statement: str, *values: object) -> int:
        return self.connection.execute(statement, values).rowcount

    def rows(self, table: str) -> list[Row]:
        return [dict(row) for row in self.connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]

    def put(self, table: str, row: Row) -> None:
        """Write a row over whatever has its primary key."""
        marks = ", ".join("?" * len(row))
        self.run(f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def remove(self, table: str, row: Row) -> None:
        where = " AND ".join(f"{name} = ?" for name in KEYS[table])
        assert self.run(f"DELETE FROM {table} WHERE {where}", *(row[name] for name in KEYS[table])) == 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "strongroom.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which change 1 inserted all records; change 2 has an audit record in the outbox."""
    path = tmp_path_factory.mktemp("whole") / "strongroom.db"
    storage = create_storage(path, ROW_KEY)
    storage.commit([Insert(record) for record in records(1)], None)
    storage.commit([], OutboxEntry("chain-1", "event-2", b"record 2"))
    storage.close()
    assert list(path.parent.iterdir()) == [path]  # all is in the one file
    return path


@pytest.fixture
def storage(whole: Path, path: Path) -> Iterator[DatabaseStorage]:
    """A copy of it."""
    shutil.copy(whole, path)
    storage = open_storage(path, ROW_KEY)
    yield storage
    storage.close()


@pytest.fixture
def intruder(storage: DatabaseStorage, path: Path) -> Iterator[Intruder]:
    intruder = Intruder(path)
    yield intruder
    intruder.connection.close()


def refused(call: Callable[[], object], *names: str) -> None:
    """The call fails, in one line, for exactly what `names` say."""
    with pytest.raises(IntegrityError) as failure:
        call()
    text = str(failure.value)
    assert "\n" not in text
    assert text == "the database was altered: " + "; ".join(names)


def altered(cell: object) -> object:
    match cell:
        case int() | float():
            return cell + 1
        case bytes():
            return bytes([*cell[:-1], cell[-1] ^ 1])
        case _:
            return f"{cell} "


@pytest.mark.parametrize(("table", "column"), [pair for pair in COLUMNS if pair[1] not in KEYS[pair[0]]])
def test_an_edited_cell(storage: DatabaseStorage, intruder: Intruder, table: str, column: str) -> None:
    row = intruder.rows(table)[0]
    cell = int(not row[column]) if column in TRUTHS else altered(row[column])
    intruder.put(table, row | {column: cell})
    name = f"{table} row {FIRST[table]}: its authentication code does not match"
    refused(storage.load, name)
    key = tuple(row[part] for part in KEYS[table])
    refused(lambda: storage.find(KINDS[table], key), name)


@pytest.mark.parametrize("value", [None, 5, 2.5, b"\xfe", "text", "two\nlines"])
@pytest.mark.parametrize("table", TABLES)
def test_a_cell_of_another_type(storage: DatabaseStorage, intruder: Intruder, table: str, value: object) -> None:
    """A damaged type is refused like any other edit, in whichever column; the schema may have been altered too."""
    intruder.run("PRAGMA writable_schema = ON")
    assert intruder.run("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'") > 0
    intruder.run("PRAGMA writable_schema = RESET")
    for column in column_names(RECORD_TABLES[KINDS[table]].table):
        if column in TRUTHS:
            continue  # whatever is not zero reads as true
        row = intruder.rows(table)[0]
        intruder.run(f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})", value)
        with pytest.raises(
            IntegrityError, match=rf"\A[^\n]*{table} row [^\n]*: its authentication code does not match"
        ):
            storage.load()
        intruder.run(f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})", row[column])
    storage.load()


@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row(storage: DatabaseStorage, intruder: Intruder, table: str) -> None:
    intruder.remove(table, intruder.rows(table)[0])
    refused(storage.load, f"{table} row {FIRST[table]}: change 1 wrote it, but it is missing")


@pytest.mark.parametrize("table", TABLES)
def test_a_row_put_back_from_before(storage: DatabaseStorage, intruder: Intruder, table: str) -> None:
    row = intruder.rows(table)[0]
    storage.commit([Replace(record, 1) for record in records(2)], None)
    intruder.put(table, row)
    name = f"{table} row {FIRST[table]}: it was put back from before, as change 1 wrote it and not 3"
    refused(storage.load, name)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_put_back_after_it_was_deleted(storage: DatabaseStorage, intruder: Intruder, table: str) -> None:
    row = intruder.rows(table)[0]
    storage.commit([Delete(record, 1) for record in records(1)], None)
    storage.load()
    intruder.put(table, row)
    refused(storage.load, f"{table} row {FIRST[table]}: it was put back after change 3 removed it")


@pytest.mark.parametrize("table", TABLES)
def test_a_row_copied_to_another_key(storage: DatabaseStorage, intruder: Intruder, table: str) -> None:
    column = KEYS[table][-1]
    row = intruder.rows(table)[0]
    copy = 77 if column == "version" else "copy"
    intruder.put(table, row | {column: copy})
    name = FIRST[table].removesuffix(str(row[column])) + str(copy)
    refused(storage.load, f"{table} row {name}: its authentication code does not match")


@pytest.mark.parametrize("table", TABLES)
def test_two_rows_swapped(storage: DatabaseStorage, intruder: Intruder, table: str) -> None:
    one, two = intruder.rows(table)
    for ours, theirs in ((one, two), (two, one)):
        intruder.put(table, theirs | {name: ours[name] for name in KEYS[table]})
    fault = "its authentication code does not match"
    with pytest.raises(IntegrityError, match=rf"{table} row [^;]*: {fault}; {table} row [^;]*: {fault}\Z"):
        storage.load()


def test_a_row_kept_when_the_rest_is_put_back(storage: DatabaseStorage, intruder: Intruder, path: Path) -> None:
    """The feed is cut back with its own genuine head, but one row of the lost change stays."""
    before = {table: intruder.rows(table) for table in ("feed", "feed_head", "accounts")}
    storage.commit([Replace(record, 1) for record in records(2) if isinstance(record, Account)], None)
    intruder.run("DELETE FROM feed_head")
    intruder.run("DELETE FROM feed WHERE number = 3")
    intruder.put("feed_head", before["feed_head"][0])
    intruder.put("accounts", before["accounts"][1])
    with pytest.raises(RollbackError, match="stands at change 2, but change 3 was made already"):
        storage.load()
    started = open_storage(path, ROW_KEY)
    refused(started.load, "accounts row 000000000001: change 3 wrote it, which the change feed does not have")
    started.close()


def test_a_change_made_on_a_row_put_back_from_before(storage: DatabaseStorage, intruder: Intruder) -> None:
    """While the service runs: the next change of the row would make the old contents look new."""
    old, new = (next(record for record in records(version) if isinstance(record, Account)) for version in (1, 2))
    row = intruder.rows("accounts")[0]
    storage.commit([Replace(new, 1)], None)
    intruder.put("accounts", row)
    storage.commit([Replace(old, 1)], None)
    refused(storage.load, "accounts row 000000000001: it was put back or removed before change 4 was made")


def test_faults_beyond_the_fifth_are_counted(storage: DatabaseStorage, intruder: Intruder) -> None:
    for table in TABLES:
        intruder.run(f"UPDATE {table} SET number = 9")
    with pytest.raises(IntegrityError, match=rf"; and {2 * len(TABLES) - 5} more\Z") as failure:
        storage.load()
    assert str(failure.value).count("does not match") == 5


def test_a_row_from_before_the_checkpoint_is_named_too(
    storage: DatabaseStorage, intruder: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 2)
    monkeypatch.setattr(feed, "FEED_KEPT", 1)
    old_checkpoint = intruder.rows("checkpoint")[0]
    storage.checkpoint()
    assert intruder.rows("checkpoint")[0]["floor_number"] == 1, "the feed must have forgotten change 1"
    row = intruder.rows("kms_keys")[0]
    intruder.remove("kms_keys", row)
    refused(storage.load, f"kms_keys row {FIRST['kms_keys']}: change 1 wrote it, but it is missing")
    intruder.put("kms_keys", row)
    storage.load()
    intruder.run("DELETE FROM checkpoint")
    intruder.put("checkpoint", old_checkpoint)
    refused(storage.load, "the change feed does not go on from change 0 to change 2")


@pytest.mark.parametrize("column", ["previous", "entries", "record_hash", "chain"])
def test_an_edited_feed_row(storage: DatabaseStorage, intruder: Intruder, column: str) -> None:
    storage.commit([], OutboxEntry("chain-1", "event-3", b"record 3"))
    row = intruder.rows("feed")[1]
    intruder.put("feed", row | {column: altered(row[column])})
    fault = (
        "the change feed does not go on from change 1 to change 2"
        if column == "previous"
        else "feed row 2: its chain value does not match"
    )
    refused(storage.load, fault)
    refused(storage.outbox, fault)
    refused(lambda: list(storage.change_records()), fault)


def test_the_newest_feed_row_edited(storage: DatabaseStorage, intruder: Intruder) -> None:
    row = intruder.rows("feed")[1]
    intruder.put("feed", row | {"chain": altered(row["chain"])})
    refused(storage.load, "feed row 2: its chain value is not the one that the feed head has")
    refused(lambda: storage.commit([], None), "feed row 2: its chain value is not the one that the feed head has")
    intruder.put("feed", row | {"entries": "[]\n"})
    refused(storage.load, "feed row 2: its chain value does not match")


def test_a_renumbered_feed_row(storage: DatabaseStorage, intruder: Intruder) -> None:
    storage.commit([], None, beyond=9)
    intruder.run("UPDATE feed SET number = 4 WHERE number = 2")
    refused(storage.load, "feed row 4: its chain value does not match")


def test_a_feed_row_removed_from_the_middle(storage: DatabaseStorage, intruder: Intruder) -> None:
    position = storage.load().position
    for _ in range(3):
        storage.commit([], None)
    intruder.run("DELETE FROM feed WHERE number = 4")
    refused(storage.load, "the change feed does not go on from change 3 to change 5")
    refused(lambda: storage.changes_since(position), "the change feed does not go on from change 3 to change 5")


def test_the_newest_feed_row_removed(storage: DatabaseStorage, intruder: Intruder) -> None:
    position = storage.load().position
    intruder.run("DELETE FROM feed WHERE number = 2")
    fault = "the feed head stands at change 2, but the change feed ends at change 1"
    refused(storage.load, fault)
    refused(storage.position, fault)
    refused(lambda: storage.changes_since(position), fault)
    refused(lambda: storage.commit([], None), fault)


def test_all_feed_rows_removed(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.run("DELETE FROM feed")
    refused(storage.load, "the feed head stands at change 2, but the change feed ends at change 0")


def test_a_feed_row_put_twice(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.put("feed", intruder.rows("feed")[1] | {"number": 3})
    refused(storage.load, "the feed head stands at change 2, but the change feed ends at change 3")


@pytest.mark.parametrize("column", ["number", "chain", "pending", "audit_chains", "mac"])
def test_an_edited_feed_head_is_neither_believed_nor_continued(
    storage: DatabaseStorage, intruder: Intruder, column: str
) -> None:
    position = storage.load().position
    row = intruder.rows("feed_head")[0]
    intruder.run(f"UPDATE feed_head SET {column} = ?", altered(row[column]))
    chain = AuditChain("chain-1", 1.0, 0, bytes(32), ended=False)
    calls: list[Callable[[], object]] = [
        storage.load,
        storage.position,
        storage.outbox,
        storage.chains,
        lambda: storage.changes_since(position),
        lambda: storage.commit([], None),
        lambda: storage.register_chain(chain, chained=[2]),
    ]
    for call in calls:
        refused(call, "feed head: its authentication code does not match")


def test_a_feed_head_put_back_or_removed(storage: DatabaseStorage, intruder: Intruder) -> None:
    row = intruder.rows("feed_head")[0]
    storage.commit([], None)
    intruder.run("DELETE FROM feed_head")
    refused(lambda: storage.commit([], None), "feed_head has 0 rows and not one")
    intruder.put("feed_head", row)
    refused(lambda: storage.commit([], None), "the feed head stands at change 2, but the change feed ends at change 3")


@pytest.mark.parametrize("column", ["number", "chain", "floor_number", "floor_chain", "listing", "mac"])
def test_an_edited_checkpoint(storage: DatabaseStorage, intruder: Intruder, column: str) -> None:
    row = intruder.rows("checkpoint")[0]
    intruder.run(f"UPDATE checkpoint SET {column} = ?", altered(row[column]))
    refused(storage.load, "checkpoint: its authentication code does not match")


def test_no_checkpoint_is_made_of_what_is_not_proved(
    storage: DatabaseStorage, intruder: Intruder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 2)
    monkeypatch.setattr(feed, "FEED_KEPT", 1)
    before = {table: intruder.rows(table) for table in ("checkpoint", "feed")}
    intruder.remove("accounts", intruder.rows("accounts")[0])
    refused(storage.checkpoint, "accounts row 000000000001: change 1 wrote it, but it is missing")
    assert {table: intruder.rows(table) for table in before} == before


def test_a_second_feed_head(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.put("feed_head", intruder.rows("feed_head")[0])
    refused(storage.position, "feed_head has 2 rows and not one")


def test_a_missing_checkpoint(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.run("DELETE FROM checkpoint")
    refused(storage.load, "checkpoint has 0 rows and not one")


@pytest.mark.parametrize("column", ["chain_id", "event_id", "record", "mac"])
def test_an_edited_outbox_record(storage: DatabaseStorage, intruder: Intruder, column: str) -> None:
    row = intruder.rows("audit_outbox")[0]
    intruder.put("audit_outbox", row | {column: altered(row[column])})
    refused(storage.outbox, "audit_outbox row 2: its authentication code does not match")


def test_a_deleted_outbox_record(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.run("DELETE FROM audit_outbox")
    refused(storage.outbox, "audit_outbox row 2: it is missing")


def test_an_outbox_record_put_back_or_moved(storage: DatabaseStorage, intruder: Intruder) -> None:
    row = intruder.rows("audit_outbox")[0]
    intruder.run("UPDATE audit_outbox SET number = 1")
    refused(
        storage.outbox,
        "audit_outbox row 1: its authentication code does not match",
        "audit_outbox row 2: it is missing",
    )
    intruder.run("DELETE FROM audit_outbox")
    storage.register_chain(AuditChain("chain-1", 1.0, 1, bytes(32), ended=False), chained=[2])
    intruder.put("audit_outbox", row)
    refused(storage.outbox, "audit_outbox row 2: it was put back after its record was chained")


def test_an_outbox_record_of_another_history(path: Path, tmp_path: Path) -> None:
    """The database was put back and continued: a record of the lost change 1 does not pass for the new one."""
    histories: list[Path] = [path, tmp_path / "other.db"]
    for number, where in enumerate(histories):
        history = create_storage(where, ROW_KEY)
        history.commit([], OutboxEntry("chain-1", "event-1", b"record of history %d" % number))
        history.close()
    intruders = [Intruder(where) for where in histories]
    intruders[0].put("audit_outbox", intruders[1].rows("audit_outbox")[0])
    storage = open_storage(path, ROW_KEY)
    refused(storage.outbox, "audit_outbox row 1: it is not the record that the change feed names")
    storage.close()
    for intruder in intruders:
        intruder.connection.close()


@pytest.mark.parametrize("column", ["chain_id", "serial", "opened", "sequence", "chain_mac", "ended", "mac"])
def test_an_edited_audit_chain(storage: DatabaseStorage, intruder: Intruder, column: str) -> None:
    storage.register_chain(AuditChain("chain-1", 1.0, 7, bytes(32), ended=False))
    row = intruder.rows("audit_chains")[0]
    intruder.run(f"UPDATE audit_chains SET {column} = ?", altered(row[column]))
    name = "chain-1 " if column == "chain_id" else "chain-1"
    refused(storage.chains, f"audit_chains row {name}: its authentication code does not match")


def test_an_audit_chain_removed_or_copied(storage: DatabaseStorage, intruder: Intruder) -> None:
    for name in ("chain-1", "chain-2"):
        storage.register_chain(AuditChain(name, 1.0, 7, bytes(32), ended=False))
    row = intruder.rows("audit_chains")[0]
    intruder.run("DELETE FROM audit_chains WHERE chain_id = 'chain-1'")
    refused(storage.chains, "audit_chains: 2 chains were registered, 1 of them are missing")
    intruder.put("audit_chains", row | {"chain_id": "chain-3"})
    refused(storage.chains, "audit_chains row chain-3: its authentication code does not match")


def test_an_older_copy_of_the_whole_database(storage: DatabaseStorage, path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    source.close()
    target.close()
    copy.chmod(0o600)
    position = storage.commit([], None)
    restored = open_storage(copy, ROW_KEY)
    assert restored.load().position.number == 2, "by itself an old copy is as good as it was"
    with pytest.raises(RollbackError, match="stands at change 2, but change 3 was made already"):
        restored.changes_since(position)
    restored.commit([], OutboxEntry("chain-1", "event-3", b"another change 3"))
    refused(lambda: restored.changes_since(position), "change 3 is not the one that was made before")
    restored.close()


def test_a_running_process_refuses_a_row_that_is_not_as_the_feed_says(
    storage: DatabaseStorage, intruder: Intruder
) -> None:
    position = storage.load().position
    row = intruder.rows("accounts")[0]
    storage.commit([Replace(record, 1) for record in records(2) if isinstance(record, Account)], None)
    newer = intruder.rows("accounts")[0]
    name = "accounts row 000000000001: it is not as the change feed says"
    intruder.put("accounts", row)
    refused(lambda: storage.changes_since(position), name)
    intruder.remove("accounts", row)
    refused(lambda: storage.changes_since(position), name)
    intruder.put("accounts", newer | {"created": 5.0})
    refused(
        lambda: storage.changes_since(position),
        "accounts row 000000000001: its authentication code does not match",
    )


def test_listing_refuses_an_edited_key(storage: DatabaseStorage, intruder: Intruder) -> None:
    intruder.run("UPDATE kms_keys SET state = 'Disabled' WHERE key_id LIKE '00000001%'")
    with pytest.raises(IntegrityError, match=re.escape(FIRST["kms_keys"])):
        storage.list_keys(ACCOUNT, REGION, after="", limit=10)


def test_another_row_key_proves_nothing(storage: DatabaseStorage, path: Path) -> None:
    other = open_storage(path, bytes(32))
    refused(other.load, "feed head: its authentication code does not match")
    other.close()
