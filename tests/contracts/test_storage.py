"""What every implementation of `Storage` does."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from msgspec import structs

from strongroom.errors import ConflictError, IntegrityError, RollbackError
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
from strongroom.storage import feed, sqlite
from strongroom.storage.contract import (
    AuditChain,
    Delete,
    Insert,
    Keep,
    OutboxEntry,
    PendingRecord,
    Position,
    Record,
    Removed,
    Replace,
    Storage,
    Stored,
)
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import create_storage as create_postgresql_storage
from strongroom.storage.postgresql import open_storage as open_postgresql_storage
from strongroom.testing.postgresql import Postgresql

ACCOUNT = "111122223333"
REGION = "us-east-1"
ROW_KEY = bytes(range(32))
OUTBOX = OutboxEntry("chain-1", "event-1", b'{"eventName": "CreateKey"}')


class OpenAgain(Protocol):
    def __call__(self) -> Storage:
        """Another instance on the same state, as another process would have."""
        ...


@pytest.fixture(scope="module")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of SQLite as it is made. It is made once: that takes longer than most tests."""
    path = tmp_path_factory.mktemp("new") / "strongroom.db"
    sqlite.create_storage(path, ROW_KEY).close()
    return path


@pytest.fixture(scope="module")
def new_database(postgresql: Postgresql) -> str:
    """The name of a database of PostgreSQL as it is made."""
    url = postgresql.create_database()
    create_postgresql_storage(url, ROW_KEY).close()
    return url.partition("@/")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def open_again(request: pytest.FixtureRequest) -> Iterator[OpenAgain]:
    with ExitStack() as at_the_end:
        opened: list[DatabaseStorage] = []
        open_next: Callable[[], DatabaseStorage]
        match request.param:
            case "sqlite":
                path: Path = request.getfixturevalue("tmp_path") / "strongroom.db"
                shutil.copy(request.getfixturevalue("new_file"), path)
                open_next = partial(sqlite.open_storage, path, ROW_KEY)
            case _:
                new: str = request.getfixturevalue("new_database")
                url: str = at_the_end.enter_context(request.getfixturevalue("postgresql").database(new))
                open_next = partial(open_postgresql_storage, url, ROW_KEY)

        def open_one() -> Storage:
            opened.append(open_next())
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()


@pytest.fixture
def storage(open_again: OpenAgain) -> Storage:
    return open_again()


def kms_key(number: int = 1, *, region: str = REGION, description: str = "") -> KmsKey:
    return KmsKey(
        account=ACCOUNT,
        region=region,
        key_id=f"{number:08x}-12ab-34cd-56ef-1234567890ab",
        key_spec="SYMMETRIC_DEFAULT",
        key_usage="ENCRYPT_DECRYPT",
        origin="AWS_KMS",
        state="Enabled",
        description=description,
        policy='{"Version": "2012-10-17",\n "Statement": []}',
        tags=(("Purpose", "Tëst"), ("Empty", "")),
        created=1_760_000_000.123456,
        current_material_id="ab" * 32,
        multi_region=True,
        rotation_period_in_days=90,
        next_rotation=1_770_000_000.125,
        on_demand_rotation_start=1_760_000_001.5,
        pending_material_id="cd" * 32,
        primary_region="us-east-1",
    )


def kms_grant(number: int = 1, **members: Any) -> Grant:
    made = Grant(ACCOUNT, REGION, kms_key().key_id, f"{number:064x}", 1.5, ACCOUNT, ("Encrypt", "Decrypt"))
    return structs.replace(made, **members)


def key_of(key: KmsKey) -> tuple[str, str, str]:
    return key.account, key.region, key.key_id


