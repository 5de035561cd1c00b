"""Databases that earlier versions wrote are brought up to date, and are proven as they are."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom.model.installation import Installation
from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.storage.contract import Insert, Replace
from strongroom.storage.sqlite import open_storage

RECORDS = {
    "schema-0001": 6,
    "schema-0002": 9,
    "schema-0004": 11,
    "schema-0006": 18,
    "schema-0007": 18,
    "schema-0008": 18,
    "schema-0009": 18,
    "schema-0010": 19,
}
"""How many records each has: one of every kind that there was."""

VECTORS = Path(__file__).parents[2] / "vectors" / "storage"
KEY = ("111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab")


@pytest.mark.parametrize("dump", sorted(VECTORS.glob("schema-*.sql")), ids=lambda path: path.stem)
def test_an_earlier_schema_is_brought_up_to_date(tmp_path: Path, dump: Path) -> None:
    path = tmp_path / "strongroom.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)
    storage = open_storage(path, bytes(range(32)))
    contents = storage.load()
    assert len(contents.records) == RECORDS[dump.stem]
    found = storage.find(KmsKey, KEY)
    assert found is not None
    key, number = found
    assert (key.description, key.tags, key.deletion_date) == ("first", (("a", "b"),), None)
    assert len(storage.outbox()) == 1
    ((installation, installed),) = storage.find_all(Installation)
    assert installation.usage_tracked_since is None
    usage = KeyUsage(*KEY, 1.0, "Encrypt", "request-1", "event-1")
    tracked = replace(installation, usage_tracked_since=1.0)
    storage.commit([Replace(replace(key, deletion_date=1.0), number), Insert(usage), Replace(tracked, installed)], None)
    storage.load()
    storage.close()
