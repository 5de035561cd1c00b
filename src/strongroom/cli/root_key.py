"""`strongroom root-key`: keep a copy of the root key under a passphrase, and put it back."""

import argparse
import time
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import (
    Commands,
    add_config,
    add_passphrase_file,
    config_of,
    new_passphrase_of,
    passphrase_of,
)


def add_to(commands: Commands) -> None:
    """Add the commands' parsers."""
    parser = commands.add_parser("root-key", help="the root key")
    actions = parser.add_subparsers(required=True, metavar="action")
    export = actions.add_parser("export", help="copy it into a file under a passphrase")
    add_config(export)
    export.add_argument("--out", type=Path, required=True, help="the file to make")
    add_passphrase_file(export)
    export.set_defaults(run=run_export)
    take = actions.add_parser("import", help="put it where the configuration says that it is")
    add_config(take)
    take.add_argument("file", type=Path, help="what `export` made")
    add_passphrase_file(take)
    take.set_defaults(run=run_import)


def run_export(arguments: argparse.Namespace) -> int:
    """Export it; the audit log keeps that this was done."""
    root_key_id = app.export_root_key(
        config_of(arguments), arguments.out, new_passphrase_of(arguments, "the copy"), now=time.time()
    )
    print(f"Made {arguments.out}: root key {root_key_id}. Keep it and its passphrase apart, and both from the backups.")
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Import it."""
    root_key_id = app.import_root_key(
        config_of(arguments), arguments.file, passphrase_of(arguments, str(arguments.file))
    )
    print(f"Root key {root_key_id} is in place")
    return 0
