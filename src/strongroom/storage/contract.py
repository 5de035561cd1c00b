"""What the service remembers: the contract that every storage fulfils.

State is a set of records. A *change* is one transaction: it takes the next number, writes records, appends to the
MAC-chained feed, and puts the audit record of the request that caused it into the outbox, all or nothing.
Every record remembers the number of the change that wrote it; a writer says which number it decided on, and gets
ConflictError if another change came between.

All methods block on disk and may be called from any thread, except `version`, which is for the event loop's thread.
All raise StorageError when the database cannot be read or written, and IntegrityError, naming the row, when what
they read was altered. All raise RollbackError when the database is not the one that was opened, is behind the newest
change that this instance made or saw, or has another change in its place; `version` and what reads single records
or lists of them (`find…`, `list…`, `count…`), which requests call, do not look for that.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from strongroom.model.alias import Alias
from strongroom.model.clock_reading import ClockReading
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.domain_key import DomainKey
from strongroom.model.erasure import PendingErasure
from strongroom.model.grant import Grant
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, AccessKeyUsage, Account, Service
from strongroom.model.xks import AttachedObject, ExternalKey, XksCredential, XksStore

Record = (
    Installation
    | DomainKey
    | Account
    | AccessKey
    | AccessKeyUsage
    | User
    | Group
    | Role
    | ManagedPolicy
    | IdentityProvider
    | Service
    | CustomKeyStore
    | KmsKey
    | KeyMaterial
    | Alias
    | Grant
    | KeyUsage
    | PendingErasure
    | ClockReading
    | XksStore
    | XksCredential
    | ExternalKey
    | AttachedObject
)
R = TypeVar("R", bound=Record)


class Nonces(Protocol):
    """The nonces of requests, so that none is taken twice. All server processes of an installation share them."""

    def first_use(self, owner: str, nonce: str, now: float) -> bool:
        """Note a nonce of an owner; whether it was not there. `now` is in seconds since the epoch. Blocks on the disk.

        Nonces are forgotten after `NONCE_SECONDS`. Raises StorageError.
        """
        ...


NONCE_SECONDS = 15 * 60
"""How long a nonce is remembered: longer than a signed request can be sent, five minutes early to five late."""


class Position(NamedTuple):
    """How far the state has come: the number of the newest change and the feed's chain value after it."""

    number: int
    chain: bytes


class Stored(NamedTuple):
    """A record and the number of the change that wrote it."""

    record: Record
    number: int


class Insert(NamedTuple):
    """Write a record that must not exist yet."""

    record: Record


class Replace(NamedTuple):
    """Write a record over the one of the same key that change `number` wrote."""

    record: Record
    number: int


class Delete(NamedTuple):
    """Remove the record that change `number` wrote."""

    record: Record
    number: int


class Keep(NamedTuple):
    """Write nothing, but conflict unless the record is still as change `number` wrote it."""

    record: Record
    number: int


Write = Insert | Replace | Delete | Keep


class Removed(NamedTuple):
    """A record that is gone: its type and primary key."""

    kind: type
    key: tuple[str | int, ...]


class Contents(NamedTuple):
    """The whole verified state at a position."""

    position: Position
    records: list[Stored]


class Changes(NamedTuple):
    """What to apply to a state at an older position to reach `position`: each record once, as it is now."""

    position: Position
    written: list[Stored]
    removed: list[Removed]


class OutboxEntry(NamedTuple):
    """The audit record of a change, committed with it. `record` is the encoded CloudTrail record."""

    chain_id: str
    event_id: str
    record: bytes


class PendingRecord(NamedTuple):
    """An audit record in the outbox: the change it belongs to, and the entry."""

    number: int
    entry: OutboxEntry


class AuditChain(NamedTuple):
    """A registered audit chain: how far its log is known to have come (`sequence`, `mac`), and whether it ended.

    Only a clean end sets `ended`. `opened` is in seconds since the epoch; `mac` is 32 bytes.
    """

    chain_id: str
    opened: float
    sequence: int
    mac: bytes
    ended: bool


