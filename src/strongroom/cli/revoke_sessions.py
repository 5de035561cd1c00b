"""`strongroom revoke-sessions`: end the sessions of a user, a role or a root user."""

import argparse
import time

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("revoke-sessions", help="end the sessions of a user, a role or a root user")
    add_config(parser)
    parser.add_argument("arn", help="the ARN of the user, the role, or the root user")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """End the sessions that were made until now; a server that runs refuses them at once."""
    app.revoke_sessions(config_of(arguments), arguments.arn, time.time())
    print(f"Sessions of {arguments.arn} made until now are refused")
    return 0