MATERIAL = KeyMaterial(ACCOUNT, REGION, kms_key().key_id, "ab" * 32, 1, "software", 1, bytes(range(256)), 1.5)
EVERY_KIND: list[tuple[Record, tuple[str | int, ...]]] = [
    (Installation("installation-1", 1.25, b"chain", b"digest"), ("installation-1",)),
    (Installation("installation-1", 1.25, b"chain", b"digest", 2.5, b"recovery", 3.5), ("installation-1",)),
    (DomainKey("key-material", 2, 3.5, b"\x00wrapped"), ("key-material", 2)),
    (DomainKey("key-material", 3, 3.5, b"\x00wrapped", b"recovery"), ("key-material", 3)),
    (Account(ACCOUNT, 0.1), (ACCOUNT,)),
    (AccessKey("AKIAIOSFODNN7EXAMPLE", ACCOUNT, 2.0, b"sealed"), ("AKIAIOSFODNN7EXAMPLE",)),
    (AccessKey("AKIA2", ACCOUNT, 2.0, b"sealed", "AIDA1", "s3", 3.0), ("AKIA2",)),
    (AccessKeyUsage("AKIA2", 2.5, REGION, "kms"), ("AKIA2",)),
    (
        User(
            ACCOUNT,
            "AIDA1",
            "ann",
            "/",
            2.0,
            (("a", "ä"),),
            ("AGPA1",),
            (("p", "{}"),),
            ("arn:1", "arn:2"),
            "arn:3",
            2.5,
        ),
        (ACCOUNT, "AIDA1"),
    ),
    (Group(ACCOUNT, "AGPA1", "readers", "/a/", 2.0), (ACCOUNT, "AGPA1")),
    (Role(ACCOUNT, "AROA1", "reader", "/", 2.0, "{}", (("arn:1", "AIDA1"),), "", 3600), (ACCOUNT, "AROA1")),
    (
        ManagedPolicy(
            ACCOUNT, "ANPA1", "read", "/", 2.0, 2.5, "", (PolicyVersion("v2", "{}", 2.5),), "v2", newest_version=2
        ),
        (ACCOUNT, "ANPA1"),
    ),
    (IdentityProvider(ACCOUNT, "issuer.example/a", 2.0, ("app",), ()), (ACCOUNT, "issuer.example/a")),
    (Service("s3", 2.0, (ACCOUNT,), ("Decrypt", "GenerateDataKey"), "files"), ("s3",)),
    (structs.replace(kms_key(), policy_principals=(("arn:1", "AIDA1"),)), key_of(kms_key())),
    (kms_grant(grantee_principal="arn:1", grantee_id="AIDA1"), (ACCOUNT, REGION, kms_key().key_id, f"{1:064x}")),
    (kms_key(description='with "quotes",\x00 NUL, 🔑 and \r\n'), key_of(kms_key())),
    (structs.replace(kms_key(), deletion_date=1_760_000_000.5, pending_window_in_days=7), key_of(kms_key())),
    (MATERIAL, (ACCOUNT, REGION, kms_key().key_id, "ab" * 32)),
    (Alias(ACCOUNT, REGION, "alias/a", kms_key().key_id, 1.5, 2.5), (ACCOUNT, REGION, "alias/a")),
    (
        KeyUsage(ACCOUNT, REGION, kms_key().key_id, 1_760_000_000.123456, "Decrypt", "request-1", "event-1"),
        (ACCOUNT, REGION, kms_key().key_id),
    ),
    (kms_grant(grantee_principal="arn:1"), (ACCOUNT, REGION, kms_key().key_id, f"{1:064x}")),
    (
        kms_grant(
            name="a name",
            grantee_service="rds.amazonaws.com",
            retiring_principal="arn:2",
            retiring_service="x.amazonaws.com",
            constraints=GrantConstraints({"a": "ä", "": ""}, {}, "arn:3"),
        ),
        (ACCOUNT, REGION, kms_key().key_id, f"{1:064x}"),
    ),
    (PendingErasure(ACCOUNT, REGION, kms_key().key_id, 3.5), (ACCOUNT, REGION, kms_key().key_id)),
    (
        PendingErasure(ACCOUNT, REGION, kms_key().key_id, 3.5, "cks-1", ("ab" * 32, "cd" * 32)),
        (ACCOUNT, REGION, kms_key().key_id),
    ),
    (
        CustomKeyStore(ACCOUNT, REGION, "cks-1", "ö", "AWS_CLOUDHSM", 1.5, "DISCONNECTED", b"sealed"),
        (ACCOUNT, REGION, "cks-1"),
    ),
    (ClockReading("boot-1", 1_760_000_000.5, 12.25, 1_760_000_100.0), ("boot-1",)),
    (XksStore("", 1.5, 1_800), ("",)),
    (XksStore("/example", 1.5, 1, '{"Version": 1,\n "Rules": []}'), ("/example",)),
    (XksCredential("AKIDEXAMPLE234567ABC", "/example", 1.5, b"sealed"), ("AKIDEXAMPLE234567ABC",)),
    (ExternalKey("", "key-1", 1.5, True, "ab" * 32, 1, "software", 1, b"\x00wrapped"), ("", "key-1")),
    (
        ExternalKey("/example", "key-1", 1.5, False, "ab" * 32, 2, "hsm", 1, b"\x00wrapped", 7, b"recovery"),
        ("/example", "key-1"),
    ),
    (AttachedObject("their key", 2**32), ("their key",)),
]


