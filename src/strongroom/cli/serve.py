"""`strongroom serve`: serve an installation."""

import argparse

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of
from strongroom.config import with_overrides


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("serve", help="serve an installation")
    add_config(parser)
    parser.add_argument("--port", type=int, help="instead of the configuration's")
    parser.add_argument("--workers", type=int, help="server processes, instead of the configuration's")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    return app.serve(
        with_overrides(config_of(arguments), port=arguments.port, workers=arguments.workers),
        announce=lambda line: print(line, flush=True),
    )
