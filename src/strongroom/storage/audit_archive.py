"""The audit log in the database that nodes share: the lines of every chain, and the digests of its segments.

What stands here authenticates itself as the files do, lines by their chain and digests by their signatures
(docs/formats/audit-log.md). A node's files are a copy of it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, LargeBinary, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from strongroom.storage.database import Database
from strongroom.storage.tables import AUDIT_CHAINS, AUDIT_DIGESTS, AUDIT_GROUPS

_GIVEN = select(
    AUDIT_CHAINS.c.chain_id,
    bindparam("first", type_=BigInteger),
    bindparam("last", type_=BigInteger),
    bindparam("segment", type_=Integer),
    bindparam("lines", type_=LargeBinary),
).where(AUDIT_CHAINS.c.chain_id == bindparam("chain_id"), AUDIT_CHAINS.c.ended.is_(False))
_PUT = (
    insert(AUDIT_GROUPS)
    .from_select(list(AUDIT_GROUPS.c), _GIVEN.with_for_update(read=True))  # so that it cannot be ended meanwhile
    .on_conflict_do_nothing()
    .returning(AUDIT_GROUPS.c.segment)
)
_LAST = select(func.coalesce(func.max(AUDIT_GROUPS.c.last_sequence), 0)).where(
    AUDIT_GROUPS.c.chain_id == bindparam("chain_id")
)
_CHAINS = select(AUDIT_GROUPS.c.chain_id).distinct()
_NEXT = (
    select(AUDIT_GROUPS)
    .where(AUDIT_GROUPS.c.chain_id == bindparam("chain_id"), AUDIT_GROUPS.c.first_sequence > bindparam("after"))
    .order_by(AUDIT_GROUPS.c.first_sequence)
    .limit(bindparam("at_once"))
)
_FIRST_AFTER = select(func.coalesce(func.max(AUDIT_GROUPS.c.first_sequence), 0)).where(
    AUDIT_GROUPS.c.chain_id == bindparam("chain_id"), AUDIT_GROUPS.c.first_sequence <= bindparam("after")
)
_GIVEN_DIGEST = insert(AUDIT_DIGESTS)
_PUT_DIGEST = _GIVEN_DIGEST.on_conflict_do_update(
    index_elements=[AUDIT_DIGESTS.c.chain_id, AUDIT_DIGESTS.c.segment],
    set_={"digest": _GIVEN_DIGEST.excluded.digest, "signature": _GIVEN_DIGEST.excluded.signature},
)
_DIGESTS = (
    select(AUDIT_DIGESTS).where(AUDIT_DIGESTS.c.chain_id == bindparam("chain_id")).order_by(AUDIT_DIGESTS.c.segment)
)
_AT_ONCE = 200
"""Groups that are read at once."""


class Group(NamedTuple):
    """Lines of a chain that follow each other in one segment: the sequences of the first and the last, and the bytes.

    A group whose last line is before its first is the torn end of a chain that was closed.
    """

    chain_id: str
    first: int
    last: int
    segment: int
    lines: bytes


class StoredDigest(NamedTuple):
    """The digest of a segment and its signature, each as its file has it."""

    chain_id: str
    segment: int
    digest: bytes
    signature: bytes


class AuditArchive:
    """The log of all nodes. Methods block on the database and raise StorageError. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, group: Group) -> bool:
        """Add lines, durably; whether they were added.

        They are not if lines with the same first sequence are there, or if the chain was closed by another.
        """
        with self._database.connecting() as connection:
            return connection.execute(_PUT, group._asdict()).first() is not None

    def last_sequence(self, chain_id: str) -> int:
        """The sequence of the last line of a chain; 0 if there is none."""
        with self._database.connecting() as connection:
            return int(connection.execute(_LAST, {"chain_id": chain_id}).scalar_one())

    def chain_ids(self) -> set[str]:
        """The chains that have any lines."""
        with self._database.connecting() as connection:
            return set(connection.execute(_CHAINS).scalars())

    def groups(self, chain_id: str, *, after: int = 0) -> Iterator[Group]:
        """The groups of a chain in order, from the one on that holds the line after sequence `after`."""
        with self._database.connecting() as connection:
            begin = int(connection.execute(_FIRST_AFTER, {"chain_id": chain_id, "after": after + 1}).scalar_one()) - 1
        while True:
            with self._database.connecting() as connection:
                page = connection.execute(_NEXT, {"chain_id": chain_id, "after": begin, "at_once": _AT_ONCE}).all()
            yield from (Group(*row) for row in page)
            if len(page) < _AT_ONCE:
                return
            begin = page[-1].first_sequence

    def put_digest(self, digest: StoredDigest) -> None:
        """Add the digest of a segment, in the place of the one that it may have."""
        with self._database.connecting() as connection:
            connection.execute(_PUT_DIGEST, digest._asdict())

    def digests(self, chain_id: str) -> list[StoredDigest]:
        """The digests of a chain, in order."""
        with self._database.connecting() as connection:
            return [StoredDigest(*row) for row in connection.execute(_DIGESTS, {"chain_id": chain_id})]
