"""`strongroom backup`: copy the database, sealed, while it is served or not."""

import argparse
import time
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("backup", help="copy the database, sealed, while it is served or not")
    add_config(parser)
    parser.add_argument("--out", type=Path, required=True, help="the file to make")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the backup, and say what is in it and what is not."""
    made = app.back_up(config_of(arguments), arguments.out, time.time())
    manifest = made.manifest
    print(f"Made {arguments.out}: {manifest.records} records, up to change {manifest.change} ({manifest.created})")
    print(f"SHA-256 {made.sha256}")
    protection = "the HSM's keys" if manifest.hsm_versions else "the root key"
    print(f"Not in it: {protection}, without which nobody can read it; the file credentials; the audit log.")
    print(f"To restore it without undoing what comes after change {manifest.change}, the audit log is needed.")
    return 0
