"""The view in memory follows what is stored: by each change, and by reading everything anew."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec import structs

from strongroom.authorization.documents import compile_key_policy, repair_policy
from strongroom.errors import IntegrityError
from strongroom.model.alias import Alias
from strongroom.model.grant import Grant
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_reference import KeyReference
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, Account
from strongroom.model.xks import ExternalKey, XksCredential, XksStore
from strongroom.snapshot import LiveSnapshot, Snapshot
from strongroom.storage.contract import Changes, Delete, Insert, Position, Record, Replace, Write
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.sqlite import create_storage, open_storage

REGION, ACCOUNT = "us-east-1", "111122223333"
ROW_KEY = bytes(range(32))


class Stores(NamedTuple):
    """Storage as this process has it and as another has it, the view, and what the key store was told to forget."""

    own: DatabaseStorage
    others: DatabaseStorage
    state: LiveSnapshot
    forgotten: list[str]

    def commit(self, *writes: Write) -> int:
        """Another process commits; return the number of the change."""
        return self.others.commit(writes, None).number

    def seen(self) -> Snapshot:
        """What the next request sees; the same as what a process that starts now sees."""
        snapshot = fresh(self.state)
        assert shape(snapshot) == shape(fresh(live(self.others, [])))
        return snapshot


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    path = tmp_path / "strongroom.db"
    own = create_storage(path, ROW_KEY)
    others = open_storage(path, ROW_KEY)
    others.commit([Insert(Account(ACCOUNT, 1.0))], None)
    forgotten: list[str] = []
    yield Stores(own, others, live(own, forgotten), forgotten)
    own.close()
    others.close()


@pytest.fixture(params=["by changes", "anew"])
def followed(stores: Stores, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """The stores, where the view takes changes over one by one, or (they were dropped already) reads everything."""
    if request.param == "anew":

        def dropped(_position: Position) -> Changes | None:
            return None

        monkeypatch.setattr(stores.own, "changes_since", dropped)
    return stores


def live(storage: DatabaseStorage, forgotten: list[str]) -> LiveSnapshot:
    def open_secret(key: AccessKey | XksCredential) -> str:
        return f"secret of {key.access_key_id}"

    return LiveSnapshot(storage, open_secret, lambda _, material_id: forgotten.append(material_id))


def fresh(state: LiveSnapshot) -> Snapshot:
    async def look() -> Snapshot:
        return state.fresh()

    return asyncio.run(look())


def shape(snapshot: Snapshot) -> list[object]:
    return [getattr(snapshot, member) for member in snapshot.__struct_fields__]


def kms_key(number: int, **members: object) -> KmsKey:
    key = KmsKey(
        ACCOUNT, REGION, f"{number:08x}-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT",
        "AWS_KMS", "Enabled", "", "{}", (), 1.0, material_id(number),
    )  # fmt: skip
    return structs.replace(key, **members)


def material_id(number: int) -> str:
    return f"{number:064x}"


def material(key: KmsKey, number: int) -> KeyMaterial:
    return KeyMaterial(ACCOUNT, REGION, key.key_id, material_id(number), 1, "software", 1, b"wrapped", 1.0)


def alias(name: str, key: KmsKey) -> Alias:
    return Alias(ACCOUNT, REGION, f"alias/{name}", key.key_id, 1.0, 1.0)


def usage(key: KmsKey, used: float) -> KeyUsage:
    return KeyUsage(ACCOUNT, REGION, key.key_id, used, "Encrypt", "request", "event")


def key_policy(effect: str) -> str:
    statement = {"Effect": effect, "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def grant(number: int, key: KmsKey, *operations: str) -> Grant:
    return Grant(
        ACCOUNT, REGION, key.key_id, f"{number:064x}", 1.0, ACCOUNT, operations or ("Encrypt",),
        grantee_principal="arn:grantee",
    )  # fmt: skip


def grants_of(snapshot: Snapshot, key: KmsKey) -> dict[int, int]:
    """The grants of a key: their ids, and the numbers of the changes that wrote them."""
    grants = snapshot.keys[REGION, ACCOUNT, key.key_id].grants
    return {int(grant_id, 16): number for grant_id, (_, number) in grants.by_id.items()}


def target_of(snapshot: Snapshot, name: str) -> str | None:
    """The id of the key that an alias stands for."""
    entry = snapshot.find_key(KeyReference(REGION, ACCOUNT, f"alias/{name}"))
    return None if entry is None else entry.key.key_id


def aliases_of(snapshot: Snapshot, key: KmsKey) -> frozenset[str]:
    return snapshot.keys[REGION, ACCOUNT, key.key_id].aliases


def test_an_alias_moves_with_all_that_tells_of_it(followed: Stores) -> None:
    first, second = kms_key(1), kms_key(2)
    number = followed.commit(Insert(first), Insert(second), Insert(alias("a", first)), Insert(alias("b", first)))
    snapshot = followed.seen()
    assert (target_of(snapshot, "a"), target_of(snapshot, "none")) == (first.key_id, None)
    assert aliases_of(snapshot, first) == {"alias/a", "alias/b"}

    moved = followed.commit(Replace(alias("a", second), number))
    after = followed.seen()
    assert target_of(after, "a") == second.key_id
    assert aliases_of(after, first) == {"alias/b"}
    assert aliases_of(after, second) == {"alias/a"}
    # Who read before goes on with what was there.
    assert target_of(snapshot, "a") == first.key_id
    assert aliases_of(snapshot, first) == {"alias/a", "alias/b"}

    followed.commit(Delete(alias("a", second), moved))
    gone = followed.seen()
    assert target_of(gone, "a") is None
    assert aliases_of(gone, second) == frozenset()


def test_grants_come_and_go_with_changes_of_their_key_in_between(followed: Stores) -> None:
    key, other = kms_key(1), kms_key(2)
    first = followed.commit(Insert(key), Insert(other), Insert(grant(1, key)), Insert(grant(2, key)))
    before = followed.seen()
    assert grants_of(before, key) == {1: first, 2: first}

    second = followed.commit(
        Delete(grant(1, key), first),
        Insert(grant(3, key, "Decrypt")),
        Insert(grant(1, other)),
        Replace(structs.replace(key, description="new"), first),
    )
    after = followed.seen()
    assert grants_of(after, key) == {2: first, 3: second}
    assert grants_of(after, other) == {1: second}
    found = after.keys[REGION, ACCOUNT, key.key_id].grants.candidates("arn:grantee", "Decrypt", None)
    assert found == (grant(3, key, "Decrypt"),)
    # Who read before goes on with what was there.
    assert grants_of(before, key) == {1: first, 2: first}


def test_a_change_of_a_key_keeps_all_else(followed: Stores) -> None:
    key = kms_key(1)
    number = followed.commit(
        Insert(key), Insert(material(key, 1)), Insert(alias("a", key)), Insert(grant(1, key)), Insert(usage(key, 2.0))
    )
    followed.seen()
    changed = followed.commit(Replace(structs.replace(key, state="Disabled"), number))

    entry = followed.seen().keys[REGION, ACCOUNT, key.key_id]
    assert (entry.key.state, entry.number) == ("Disabled", changed)
    assert entry.materials.keys() == {material_id(1)}
    assert entry.aliases == {"alias/a"}
    assert entry.grants.by_id.keys() == {f"{1:064x}"}
    assert entry.usage == (usage(key, 2.0), number)


def test_a_change_of_a_policy_is_followed(followed: Stores) -> None:
    key = kms_key(1, policy=key_policy("Allow"))
    number = followed.commit(Insert(key))
    before = followed.seen().keys[REGION, ACCOUNT, key.key_id].policy
    followed.commit(Replace(structs.replace(key, policy=key_policy("Deny")), number))
    after = followed.seen().keys[REGION, ACCOUNT, key.key_id].policy
    assert before != after
    assert after == compile_key_policy(key_policy("Deny"))


def test_a_newer_use_takes_the_place_of_the_last(followed: Stores) -> None:
    key = kms_key(1)
    number = followed.commit(Insert(key), Insert(usage(key, 2.0)))
    followed.seen()
    changed = followed.commit(Replace(usage(key, 3.0), number))
    entry = followed.seen().keys[REGION, ACCOUNT, key.key_id]
    assert (entry.number, entry.usage) == (number, (usage(key, 3.0), changed))


def test_a_use_of_a_key_that_is_gone_tells_nothing(followed: Stores) -> None:
    followed.commit(Insert(usage(kms_key(1), 2.0)))
    assert followed.seen().keys == {}


def test_uses_are_tracked_since_the_installation_says_so(followed: Stores) -> None:
    installation = Installation("installation-1", 1.0, b"", b"")
    number = followed.commit(Insert(installation))
    assert followed.seen().usage_tracked_since == math.inf
    followed.commit(Replace(structs.replace(installation, usage_tracked_since=7.0), number))
    assert followed.seen().usage_tracked_since == 7.0
    followed.commit(Insert(kms_key(1)))
    assert followed.seen().usage_tracked_since == 7.0


def test_a_key_that_is_deleted_takes_everything_along(followed: Stores) -> None:
    doomed, kept = kms_key(1), kms_key(2)
    records: list[Record] = [
        material(doomed, 1),
        material(doomed, 3),
        alias("a", doomed),
        grant(1, doomed),
        usage(doomed, 2.0),
    ]
    number = followed.commit(
        Insert(doomed), Insert(kept), Insert(material(kept, 2)), *(Insert(record) for record in records)
    )
    assert followed.seen().find_key_of_material(REGION, material_id(3)) is not None

    followed.commit(*(Delete(record, number) for record in [*records, doomed]))
    snapshot = followed.seen()
    assert snapshot.keys.keys() == {(REGION, ACCOUNT, kept.key_id)}
    assert snapshot.aliases == {}
    assert snapshot.materials.keys() == {(REGION, material_id(2))}
    assert sorted(followed.forgotten) == [material_id(1), material_id(3)]


def test_much_that_happened_between_two_looks(followed: Stores) -> None:
    """An alias moved away from a key that is gone, one came and went, one was deleted and made again."""
    doomed, kept = kms_key(1), kms_key(2)
    number = followed.commit(
        Insert(doomed),
        Insert(kept),
        Insert(material(doomed, 1)),
        Insert(alias("a", doomed)),
        Insert(alias("b", doomed)),
    )
    followed.seen()
    followed.commit(Replace(alias("a", kept), number))
    deleted = followed.commit(Delete(alias("b", doomed), number), Insert(alias("c", doomed)))
    followed.commit(Insert(alias("b", kept)), Delete(alias("c", doomed), deleted))
    followed.commit(Delete(material(doomed, 1), number), Delete(doomed, number))

    snapshot = followed.seen()
    assert aliases_of(snapshot, kept) == {"alias/a", "alias/b"}
    assert snapshot.aliases.keys() == {(REGION, ACCOUNT, "alias/a"), (REGION, ACCOUNT, "alias/b")}
    assert followed.forgotten == [material_id(1)]


def test_a_key_gets_another_material_and_loses_one(followed: Stores) -> None:
    key = kms_key(1)
    number = followed.commit(Insert(key), Insert(material(key, 1)))
    followed.seen()
    followed.commit(Insert(material(key, 2)), Replace(structs.replace(key, current_material_id=material_id(2)), number))
    snapshot = followed.seen()
    for material_number in (1, 2):
        found = snapshot.find_key_of_material(REGION, material_id(material_number))
        assert found is not None
        assert found.key.current_material_id == material_id(2)
    assert snapshot.find_key_of_material("eu-west-1", material_id(1)) is None

    followed.commit(Delete(material(key, 1), number))
    snapshot = followed.seen()
    assert snapshot.find_key_of_material(REGION, material_id(1)) is None
    assert snapshot.keys[REGION, ACCOUNT, key.key_id].materials.keys() == {material_id(2)}
    assert followed.forgotten == [material_id(1)]


def test_credentials_come_and_go(followed: Stores) -> None:
    account = "999900001111"
    key = AccessKey("AKIA1", account, 1.0, b"sealed")
    number = followed.commit(Insert(Account(account, 1.0)), Insert(key))
    credential = followed.seen().credential("AKIA1")
    assert credential is not None
    assert (credential.identity.principal.account, credential.secret) == (account, "secret of AKIA1")
    assert "secret of" not in repr(credential)

    followed.commit(Delete(key, number))
    assert followed.seen().credential("AKIA1") is None


def external_key(number: int, **members: object) -> ExternalKey:
    key = ExternalKey("/a", f"key-{number}", 1.0, True, material_id(number), 2, "hsm", 1, b"wrapped", 0)
    return structs.replace(key, **members)


def test_key_stores_and_credentials_of_the_proxy_come_and_go(followed: Stores) -> None:
    store, credential = XksStore("/a", 1.0, 100), XksCredential("XKSID", "/a", 1.0, b"sealed")
    number = followed.commit(Insert(store), Insert(credential))
    before = followed.seen()
    assert before.xks_stores == {"/a": (store, number)}
    held = before.xks_credentials["XKSID"]
    assert held == (credential, number, "secret of XKSID")
    assert "secret of" not in repr(held)

    slower = structs.replace(store, rate=1)
    changed = followed.commit(Replace(slower, number), Delete(credential, number))
    after = followed.seen()
    assert after.xks_stores == {"/a": (slower, changed)}
    assert after.xks_credentials == {}
    # Who read before goes on with what was there.
    assert before.xks_stores["/a"].record.rate == 100
    assert before.xks_credentials.keys() == {"XKSID"}
    followed.commit(Delete(slower, changed))
    assert followed.seen().xks_stores == {}


def test_external_keys_that_change_or_go_are_forgotten(followed: Stores) -> None:
    first, second = external_key(1), external_key(2)
    number = followed.commit(Insert(first), Insert(second), Insert(external_key(1, prefix="")))
    before = followed.seen()
    assert before.external_keys.keys() == {("/a", "key-1"), ("/a", "key-2"), ("", "key-1")}
    assert followed.forgotten == []

    counted = followed.commit(Replace(external_key(1, uses=7), number))
    assert followed.seen().external_keys["/a", "key-1"] == (external_key(1, uses=7), counted)
    assert followed.forgotten == [], "it is the same key"

    disabled = followed.commit(Replace(external_key(1, uses=7, enabled=False), counted))
    assert not followed.seen().external_keys["/a", "key-1"].record.enabled
    assert followed.forgotten == [material_id(1)]

    followed.commit(Delete(second, number), Replace(external_key(1, material_id=material_id(3)), disabled))
    assert followed.seen().external_keys.keys() == {("/a", "key-1"), ("", "key-1")}
    assert sorted(followed.forgotten) == [material_id(1), material_id(1), material_id(2)]
    assert len(before.external_keys) == 3


@pytest.mark.parametrize(
    "orphan",
    [material(kms_key(1), 1), alias("a", kms_key(1)), grant(1, kms_key(1))],
    ids=["material", "alias", "grant"],
)
def test_what_belongs_to_no_key_is_not_believed(followed: Stores, orphan: Record) -> None:
    followed.commit(Insert(orphan))

    with pytest.raises(IntegrityError):
        fresh(followed.state)


def test_a_policy_that_does_not_compile_any_more_can_only_be_replaced(followed: Stores) -> None:
    followed.commit(Insert(kms_key(1, policy="not a policy")))

    (entry,) = followed.seen().keys.values()
    assert entry.policy == repair_policy(ACCOUNT)


def test_storage_is_asked_once_for_requests_that_are_read_together(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    version = stores.own.version

    def counted() -> int:
        asked.append(1)
        return version()

    monkeypatch.setattr(stores.own, "version", counted)

    async def look() -> None:
        first = stores.state.current()
        assert stores.state.current() is first
        assert stores.state.last is first
        assert len(asked) == 1
        stores.commit(Insert(kms_key(1)))
        assert stores.state.current() is first
        assert len(stores.state.fresh().keys) == 1
        stores.commit(Insert(kms_key(2)))
        await asyncio.sleep(0)
        assert len(stores.state.current().keys) == 2
        assert len(asked) == 3

    asyncio.run(look())
