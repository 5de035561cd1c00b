"""What the commands' parsers have in common."""

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import app
from strongroom.config import Config, Hsm, HsmPin, read_config
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 — argparse gives it no public name
else:
    Commands = object


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE`."""
    parser.add_argument("--config", type=Path, required=True, help="the configuration file, strongroom.yaml")


def add_hsm(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options that name a token, as the `hsm` section of the configuration does."""
    parser.add_argument("--hsm", type=Path, required=required, metavar="LIBRARY", help="a PKCS #11 library")
    parser.add_argument("--token", help="the token's label")
    pin = parser.add_mutually_exclusive_group(required=required)
    pin.add_argument("--pin-file", type=Path, help="a file with the PIN of the token's user, mode 0600")
    pin.add_argument("--pin-credential", metavar="NAME", help="a systemd credential with the PIN")
    pin.add_argument("--pin-environment", metavar="NAME", help="an environment variable with the PIN")
    parser.add_argument("--allow", action="append", default=[], metavar="WAY", help="allow a weaker way by name")


def hsm_of(arguments: argparse.Namespace) -> Hsm | None:
    """The token that the arguments name. Raises ConfigurationError."""
    if arguments.hsm is None:
        return None
    pin = HsmPin(
        file=None if arguments.pin_file is None else arguments.pin_file.absolute(),
        credential=arguments.pin_credential,
        environment=arguments.pin_environment,
    )
    if arguments.token is None or pin == HsmPin():
        raise ConfigurationError(
            "--hsm goes with --token and one of --pin-file, --pin-credential and --pin-environment"
        )
    return Hsm(arguments.hsm.absolute(), arguments.token, pin, tuple(arguments.allow))


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration that the arguments name. Raises ConfigurationError."""
    return read_config(arguments.config)


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file FILE`."""
    parser.add_argument("--passphrase-file", type=Path, help="a file with it in its first line, mode 0600")


def passphrase_of(arguments: argparse.Namespace, what: str) -> Callable[[], bytes]:
    """What finds the passphrase of something when it is needed: in the file that is named, or by asking."""

    def passphrase() -> bytes:
        if arguments.passphrase_file is not None:
            return app.read_passphrase(arguments.passphrase_file)
        return getpass.getpass(f"Passphrase of {what}: ").encode()

    return passphrase


def new_passphrase_of(arguments: argparse.Namespace, what: str) -> bytes:
    """A passphrase to be, asked for twice unless a file has it. Raises ConfigurationError."""
    passphrase = passphrase_of(arguments, what)()
    if arguments.passphrase_file is None and getpass.getpass("The same again: ").encode() != passphrase:
        raise ConfigurationError("these were two passphrases: nothing was done")
    return passphrase
