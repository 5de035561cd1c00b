"""The command line: one file per command. It does only what AWS has no API for.

    strongroom init             make an installation: root key, database, first account and its credential
    strongroom serve            serve it
    strongroom doctor           say in plain words what is wrong with a configuration or data directory
    strongroom audit verify     prove that the audit log is whole
    strongroom audit export     write the log of all nodes into files
    strongroom account create   make an account and its root credential
    strongroom account list     list the accounts
    strongroom service          declare, remove and list the services that may use keys for users
    strongroom xks-proxy        the key stores, credentials and keys that the XKS proxy serves
    strongroom revoke-sessions  end the sessions of a user, a role or a root user
    strongroom explain          say which statement or grant decided a request
    strongroom confirm-time     say that the clock is right, so that deletions go on
    strongroom hsm probe        say what a hardware security module can do, and what would be weaker
    strongroom backup           copy the database, sealed, while it is served or not
    strongroom restore          make an installation from a backup, its root key and its audit log
    strongroom migrate          move the database from its SQLite file to PostgreSQL
    strongroom root-key export  copy the root key into a file under a passphrase
    strongroom root-key import  put it where the configuration says that it is
    strongroom accept-rollback  go on with an older copy of the database, knowingly

A failure is one line on standard error and exit code 2; findings (doctor, audit verify) end with exit code 1.
"""

import argparse
import sys
from collections.abc import Sequence

from strongroom.cli import (
    accept_rollback,
    account,
    audit,
    backup,
    confirm_time,
    doctor,
    explain,
    hsm,
    init,
    migrate,
    restore,
    revoke_sessions,
    root_key,
    serve,
    service,
    xks_proxy,
)
from strongroom.errors import OperatorError, RequestError

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(prog="strongroom", description="A key management service with the AWS KMS API.")
    commands = parser.add_subparsers(required=True, metavar="command")
    every = (
        init,
        serve,
        doctor,
        audit,
        account,
        service,
        xks_proxy,
        revoke_sessions,
        explain,
        confirm_time,
        accept_rollback,
        hsm,
        backup,
        restore,
        migrate,
        root_key,
    )
    for command in every:
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except OperatorError as error:
        sys.stderr.write(f"strongroom: {error}\n")
    except RequestError as error:  # what a caller would be told of the HSM
        sys.stderr.write(f"strongroom: {error.message or error.code}\n")
    except OSError as error:
        sys.stderr.write(f"strongroom: {error.filename or 'a file'}: {error.strerror}\n")
    return 2
