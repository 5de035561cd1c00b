"""`strongroom confirm-time`: say that the clock is right, so that deletions go on."""

import argparse

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("confirm-time", help="say that the clock is right, so that deletions go on")
    add_config(parser)
    parser.add_argument("--date", required=True, help="today's date in UTC, as you know it: 2026-01-31")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Confirm the time; the audit log keeps this decision."""
    told = app.confirm_time(config_of(arguments), date=arguments.date)
    print(f"Confirmed: it is {told} UTC. KMS keys that are due are deleted within seconds, if the server runs.")
    return 0