@pytest.mark.parametrize(("record", "key"), EVERY_KIND, ids=lambda value: type(value).__name__)
def test_a_record_comes_back_as_it_was_written(
    open_again: OpenAgain, record: Record, key: tuple[str | int, ...]
) -> None:
    storage = open_again()
    position = storage.commit([Insert(record)], None)
    assert storage.find(type(record), key) == (record, position.number)
    assert storage.load().records == [Stored(record, position.number)]
    assert open_again().load() == storage.load()


def test_a_time_given_as_an_integer_comes_back_as_the_same_time(storage: Storage) -> None:
    storage.commit([Insert(Account(ACCOUNT, 7))], None)
    assert storage.load().records == [Stored(Account(ACCOUNT, 7.0), 1)]


def test_a_new_storage_is_empty_at_change_zero(storage: Storage) -> None:
    contents = storage.load()
    assert contents.records == []
    assert contents.position.number == 0
    assert contents.position == storage.position()
    assert storage.chains() == []
    assert storage.outbox() == []
    assert list(storage.change_records()) == []


def test_changes_are_numbered_one_by_one(storage: Storage) -> None:
    positions = [storage.commit([Insert(kms_key(number))], None) for number in range(3)]
    assert [position.number for position in positions] == [1, 2, 3]
    assert len({position.chain for position in positions}) == 3
    assert storage.position() == positions[-1]


def test_replacing_and_deleting_need_the_number_that_was_decided_on(storage: Storage) -> None:
    old, new = kms_key(), kms_key(description="new")
    storage.commit([Insert(old)], None)
    storage.commit([Replace(new, 1)], None)
    assert storage.find(KmsKey, key_of(old)) == (new, 2)
    for write in (Replace(old, 1), Delete(old, 1), Insert(old), Replace(kms_key(9), 2), Delete(kms_key(9), 2)):
        with pytest.raises(ConflictError):
            storage.commit([write], None)
    storage.commit([Delete(new, 2)], None)
    assert storage.find(KmsKey, key_of(old)) is None
    assert storage.load().records == []


def test_keeping_a_record_needs_the_number_that_was_decided_on(storage: Storage) -> None:
    storage.commit([Insert(kms_key(1))], None)
    storage.commit([Keep(kms_key(1), 1), Insert(kms_key(2))], None)
    assert storage.find(KmsKey, key_of(kms_key(1))) == (kms_key(1), 1)
    for write in (Keep(kms_key(1), 2), Keep(kms_key(3), 1)):
        with pytest.raises(ConflictError):
            storage.commit([write, Insert(kms_key(4))], None)
    assert storage.load().records == [Stored(kms_key(1), 1), Stored(kms_key(2), 2)]


def test_a_conflict_undoes_the_whole_change(storage: Storage) -> None:
    before = storage.commit([Insert(kms_key(1))], None)
    with pytest.raises(ConflictError):
        storage.commit([Insert(kms_key(2)), Replace(kms_key(1), 7)], OUTBOX)
    assert storage.position() == before
    assert storage.find(KmsKey, key_of(kms_key(2))) is None
    assert storage.outbox() == []
    assert storage.load().position == before


def test_a_record_can_be_deleted_and_inserted_again(storage: Storage) -> None:
    storage.commit([Insert(kms_key())], None)
    storage.commit([Delete(kms_key(), 1)], None)
    storage.commit([Insert(kms_key())], None)
    assert storage.load().records == [Stored(kms_key(), 3)]


