"""The rows of the state, read and written exactly as they are stored: for backups, and for another database.

Codes, numbers and times stay what they are, so that what was proven of the rows is proven of their copy. The connection
is in a transaction already. Nothing here is particular to one database system.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, column, func, insert, select, table

from strongroom.storage.contract import Position
from strongroom.storage.tables import FEED_HEAD, METADATA, Cell, column_names

_AT_ONCE = 100
"""Rows that are in memory at once, and that one statement writes."""


class TableCopy(NamedTuple):
    """The rows of a table; `rows` is read once, and in step with the database."""

    name: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]


def read_position(connection: Connection) -> Position:
    """The newest change, not verified."""
    number, chain = connection.execute(select(FEED_HEAD.c.number, FEED_HEAD.c.chain)).one()
    return Position(number, chain)


def count_rows(connection: Connection) -> dict[str, int]:
    """Table of the state -> how many rows it has."""
    return {
        str(one.name): int(connection.execute(select(func.count()).select_from(one)).scalar_one())
        for one in METADATA.sorted_tables
    }


def read_tables(connection: Connection) -> Iterator[TableCopy]:
    """Every table of the state, one after the other."""
    for one in METADATA.sorted_tables:
        result = connection.execute(select(one).execution_options(yield_per=_AT_ONCE))
        yield TableCopy(str(one.name), column_names(one), (tuple(row) for row in result))


def write_tables(connection: Connection, tables: Iterable[TableCopy]) -> None:
    """Fill tables that are there and empty. Their columns may be those of an older schema."""
    for one in tables:
        statement = insert(table(one.name, *map(column, one.columns)))
        waiting: list[dict[str, Cell]] = []
        for row in one.rows:
            waiting.append(dict(zip(one.columns, row, strict=True)))
            if len(waiting) == _AT_ONCE:
                connection.execute(statement, waiting)
                waiting = []
        if waiting:
            connection.execute(statement, waiting)
