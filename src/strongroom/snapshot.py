"""The in-memory, immutable view of what is stored, which requests read.

A request takes one `Snapshot` and sees one state from its first check to its last. `LiveSnapshot.current()` first asks
the storage whether anybody committed since; if so it takes the changes over before it answers, so that on one machine
every server process agrees at once.
"""

import asyncio
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Raw, Struct, structs

from strongroom.audit.record import root_identity
from strongroom.authorization.documents import compile_key_policy, repair_policy
from strongroom.authorization.grants import NO_GRANTS, KeyGrants
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.errors import IntegrityError, MalformedPolicyDocument
from strongroom.model.alias import Alias
from strongroom.model.arn import root_arn
from strongroom.model.clock_reading import ClockReading
from strongroom.model.erasure import PendingErasure
from strongroom.model.grant import Grant
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_reference import KeyReference
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, Account, root_user
from strongroom.storage.contract import Changes, Contents, Position, Removed, Storage, Stored

T = TypeVar("T")


class Numbered(NamedTuple, Generic[T]):
    """A record and the number of the change that wrote it."""

    record: T
    number: int


class KeyEntry(Struct, frozen=True, dict=True):
    """A KMS key with the number of the change that wrote it, its key materials by id, aliases, grants and last use.

    `usage` is the last use as it is stored; `operations/uses.py` knows of newer ones.
    """

    key: KmsKey
    number: int
    materials: dict[str, Numbered[KeyMaterial]]
    aliases: frozenset[str] = frozenset()
    grants: KeyGrants = NO_GRANTS
    usage: Numbered[KeyUsage] | None = None

    @cached_property
    def policy(self) -> Policy:
        """The compiled key policy. It compiled when it was stored; one that does not any more can only be replaced."""
        try:
            return compile_key_policy(self.key.policy)
        except MalformedPolicyDocument:
            return repair_policy(self.key.account)


class Credential(Struct, frozen=True):
    """An access key that can sign: whose it is, its secret, and the userIdentity of its audit records."""

    identity: Identity
    user_identity: Raw
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.identity.principal.access_key_id})"


class Snapshot(Struct, frozen=True):
    """The state at one position.

    Key entries by (region, account, key id), aliases by (region, account, name), the keys of materials by
    (region, material id), credentials by access key id, clock readings by boot id, pending erasures as keys are.
    `usage_tracked_since` is when the uses of keys began to be noted (seconds since the epoch); infinite if not yet.
    """

    position: Position
    keys: dict[tuple[str, str, str], KeyEntry]
    aliases: dict[tuple[str, str, str], Numbered[Alias]]
    materials: dict[tuple[str, str], tuple[str, str, str]]
    accounts: frozenset[str]
    credentials: dict[str, Credential]
    clock_readings: dict[str, Numbered[ClockReading]]
    erasures: dict[tuple[str, str, str], Numbered[PendingErasure]]
    usage_tracked_since: float = math.inf

    def find_key(self, reference: KeyReference) -> KeyEntry | None:
        """The key that a reference means, by its id or through an alias, or None."""
        region, account, _ = reference
        if not reference.is_alias:
            return self.keys.get(reference)
        alias = self.aliases.get(reference)
        return None if alias is None else self.keys.get((region, account, alias.record.target_key_id))

    def find_key_of_material(self, region: str, material_id: str) -> KeyEntry | None:
        """The key in this Region that a ciphertext's key material belongs to, or None."""
        identity = self.materials.get((region, material_id))
        return None if identity is None else self.keys.get(identity)

    def principal_exists(self, principal_arn: str) -> bool:
        """Whether the principal of this ARN exists. There are only accounts so far, named by their root users' ARNs."""
        _, _, rest = principal_arn.partition("::")
        account, _, _ = rest.partition(":")
        return account in self.accounts and principal_arn == root_arn(account)

    def __repr__(self) -> str:
        return f"Snapshot({self.position.number}, {len(self.keys)} keys)"


