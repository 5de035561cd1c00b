"""`strongroom hsm`: look at the hardware security module."""

import argparse
import getpass
import time
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, add_hsm, config_of, hsm_of
from strongroom.config import Config, read_config


def add_to(commands: Commands) -> None:
    """Add the commands' parsers."""
    parser = commands.add_parser("hsm", help="look at the hardware security module")
    actions = parser.add_subparsers(required=True, metavar="action")
    probe = actions.add_parser("probe", help="prove what a token can do, and say what would be weaker")
    probe.add_argument("--config", type=Path, help="the configuration that names it; or else:")
    add_hsm(probe, required=False)
    probe.set_defaults(run=run_probe)
    move = actions.add_parser("move", help="move everything to the token that the configuration names now")
    add_config(move)
    move.add_argument("--recovery-key", type=Path, required=True, help="the private half of the recovery key (PEM)")
    move.add_argument("--fingerprint", required=True, help="of the wrapped keys, as `init` told it")
    move.add_argument(
        "--discard-unfinished",
        action="store_true",
        help="destroy the keys that an attempt which came to no end left in the token",
    )
    move.add_argument("--passphrase-file", type=Path, help="its passphrase; asked for if not given")
    move.set_defaults(run=run_move)
    backup = actions.add_parser("verify-backup", help="prove that a second token holds the same keys")
    add_config(backup)
    add_hsm(backup, required=True)
    backup.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what the library of the second token finds in its environment",
    )
    backup.set_defaults(run=run_verify_backup)


def run_probe(arguments: argparse.Namespace) -> int:
    """Print what was proven; 1 if the token protects nothing with what is allowed."""
    config = Config(hsm=hsm_of(arguments)) if arguments.config is None else read_config(arguments.config)
    probed = app.probe_hsm(config)
    print(probed.text, end="")
    return 0 if probed.usable else 1


def run_move(arguments: argparse.Namespace) -> int:
    """Move everything, or nothing."""

    def passphrase() -> bytes | None:
        if arguments.passphrase_file is not None:
            return bytes(arguments.passphrase_file.read_bytes().rstrip(b"\r\n")) or None
        return getpass.getpass("Passphrase of the recovery key, if it has one: ").encode() or None

    moved = app.move_to_token(
        config_of(arguments),
        arguments.recovery_key,
        passphrase,
        fingerprint=arguments.fingerprint,
        discard_unfinished=arguments.discard_unfinished,
        now=time.time(),
    )
    print(f"Moved {moved} key materials and the service's own keys to the token")
    return 0


def run_verify_backup(arguments: argparse.Namespace) -> int:
    """Prove it, and note when."""
    backup = hsm_of(arguments)
    assert backup is not None, "the parser requires it"
    environment = dict(setting.partition("=")[::2] for setting in arguments.environment)
    proven = app.verify_backup(config_of(arguments), backup, environment, time.time())
    print(f"The token {backup.token} holds the same keys: {', '.join(proven)}")
    return 0
