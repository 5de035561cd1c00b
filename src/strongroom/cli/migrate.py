"""`strongroom migrate`: move the database from its SQLite file to PostgreSQL, where nodes can share it."""

import argparse
import time

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("migrate", help="move the database from its SQLite file to PostgreSQL")
    add_config(parser)
    parser.add_argument(
        "--to", required=True, metavar="URL", help="an empty database: postgresql://user@host:port/database"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Move it, and say what the person has to write into the configuration."""
    moved = app.migrate(config_of(arguments), arguments.to, time.time())
    print(f"Moved {moved.records} records, up to change {moved.change}, and the audit log to {moved.to}")
    print(f"Write this into {arguments.config}, with the URL that was given:")
    print('postgresql: {url: "postgresql://…"}')
    print("The SQLite file is marked as moved, and never opened again. Destroy it when the server serves:")
    print("what is deleted from now on is not deleted there.")
    return 0