class Storage(Protocol):
    """State, change feed, outbox and registered audit chains."""

    def load(self) -> Contents:
        """Read everything and prove it: each row's MAC, and rows = checkpoint + feed. Changes nothing."""
        ...

    def checkpoint(self) -> None:
        """Keep the feed short: when due, prove everything as `load` does, note what is there, drop older changes.

        Quick when it is not due, and may be called while others read and write. What it dropped is no longer among
        `change_records`, and `changes_since` a position before it is None.
        """
        ...

    def version(self) -> int:
        """A number that differs after any other connection committed a change. Nothing is verified.

        It may differ after other writes too. A few microseconds on SQLite, a round trip to a database server.
        """
        ...

    def await_change(self, seconds: float) -> None:
        """Return when something was committed since the last call, perhaps earlier, at most after `seconds`.

        For one thread. It is a wake-up: what was committed, `version` and `changes_since` say.
        """
        ...

    def position(self) -> Position:
        """The newest change."""
        ...

    def changes_since(self, position: Position) -> Changes | None:
        """What changed after `position`, verified along the chain; None if the feed no longer reaches back that far.

        Raises RollbackError if the database is behind `position`, IntegrityError if its feed is not a continuation.
        """
        ...

    def refuse_other_past(self, position: Position) -> None:
        """Raise as `changes_since` does if the database's past is another one; no row is read.

        What the feed no longer reaches is not known to be another one.
        """
        ...

    def commit(self, writes: Sequence[Write], outbox: OutboxEntry | None, *, beyond: int = 0) -> Position:
        """Make one change durable, or none of it: ConflictError if an expectation of `writes` does not hold.

        After a RollbackError the change may have been made in a database that is not the installation's any more;
        after a StorageError because the connection to a database server was lost, it may have been made.
        Its number is the next, or the first after `beyond`: the newest change that is known to be lost, where an
        operator accepts that an older database was put back.
        """
        ...

    def find(self, kind: type[R], key: tuple[str | int, ...]) -> tuple[R, int] | None:
        """Read one record by primary key, verified, with its number."""
        ...

    def find_all(self, kind: type[R]) -> list[tuple[R, int]]:
        """Read every record of one type, verified, with their numbers: for types that have few."""
        ...

    def list_keys(self, account: str, region: str, *, after: str, limit: int) -> list[KmsKey]:
        """KMS keys in order of key id, beginning after `after` (empty: from the start), at most `limit`.

        Each is verified; one that was taken out of the database is left out and not missed until the next `load`.
        """
        ...

    def count_keys(self, account: str, region: str) -> int:
        """How many customer managed keys an account has in a Region. Nothing is verified."""
        ...

    def list_aliases(
        self, account: str, region: str, *, after: str, limit: int, key_id: str | None = None
    ) -> list[Alias]:
        """Aliases (of one key, if it is named) in order of name, as `list_keys` lists keys."""
        ...

    def list_grants(
        self,
        key: tuple[str, str, str],
        *,
        after: str,
        limit: int,
        grant_id: str | None = None,
        grantee_principal: str | None = None,
        grantee_service: str | None = None,
    ) -> list[Grant]:
        """Grants of a key, by its primary key, in order of grant id, as `list_keys` lists keys.

        Only those with these members, where they are given.
        """
        ...

    def list_retirable_grants(
        self, region: str, retiring: tuple[str, str | None], *, after: tuple[str, str, str], limit: int
    ) -> list[Grant]:
        """Grants of any account's keys in a Region that a principal may retire, as `list_keys` lists keys.

        The principal is named by its ARN and the unique id that grants remember, if they do.

        In order of account, key id and grant id, beginning after those of `after` (three times empty: from the start).
        """
        ...

    def erase(self) -> None:
        """Leave no byte of records that were deleted before this call in the files of the database.

        What a database server keeps besides (its log, backups) is not reached: docs/formats/storage.md.
        Takes as long as it takes to copy the database, and holds up changes meanwhile. Raises StorageError if others
        use the database so that it could not be done: call again later.
        """
        ...

    def register_chain(self, chain: AuditChain, *, chained: Sequence[int] = ()) -> None:
        """Insert or update a chain, and drop from the outbox the records of the changes that are in its log now.

        Raises IntegrityError if the chain has ended, and is not said to have.
        """
        ...

    def chains(self) -> list[AuditChain]:
        """All registered chains, verified, oldest first."""
        ...

    def outbox(self) -> list[PendingRecord]:
        """Audit records not yet dropped, verified against the feed, in order of change."""
        ...

    def change_records(self) -> Iterator[tuple[int, bytes]]:
        """Number and SHA-256 of the audit record of each change in the feed that has one, in order, verified."""
        ...

    def close(self) -> None:
        """Release every connection."""
        ...
