"""Direct encryptions are counted over all processes, before they are done, and end at their limit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.app import counted_uses
from strongroom.app.counted_uses import AT_ONCE, LIMIT, WARNED_AT, CountedUses
from strongroom.errors import ConflictError, KeyUnavailable, KMSInternal, LimitExceeded
from strongroom.keystores.external_keys import key_and_material
from strongroom.model.key import KeyMaterial
from strongroom.model.xks import ExternalKey
from strongroom.storage import sqlite
from strongroom.storage.contract import Insert, Replace, Storage
from tests.keys import kms_key

ROW_KEY = bytes(range(32))


def material(number: int = 1, uses: int | None = None) -> KeyMaterial:
    return KeyMaterial(
        account="111122223333",
        region="us-east-1",
        key_id="1234abcd-12ab-34cd-56ef-1234567890ab",
        material_id=f"{number:064x}",
        algorithm=2,
        key_store="hsm",
        domain_key_version=1,
        wrapped=b"wrapped",
        created=0.0,
        uses=uses,
    )


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = sqlite.create_storage(tmp_path / "strongroom.db", ROW_KEY)
    yield storage
    storage.close()


@pytest.fixture
def another(storage: Storage, tmp_path: Path) -> Iterator[Storage]:
    """The same database, as another process has it open."""
    another = sqlite.open_storage(tmp_path / "strongroom.db", ROW_KEY)
    yield another
    another.close()


def put(storage: Storage, *materials: KeyMaterial) -> None:
    storage.commit([Insert(one) for one in materials], None)


def taken(storage: Storage, of: KeyMaterial) -> int | None:
    found = storage.find(KeyMaterial, (of.account, of.region, of.key_id, of.material_id))
    assert found is not None
    assert replace(found[0], uses=of.uses) == of
    return found[0].uses


def test_many_are_taken_at_once(storage: Storage) -> None:
    one, other = material(1), material(2)
    put(storage, one, other)
    counted = CountedUses(storage)
    assert taken(storage, one) is None
    for _ in range(100):
        counted.count(one)
    assert taken(storage, one) == AT_ONCE == 2**20
    assert taken(storage, other) is None
    counted.count(other)
    assert (taken(storage, one), taken(storage, other)) == (AT_ONCE, AT_ONCE)


def test_what_was_taken_is_used_up_before_more_is_taken(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_uses, "AT_ONCE", 3)
    put(storage, material())
    counted = CountedUses(storage)
    seen = []
    for _ in range(7):
        counted.count(material())
        seen.append(taken(storage, material()))
    assert seen == [3, 3, 3, 6, 6, 6, 9]


def test_processes_share_nothing_of_what_they_took(
    storage: Storage, another: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_uses, "AT_ONCE", 4)
    put(storage, material())
    first, second, restarted = CountedUses(storage), CountedUses(another), CountedUses(another)
    first.count(material())
    second.count(material())
    assert taken(storage, material()) == 8
    restarted.count(material())  # what the process before it did not use up is lost
    assert taken(storage, material()) == 12


def test_threads_of_two_processes_never_do_more_than_was_taken(
    storage: Storage, another: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_uses, "AT_ONCE", 5)
    put(storage, material())
    processes = [CountedUses(storage), CountedUses(another)]

    def work(number: int) -> None:
        for _ in range(20):
            processes[number % 2].count(material())

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work, number) for number in range(4)]:
            done.result()
    assert taken(storage, material()) == 80


def test_at_the_limit_no_more_is_done(storage: Storage) -> None:
    last = material(1, LIMIT - AT_ONCE)
    over = material(2, LIMIT - AT_ONCE + 1)
    put(storage, last, over)
    counted = CountedUses(storage)
    counted.count(last)
    assert taken(storage, last) == LIMIT == 2**32
    told = f"^Key {last.key_id} has encrypted 4294967296 times, the most that it can.$"
    for full, process in ((over, counted), (last, CountedUses(storage))):
        for _ in range(2):
            with pytest.raises(LimitExceeded, match=told):
                process.count(full)
    counted.count(last)  # what was taken before


def test_at_half_of_it_a_warning_is_given_once(storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    half = material(1, WARNED_AT - 2 * AT_ONCE)
    put(storage, half)
    warned = []
    for _ in range(4):
        CountedUses(storage).count(half)
        warned.append(capsys.readouterr().err)
    told = f"strongroom: key {half.key_id} has encrypted 2147483648 times, half of its limit\n"
    assert warned == ["", "", told, ""]


def test_material_that_is_deleted_is_unavailable(storage: Storage) -> None:
    with pytest.raises(KeyUnavailable):
        CountedUses(storage).count(material())


class Contended:
    """A storage in which somebody else is faster, a few times."""

    def __init__(self, storage: Storage, times: int) -> None:
        self._storage = storage
        self.times = times

    def find(self, *arguments: Any) -> Any:
        return self._storage.find(*arguments)

    def commit(self, writes: list[Replace], audited: None) -> None:
        if self.times:
            self.times -= 1
            raise ConflictError
        self._storage.commit(writes, audited)


def test_a_conflict_is_decided_again_a_few_times(storage: Storage) -> None:
    put(storage, material())
    CountedUses(Contended(storage, 9)).count(material())  # type: ignore[arg-type]
    assert taken(storage, material()) == AT_ONCE
    with pytest.raises(KMSInternal):
        CountedUses(Contended(storage, 10)).count(material())  # type: ignore[arg-type]
    assert taken(storage, material()) == AT_ONCE


def test_the_regions_of_a_multi_region_key_count_together(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_uses, "AT_ONCE", 1)
    here = material()
    there = replace(here, region="eu-west-1")
    home = kms_key(key_id=here.key_id)
    keys = [replace(home, region=one.region, multi_region=True, primary_region=here.region) for one in (here, there)]
    storage.commit([*map(Insert, keys), Insert(here), Insert(there)], None)
    counted = CountedUses(storage)
    for one in (there, here, there):
        counted.count(one)
    assert (taken(storage, here), taken(storage, there)) == (3, None)


def external(prefix: str = "/tenant", uses: int | None = 0) -> ExternalKey:
    return ExternalKey(prefix, "key-1", 1.5, True, "ab" * 32, 2, "object", 0, b"label", uses)


def counted_in(storage: Storage, of: ExternalKey) -> int | None:
    found = storage.find(ExternalKey, (of.prefix, of.external_key_id))
    assert found is not None
    assert replace(found[0], uses=of.uses) == of
    return found[0].uses


def count(storage: Storage, of: ExternalKey) -> None:
    """Count as a process does that has just begun."""
    _, used = key_and_material(of)
    CountedUses(storage).count(used)


def test_external_keys_are_counted_each_in_its_own_record(
    storage: Storage, another: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_uses, "AT_ONCE", 3)
    one, other = external(), replace(external(""), material_id="cd" * 32)
    storage.commit([Insert(one), Insert(other), Insert(material())], None)
    counted = CountedUses(storage)
    seen = []
    for _ in range(4):
        counted.count(key_and_material(one)[1])
        seen.append(counted_in(storage, one))
    assert seen == [3, 3, 3, 6]
    count(another, one)
    count(another, other)
    assert (counted_in(storage, one), counted_in(storage, other), taken(storage, material())) == (9, 3, None)


def test_external_keys_end_at_their_limit_too(storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    last = external(uses=LIMIT - AT_ONCE)
    storage.commit([Insert(last)], None)
    count(storage, last)
    assert counted_in(storage, last) == LIMIT
    with pytest.raises(LimitExceeded, match=r"^Key key-1 has encrypted 4294967296 times, the most that it can\.$"):
        count(storage, last)
    half = external("/half", WARNED_AT - AT_ONCE // 2)
    storage.commit([Insert(half)], None)
    count(storage, half)
    told = "strongroom: key key-1 of the XKS proxy's /half has encrypted 2147483648 times, half of its limit\n"
    assert capsys.readouterr().err == told


def test_an_external_key_that_was_deleted_or_made_anew_is_unavailable(storage: Storage) -> None:
    with pytest.raises(KeyUnavailable):
        count(storage, external())
    anew = replace(external(), material_id="cd" * 32)
    storage.commit([Insert(anew)], None)
    with pytest.raises(KeyUnavailable):
        count(storage, external())
    assert counted_in(storage, anew) == 0


def test_changes_of_an_external_key_meanwhile_are_kept(storage: Storage) -> None:
    one = external()
    storage.commit([Insert(one)], None)
    found = storage.find(ExternalKey, (one.prefix, one.external_key_id))
    assert found is not None
    disabled = replace(one, enabled=False)
    storage.commit([Replace(disabled, found[1])], None)
    count(Contended(storage, 9), one)  # type: ignore[arg-type]
    assert counted_in(storage, disabled) == AT_ONCE
