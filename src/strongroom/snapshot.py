"""The in-memory, immutable view of what is stored, which requests read.

A request takes one `Snapshot` and sees one state from its first check to its last. On one machine
`LiveSnapshot.current()` first asks the storage whether anybody committed since; if so it takes the changes over before
it answers, so that every server process agrees at once.

Of nodes over a database server each relies for the time of a *lease* on what the database has confirmed, and asks it
beside requests. The lease runs from the moment before the question was sent, on a clock that goes on while the machine
is suspended. So no request succeeds that was sent later than an acknowledged change plus the lease, if the change
forbids it. No refusal is stale: before it, the database is asked (`newer_than`).
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import Struct, structs

from strongroom.authorization.documents import compile_key_policy, repair_policy
from strongroom.authorization.grants import NO_GRANTS, KeyGrants
from strongroom.authorization.policy import Policy
from strongroom.directory import Credential, Directory, HeldKey
from strongroom.errors import IntegrityError, MalformedPolicyDocument, StorageError
from strongroom.model.alias import Alias
from strongroom.model.arn import root_arn, session_arn
from strongroom.model.clock_reading import ClockReading
from strongroom.model.custom_key_store import CONNECTED, CustomKeyStore
from strongroom.model.erasure import PendingErasure
from strongroom.model.grant import Grant
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.installation import Installation
from strongroom.model.key import CUSTOMER, KeyMaterial, KmsKey
from strongroom.model.key_reference import KeyReference
from strongroom.model.key_states import (
    CREATING,
    DISABLED,
    ENABLED,
    PENDING_DELETION,
    PENDING_REPLICA_DELETION,
    UNAVAILABLE,
    UPDATING,
)
from strongroom.model.key_usage import KeyUsage
from strongroom.model.numbered import Numbered
from strongroom.model.principal import AccessKey, AccessKeyUsage, Account, Service
from strongroom.model.session import Session
from strongroom.model.xks import ExternalKey, XksCredential, XksStore
from strongroom.storage.contract import Changes, Contents, Position, Removed, Storage, Stored

_DIRECTORY_MEMBERS: dict[type, str] = {
    AccessKey: "access_keys",
    User: "users",
    Group: "groups",
    Role: "roles",
    ManagedPolicy: "policies",
    IdentityProvider: "providers",
}
"""Record type -> where a directory has it, by the last part of its primary key."""

_PATIENCE = 3.0
"""Seconds that a request waits for the database's answer what is newer."""

_PASSING = frozenset({CREATING, PENDING_DELETION, PENDING_REPLICA_DELETION, UPDATING})
"""Key states that end by themselves."""


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

    @property
    def dated(self) -> bool:
        """Whether something is to be done to the key some day, or is asked for: `jobs` look at no others."""
        key = self.key
        return (
            key.state in _PASSING
            or key.rotation_period_in_days is not None
            or key.on_demand_rotation_start is not None
            or any(material.valid_to is not None for material, _ in self.materials.values())
        )

    @cached_property
    def policy(self) -> Policy:
        """The compiled key policy. It compiled when it was stored; one that does not any more can only be replaced.

        That of an AWS managed key not even that.
        """
        try:
            return compile_key_policy(self.key.policy, self.key.policy_principals or ())
        except MalformedPolicyDocument:
            return repair_policy(self.key.account) if self.key.key_manager == CUSTOMER else Policy((), ())


class XksHeld(NamedTuple):
    """A credential of the XKS proxy, the number of the change that wrote it, and its secret, opened."""

    record: XksCredential
    number: int
    secret: str

    def __repr__(self) -> str:
        return f"XksHeld({self.record.access_key_id})"