class LiveSnapshot:
    """Keeps the current snapshot. For the event loop's thread alone."""

    def __init__(
        self, storage: Storage, open_secret: Callable[[AccessKey], str], forget: Callable[[str], None]
    ) -> None:
        """`open_secret` unseals a secret access key; `forget` is told the ids of key materials that are gone."""
        self._storage = storage
        self._open_secret = open_secret
        self._forget = forget
        self._version = storage.version()
        self._checked = False
        self._snapshot = self._from_contents(storage.load())

    def current(self) -> Snapshot:
        """The state as of now: for any request whose last byte was read, all that was acknowledged before.

        The storage is asked once for all requests that the event loop read together: their tasks run before the loop
        reads again, and the question is put anew before any task that is begun by what it reads then.
        Raises IntegrityError, RollbackError or StorageError if what is stored cannot be trusted or read.
        """
        if not self._checked:
            version = self._storage.version()
            if version != self._version:
                self._catch_up()
                self._version = version
            self._checked = True
            asyncio.get_running_loop().call_soon(self._check_again)
        return self._snapshot

    def fresh(self) -> Snapshot:
        """The state as of this very call."""
        self._checked = False
        return self.current()

    def _check_again(self) -> None:
        self._checked = False

    def _catch_up(self) -> None:
        changes = self._storage.changes_since(self._snapshot.position)
        if changes is None:
            known = self._snapshot.materials.keys()
            self._snapshot = self._from_contents(self._storage.load())
            for _, material_id in known - self._snapshot.materials.keys():
                self._forget(material_id)
        elif changes.position != self._snapshot.position:
            self._snapshot = self._with_changes(changes)

    def _from_contents(self, contents: Contents) -> Snapshot:
        empty = Snapshot(contents.position, {}, {}, {}, frozenset(), {}, {}, {})
        return self._applied(empty, contents.position, contents.records, [])

    def _with_changes(self, changes: Changes) -> Snapshot:
        copy = structs.replace(
            self._snapshot,
            keys=dict(self._snapshot.keys),
            aliases=dict(self._snapshot.aliases),
            materials=dict(self._snapshot.materials),
            credentials=dict(self._snapshot.credentials),
            clock_readings=dict(self._snapshot.clock_readings),
            erasures=dict(self._snapshot.erasures),
        )
        return self._applied(copy, changes.position, changes.written, changes.removed)

    def _applied(
        self, snapshot: Snapshot, position: Position, written: list[Stored], removed: list[Removed]
    ) -> Snapshot:
        """Fill the given snapshot's own dictionaries, then hand it out under its new position."""
        for stored in written:
            if isinstance(stored.record, KmsKey):
                _put_key(snapshot, stored.record, stored.number)
        for stored in written:
            match stored.record:
                case KeyMaterial():
                    _put_material(snapshot, stored.record, stored.number)
                case Alias():
                    _put_alias(snapshot, stored.record, stored.number)
                case AccessKey():
                    principal = root_user(stored.record.account, stored.record.access_key_id)
                    secret = self._open_secret(stored.record)
                    credential = Credential(Identity(principal), root_identity(principal), secret)
                    snapshot.credentials[stored.record.access_key_id] = credential
                case ClockReading() as reading:
                    snapshot.clock_readings[reading.boot_id] = Numbered(reading, stored.number)
                case PendingErasure() as erased:
                    identity = (erased.region, erased.account, erased.key_id)
                    snapshot.erasures[identity] = Numbered(erased, stored.number)
                case _:  # nobody asks for the others
                    pass
        for gone in removed:
            self._remove(snapshot, gone)
        _put_usages(snapshot, written)
        _change_grants(snapshot, written, removed)
        accounts = {stored.record.account for stored in written if isinstance(stored.record, Account)}
        return structs.replace(
            snapshot,
            position=position,
            accounts=snapshot.accounts | accounts,
            usage_tracked_since=_tracked_since(written, snapshot.usage_tracked_since),
        )

    def _remove(self, snapshot: Snapshot, gone: Removed) -> None:
        if gone.kind is AccessKey:
            snapshot.credentials.pop(str(gone.key[0]), None)
        elif gone.kind is Alias:
            account, region, name = map(str, gone.key)
            alias = snapshot.aliases.pop((region, account, name), None)
            if alias is not None:
                _take_alias_from_key(snapshot, alias.record)
        elif gone.kind is ClockReading:
            snapshot.clock_readings.pop(str(gone.key[0]), None)
        elif gone.kind in (KmsKey, PendingErasure):
            account, region, key_id = map(str, gone.key)
            held: dict[tuple[str, str, str], Any] = snapshot.keys if gone.kind is KmsKey else snapshot.erasures
            held.pop((region, account, key_id), None)
        elif gone.kind is KeyMaterial:
            account, region, key_id, material_id = map(str, gone.key)
            snapshot.materials.pop((region, material_id), None)
            entry = snapshot.keys.get((region, account, key_id))
            if entry is not None:
                left = {name: kept for name, kept in entry.materials.items() if name != material_id}
                snapshot.keys[region, account, key_id] = structs.replace(entry, materials=left)
            self._forget(material_id)


