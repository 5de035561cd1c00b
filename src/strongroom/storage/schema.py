"""The schema in a database: which revision it has, and how it comes to the newest. By Alembic's migrations.

Nothing here is particular to one database system.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from strongroom.errors import StorageError
from strongroom.storage.tables import REVISION


def is_empty(connection: Connection) -> bool:
    """Whether the database has no tables, of whomever."""
    return not inspect(connection).get_table_names()


def revision(connection: Connection) -> str:
    """The schema's revision."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def migrate(connection: Connection, name: str, to: str = REVISION) -> None:
    """Bring the schema to the revision `to`, within the transaction that the connection is in.

    `name` is what a message calls the database. Raises StorageError.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise StorageError(f"{name}: the database was made by another version of Strongroom") from error