class Snapshot(Struct, frozen=True):
    """The state at one position.

    Key entries by (region, account, key id), the Regions of multi-Region keys by (account, key id), aliases by
    (region, account, name), the keys of materials by (region, material id), custom key stores by (region, account, id),
    the identities of accounts by account, the accounts of access keys by access key id, services by name and their
    access keys by id, the last uses of access keys by id, clock readings by boot id, pending erasures as keys are.
    Of the XKS proxy: key stores by prefix, credentials by access key id, external keys by (prefix, id).
    `dated` are the keys that are `KeyEntry.dated`.
    `usage_tracked_since` is when the uses of keys began to be noted (seconds since the epoch); infinite if not yet.
    """

    position: Position
    keys: dict[tuple[str, str, str], KeyEntry] = {}
    regions: dict[tuple[str, str], frozenset[str]] = {}
    aliases: dict[tuple[str, str, str], Numbered[Alias]] = {}
    materials: dict[tuple[str, str], tuple[str, str, str]] = {}
    custom_key_stores: dict[tuple[str, str, str], Numbered[CustomKeyStore]] = {}
    directories: dict[str, Directory] = {}
    access_key_accounts: dict[str, str] = {}
    services: dict[str, Numbered[Service]] = {}
    service_keys: dict[str, HeldKey] = {}
    access_key_usages: dict[str, Numbered[AccessKeyUsage]] = {}
    clock_readings: dict[str, Numbered[ClockReading]] = {}
    erasures: dict[tuple[str, str, str], Numbered[PendingErasure]] = {}
    xks_stores: dict[str, Numbered[XksStore]] = {}
    xks_credentials: dict[str, XksHeld] = {}
    external_keys: dict[tuple[str, str], Numbered[ExternalKey]] = {}
    dated: set[tuple[str, str, str]] = set()
    usage_tracked_since: float = math.inf

    def find_key(self, reference: KeyReference) -> KeyEntry | None:
        """The key that a reference means, by its id or through an alias, or None."""
        region, account, _ = reference
        if not reference.is_alias:
            return self.keys.get(reference)
        alias = self.aliases.get(reference)
        return None if alias is None else self.keys.get((region, account, alias.record.target_key_id))

    def related(self, key: KmsKey) -> list[KeyEntry]:
        """All keys of a multi-Region key, the primary key first, then by Region; of a single-Region key itself."""
        others = self.regions.get((key.account, key.key_id), frozenset({key.region}))
        regions = sorted(others, key=lambda region: (region != key.primary_region, region))
        return [self.keys[region, key.account, key.key_id] for region in regions]

    def custom_key_store(self, key: KmsKey) -> CustomKeyStore | None:
        """The custom key store that a key is in, or None."""
        if key.custom_key_store_id is None:
            return None
        return self.custom_key_stores[key.region, key.account, key.custom_key_store_id].record

    def other_custom_key_stores(self, store: CustomKeyStore) -> list[CustomKeyStore]:
        """All custom key stores but one, of whatever account and Region."""
        every = (other.record for other in self.custom_key_stores.values())
        return [other for other in every if other.custom_key_store_id != store.custom_key_store_id]

    def key_state(self, key: KmsKey) -> str:
        """The state of a key as it is told: Unavailable, if it could be used but for its custom key store."""
        store = self.custom_key_store(key)
        usable = store is None or store.state == CONNECTED or key.state not in (ENABLED, DISABLED)
        return key.state if usable else UNAVAILABLE

    def find_key_of_material(self, region: str, material_id: str) -> KeyEntry | None:
        """The key in this Region that a ciphertext's key material belongs to, or None."""
        identity = self.materials.get((region, material_id))
        return None if identity is None else self.keys.get(identity)

    def credential(self, access_key_id: str) -> Credential | None:
        """What an access key of a user or of a root user can sign as; None if there is none that is active."""
        account = self.access_key_accounts.get(access_key_id)
        return None if account is None else self.directories[account].credential(access_key_id)

    def held_key(self, access_key_id: str) -> HeldKey | None:
        """The access key of this id, whosever it is, or None."""
        account = self.access_key_accounts.get(access_key_id)
        if account is None:
            return self.service_keys.get(access_key_id)
        return self.directories[account].access_keys.get(access_key_id)

    def session_credential(self, session: Session) -> Credential | None:
        """What a session can sign as; None if whom it was made for is gone, or its sessions were revoked."""
        directory = self.directories.get(session.account)
        return None if directory is None else directory.session_credential(session)

    def find_role(self, arn: str) -> Role | None:
        """The role of this ARN, or None."""
        _, _, rest = arn.partition("::")
        directory = self.directories.get(rest.partition(":")[0])
        found = None if directory is None else directory.role(rest.rpartition("/")[2])
        return found.record if found is not None and found.record.arn == arn else None

    def arn_of(self, unique_id: str) -> str | None:
        """The ARN of the user, role or session that has this unique id now; None if it is gone."""
        owner, _, session = unique_id.partition(":")
        for directory in self.directories.values():
            if owner in directory.users:
                return directory.users[owner].record.arn
            if owner in directory.roles:
                role = directory.roles[owner].record
                return session_arn(role.account, role.name, session) if session else role.arn
        return None

    def unique_id(self, principal_arn: str) -> str | None:
        """The unique id of the principal of this ARN, None if there is none. That of a root user is its account."""
        _, _, rest = principal_arn.partition("::")
        account, _, _ = rest.partition(":")
        directory = self.directories.get(account)
        if directory is None:
            return None
        return account if principal_arn == root_arn(account) else directory.unique_id(principal_arn)

    def __repr__(self) -> str:
        return f"Snapshot({self.position.number}, {len(self.keys)} keys)"


