"""The in-memory, immutable view of what is stored, which requests read.

A request takes one `Snapshot` and sees one state from its first check to its last. `LiveSnapshot.current()` first asks
the storage whether anybody committed since; if so it takes the changes over before it answers, so that on one machine
every server process agrees at once.
"""

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Raw, Struct, structs

from strongroom.audit.record import root_identity
from strongroom.authorization.policy import NO_POLICY, KeyPolicy, compile_policy
from strongroom.errors import IntegrityError, MalformedPolicyDocument
from strongroom.model.alias import Alias
from strongroom.model.clock_reading import ClockReading
from strongroom.model.erasure import PendingErasure
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_reference import KeyReference
from strongroom.model.principal import AccessKey, Principal, root_user
from strongroom.storage.contract import Changes, Contents, Position, Removed, Storage, Stored

T = TypeVar("T")


class Numbered(NamedTuple, Generic[T]):
    """A record and the number of the change that wrote it."""

    record: T
    number: int


class KeyEntry(Struct, frozen=True, dict=True):
    """A KMS key with the number of the change that wrote it, its key materials by material id, and its aliases."""

    key: KmsKey
    number: int
    materials: dict[str, Numbered[KeyMaterial]]
    aliases: frozenset[str] = frozenset()

    @cached_property
    def policy(self) -> KeyPolicy:
        """The compiled key policy. It compiled when it was stored; one that does not any more lets nobody in."""
        try:
            return compile_policy(self.key.policy)
        except MalformedPolicyDocument:
            return NO_POLICY


class Credential(Struct, frozen=True):
    """An access key that can sign: whose it is, its secret, and the userIdentity of its audit records."""

    principal: Principal
    identity: Raw
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.principal.access_key_id})"


class Snapshot(Struct, frozen=True):
    """The state at one position.

    Key entries by (region, account, key id), aliases by (region, account, name), the keys of materials by
    (region, material id), credentials by access key id, clock readings by boot id, pending erasures as keys are.
    """

    position: Position
    keys: dict[tuple[str, str, str], KeyEntry]
    aliases: dict[tuple[str, str, str], Numbered[Alias]]
    materials: dict[tuple[str, str], tuple[str, str, str]]
    credentials: dict[str, Credential]
    clock_readings: dict[str, Numbered[ClockReading]]
    erasures: dict[tuple[str, str, str], Numbered[PendingErasure]]

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
        empty = Snapshot(contents.position, {}, {}, {}, {}, {}, {})
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
                    credential = Credential(principal, root_identity(principal), self._open_secret(stored.record))
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
        return structs.replace(snapshot, position=position)

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
        snapshot.keys[identity] = KeyEntry(key, number, before.materials, before.aliases)


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
