"""Records in their tables, written with a code and verified when read. The connection is in a transaction already.

Nothing here is particular to one database system.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, assert_never

from sqlalchemy import Connection, Select, Update, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy import Delete as DeleteStatement
from sqlalchemy import Insert as InsertStatement
from sqlalchemy.exc import IntegrityError as ConstraintError

from strongroom.errors import ConflictError
from strongroom.model.alias import Alias
from strongroom.model.grant import Grant
from strongroom.model.key import CUSTOMER, KmsKey
from strongroom.storage.column_types import ANY_TEXT
from strongroom.storage.contract import Delete, Insert, Keep, R, Record, Removed, Replace, Stored, Write
from strongroom.storage.proof import Entry, Numbers, RowName, altered, unauthentic
from strongroom.storage.row_authentication import matches, row_mac
from strongroom.storage.tables import (
    ALIASES,
    GRANTS,
    KMS_KEYS,
    RECORD_TABLES,
    TABLES_BY_NAME,
    Cell,
    Key,
    RecordTable,
    Row,
    from_row,
    to_row,
)

_AT_ONCE = 1_000
"""Rows that one statement asks for."""


class _Statements(NamedTuple):
    """What is done to one table. The primary key is bound as `key_` and the column's name."""

    read: Select[*tuple[Cell, ...]]
    read_all: Select[*tuple[Cell, ...]]
    insert: InsertStatement
    replace: Update
    delete: DeleteStatement


def _statements(entry: RecordTable) -> _Statements:
    table = entry.table
    this_row = [table.c[name] == bindparam(f"key_{name}") for name in entry.key]
    as_decided = [*this_row, table.c.number == bindparam("decided_on")]
    return _Statements(
        read=select(table).where(*this_row),
        read_all=select(table),
        insert=insert(table),
        replace=update(table).where(*as_decided),
        delete=delete(table).where(*as_decided),
    )


_STATEMENTS: dict[type, _Statements] = {kind: _statements(entry) for kind, entry in RECORD_TABLES.items()}
_LIST_KEYS = (
    select(KMS_KEYS)
    .where(
        KMS_KEYS.c.account == bindparam("account"),
        KMS_KEYS.c.region == bindparam("region"),
        KMS_KEYS.c.key_id > bindparam("after"),
    )
    .order_by(KMS_KEYS.c.key_id)
    .limit(bindparam("at_most"))
)


_COUNT_KEYS = (
    select(func.count())
    .select_from(KMS_KEYS)
    .where(
        KMS_KEYS.c.account == bindparam("account"),
        KMS_KEYS.c.region == bindparam("region"),
        KMS_KEYS.c.key_manager == CUSTOMER,
    )
)
_LIST_ALIASES = (
    select(ALIASES)
    .where(
        ALIASES.c.account == bindparam("account"),
        ALIASES.c.region == bindparam("region"),
        ALIASES.c.name > bindparam("after"),
    )
    .order_by(ALIASES.c.name)
    .limit(bindparam("at_most"))
)
_LIST_ALIASES_OF_KEY = _LIST_ALIASES.where(ALIASES.c.target_key_id == bindparam("key_id"))
_LIST_GRANTS = (
    select(GRANTS)
    .where(
        GRANTS.c.account == bindparam("account"),
        GRANTS.c.region == bindparam("region"),
        GRANTS.c.key_id == bindparam("key_id"),
        GRANTS.c.grant_id > bindparam("after"),
    )
    .order_by(GRANTS.c.grant_id)
    .limit(bindparam("at_most"))
)
_GRANT_OF_REGION = ("account", "key_id", "grant_id")
_PLACE = tuple_(*(GRANTS.c[name] for name in _GRANT_OF_REGION))
_AFTER = tuple_(*(bindparam(f"after_{name}", type_=ANY_TEXT) for name in _GRANT_OF_REGION))
_LIST_RETIRABLE_GRANTS = (
    select(GRANTS)
    .where(
        GRANTS.c.region == bindparam("region"),
        GRANTS.c.retiring_principal == bindparam("retiring_principal"),
        GRANTS.c.retiring_id.is_not_distinct_from(bindparam("retiring_id", type_=ANY_TEXT)),
        _PLACE > _AFTER,
    )
    .order_by(*_PLACE)
    .limit(bindparam("at_most"))
)


def _bound(entry: RecordTable, key: Key) -> dict[str, str | int]:
    return {f"key_{name}": value for name, value in zip(entry.key, key, strict=True)}