class Lease(NamedTuple):
    """How long confirmed state may be relied on, in seconds, and the thread on which the database is asked."""

    seconds: float
    thread: Executor


class LiveSnapshot:
    """Keeps the current snapshot. For the event loop's thread alone."""

    def __init__(
        self,
        storage: Storage,
        open_secret: Callable[[AccessKey | XksCredential], str],
        forget: Callable[[str, str], None],
        lease: Lease | None = None,
    ) -> None:
        """`open_secret` unseals a secret access key; `forget` is told Regions and ids of materials that are gone.

        Of external keys, prefixes and ids of materials that are gone, or whose keys changed. Without a lease the
        storage is asked at every request, on the event loop's thread.
        """
        self._storage = storage
        self._open_secret = open_secret
        self._forget = forget
        self._lease = lease
        self._confirmed = _boot_seconds()
        self._confirming = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._version = storage.version()
        self._checked = False
        self._snapshot = self._from_contents(storage.load())

    @property
    def lease_left(self) -> float:
        """For how many seconds the state may be relied on; infinite without a lease."""
        return math.inf if self._lease is None else self._confirmed + self._lease.seconds - _boot_seconds()

    @property
    def stale(self) -> bool:
        """Whether `confirm` comes before `current`, since the lease is over."""
        return self._lease is not None and self._confirmed + self._lease.seconds < _boot_seconds()

    def current(self) -> Snapshot:
        """The state as of now: for any request whose last byte was read, all that was acknowledged before.

        With a lease, as of a moment within it. Without, the storage is asked once for all requests that the event loop
        read together: their tasks run before the loop reads again, and the question is put anew before any task that is
        begun by what it reads then.
        Raises IntegrityError, RollbackError or StorageError if what is stored cannot be trusted or read.
        """
        if self._lease is not None:
            if self.stale:
                raise StorageError("the database did not confirm in time that the state is the newest")
        elif not self._checked:
            version = self._storage.version()
            if version != self._version:
                self._take_over(self._newer(self._snapshot.position))
                self._version = version
            self._checked = True
            asyncio.get_running_loop().call_soon(self._check_again)
        return self._snapshot

    @property
    def last(self) -> Snapshot:
        """The state that requests saw last, without asking the storage for newer."""
        return self._snapshot

    def fresh(self) -> Snapshot:
        """The state as of this very call, without a lease."""
        self._checked = False
        return self.current()

    async def confirm(self) -> Snapshot:
        """The state as of this very call, or later. Raises as `current`.

        With a lease, who calls while the database is being asked shares the next question.
        """
        if self._lease is None:
            return self.fresh()
        if self._next is None:
            self._next = asyncio.create_task(self._ask(self._lease))
            self._next.add_done_callback(_heard)
        try:
            async with asyncio.timeout(_PATIENCE):  # wait_for may lose a cancellation (Python 3.11)
                await asyncio.shield(self._next)
        except TimeoutError:
            raise StorageError("the database does not answer") from None
        return self._snapshot

    async def newer_than(self, decided: Snapshot) -> Snapshot | None:
        """The state as of this very call, if it is not the one by which a request would be refused.

        Without a lease there is none: what a request sees is of now already. Raises as `current`.
        """
        if self._lease is None:
            return None
        newest = await self.confirm()
        return None if newest is decided else newest

    async def settle(self) -> None:
        """Wait until the database is not being asked any more. Nobody may ask from now on."""
        if self._next is not None:
            await asyncio.wait([self._next])
        async with self._confirming:
            pass

    def _check_again(self) -> None:
        self._checked = False

    async def _ask(self, lease: Lease) -> None:
        """Ask the database what is newer. One at a time; who comes later than the question waits for the next."""
        async with self._confirming:
            self._next = None
            began = _boot_seconds()
            loop = asyncio.get_running_loop()
            version = await loop.run_in_executor(lease.thread, self._storage.version)
            if version != self._version:
                newer = await loop.run_in_executor(lease.thread, self._newer, self._snapshot.position)
                self._take_over(newer)
                self._version = version
            self._confirmed = began

    def _newer(self, position: Position) -> Changes | Contents:
        """What came after a position; everything if that is not known any more. Blocks on the storage."""
        changes = self._storage.changes_since(position)
        return self._storage.load() if changes is None else changes

    def _take_over(self, newer: Changes | Contents) -> None:
        before = self._snapshot
        if isinstance(newer, Contents):
            self._snapshot = self._from_contents(newer)
            for region, material_id in before.materials.keys() - self._snapshot.materials.keys():
                self._forget(region, material_id)
            self._forget_external_keys(before, before.external_keys.keys())
        elif newer.position != before.position:
            self._snapshot = self._with_changes(newer)
            self._forget_external_keys(before, before.external_keys.keys() & _external_keys_of(newer))

    def _forget_external_keys(self, before: Snapshot, touched: Iterable[tuple[str, str]]) -> None:
        """Forget those that are gone or changed. A newer number of uses changes nothing of what is opened."""
        for identity in touched:
            key, now = before.external_keys[identity].record, self._snapshot.external_keys.get(identity)
            if now is None or structs.replace(now.record, uses=key.uses) != key:
                self._forget(key.prefix, key.material_id)

    def _from_contents(self, contents: Contents) -> Snapshot:
        return self._applied(Snapshot(contents.position), contents.position, contents.records, [])

    def _with_changes(self, changes: Changes) -> Snapshot:
        copy = structs.replace(
            self._snapshot,
            keys=dict(self._snapshot.keys),
            regions=dict(self._snapshot.regions),
            aliases=dict(self._snapshot.aliases),
            materials=dict(self._snapshot.materials),
            custom_key_stores=dict(self._snapshot.custom_key_stores),
            directories=dict(self._snapshot.directories),
            access_key_accounts=dict(self._snapshot.access_key_accounts),
            services=dict(self._snapshot.services),
            service_keys=dict(self._snapshot.service_keys),
            access_key_usages=dict(self._snapshot.access_key_usages),
            clock_readings=dict(self._snapshot.clock_readings),
            erasures=dict(self._snapshot.erasures),
            xks_stores=dict(self._snapshot.xks_stores),
            xks_credentials=dict(self._snapshot.xks_credentials),
            external_keys=dict(self._snapshot.external_keys),
            dated=set(self._snapshot.dated),
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
                case KeyMaterial() as material:
                    _put_material(snapshot, material, stored.number)
                    if not material.present:
                        self._forget(material.region, material.material_id)
                case Alias():
                    _put_alias(snapshot, stored.record, stored.number)
                case ClockReading() as reading:
                    snapshot.clock_readings[reading.boot_id] = Numbered(reading, stored.number)
                case PendingErasure() as erased:
                    identity = (erased.region, erased.account, erased.key_id)
                    snapshot.erasures[identity] = Numbered(erased, stored.number)
                case _:  # nobody asks for the others
                    pass
        for gone in removed:
            self._remove(snapshot, gone)
        _put_accounts(snapshot, written)
        changed = _ChangedMembers(snapshot.directories)
        self._put_access_keys(snapshot, written, changed)
        _change_identities(snapshot, written, removed, changed)
        _put_services(snapshot, written)
        _change_custom_key_stores(snapshot, written, removed)
        self._put_xks(snapshot, written)
        _remove_xks(snapshot, removed)
        _put_usages(snapshot, written)
        _change_grants(snapshot, written, removed)
        _put_dated(snapshot, written, removed)
        return structs.replace(
            snapshot,
            position=position,
            usage_tracked_since=_tracked_since(written, snapshot.usage_tracked_since),
        )

    def _put_access_keys(self, snapshot: Snapshot, written: list[Stored], changed: "_ChangedMembers") -> None:
        for record, number in written:
            if isinstance(record, AccessKey):
                held = HeldKey(record, number, self._open_secret(record))
                if record.service is not None:
                    snapshot.service_keys[record.access_key_id] = held
                else:
                    changed.of(record.account, AccessKey)[record.access_key_id] = held
                    snapshot.access_key_accounts[record.access_key_id] = record.account

    def _put_xks(self, snapshot: Snapshot, written: list[Stored]) -> None:
        for record, number in written:
            match record:
                case XksStore():
                    snapshot.xks_stores[record.prefix] = Numbered(record, number)
                case XksCredential():
                    held = XksHeld(record, number, self._open_secret(record))
                    snapshot.xks_credentials[record.access_key_id] = held
                case ExternalKey():
                    snapshot.external_keys[record.prefix, record.external_key_id] = Numbered(record, number)
                case _:
                    pass

    def _remove(self, snapshot: Snapshot, gone: Removed) -> None:
        by_name: dict[type, dict[str, Any]] = {
            Service: snapshot.services,
            AccessKeyUsage: snapshot.access_key_usages,
            ClockReading: snapshot.clock_readings,
        }
        if gone.kind in by_name:
            by_name[gone.kind].pop(str(gone.key[0]), None)
        elif gone.kind is Alias:
            account, region, name = map(str, gone.key)
            alias = snapshot.aliases.pop((region, account, name), None)
            if alias is not None:
                _take_alias_from_key(snapshot, alias.record)
        elif gone.kind is KmsKey:
            _take_key(snapshot, gone)
        elif gone.kind is PendingErasure:
            account, region, key_id = map(str, gone.key)
            snapshot.erasures.pop((region, account, key_id), None)
        elif gone.kind is KeyUsage:
            account, region, key_id = map(str, gone.key)
            entry = snapshot.keys.get((region, account, key_id))
            if entry is not None:  # a replica key that was deleted and made again
                snapshot.keys[region, account, key_id] = structs.replace(entry, usage=None)
        elif gone.kind is KeyMaterial:
            account, region, key_id, material_id = map(str, gone.key)
            snapshot.materials.pop((region, material_id), None)
            entry = snapshot.keys.get((region, account, key_id))
            if entry is not None:
                left = {name: kept for name, kept in entry.materials.items() if name != material_id}
                snapshot.keys[region, account, key_id] = structs.replace(entry, materials=left)
            self._forget(region, material_id)


class _ChangedMembers:
    """Copies of what changes in directories, which become the directories' own together."""

    def __init__(self, directories: dict[str, Directory]) -> None:
        self._directories = directories
        self._copies: dict[str, dict[str, dict[str, Any]]] = {}

    def of(self, account: str, kind: type) -> dict[str, Any]:
        """The copy of an account's records of one kind."""
        name = _DIRECTORY_MEMBERS[kind]
        copies = self._copies.setdefault(account, {})
        if name not in copies:
            if account not in self._directories:
                raise IntegrityError(f"an identity belongs to account {account}, which is not there")
            copies[name] = dict(getattr(self._directories[account], name))
        return copies[name]

    def take_over(self) -> None:
        """Put the copies into the directories."""
        for account, copies in self._copies.items():
            self._directories[account] = structs.replace(self._directories[account], **copies)


def _put_accounts(snapshot: Snapshot, written: list[Stored]) -> None:
    for record, number in written:
        if isinstance(record, Account):
            before = snapshot.directories.get(record.account)
            account = Numbered(record, number)
            after = Directory(account) if before is None else structs.replace(before, account=account)
            snapshot.directories[record.account] = after


def _put_services(snapshot: Snapshot, written: list[Stored]) -> None:
    for record, number in written:
        if isinstance(record, Service):
            snapshot.services[record.name] = Numbered(record, number)
        elif isinstance(record, AccessKeyUsage):
            snapshot.access_key_usages[record.access_key_id] = Numbered(record, number)


def _change_custom_key_stores(snapshot: Snapshot, written: list[Stored], removed: list[Removed]) -> None:
    for record, number in written:
        if isinstance(record, CustomKeyStore):
            identity = (record.region, record.account, record.custom_key_store_id)
            snapshot.custom_key_stores[identity] = Numbered(record, number)
    for gone in removed:
        if gone.kind is CustomKeyStore:
            account, region, custom_key_store_id = map(str, gone.key)
            snapshot.custom_key_stores.pop((region, account, custom_key_store_id), None)


def _heard(asked: asyncio.Task[None]) -> None:
    """Take note of a failure: nobody may wait for it any more."""
    if not asked.cancelled():
        asked.exception()


def _boot_seconds() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _external_keys_of(changes: Changes) -> set[tuple[str, str]]:
    """The external keys that were written or removed."""
    written = {(one.prefix, one.external_key_id) for one, _ in changes.written if isinstance(one, ExternalKey)}
    return written | {(str(one.key[0]), str(one.key[1])) for one in changes.removed if one.kind is ExternalKey}


def _remove_xks(snapshot: Snapshot, removed: list[Removed]) -> None:
    for gone in removed:
        first = str(gone.key[0])
        if gone.kind is XksStore:
            snapshot.xks_stores.pop(first, None)
        elif gone.kind is XksCredential:
            snapshot.xks_credentials.pop(first, None)
        elif gone.kind is ExternalKey:
            snapshot.external_keys.pop((first, str(gone.key[1])), None)


def _change_identities(
    snapshot: Snapshot, written: list[Stored], removed: list[Removed], changed: _ChangedMembers
) -> None:
    """Take over the changed identities, those of each account at once."""
    for record, number in written:
        if isinstance(record, User | Group | Role | ManagedPolicy | IdentityProvider):
            changed.of(record.account, type(record))[_last_of_key(record)] = Numbered(record, number)
    for gone in removed:
        if gone.kind is AccessKey:
            access_key_id = str(gone.key[0])
            snapshot.service_keys.pop(access_key_id, None)
            owner = snapshot.access_key_accounts.pop(access_key_id, None)
            if owner is not None:
                changed.of(owner, AccessKey).pop(access_key_id, None)
        elif gone.kind in _DIRECTORY_MEMBERS:
            changed.of(str(gone.key[0]), gone.kind).pop(str(gone.key[-1]), None)
    changed.take_over()


def _last_of_key(record: User | Group | Role | ManagedPolicy | IdentityProvider) -> str:
    match record:
        case User():
            return record.user_id
        case Group():
            return record.group_id
        case Role():
            return record.role_id
        case ManagedPolicy():
            return record.policy_id
        case IdentityProvider():
            return record.url


def _put_key(snapshot: Snapshot, key: KmsKey, number: int) -> None:
    identity = (key.region, key.account, key.key_id)
    before = snapshot.keys.get(identity)
    if before is None:
        snapshot.keys[identity] = KeyEntry(key, number, {})
        if key.multi_region:
            there = snapshot.regions.get((key.account, key.key_id), frozenset())
            snapshot.regions[key.account, key.key_id] = there | {key.region}
    else:
        snapshot.keys[identity] = structs.replace(before, key=key, number=number)


def _take_key(snapshot: Snapshot, gone: Removed) -> None:
    account, region, key_id = map(str, gone.key)
    snapshot.keys.pop((region, account, key_id), None)
    others = snapshot.regions.pop((account, key_id), frozenset()) - {region}
    if others:
        snapshot.regions[account, key_id] = others


def _put_material(snapshot: Snapshot, material: KeyMaterial, number: int) -> None:
    identity = (material.region, material.account, material.key_id)
    entry = snapshot.keys.get(identity)
    if entry is None:
        raise IntegrityError(f"key material {material.material_id} belongs to no key")
    materials = {**entry.materials, material.material_id: Numbered(material, number)}
    snapshot.keys[identity] = structs.replace(entry, materials=materials)
    snapshot.materials[material.region, material.material_id] = identity


def _put_dated(snapshot: Snapshot, written: list[Stored], removed: list[Removed]) -> None:
    """See of the keys that changed whether they are dated. Whatever changes material changes its key too."""
    changed = [(record.region, record.account, record.key_id) for record, _ in written if isinstance(record, KmsKey)]
    changed += [(str(gone.key[1]), str(gone.key[0]), str(gone.key[2])) for gone in removed if gone.kind is KmsKey]
    for identity in changed:
        entry = snapshot.keys.get(identity)
        if entry is not None and entry.dated:
            snapshot.dated.add(identity)
        else:
            snapshot.dated.discard(identity)


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
