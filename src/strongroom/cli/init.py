"""`strongroom init`: make an installation."""

import argparse
import time
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, add_hsm, hsm_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("init", help="make an installation: root key or HSM keys, database, first account")
    parser.add_argument("--data", type=Path, required=True, help="the data directory to make")
    parser.add_argument("--region", default="us-east-1", help="the default Region")
    parser.add_argument("--port", type=int, default=8400)
    parser.add_argument("--account", help="12 digits; random if not given")
    parser.add_argument("--if-missing", action="store_true", help="do nothing if the installation is there")
    add_hsm(parser, required=False)
    parser.add_argument(
        "--recovery-key", type=Path, help="the public half of an RSA key (PEM): its holder can move all"
    )
    parser.add_argument("--postgresql", metavar="URL", help="an empty PostgreSQL database, which many nodes can share")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the installation, whole or not at all."""
    if arguments.if_missing and app.is_installed(arguments.data):
        return 0
    made = app.initialize(
        arguments.data,
        region=arguments.region,
        port=arguments.port,
        account=arguments.account,
        hsm=hsm_of(arguments),
        recovery_key=arguments.recovery_key,
        postgresql=arguments.postgresql,
        now=time.time(),
    )
    print(f"Made {arguments.data}: account {made.account}, its root credential in {arguments.data}/credentials")
    if made.recovery_fingerprint is not None:
        print(f"Keep with the recovery key the fingerprint of what it opens: {made.recovery_fingerprint}")
    return 0