def _verified(row_key: bytes, kind: type[R], cells: Iterable[Cell]) -> tuple[R, int]:
    entry = RECORD_TABLES[kind]
    row = entry.row(cells)
    if not _is_authentic(row_key, entry, row):
        raise altered(unauthentic(RowName(entry.name, entry.key_of(row))))
    return from_row(kind, row), _number(row)


def _is_authentic(row_key: bytes, entry: RecordTable, row: Row) -> bool:
    return matches(row_mac(row_key, entry.name, row), row["mac"])


def _number(row: Row) -> int:
    number = row["number"]
    assert isinstance(number, int)  # the row is authentic
    return number


def find(connection: Connection, row_key: bytes, kind: type[R], key: Key) -> tuple[R, int] | None:
    """Read a record by primary key, with its number. Raises IntegrityError."""
    bound = _bound(RECORD_TABLES[kind], key)
    row = connection.execute(_STATEMENTS[kind].read, bound).one_or_none()
    return None if row is None else _verified(row_key, kind, row)


def list_keys(
    connection: Connection, row_key: bytes, account: str, region: str, *, after: str, limit: int
) -> list[KmsKey]:
    """Read up to `limit` KMS keys in order of key id, those after `after`. Raises IntegrityError."""
    bound = {"account": account, "region": region, "after": after, "at_most": limit}
    return [_verified(row_key, KmsKey, row)[0] for row in connection.execute(_LIST_KEYS, bound)]


def count_keys(connection: Connection, account: str, region: str) -> int:
    """Count the customer managed keys of an account in a Region. Nothing is verified."""
    return int(connection.execute(_COUNT_KEYS, {"account": account, "region": region}).scalar_one())


def list_aliases(
    connection: Connection, row_key: bytes, account: str, region: str, *, after: str, limit: int, key_id: str | None
) -> list[Alias]:
    """Read up to `limit` aliases, of one key if it is named, in order of name. Raises IntegrityError."""
    bound: dict[str, str | int] = {"account": account, "region": region, "after": after, "at_most": limit}
    statement = _LIST_ALIASES
    if key_id is not None:
        bound["key_id"] = key_id
        statement = _LIST_ALIASES_OF_KEY
    return [_verified(row_key, Alias, row)[0] for row in connection.execute(statement, bound)]


def list_grants(
    connection: Connection,
    row_key: bytes,
    key: tuple[str, str, str],
    *,
    after: str,
    limit: int,
    members: Mapping[str, str | None],
) -> list[Grant]:
    """Read up to `limit` grants of a key, in order of grant id. Raises IntegrityError.

    Only those with these members; one that is None is not looked at.
    """
    account, region, key_id = key
    bound: dict[str, str | int] = {"account": account, "region": region, "key_id": key_id}
    bound |= {"after": after, "at_most": limit}
    statement = _LIST_GRANTS
    for name, value in members.items():
        if value is not None:
            bound[name] = value
            statement = statement.where(GRANTS.c[name] == bindparam(name))
    return [_verified(row_key, Grant, row)[0] for row in connection.execute(statement, bound)]


def list_retirable_grants(
    connection: Connection,
    row_key: bytes,
    region: str,
    retiring: tuple[str, str | None],
    *,
    after: tuple[str, str, str],
    limit: int,
) -> list[Grant]:
    """Read up to `limit` grants that a principal may retire, in order of key and grant id. Raises IntegrityError.

    `retiring` is its ARN, and the unique id that grants remember.
    """
    bound: dict[str, str | int | None] = {
        "region": region,
        "retiring_principal": retiring[0],
        "retiring_id": retiring[1],
        "after_account": after[0],
        "after_key_id": after[1],
        "after_grant_id": after[2],
        "at_most": limit,
    }
    return [_verified(row_key, Grant, row)[0] for row in connection.execute(_LIST_RETIRABLE_GRANTS, bound)]


def find_all(connection: Connection, row_key: bytes, kind: type[R]) -> list[tuple[R, int]]:
    """Read every record of one type, with their numbers. Raises IntegrityError."""
    return [_verified(row_key, kind, row) for row in connection.execute(_STATEMENTS[kind].read_all)]


def read_all(connection: Connection, row_key: bytes) -> tuple[list[Stored], Numbers, list[RowName]]:
    """Read every record.

    Returns the authentic records, the numbers of the changes that wrote them, and the rows that are not authentic.
    """
    records: list[Stored] = []
    numbers: Numbers = {}
    edited: list[RowName] = []
    for kind, entry in RECORD_TABLES.items():
        for cells in connection.execute(_STATEMENTS[kind].read_all):
            row = entry.row(cells)
            name = RowName(entry.name, entry.key_of(row))
            if _is_authentic(row_key, entry, row):
                numbers[name] = _number(row)
                records.append(Stored(from_row(kind, row), numbers[name]))
            else:
                edited.append(name)
    return records, numbers, edited


