"""Tables, structs and migrations agree."""

from pathlib import Path
from typing import get_args

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from strongroom.storage import audit_events, tables
from strongroom.storage.contract import Record
from strongroom.storage.postgresql import create_storage as create_postgresql_storage
from strongroom.storage.sqlite import create_storage
from strongroom.storage.tables import METADATA, NODES_METADATA, RECORD_TABLES, REVISION
from strongroom.testing.postgresql import Postgresql


def test_every_record_has_a_table() -> None:
    assert set(RECORD_TABLES) == set(get_args(Record))


@pytest.mark.parametrize("kind", RECORD_TABLES)
def test_a_table_has_the_columns_of_its_struct(kind: type[Record]) -> None:
    assert RECORD_TABLES[kind].columns == (*kind.__struct_fields__, "number", "mac")


@pytest.mark.parametrize("system", ["sqlite", "postgresql"])
def test_migrations_make_the_tables(system: str, tmp_path: Path, postgresql: Postgresql) -> None:
    with postgresql.database() as url:
        storage = (
            create_storage(tmp_path / "strongroom.db", bytes(32))
            if system == "sqlite"
            else create_postgresql_storage(url, bytes(32))
        )
        with storage.database.connecting() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            parts = [METADATA] if system == "sqlite" else [METADATA, NODES_METADATA, audit_events.metadata]
            assert compare_metadata(context, _merged(parts)) == []
        storage.close()


def _merged(parts: list[MetaData]) -> MetaData:
    merged = MetaData()
    for part in parts:
        for table in part.sorted_tables:
            table.to_metadata(merged)
    return merged


def test_the_revision_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION
