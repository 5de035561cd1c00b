"""What the commands' parsers have in common."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.config import Config, read_config

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 — argparse gives it no public name
else:
    Commands = object


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE`."""
    parser.add_argument("--config", type=Path, required=True, help="the configuration file, strongroom.yaml")


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration that the arguments name. Raises ConfigurationError."""
    return read_config(arguments.config)