def test_many_records_are_removed_at_once(open_again: OpenAgain) -> None:
    ours, theirs = open_again(), open_again()
    grants = [kms_grant(number, grantee_principal="arn:a") for number in range(1_001)]
    start = theirs.commit([Insert(kms_key()), *(Insert(grant) for grant in grants)], None)
    changed = theirs.commit([Replace(kms_grant(7, grantee_principal="arn:b"), 1)], None)
    removal = [Delete(grant, 1) for grant in grants[8:]]
    with pytest.raises(ConflictError):
        theirs.commit([*removal, Delete(grants[7], 1)], None)
    assert theirs.position() == changed
    end = theirs.commit([Delete(kms_key(), 1), *removal], None)

    assert len(theirs.load().records) == 8
    changes = ours.changes_since(start)
    assert changes is not None
    assert changes.position == end
    assert changes.written == [Stored(kms_grant(7, grantee_principal="arn:b"), 2)]
    gone = {Removed(Grant, (ACCOUNT, REGION, kms_key().key_id, grant.grant_id)) for grant in grants[8:]}
    assert set(changes.removed) == gone | {Removed(KmsKey, key_of(kms_key()))}


def test_changes_since_a_position(open_again: OpenAgain) -> None:
    ours, theirs = open_again(), open_again()
    start = ours.load().position
    theirs.commit([Insert(kms_key(1)), Insert(kms_key(2))], None)
    middle = theirs.commit([Replace(kms_key(1, description="new"), 1), Insert(kms_key(3))], None)
    end = theirs.commit([Delete(kms_key(2), 1)], None)

    changes = ours.changes_since(start)
    assert changes is not None
    assert changes.position == end
    assert len(changes.written) == 2
    assert {
        (key_of(stored.record), stored.number) for stored in changes.written if isinstance(stored.record, KmsKey)
    } == {
        (key_of(kms_key(1)), 2),
        (key_of(kms_key(3)), 2),
    }
    assert Stored(kms_key(1, description="new"), 2) in changes.written
    assert changes.removed == [Removed(KmsKey, key_of(kms_key(2)))]

    later = ours.changes_since(middle)
    assert later is not None
    assert (later.position, later.written, len(later.removed)) == (end, [], 1)
    nothing = ours.changes_since(end)
    assert nothing is not None
    assert (nothing.position, nothing.written, nothing.removed) == (end, [], [])


def test_changes_since_refuses_a_position_ahead_of_the_database(storage: Storage) -> None:
    storage.commit([Insert(kms_key())], None)
    with pytest.raises(RollbackError, match="stands at change 1, but change 2 was made already"):
        storage.changes_since(Position(2, bytes(32)))
    with pytest.raises(RollbackError, match="stands at change 1, but change 2 was made already"):
        storage.refuse_other_past(Position(2, bytes(32)))


def test_changes_since_refuses_another_history(storage: Storage) -> None:
    storage.commit([Insert(kms_key(1))], None)
    with pytest.raises(IntegrityError, match="change 1 is not the one that was made before"):
        storage.changes_since(Position(1, bytes(32)))
    storage.commit([Insert(kms_key(2))], None)
    with pytest.raises(IntegrityError, match="feed row 2: its chain value does not match"):
        storage.changes_since(Position(1, bytes(32)))
    with pytest.raises(IntegrityError, match="feed row 2: its chain value does not match"):
        storage.refuse_other_past(Position(1, bytes(32)))


def test_its_own_past_is_not_refused(storage: Storage) -> None:
    positions = [storage.commit([Insert(kms_key(number))], None) for number in range(1, 4)]
    for position in positions:
        storage.refuse_other_past(position)


def test_a_change_after_an_accepted_rollback_is_beyond_the_lost_ones(storage: Storage) -> None:
    before = storage.commit([Insert(kms_key(1))], None)
    accepted = storage.commit([], OUTBOX, beyond=40)
    assert accepted.number == 41
    assert storage.changes_since(before) is None
    assert storage.commit([Insert(kms_key(2))], None, beyond=12).number == 42
    assert [stored.number for stored in storage.load().records] == [1, 42]
    changes = storage.changes_since(accepted)
    assert changes is not None
    assert changes.written == [Stored(kms_key(2), 42)]


def test_the_version_moves_when_anyone_commits_and_only_then(open_again: OpenAgain) -> None:
    ours, theirs = open_again(), open_again()
    seen = [ours.version(), ours.version()]
    theirs.commit([Insert(kms_key(1))], None)
    seen.append(ours.version())
    ours.find(KmsKey, key_of(kms_key(1)))
    ours.load()
    seen.append(ours.version())
    ours.commit([Insert(kms_key(2))], None)
    seen.append(ours.version())
    assert [seen[i] != seen[i + 1] for i in range(4)] == [False, True, False, True]


