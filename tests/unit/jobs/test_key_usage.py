"""The first use of each hour is stored while the process runs, every use when it ends; the newest stays."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from strongroom.errors import ConflictError, StorageError
from strongroom.jobs import key_usage
from strongroom.jobs.key_usage import UsageJob, store_last
from strongroom.model.iam import User
from strongroom.model.key import KmsKey
from strongroom.model.principal import AccessKey, AccessKeyUsage, Account, Service
from strongroom.operations.uses import Uses
from strongroom.snapshot import LiveSnapshot
from strongroom.storage.contract import Delete, Insert, Replace
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite import create_storage, open_storage

REGION, ACCOUNT = "us-east-1", "111122223333"
ROW_KEY = bytes(range(32))
HOUR = 3_600.0
NOON = 500_000 * HOUR


def kms_key(number: int) -> KmsKey:
    return KmsKey(
        ACCOUNT, REGION, f"{number:08x}-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT",
        "AWS_KMS", "Enabled", "", "{}", (), 1.0, "ab" * 32,
    )  # fmt: skip


class Process(NamedTuple):
    """What a server process has, with the first key of the storage."""

    storage: DatabaseStorage
    state: LiveSnapshot
    uses: Uses
    job: UsageJob
    clock: list[float]

    def use(self, after: float, *keys: KmsKey) -> None:
        """Use keys (the first, if none is named), in seconds after noon."""
        event_id = f"event {after}"
        self.clock[0] = NOON + after
        self.uses.note(
            keys or [kms_key(1)], now=NOON + after, operation="Encrypt", request_id="request", event_id=event_id
        )

    def use_access_key(self, after: float, key: AccessKey) -> None:
        self.clock[0] = NOON + after
        self.uses.note_access_key(key.access_key_id, now=NOON + after, region=REGION, service="kms")

    def run(self, *, ending: bool = False) -> None:
        asyncio.run(self.job.run(ending=ending))

    def stored(self, key: KmsKey | None = None) -> float | None:
        """The last use of a key as it is stored, in seconds after noon."""

        async def look() -> float | None:
            entry = self.state.fresh().keys[REGION, ACCOUNT, (key or kms_key(1)).key_id]
            return None if entry.usage is None else entry.usage.record.used - NOON

        return asyncio.run(look())

    def stored_of_access_key(self, key: AccessKey) -> float | None:
        """The last use of an access key as it is stored, in seconds after noon."""
        found = self.storage.find(AccessKeyUsage, (key.access_key_id,))
        return None if found is None else found[0].used - NOON


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """Two processes over one database, which has one key."""
    path = tmp_path / "strongroom.db"
    storages = [create_storage(path, ROW_KEY), open_storage(path, ROW_KEY)]
    storages[0].commit([Insert(Account(ACCOUNT, 1.0)), Insert(kms_key(1))], None)
    with ThreadPoolExecutor(2) as pool:
        yield process(storages[0], pool), process(storages[1], pool)
    for storage in storages:
        storage.load()
        storage.close()


@pytest.fixture
def one(processes: tuple[Process, Process]) -> Process:
    return processes[0]


def process(storage: DatabaseStorage, pool: ThreadPoolExecutor) -> Process:
    def nothing(*_: object) -> Any:
        return ""

    state = LiveSnapshot(storage, nothing, nothing)
    uses, clock = Uses(), [NOON]
    return Process(storage, state, uses, UsageJob(state, storage, uses, pool, lambda: clock[0]), clock)


def test_the_first_use_of_each_hour_is_stored_while_the_process_runs(one: Process) -> None:
    for used, stored in ((10, 10), (20, 10), (HOUR - 1, 10), (HOUR, HOUR), (HOUR + 1, HOUR)):
        one.use(used)
        one.run()
        assert one.stored() == stored
    number = one.storage.position().number
    one.run()
    assert one.storage.position().number == number


def test_the_last_use_in_an_hour_is_stored_when_the_hour_is_over(one: Process) -> None:
    one.use(10)
    one.run()
    one.use(HOUR - 20)
    for now, stored in ((HOUR - 1, 10), (HOUR, HOUR - 20), (HOUR + 60, HOUR - 20)):
        one.clock[0] = NOON + now
        one.run()
        assert one.stored() == stored
    assert one.uses.noted() == []


def test_every_use_is_stored_when_the_process_ends(one: Process) -> None:
    for used in (10, 20):
        one.use(used)
        one.run(ending=True)
        assert one.stored() == used
    assert one.uses.noted() == []


def test_what_is_stored_is_forgotten_and_what_is_not_counts_on(one: Process) -> None:
    one.use(10)
    one.run()
    assert one.uses.noted() == []
    one.use(20)
    one.run()
    assert [usage.used - NOON for usage in one.uses.noted()] == [20]


def test_the_newest_use_of_several_processes_stays(processes: tuple[Process, Process]) -> None:
    one, other = processes
    one.use(HOUR)
    other.use(2 * HOUR)
    other.run()
    one.run()
    assert one.stored() == other.stored() == 2 * HOUR
    assert one.uses.noted() == []
    one.use(3 * HOUR)
    one.run()
    assert one.stored() == other.stored() == 3 * HOUR


def interfere(process: Process, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Have another process do something between the decision of a process and its commit, once."""
    commit = process.storage.commit
    left = [work]

    def contended(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return commit(*arguments, **options)

    monkeypatch.setattr(process.storage, "commit", contended)


@pytest.mark.parametrize(("others", "newest"), [(5.0, 10.0), (20.0, 20.0)])
@pytest.mark.parametrize("before", [None, -HOUR], ids=["first", "later"])
def test_processes_that_store_at_the_same_time(
    processes: tuple[Process, Process],
    monkeypatch: pytest.MonkeyPatch,
    before: float | None,
    others: float,
    newest: float,
) -> None:
    one, other = processes
    if before is not None:
        one.use(before)
        one.run()
    one.use(10.0)
    other.use(others)
    interfere(one, monkeypatch, lambda: other.storage.commit(*other_writes(other)))
    one.run(ending=True)
    assert one.stored() == newest


def other_writes(process: Process) -> tuple[list[Any], None]:
    """What the job of a process would commit."""

    async def decide() -> tuple[list[Any], None]:
        return key_usage.due(process.state.fresh(), process.uses.noted(), now=0.0, ending=True)[0], None

    return asyncio.run(decide())


def test_a_key_that_was_deleted_meanwhile_gets_no_row(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = processes
    one.use(10)
    interfere(one, monkeypatch, lambda: other.storage.commit([Delete(kms_key(1), 1)], None))
    one.run()
    assert [stored.record for stored in one.storage.load().records] == [Account(ACCOUNT, 1.0)]
    assert one.uses.noted() == []


def test_a_key_that_is_changed_meanwhile_has_its_use_stored(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = processes
    one.use(10)
    changed = structs.replace(kms_key(1), state="Disabled")
    interfere(one, monkeypatch, lambda: other.storage.commit([Replace(changed, 1)], None))
    one.run()
    assert one.stored() == 10


def test_many_keys_take_several_changes(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_usage, "_AT_ONCE", 4)
    keys = [kms_key(number) for number in range(2, 9)]
    before = one.storage.commit([Insert(key) for key in keys], None).number
    one.use(10, *keys)
    one.run()
    assert [one.stored(key) for key in keys] == [10] * len(keys)
    assert one.storage.position().number == before + 4


def test_a_process_that_always_comes_second_says_so(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def contended(*_: object) -> None:
        raise ConflictError

    one.use(10)
    with monkeypatch.context() as contending:
        contending.setattr(one.storage, "commit", contended)
        with pytest.raises(StorageError, match="keep storing"):
            one.run()
    one.run()
    assert one.stored() == 10


def test_that_the_last_uses_cannot_be_stored_is_said(
    one: Process, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    one.use(10)
    monkeypatch.setattr(one.storage, "commit", full)
    asyncio.run(store_last(one.job))
    assert capfd.readouterr().err == "strongroom: the last uses of KMS keys are not stored: the disk is full\n"


ACCESS_KEYS = [
    AccessKey("AKIAROOT", ACCOUNT, 1.0, b"sealed"),
    AccessKey("AKIAUSER", ACCOUNT, 1.0, b"sealed", user_id="AIDA1"),
    AccessKey("AKIASERVICE", "", 1.0, b"sealed", service="s3"),
]
"""Of a root user, a user and a service."""
USER = User(ACCOUNT, "AIDA1", "ann", "/", 1.0)


@pytest.fixture
def with_access_keys(processes: tuple[Process, Process]) -> tuple[Process, Process]:
    owners = (Insert(USER), Insert(Service("s3", 1.0, (), ())))
    processes[0].storage.commit([*owners, *map(Insert, ACCESS_KEYS)], None)
    return processes


@pytest.mark.parametrize("key", ACCESS_KEYS, ids=repr)
def test_access_keys_have_their_uses_stored_as_kms_keys_have(
    with_access_keys: tuple[Process, Process], key: AccessKey
) -> None:
    one, other = with_access_keys
    for used, stored in ((10, 10), (20, 10), (HOUR, HOUR), (HOUR + 1, HOUR)):
        one.use_access_key(used, key)
        one.run()
        assert one.stored_of_access_key(key) == stored
    other.use_access_key(HOUR + 2, key)
    for process in (other, one):
        process.run(ending=True)
        assert process.uses.noted() == []
    assert one.stored_of_access_key(key) == HOUR + 2


@pytest.mark.parametrize("key", ACCESS_KEYS, ids=repr)
def test_the_use_of_an_access_key_that_is_deleted_goes(
    with_access_keys: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch, key: AccessKey
) -> None:
    one, other = with_access_keys
    number = one.storage.position().number
    one.use_access_key(10, key)
    one.run()
    other.use_access_key(20, key)
    interfere(other, monkeypatch, lambda: one.storage.commit([Delete(key, number)], None))
    for process in (other, one):
        process.run(ending=True)
        assert process.uses.noted() == []
    assert one.stored_of_access_key(key) is None
    last = one.storage.position()
    for process in (one, other):
        process.run()
    assert one.storage.position() == last


def test_an_access_key_that_was_deleted_before_its_use_is_stored_gets_no_row(
    with_access_keys: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = with_access_keys
    key, number = ACCESS_KEYS[1], one.storage.position().number
    one.use_access_key(10, key)
    interfere(one, monkeypatch, lambda: other.storage.commit([Delete(key, number)], None))
    one.run()
    assert one.stored_of_access_key(key) is None
    assert one.uses.noted() == []
