"""`strongroom restore`: make an installation from a backup, its root key and its audit log."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, add_hsm, add_passphrase_file, hsm_of, passphrase_of
from strongroom.cli.texts import ranges, shown
from strongroom.errors import ConfigurationError


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("restore", help="make an installation from a backup, its root key and its audit log")
    parser.add_argument("backup", type=Path, help="a file that `strongroom backup` made")
    parser.add_argument("--data", type=Path, required=True, help="the data directory to make")
    parser.add_argument("--root-key", type=Path, help="the root key file, or an export of it; not with an HSM")
    parser.add_argument("--recovery-key", type=Path, help="its private half (PEM), if every token is lost")
    parser.add_argument("--fingerprint", help="of the wrapped keys, as `init` told it; with --recovery-key")
    add_passphrase_file(parser)
    add_hsm(parser, required=False)
    log = parser.add_mutually_exclusive_group(required=True)
    log.add_argument(
        "--audit", type=Path, action="append", default=[], metavar="DIR", help="a copy of the audit log; once for each"
    )
    log.add_argument(
        "--without-audit-log",
        action="store_true",
        help="knowingly: what was deleted, disabled or revoked after the backup comes back",
    )
    parser.add_argument(
        "--damaged-audit-log",
        action="store_true",
        help="knowingly: by what is left of a log that was altered, or is not whole; the rest comes back",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Restore, and tell what a person has to decide."""
    restored = app.restore(
        arguments.backup,
        arguments.data,
        _opener(arguments),
        audit=arguments.audit,
        accept_damage=arguments.damaged_audit_log,
        now=time.time(),
    )
    manifest = restored.manifest
    print("The old machine must never serve again, and of two restores one alone may: they would be one installation,")
    print("and each would not know what the other deletes or revokes.")
    print(f"Restored {arguments.data} as it was at change {manifest.change} ({manifest.created})")
    if arguments.without_audit_log:
        print("What came after that is not known: what was deleted, disabled or revoked since then is back.")
    else:
        print(f"The audit log knows changes up to {restored.known}: {restored.done_again} of them hold again")
    for sentence in restored.damage:
        print(f"WRONG  {shown(sentence)}: what it told comes back")
    for sentence in _left(restored):
        print(f"LEFT   {sentence}")
    if arguments.recovery_key is not None:
        print("Its keys are in no token yet: `strongroom hsm move` before all else.")
    print("Put strongroom.yaml and credentials, which are not in a backup, in place; then `strongroom doctor`.")
    return 0


def _left(restored: app.Restored) -> Iterator[str]:
    """What a person has to see to."""
    for left in restored.left:
        event = left.change.event
        what = f"change {left.change.number}, {event.event_time}, {event.event_name} {shown(left.about)}"
        yield f"{what}: {shown(left.reason)}"
    events = [left.change.event for left in restored.left]
    if any(one.event_source == "iam.amazonaws.com" and one.event_name != "CreateAccessKey" for one in events):
        yield "nobody is kept out by what is left of IAM: see to those whom it names before you serve"
    for arn in restored.disabled:
        yield f"{arn} is disabled, for what is left: look at its policy, then enable it"
    for arn, state in restored.not_disabled:
        yield f"{arn} is {state} and cannot be disabled, for what is left: look at its policy before it can be used"
    for name in restored.counted:
        yield f"{shown(name)} counts its encryptions, and not those since the backup: rotate it, or make another"
    if restored.unrecorded:
        yield (
            f"{len(restored.unrecorded)} changes have no record in the log: {ranges(restored.unrecorded)}. "
            "Most never have one, such as notes of the last use; or the log of a whole server process is missing"
        )


def _opener(arguments: argparse.Namespace) -> app.ByRootKey | app.ByToken | app.ByRecoveryKey:
    """What opens the backup. Raises ConfigurationError unless one thing is named."""
    hsm = hsm_of(arguments)
    if arguments.root_key is not None and hsm is None and arguments.recovery_key is None:
        return app.ByRootKey(arguments.root_key, passphrase_of(arguments, "the export of the root key"))
    if arguments.root_key is not None or hsm is None:
        raise ConfigurationError("name the root key, or else the HSM that holds the keys, or is to hold them")
    if arguments.recovery_key is None:
        return app.ByToken(hsm)
    if arguments.fingerprint is None:
        raise ConfigurationError("--recovery-key goes with --fingerprint")
    passphrase = passphrase_of(arguments, "the recovery key, if it has one")
    return app.ByRecoveryKey(arguments.recovery_key, passphrase, arguments.fingerprint, hsm)