def test_of_two_writers_on_one_row_one_gets_a_conflict(open_again: OpenAgain) -> None:
    ours, theirs = open_again(), open_again()
    ours.commit([Insert(kms_key())], None)
    theirs.commit([Replace(kms_key(description="theirs"), 1)], None)
    with pytest.raises(ConflictError, match="kms_keys row"):
        ours.commit([Replace(kms_key(description="ours"), 1)], None)
    assert ours.find(KmsKey, key_of(kms_key())) == (kms_key(description="theirs"), 2)


def test_many_threads_commit_without_a_gap(open_again: OpenAgain) -> None:
    storages = [open_again(), open_again()]
    numbers: list[int] = []

    def work(thread: int) -> None:
        for turn in range(50):
            change = [Insert(kms_key(thread * 1_000 + turn))]
            numbers.append(storages[thread % 2].commit(change, None).number)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 201))
    assert len(storages[0].load().records) == 200


def test_keys_are_listed_in_order_of_key_id(storage: Storage) -> None:
    keys = [kms_key(number) for number in range(1, 6)]
    others = [kms_key(3, region="eu-west-1"), structs.replace(kms_key(3), account="444455556666")]
    storage.commit([Insert(key) for key in [*reversed(keys), *others]], None)
    assert storage.list_keys(ACCOUNT, REGION, after="", limit=2) == keys[:2]
    assert storage.list_keys(ACCOUNT, REGION, after=keys[1].key_id, limit=100) == keys[2:]
    assert storage.list_keys(ACCOUNT, REGION, after=keys[-1].key_id, limit=100) == []
    assert storage.list_keys(ACCOUNT, "eu-west-2", after="", limit=100) == []


def test_keys_are_counted_by_account_and_region(storage: Storage) -> None:
    storage.commit([Insert(kms_key(1)), Insert(kms_key(2)), Insert(kms_key(3, region="eu-west-1"))], None)
    assert storage.count_keys(ACCOUNT, REGION) == 2
    assert storage.count_keys(ACCOUNT, "eu-west-1") == 1
    assert storage.count_keys("999999999999", REGION) == 0


def test_aliases_are_listed_in_order_of_name(storage: Storage) -> None:
    first, second = kms_key(1).key_id, kms_key(2).key_id
    names = {"alias/b": first, "alias/B": second, "alias/a/c": first, "alias/_": second, "alias/a": first}
    storage.commit([Insert(Alias(ACCOUNT, REGION, name, key_id, 1.0, 1.0)) for name, key_id in names.items()], None)
    storage.commit([Insert(Alias(ACCOUNT, "eu-west-1", "alias/0", first, 1.0, 1.0))], None)

    def listed(after: str, limit: int, key_id: str | None = None) -> list[str]:
        found = storage.list_aliases(ACCOUNT, REGION, after=after, limit=limit, key_id=key_id)
        return [alias.name for alias in found]

    assert listed("", 10) == ["alias/B", "alias/_", "alias/a", "alias/a/c", "alias/b"]
    assert listed("alias/_", 2) == ["alias/a", "alias/a/c"]
    assert listed("", 10, first) == ["alias/a", "alias/a/c", "alias/b"]
    assert listed("alias/a", 1, first) == ["alias/a/c"]
    assert listed("", 10, kms_key(3).key_id) == []


def test_grants_of_a_key_are_listed_in_order_of_grant_id(storage: Storage) -> None:
    key_id, other_key = kms_key(1).key_id, kms_key(2).key_id
    grants = [
        kms_grant(2, grantee_principal="arn:b"),
        kms_grant(1, grantee_principal="arn:a"),
        kms_grant(16, grantee_principal="arn:a"),
        kms_grant(3, grantee_service="rds.amazonaws.com"),
        kms_grant(0, grantee_principal="arn:a", key_id=other_key),
        kms_grant(0, grantee_principal="arn:a", region="eu-west-1"),
    ]
    storage.commit([Insert(grant) for grant in grants], None)

    def listed(after: int | None = None, limit: int = 10, **members: str) -> list[int]:
        last = "" if after is None else f"{after:064x}"
        found = storage.list_grants((ACCOUNT, REGION, key_id), after=last, limit=limit, **members)
        return [int(grant.grant_id, 16) for grant in found]

    assert listed() == [1, 2, 3, 16]
    assert listed(1, 2) == [2, 3]
    assert listed(grantee_principal="arn:a") == [1, 16]
    assert listed(1, 1, grantee_principal="arn:a") == [16]
    assert listed(grantee_service="rds.amazonaws.com") == [3]
    assert listed(grant_id=f"{2:064x}") == [2]
    assert listed(grant_id=f"{2:064x}", grantee_principal="arn:a") == []
    assert storage.list_grants((ACCOUNT, REGION, kms_key(3).key_id), after="", limit=10) == []