def _put_key(snapshot: Snapshot, key: KmsKey, number: int) -> None:
    identity = (key.region, key.account, key.key_id)
    before = snapshot.keys.get(identity)
    if before is None:
        snapshot.keys[identity] = KeyEntry(key, number, {})
    else:
        snapshot.keys[identity] = structs.replace(before, key=key, number=number)


def _put_material(snapshot: Snapshot, material: KeyMaterial, number: int) -> None:
    identity = (material.region, material.account, material.key_id)
    entry = snapshot.keys.get(identity)
    if entry is None:
        raise IntegrityError(f"key material {material.material_id} belongs to no key")
    materials = {**entry.materials, material.material_id: Numbered(material, number)}
    snapshot.keys[identity] = structs.replace(entry, materials=materials)
    snapshot.materials[material.region, material.material_id] = identity


def _put_alias(snapshot: Snapshot, alias: Alias, number: int) -> None:
    before = snapshot.aliases.get((alias.region, alias.account, alias.name))
    if before is not None:
        _take_alias_from_key(snapshot, before.record)
    identity = (alias.region, alias.account, alias.target_key_id)
    entry = snapshot.keys.get(identity)
    if entry is None:
        raise IntegrityError(f"{alias.arn} stands for no key")
    snapshot.aliases[alias.region, alias.account, alias.name] = Numbered(alias, number)
    snapshot.keys[identity] = structs.replace(entry, aliases=entry.aliases | {alias.name})


def _take_alias_from_key(snapshot: Snapshot, alias: Alias) -> None:
    identity = (alias.region, alias.account, alias.target_key_id)
    entry = snapshot.keys.get(identity)
    if entry is not None:
        snapshot.keys[identity] = structs.replace(entry, aliases=entry.aliases - {alias.name})


def _put_usages(snapshot: Snapshot, written: list[Stored]) -> None:
    """Take over the last uses that changed. A last use goes with its key alone."""
    for usage, number in written:
        if isinstance(usage, KeyUsage):
            identity = (usage.region, usage.account, usage.key_id)
            entry = snapshot.keys.get(identity)
            if entry is not None:  # if not, it was stored while the key was deleted
                snapshot.keys[identity] = structs.replace(entry, usage=Numbered(usage, number))


def _tracked_since(written: list[Stored], before: float) -> float:
    """Since when uses are noted; as `before` unless the installation was written with another time."""
    for record, _ in written:
        if isinstance(record, Installation) and record.usage_tracked_since is not None:
            return record.usage_tracked_since
    return before


def _change_grants(snapshot: Snapshot, written: list[Stored], removed: list[Removed]) -> None:
    """Take over the changed grants, those of each key at once. A key that is gone took its own along."""
    put: dict[tuple[str, str, str], list[tuple[Grant, int]]] = {}
    taken: dict[tuple[str, str, str], list[str]] = {}
    for stored in written:
        if isinstance(stored.record, Grant):
            grant = stored.record
            put.setdefault((grant.region, grant.account, grant.key_id), []).append((grant, stored.number))
    for gone in removed:
        if gone.kind is Grant:
            account, region, key_id, grant_id = map(str, gone.key)
            taken.setdefault((region, account, key_id), []).append(grant_id)
    for identity in put.keys() | taken.keys():
        entry = snapshot.keys.get(identity)
        if entry is not None:
            grants = entry.grants.with_changes(put.get(identity, ()), taken.get(identity, ()))
            snapshot.keys[identity] = structs.replace(entry, grants=grants)
        elif identity in put:
            raise IntegrityError(f"grant {put[identity][0][0].grant_id} belongs to no key")
