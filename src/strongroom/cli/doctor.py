"""`strongroom doctor`: say in plain words what is wrong with a configuration or data directory."""

import argparse

from strongroom import app
from strongroom.cli.parsers import Commands, add_config
from strongroom.config import read_config
from strongroom.errors import ConfigurationError


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("doctor", help="say what is wrong with a configuration or data directory")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is well and what is not; exit code 1 if anything is wrong."""
    try:
        config = read_config(arguments.config)
    except ConfigurationError as error:
        print(f"WRONG  {error}")
        return 1
    findings = app.diagnose(config)
    for finding in findings:
        print(f"{finding.verdict:5}  {finding.text}")
    return 1 if any(finding.verdict == app.WRONG for finding in findings) else 0
