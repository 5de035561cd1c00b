"""Storage in a relational database: the contract of `contract.py`, over what each database system does its own way.

docs/formats/storage.md specifies what is stored. Nothing here is particular to one database system: that is a
`Database`, of which there is one per system.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from msgspec import ValidationError, convert
from sqlalchemy import Connection, inspect, select

from strongroom.errors import RollbackError, StorageError
from strongroom.model.alias import Alias
from strongroom.model.domain_key import DomainKey
from strongroom.model.grant import Grant
from strongroom.model.key import KmsKey
from strongroom.storage import audit_rows, copying, feed, rows, schema
from strongroom.storage.contract import (
    AuditChain,
    Changes,
    Contents,
    OutboxEntry,
    PendingRecord,
    Position,
    R,
    Stored,
    Write,
)
from strongroom.storage.proof import (
    Entry,
    Numbers,
    RowName,
    altered,
    decode_entries,
    encode_entries,
    faults,
    follow,
    refuse_older,
    replay,
    unauthentic,
)
from strongroom.storage.row_authentication import FeedHead, FeedRow, genesis, matches
from strongroom.storage.tables import DOMAIN_KEYS, INSTALLATION, REVISION, Key, column_names, from_row


class Database(Protocol):
    """One open database: what its system does in its own way.

    Every method, and every block of the context managers, turns what the system raises into a StorageError of one
    line without any values, and raises RollbackError when it finds another database than the one that was opened.
    """

    @property
    def name(self) -> str:
        """What messages call it. Holds no password."""
        ...

    def connecting(self) -> AbstractContextManager[Connection]:
        """A connection for one SELECT, which sees one state by itself, and is quicker without a transaction."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state, as of its first read."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that has no other writer beside it, and sees what all before it wrote.

        What it writes is durable in the database that was opened when the block has ended.
        """
        ...

    def version(self) -> int:
        """A number that differs after a change was committed; see `Storage`."""
        ...

    def await_change(self, seconds: float) -> None:
        """Return when something was committed; see `Storage`."""
        ...

    def check_structure(self, connection: Connection) -> None:
        """Raise StorageError unless the system's own structures are sound, indexes above all: reads go through them.

        The connection is in a transaction.
        """
        ...

    def write_anew(self) -> None:
        """Leave no byte of what was deleted in the files; see `Storage.erase`."""
        ...

    def close(self) -> None:
        """Release every connection."""
        ...


class DatabaseStorage:
    """One open database; `Storage` says what each method promises."""

    def __init__(self, database: Database, row_key: bytes) -> None:
        self.database = database
        self._row_key = row_key
        self._write_lock = threading.Lock()  # threads wait in line here and not in the database, one connection each
        self._newest = Position(0, genesis(row_key))  # that was made or seen here
        self._newest_lock = threading.Lock()

    @classmethod
    def create(cls, database: Database, row_key: bytes) -> "DatabaseStorage":
        """Make the tables in a database that has none. `row_key` is 32 bytes. Raises StorageError."""
        with database.writing() as connection:
            _refuse_tables(connection, database)
            schema.migrate(connection, database.name)
            feed.begin(connection, row_key)
        return cls(database, row_key)

    @classmethod
    def open(cls, database: Database, row_key: bytes) -> "DatabaseStorage":
        """Bring the schema of a database up to date. It proves nothing yet: that is `load`. Raises StorageError."""
        with database.connecting() as connection:
            current = schema.revision(connection)
        if current != REVISION:
            with database.writing() as connection:
                schema.migrate(connection, database.name)
        return cls(database, row_key)

    @property
    def name(self) -> str:
        """What messages call the database. Holds no password."""
        return self.database.name

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, FeedHead]]:
        """A transaction that sees one state, with its verified head, which is not behind what was seen before."""
        newest = self._newest  # as of now: the state that is read will not know what is seen meanwhile
        with self.database.reading() as connection:
            yield connection, self._read_head(connection, newest)

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, FeedHead]]:
        """As `_reading`, with no other writer. What is written is durable when it ends."""
        with self._write_lock:
            newest = self._newest
            with self.database.writing() as connection:
                yield connection, self._read_head(connection, newest)

    def _read_head(self, connection: Connection, newest: Position) -> FeedHead:
        head = feed.read_head(connection, self._row_key)
        position = Position(head.number, head.chain)
        refuse_older(position, newest)
        if position.number == newest.number and position != newest:
            raise RollbackError(f"change {position.number} of the database is not the one that was made before")
        self._note(position)
        return head

    def _note(self, position: Position) -> None:
        with self._newest_lock:
            self._newest = max(self._newest, position, key=lambda one: one.number)

    def load(self) -> Contents:
        """Read everything and prove it; see `Storage`. Names up to five faults in its IntegrityError."""
        proved, records, _ = self._prove()
        with self._reading() as (connection, _):
            self.database.check_structure(connection)
        return Contents(Position(proved.head.number, proved.head.chain), records)

    def checkpoint(self) -> None:
        """Write a checkpoint and trim the feed when it is due; see `Storage`."""
        with self._reading() as (connection, _):
            due = feed.checkpoint_is_due(connection)
        if due:
            proved, _, numbers = self._prove()  # others may write meanwhile: it takes a while
            with self._writing() as (connection, head):
                feed.write_checkpoint(connection, self._row_key, head, proved=proved, numbers=numbers)

    def _prove(self) -> tuple[feed.Feed, list[Stored], Numbers]:
        """Prove the state: the feed, all records, and the numbers of the changes that wrote them."""
        with self._reading() as (connection, head):
            proved = feed.read_feed(connection, self._row_key, head)
            records, numbers, edited = rows.read_all(connection, self._row_key)
        later = [row for row in proved.rows if row.number > proved.checkpoint.number]
        expected, removed, found = replay(proved.checkpoint, later)
        found = [*map(unauthentic, edited), *found, *faults(expected, removed, numbers, edited)]
        if found:
            raise altered(*found)
        return proved, records, numbers

    def version(self) -> int:
        """A number that differs after a change was committed; see `Storage`."""
        return self.database.version()

    def await_change(self, seconds: float) -> None:
        """Return when something was committed; see `Storage`."""
        self.database.await_change(seconds)

    def position(self) -> Position:
        """The newest change; see `Storage`."""
        with self._reading() as (_, head):
            return Position(head.number, head.chain)

    def changes_since(self, position: Position) -> Changes | None:
        """What changed after `position`; see `Storage`."""
        with self._reading() as (connection, head):
            feed_rows = self._feed_after(connection, head, position)
            if feed_rows is None:
                return None
            if len(feed_rows) != head.number - position.number:
                return None  # the numbers jump where a rollback was accepted
            newest: dict[RowName, Entry] = {entry.name: entry for row in feed_rows for entry in decode_entries(row)}
            written, removed = rows.current(connection, self._row_key, newest.values())
        return Changes(Position(head.number, head.chain), written, removed)

    def refuse_other_past(self, position: Position) -> None:
        """Look whether a position is in the database's past; see `Storage`."""
        with self._reading() as (connection, head):
            self._feed_after(connection, head, position)

    def _feed_after(self, connection: Connection, head: FeedHead, position: Position) -> list[FeedRow] | None:
        """The feed after a position, which it continues; None if it no longer reaches back that far."""
        refuse_older(Position(head.number, head.chain), position)
        feed_rows = feed.read_after(connection, position.number)
        if feed_rows and feed_rows[0].previous != position.number:
            return None
        follow(self._row_key, position, feed_rows)
        if not feed_rows and not matches(position.chain, head.chain):
            raise altered(f"change {position.number} is not the one that was made before")
        return feed_rows

    def commit(self, writes: Sequence[Write], outbox: OutboxEntry | None, *, beyond: int = 0) -> Position:
        """Make one change durable, with a number greater than `beyond`; see `Storage`."""
        with self._writing() as (connection, head):
            number = max(head.number, beyond) + 1
            entries = encode_entries(rows.write(connection, self._row_key, writes, number))
            record_hash: bytes | None = None
            if outbox is not None:
                audit_rows.put(connection, self._row_key, number, outbox)
                record_hash = hashlib.sha256(outbox.record).digest()
            change = FeedRow(number, head.number, entries, record_hash, chain=b"")
            position = feed.append(connection, self._row_key, head, change)
        self._note(position)  # only now: before it is durable, others cannot see it
        return position

    def find(self, kind: type[R], key: Key) -> tuple[R, int] | None:
        """Read one record by primary key; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.find(connection, self._row_key, kind, key)

    def find_all(self, kind: type[R]) -> list[tuple[R, int]]:
        """Read every record of one type; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.find_all(connection, self._row_key, kind)

    def list_keys(self, account: str, region: str, *, after: str, limit: int) -> list[KmsKey]:
        """KMS keys in order of key id; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.list_keys(connection, self._row_key, account, region, after=after, limit=limit)

    def count_keys(self, account: str, region: str) -> int:
        """How many KMS keys an account has in a Region; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.count_keys(connection, account, region)

    def list_aliases(
        self, account: str, region: str, *, after: str, limit: int, key_id: str | None = None
    ) -> list[Alias]:
        """Aliases in order of name; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.list_aliases(
                connection, self._row_key, account, region, after=after, limit=limit, key_id=key_id
            )

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
        """Grants of a key in order of grant id; see `Storage`."""
        members = {
            "grant_id": grant_id,
            "grantee_principal": grantee_principal,
            "grantee_service": grantee_service,
        }
        with self.database.connecting() as connection:
            return rows.list_grants(connection, self._row_key, key, after=after, limit=limit, members=members)

    def list_retirable_grants(
        self, region: str, retiring: tuple[str, str | None], *, after: tuple[str, str, str], limit: int
    ) -> list[Grant]:
        """Grants that a principal may retire; see `Storage`."""
        with self.database.connecting() as connection:
            return rows.list_retirable_grants(connection, self._row_key, region, retiring, after=after, limit=limit)

    def erase(self) -> None:
        """Write the database anew without what was deleted; see `Storage`."""
        with self._write_lock:
            self.database.write_anew()

    def register_chain(self, chain: AuditChain, *, chained: Sequence[int] = ()) -> None:
        """Insert or update a chain, and drop records from the outbox; see `Storage`."""
        with self._writing() as (connection, head):
            audit_rows.register_chain(connection, self._row_key, head, chain=chain, chained=chained)

    def chains(self) -> list[AuditChain]:
        """All registered chains, oldest first; see `Storage`."""
        with self._reading() as (connection, head):
            return audit_rows.read_chains(connection, self._row_key, head)

    def outbox(self) -> list[PendingRecord]:
        """Audit records not yet dropped, in order of change; see `Storage`."""
        with self._reading() as (connection, head):
            return audit_rows.read_outbox(connection, self._row_key, head)

    def change_records(self) -> Iterator[tuple[int, bytes]]:
        """The hashes of the audit records of the changes in the feed; see `Storage`."""
        with self._reading() as (connection, head):
            feed_rows = feed.read_feed(connection, self._row_key, head).rows
        return ((row.number, row.record_hash) for row in feed_rows if row.record_hash is not None)

    def close(self) -> None:
        """Release every connection."""
        self.database.close()


def fill(database: Database, revision: str, tables: Iterable[copying.TableCopy]) -> None:
    """Make the tables of a schema in a database that has none, with these rows, all or nothing. It proves nothing.

    Raises StorageError if there are tables, or if this version does not know the schema.
    """
    with database.writing() as connection:
        _refuse_tables(connection, database)
        schema.migrate(connection, database.name, revision)
        copying.write_tables(connection, tables)


def has_tables(database: Database) -> bool:
    """Whether there are tables in a database, of whomever."""
    with database.connecting() as connection:
        return not schema.is_empty(connection)


def _refuse_tables(connection: Connection, database: Database) -> None:
    if not schema.is_empty(connection):
        raise StorageError(f"{database.name}: there are tables in the database already")


def read_domain_keys(database: Database) -> tuple[str, list[DomainKey]]:
    """Read what is needed to get at the row-authentication key: the installation's id and all domain keys.

    Nothing is verified: a wrapped domain key authenticates itself, and `load` verifies the rest later.
    """
    with database.reading() as connection:
        installations = connection.execute(select(INSTALLATION.c.installation_id)).scalars().all()
        there = {str(column["name"]) for column in inspect(connection).get_columns(DOMAIN_KEYS.name)}
        columns = [column for column in DOMAIN_KEYS.c if column.name in there]  # of an older schema it has fewer
        domain_keys = [
            dict.fromkeys(column_names(DOMAIN_KEYS)) | dict(row)
            for row in connection.execute(select(*columns)).mappings()
        ]
    if len(installations) != 1:
        raise StorageError(
            f"{database.name}: the database belongs to no installation; was `strongroom init` interrupted?"
        )
    try:
        return convert(installations[0], str), [from_row(DomainKey, row) for row in domain_keys]
    except ValidationError as error:
        raise StorageError(f"{database.name}: the database is damaged: a domain key has not the form of one") from error
