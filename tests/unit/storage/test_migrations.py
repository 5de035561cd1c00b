"""Databases that earlier versions wrote are brought up to date, and are proven as they are."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom.model.key import KmsKey
from strongroom.storage.contract import Replace
from strongroom.storage.sqlite import open_storage

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
    assert len(contents.records) == 6
    found = storage.find(KmsKey, KEY)
    assert found is not None
    key, number = found
    assert (key.description, key.tags, key.deletion_date) == ("first", (("a", "b"),), None)
    assert len(storage.outbox()) == 1
    storage.commit([Replace(replace(key, deletion_date=1.0), number)], None)
    storage.load()
    storage.close()