def test_grants_are_listed_by_who_may_retire_them(storage: Storage) -> None:
    grants = [
        kms_grant(1, retiring_principal="arn:a", account="999999999999"),
        kms_grant(2, retiring_principal="arn:a", key_id=kms_key(2).key_id),
        kms_grant(3, retiring_principal="arn:a"),
        kms_grant(4, retiring_principal="arn:a"),
        kms_grant(5, retiring_principal="arn:b"),
        kms_grant(6, retiring_principal="arn:a", region="eu-west-1"),
        kms_grant(7, grantee_principal="arn:a"),
    ]
    storage.commit([Insert(grant) for grant in grants], None)

    def listed(after: tuple[str, str, str] = ("", "", ""), limit: int = 10) -> list[int]:
        found = storage.list_retirable_grants(REGION, ("arn:a", None), after=after, limit=limit)
        return [int(grant.grant_id, 16) for grant in found]

    assert listed() == [3, 4, 2, 1]
    assert listed((ACCOUNT, kms_key(1).key_id, f"{3:064x}"), 2) == [4, 2]
    assert listed((ACCOUNT, kms_key(2).key_id, f"{2:064x}")) == [1]
    assert listed(("999999999999", kms_key(1).key_id, f"{1:064x}")) == []
    assert storage.list_retirable_grants(REGION, ("arn:c", None), after=("", "", ""), limit=10) == []


def test_all_records_of_a_type(storage: Storage) -> None:
    assert storage.find_all(Account) == []
    storage.commit([Insert(Account("000000000001", 1.0)), Insert(kms_key())], None)
    storage.commit([Insert(Account("000000000002", 2.0))], None)
    assert sorted(storage.find_all(Account), key=lambda found: found[1]) == [
        (Account("000000000001", 1.0), 1),
        (Account("000000000002", 2.0), 2),
    ]


def test_erasing_changes_nothing_of_what_is_stored(open_again: OpenAgain) -> None:
    ours, theirs = open_again(), open_again()
    ours.commit([Insert(MATERIAL), Insert(kms_key(1))], None)
    ours.commit([Delete(MATERIAL, 1)], None)
    ours.erase()
    assert theirs.load() == ours.load()
    assert [stored.record for stored in theirs.load().records] == [kms_key(1)]
    theirs.commit([Insert(kms_key(2))], None)
    assert ours.find(KmsKey, key_of(kms_key(2))) is not None


def test_the_outbox_keeps_a_record_until_it_is_chained(open_again: OpenAgain) -> None:
    storage = open_again()
    entries = [OutboxEntry("chain-1", f"event-{number}", b"record %d" % number) for number in (1, 2, 3)]
    for number, entry in enumerate(entries):
        storage.commit([Insert(kms_key(number))], entry)
    pending = [PendingRecord(number, entry) for number, entry in enumerate(entries, start=1)]
    assert storage.outbox() == pending
    chain = AuditChain("chain-1", 5.0, 1, bytes(32), ended=False)
    storage.register_chain(chain, chained=[2])
    assert open_again().outbox() == [pending[0], pending[2]]
    storage.register_chain(chain, chained=[1, 2, 3])
    assert storage.outbox() == []


def test_change_records_are_the_hashes_of_all_audit_records(storage: Storage) -> None:
    storage.commit([Insert(kms_key(1))], OUTBOX)
    storage.commit([Insert(kms_key(2))], None)
    storage.commit([], OutboxEntry("chain-1", "event-3", b"third"))
    storage.register_chain(AuditChain("chain-1", 5.0, 1, bytes(32), ended=False), chained=[1])
    expected = [(1, hashlib.sha256(OUTBOX.record).digest()), (3, hashlib.sha256(b"third").digest())]
    assert list(storage.change_records()) == expected