def write(connection: Connection, row_key: bytes, writes: Sequence[Write], number: int) -> list[Entry]:
    """Carry out the writes of change `number`. Returns its feed entries; raises ConflictError."""
    entries: list[Entry] = []
    deletes = [one for one in writes if isinstance(one, Delete)]
    for kind in dict.fromkeys(type(one.record) for one in deletes):
        entries += _delete(connection, kind, [one for one in deletes if type(one.record) is kind])
    for one in writes:
        match one:
            case Insert() | Replace():
                entries.append(_write_one(connection, row_key, one, number))
            case Keep():
                _check_kept(connection, one)
            case Delete():
                pass
            case _:
                assert_never(one)
    return entries


def _delete(connection: Connection, kind: type[Record], deletes: Sequence[Delete]) -> list[Entry]:
    """Remove records of one type at once: a key takes up to 50,000 grants along."""
    entry = RECORD_TABLES[kind]
    keys = [tuple(getattr(one.record, name) for name in entry.key) for one in deletes]
    bound = [_bound(entry, key) | {"decided_on": one.number} for key, one in zip(keys, deletes, strict=True)]
    if connection.execute(_STATEMENTS[kind].delete, bound).rowcount != len(deletes):
        raise ConflictError(f"a row of {entry.name} is not as it was when it was to be removed")
    return [Entry(entry.name, key, one.number, None) for key, one in zip(keys, deletes, strict=True)]


def _check_kept(connection: Connection, one: Keep) -> None:
    entry = RECORD_TABLES[type(one.record)]
    key = entry.key_of(to_row(one.record))
    row = connection.execute(_STATEMENTS[type(one.record)].read, _bound(entry, key)).one_or_none()
    if row is None or row.number != one.number:
        raise ConflictError(f"{RowName(entry.name, key)} is not as change {one.number} wrote it")


def _write_one(connection: Connection, row_key: bytes, one: Insert | Replace, number: int) -> Entry:
    kind = type(one.record)
    entry = RECORD_TABLES[kind]
    statements = _STATEMENTS[kind]
    row = to_row(one.record) | {"number": number}
    row["mac"] = row_mac(row_key, entry.name, row)
    key = entry.key_of(row)
    name = RowName(entry.name, key)
    if isinstance(one, Insert):
        try:
            connection.execute(statements.insert, row)
        except ConstraintError as error:
            raise ConflictError(f"{name} exists already") from error
        return Entry(*name, None, number)
    decided = _bound(entry, key) | {"decided_on": one.number}
    if connection.execute(statements.replace, row | decided).rowcount != 1:
        raise ConflictError(f"{name} is not as change {one.number} wrote it")
    return Entry(*name, one.number, number)


def current(connection: Connection, row_key: bytes, entries: Iterable[Entry]) -> tuple[list[Stored], list[Removed]]:
    """Read the rows of feed entries as they are now. Raises IntegrityError unless they are as the entries say."""
    written: list[Stored] = []
    gone: list[Removed] = []
    found: list[str] = []
    for entry in entries:
        kind = TABLES_BY_NAME[entry.table].kind
        if entry.new is None:
            gone.append(Removed(kind, entry.key))
            continue
        read = find(connection, row_key, kind, entry.key)
        if read is None or read[1] != entry.new:
            found.append(f"{entry.name}: it is not as the change feed says")
        else:
            written.append(Stored(*read))
    found += [f"{name}: it is not as the change feed says" for name in _still_there(connection, gone)]
    if found:
        raise altered(*found)
    return written, gone


def _still_there(connection: Connection, gone: Sequence[Removed]) -> list[RowName]:
    """The rows that should be gone and are not, asked for many at a time."""
    found: list[RowName] = []
    for kind in dict.fromkeys(one.kind for one in gone):
        entry = RECORD_TABLES[kind]
        name = tuple_(*(entry.table.c[column] for column in entry.key))
        keys = [one.key for one in gone if one.kind is kind]
        for start in range(0, len(keys), _AT_ONCE):
            asked = connection.execute(select(*name).where(name.in_(keys[start : start + _AT_ONCE])))
            found += [RowName(entry.name, tuple(key)) for key in asked]
    return found
