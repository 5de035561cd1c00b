"""`strongroom account`: make and list accounts."""

import argparse
import time

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    actions = commands.add_parser("account", help="the accounts").add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="make an account and its root credential")
    add_config(create)
    create.add_argument("--account", help="12 digits; random if not given")
    create.set_defaults(run=run_create)
    listing = actions.add_parser("list", help="list the accounts, oldest first")
    add_config(listing)
    listing.set_defaults(run=run_list)


def run_create(arguments: argparse.Namespace) -> int:
    """Make an account; a server that runs knows it at once."""
    config = config_of(arguments)
    account = app.create_account(config, account=arguments.account, now=time.time())
    print(f"Made account {account}: its root credential is a profile in {config.data}/credentials")
    print(f"To use it, after client.env:  export AWS_PROFILE={account}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print a line for each account: its number, and when it was made."""
    for account in app.list_accounts(config_of(arguments)):
        print(f"{account.account}  {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(account.created))}")
    return 0