def test_chains_are_registered_and_updated_in_order_of_registration(open_again: OpenAgain) -> None:
    storage = open_again()
    first = AuditChain("z", 5.0, 0, b"\x01" * 32, ended=False)
    second = AuditChain("a", 6.0, 0, b"\x02" * 32, ended=False)
    storage.register_chain(first)
    storage.register_chain(second)
    ended = first._replace(sequence=900, mac=b"\x03" * 32, ended=True)
    storage.register_chain(ended)
    assert open_again().chains() == [ended, second]


def test_registering_a_chain_is_not_a_change(storage: Storage) -> None:
    before = storage.position()
    storage.register_chain(AuditChain("z", 5.0, 0, b"\x01" * 32, ended=False))
    assert storage.position() == before


def test_a_checkpoint_is_written_when_due_and_the_feed_is_trimmed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 10)
    monkeypatch.setattr(feed, "FEED_KEPT", 4)
    positions = [storage.commit([Insert(kms_key(number))], None) for number in range(9)]
    storage.checkpoint()
    assert storage.changes_since(positions[0]) is not None, "nine changes are not due yet"
    positions.append(storage.commit([Delete(kms_key(0), 1)], None))
    contents = storage.load()
    assert storage.changes_since(positions[0]) is not None, "loading changes nothing"
    storage.checkpoint()
    assert storage.changes_since(positions[4]) is None
    changes = storage.changes_since(positions[5])
    assert changes is not None
    assert len(changes.written) == 3
    assert storage.load() == contents
    storage.commit([Replace(kms_key(5, description="after"), 6)], None)
    assert {stored.number for stored in storage.load().records} == {2, 3, 4, 5, 7, 8, 9, 11}


def test_trimming_keeps_the_changes_whose_records_are_in_the_outbox(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 10)
    monkeypatch.setattr(feed, "FEED_KEPT", 2)
    for number in range(10):
        storage.commit([Insert(kms_key(number))], OUTBOX if number == 3 else None)
    storage.checkpoint()
    assert storage.outbox() == [PendingRecord(4, OUTBOX)]
    assert [number for number, _ in storage.change_records()] == [4]


def test_loading_keeps_the_records_of_all_changes(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 4)
    monkeypatch.setattr(feed, "FEED_KEPT", 2)
    chain = AuditChain("chain-1", 5.0, 1, bytes(32), ended=False)
    for number in range(6):
        storage.commit([Insert(kms_key(number))], OUTBOX)
    storage.register_chain(chain, chained=range(1, 7))
    version = storage.version()
    storage.load()
    assert storage.version() == version
    assert [number for number, _ in storage.change_records()] == [1, 2, 3, 4, 5, 6]
    storage.checkpoint()
    assert [number for number, _ in storage.change_records()] == [5, 6]


def test_checkpoints_while_serving_keep_the_feed_short(open_again: OpenAgain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CHECKPOINT_AFTER", 10)
    monkeypatch.setattr(feed, "FEED_KEPT", 5)
    ours, theirs = open_again(), open_again()
    chain = AuditChain("chain-1", 5.0, 1, bytes(32), ended=False)
    writers = [threading.Thread(target=commit_keys, args=(theirs, thread)) for thread in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        ours.checkpoint()
        ours.register_chain(chain, chained=[pending.number for pending in ours.outbox()])
    for writer in writers:
        writer.join()
    ours.register_chain(chain, chained=range(1, 81))
    for number in range(80, 90):  # were no checkpoint due for now, it is after these
        ours.commit([Insert(kms_key(number))], OUTBOX)
    ours.register_chain(chain, chained=range(81, 91))
    ours.checkpoint()
    assert len(list(ours.change_records())) < 15
    assert len(ours.load().records) == 90
    assert theirs.load() == open_again().load()


def commit_keys(storage: Storage, thread: int) -> None:
    for number in range(40):
        storage.commit([Insert(kms_key(thread * 40 + number))], OUTBOX)


def test_readers_beside_a_writer_see_no_rollback(storage: Storage) -> None:
    """A state that is read while a newer change is made is not behind: it was the newest when it was read."""
    finished = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        try:
            while not finished.is_set():
                storage.position()
        except RollbackError as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(80):
        storage.commit([Insert(kms_key(number))], None)
    finished.set()
    for reader in readers:
        reader.join()
    assert failures == []
