"""The index of the audit log of nodes: in their database, where any of them looks events up.

Each node adds the chains of its own processes, from its files. It is no part of the state: no writer of that waits.
"""

from collections.abc import Callable

from sqlalchemy import text

from strongroom.storage import audit_events
from strongroom.storage.audit_events import EventPage, EventQuery, IndexedLines, LogPosition
from strongroom.storage.postgresql import PostgresqlDatabase

_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:chain_id, 0))")
_BRIEFLY = text("SET LOCAL statement_timeout = 2000")  # milliseconds
_UNHURRIED = text("SET LOCAL synchronous_commit = off")  # what a crash takes is read from the files again


class SharedAuditIndex:
    """See `audit_events.AuditIndex`. Safe to use from any thread."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self._database = database

    def look_up(self, query: EventQuery) -> EventPage:
        """Find a page of events."""
        with self._database.reading() as connection:
            connection.execute(_BRIEFLY)
            return audit_events.look_up_events(connection, query)

    def extend(self, chain_id: str, read: Callable[[LogPosition], IndexedLines], *, forget_before: int) -> bool:
        """Add the next events of a chain; whether there are more."""
        with self._database.beside() as connection:
            connection.execute(_UNHURRIED)
            connection.execute(_ALONE, {"chain_id": chain_id})
            return audit_events.extend_chain(connection, chain_id, read, forget_before=forget_before)

    def position(self, chain_id: str) -> LogPosition:
        """How far a chain is indexed."""
        with self._database.connecting() as connection:
            return audit_events.position(connection, chain_id)

    def positions(self) -> dict[str, LogPosition]:
        """How far each chain is indexed."""
        with self._database.connecting() as connection:
            return audit_events.positions(connection)

    def close(self) -> None:
        """Nothing is open but the database."""
