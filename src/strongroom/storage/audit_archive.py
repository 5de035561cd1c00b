"""The audit log in the database that nodes share: the lines of every chain, and the digests of its segments.

What stands here authenticates itself as the files do, lines by their chain and digests by their signatures
(docs/formats/audit-log.md). A node's files are a copy of it.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, LargeBinary, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from strongroom.errors import RollbackError
from strongroom.storage.database import Database
from strongroom.storage.tables import AUDIT_CHAINS, AUDIT_DIGESTS, AUDIT_GROUPS

_PAGE_GROUPS = 2_000
_PAGE_BYTES = 8 * 1024 * 1024
"""Of groups that are read at once; of one that is larger, itself."""

_NEWEST = (
    select(AUDIT_GROUPS.c.last_sequence)
    .where(AUDIT_GROUPS.c.chain_id == bindparam("chain_id"))
    .order_by(AUDIT_GROUPS.c.first_sequence.desc())
    .limit(1)
)
_END = select(AUDIT_CHAINS.c.ended, func.coalesce(_NEWEST.correlate(None).scalar_subquery(), 0).label("last")).where(
    AUDIT_CHAINS.c.chain_id == bindparam("chain_id")
)
_GIVEN = select(
    AUDIT_CHAINS.c.chain_id,
    bindparam("first", type_=BigInteger),
    bindparam("last", type_=BigInteger),
    bindparam("segment", type_=Integer),
    bindparam("lines", type_=LargeBinary),
).where(
    AUDIT_CHAINS.c.chain_id == bindparam("chain_id"),
    AUDIT_CHAINS.c.ended.is_(False),
    func.coalesce(_NEWEST.correlate(None).scalar_subquery(), 0) == bindparam("first", type_=BigInteger) - 1,
)
_PUT = (
    insert(AUDIT_GROUPS)
    .from_select(list(AUDIT_GROUPS.c), _GIVEN.with_for_update(read=True))  # so that it cannot be ended meanwhile
    .on_conflict_do_nothing()
    .returning(AUDIT_GROUPS.c.segment)
)
_HOLDING = select(func.coalesce(func.max(AUDIT_GROUPS.c.first_sequence), 0)).where(
    AUDIT_GROUPS.c.chain_id == bindparam("chain_id"), AUDIT_GROUPS.c.first_sequence <= bindparam("sequence")
)
_CHAINS = select(AUDIT_GROUPS.c.chain_id).distinct()
_SIZES = (
    select(AUDIT_GROUPS.c.first_sequence, func.length(AUDIT_GROUPS.c.lines))
    .where(AUDIT_GROUPS.c.chain_id == bindparam("chain_id"), AUDIT_GROUPS.c.first_sequence >= bindparam("begin"))
    .order_by(AUDIT_GROUPS.c.first_sequence)
    .limit(_PAGE_GROUPS)
)
_PAGE = (
    select(AUDIT_GROUPS)
    .where(
        AUDIT_GROUPS.c.chain_id == bindparam("chain_id"),
        AUDIT_GROUPS.c.first_sequence.between(bindparam("begin"), bindparam("end")),
    )
    .order_by(AUDIT_GROUPS.c.first_sequence)
)
_GIVEN_DIGEST = insert(AUDIT_DIGESTS)
_PUT_DIGEST = _GIVEN_DIGEST.on_conflict_do_update(
    index_elements=[AUDIT_DIGESTS.c.chain_id, AUDIT_DIGESTS.c.segment],
    set_={"digest": _GIVEN_DIGEST.excluded.digest, "signature": _GIVEN_DIGEST.excluded.signature},
)
_DIGESTS = (
    select(AUDIT_DIGESTS).where(AUDIT_DIGESTS.c.chain_id == bindparam("chain_id")).order_by(AUDIT_DIGESTS.c.segment)
)


class Group(NamedTuple):
    """Lines of a chain that follow each other in one segment: the sequences of the first and the last, and the bytes.

    A group whose last line is before its first is the torn end of a chain that was closed.
    """

    chain_id: str
    first: int
    last: int
    segment: int
    lines: bytes


class ChainEnd(NamedTuple):
    """The sequence of the last line of a chain that is there, 0 if there is none; and whether it was closed."""

    last: int
    ended: bool


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

        They are if they follow the last line that is there, and the chain was not closed.
        """
        with self._database.connecting() as connection:
            return connection.execute(_PUT, group._asdict()).first() is not None

    def end(self, chain_id: str) -> ChainEnd:
        """Where a chain ends. Raises RollbackError if the database does not know it: it is an older one."""
        with self._database.connecting() as connection:
            found = connection.execute(_END, {"chain_id": chain_id}).one_or_none()
        if found is None:
            raise RollbackError(f"the database does not know the audit chain {chain_id}: it is an older copy")
        return ChainEnd(found.last, found.ended)

    def chain_ids(self) -> set[str]:
        """The chains that have any lines."""
        with self._database.connecting() as connection:
            return set(connection.execute(_CHAINS).scalars())

    def groups(self, chain_id: str, *, after: int = 0) -> Iterator[Group]:
        """The groups of a chain in order, from the one on that holds the line after sequence `after`."""
        begin = after + 1
        with self._database.connecting() as connection:
            holding = {"chain_id": chain_id, "sequence": begin}
            begin = int(connection.execute(_HOLDING, holding).scalar_one())
        while True:
            with self._database.connecting() as connection:
                sizes = connection.execute(_SIZES, {"chain_id": chain_id, "begin": begin}).all()
            if not sizes:
                return
            ends = zip(sizes, accumulate(size for _, size in sizes), strict=True)
            end = next((one.first_sequence for one, total in ends if total >= _PAGE_BYTES), sizes[-1].first_sequence)
            with self._database.connecting() as connection:
                page = connection.execute(_PAGE, {"chain_id": chain_id, "begin": begin, "end": end}).all()
            yield from (Group(*row) for row in page)
            begin = end + 1

    def put_digest(self, digest: StoredDigest) -> None:
        """Add the digest of a segment, in the place of the one that it may have."""
        with self._database.connecting() as connection:
            connection.execute(_PUT_DIGEST, digest._asdict())

    def digests(self, chain_id: str) -> list[StoredDigest]:
        """The digests of a chain, in order."""
        with self._database.connecting() as connection:
            return [StoredDigest(*row) for row in connection.execute(_DIGESTS, {"chain_id": chain_id})]
