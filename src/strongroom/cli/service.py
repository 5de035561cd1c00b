"""`strongroom service`: declare the services that may use keys for users."""

import argparse
import time

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("service", help="the services that may use keys for users")
    actions = parser.add_subparsers(required=True, metavar="action")
    declare = actions.add_parser("declare", help="declare a service, or change what it may do")
    add_config(declare)
    declare.add_argument("name", help="the first word of its names, such as s3 for s3.amazonaws.com")
    declare.add_argument("--accounts", required=True, help="whose users it may act for, separated by commas")
    declare.add_argument("--operations", required=True, help="the operations of KMS it may call, separated by commas")
    declare.add_argument("--protects", help="what it keeps: gives it an AWS managed key, alias/aws/NAME, per account")
    declare.set_defaults(run=run_declare)
    remove = actions.add_parser("remove", help="take a service and its credential away")
    add_config(remove)
    remove.add_argument("name")
    remove.set_defaults(run=run_remove)
    listing = actions.add_parser("list", help="list the services by name")
    add_config(listing)
    listing.set_defaults(run=run_list)


def run_declare(arguments: argparse.Namespace) -> int:
    """Declare a service; a server that runs knows it at once."""
    config = config_of(arguments)
    accounts, operations = arguments.accounts.split(","), arguments.operations.split(",")
    profile = app.declare_service(config, arguments.name, accounts, operations, arguments.protects, time.time())
    print(f"Declared {arguments.name}: its credential is the profile {profile} in {config.data}/credentials")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Remove a service; a server that runs refuses it at once."""
    app.remove_service(config_of(arguments), arguments.name, time.time())
    print(f"Removed {arguments.name}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print a line for each service: its name, accounts and operations, and what its AWS managed keys protect."""
    for service in app.list_services(config_of(arguments)):
        protects = "" if service.protects is None else f"  {service.protects}"
        print(f"{service.name}  {','.join(service.accounts)}  {','.join(service.operations)}{protects}")
    return 0
