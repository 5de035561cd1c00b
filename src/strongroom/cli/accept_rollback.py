"""`strongroom accept-rollback`: go on with an older copy of the database, knowingly."""

import argparse
import time

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("accept-rollback", help="go on with an older copy of the database, knowingly")
    add_config(parser)
    parser.add_argument(
        "--to", type=int, required=True, help="the number of the database's newest change, as the refusal names it"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Accept the loss of the changes after `--to`; the audit log keeps this decision."""
    lost = app.accept_rollback(config_of(arguments), to=arguments.to, now=time.time())
    print(
        f"Accepted: of the changes up to {lost}, those that this database does not have are lost; the log says which."
    )
    return 0
