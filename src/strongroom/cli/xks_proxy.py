"""`strongroom xks-proxy`: serve as an external key manager; the key stores, credentials and keys that it serves."""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from strongroom import app
from strongroom.cli.parsers import Commands, add_config, config_of
from strongroom.config import with_overrides
from strongroom.errors import ConfigurationError

_RATE = 1800
"""Requests a second that AWS KMS may send to a key store: what AWS asks a proxy to bear."""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("xks-proxy", help="what this service serves as an external key manager of AWS KMS")
    kinds = parser.add_subparsers(required=True, metavar="kind")
    serve = kinds.add_parser("serve", help="serve the XKS proxy")
    add_config(serve)
    serve.add_argument("--workers", type=int, help="server processes, instead of the configuration's")
    serve.set_defaults(run=run_serve)
    _add_stores(kinds.add_parser("store", help="key stores").add_subparsers(required=True, metavar="action"))
    _add_credentials(kinds.add_parser("credential", help="credentials").add_subparsers(required=True, metavar="action"))
    _add_keys(kinds.add_parser("key", help="external keys").add_subparsers(required=True, metavar="action"))


def _add_stores(actions: Commands) -> None:
    create = _of_prefix(actions.add_parser("create", help="make a key store, and show its credential, once"))
    create.add_argument("--rate", type=int, default=_RATE, help="requests a second, 1800 if not given")
    create.add_argument("--rules", type=Path, metavar="FILE", help="who may use which keys; without them, any caller")
    create.set_defaults(run=run_create_store)
    listing = actions.add_parser("list", help="list the key stores by prefix")
    add_config(listing)
    listing.set_defaults(run=run_list_stores)
    update = _of_prefix(actions.add_parser("update", help="give a key store another rate or other rules"))
    update.add_argument("--rate", type=int, help="requests a second")
    update.add_argument("--rules", type=Path, metavar="FILE", help="who may use which keys")
    update.set_defaults(run=run_update_store)
    delete = _of_prefix(actions.add_parser("delete", help="delete a key store that has no keys"))
    delete.set_defaults(run=run_delete_store)


def _add_credentials(actions: Commands) -> None:
    add = _of_prefix(actions.add_parser("add", help="make another credential, two at most, and show it, once"))
    add.set_defaults(run=run_add_credential)
    remove = _of_prefix(actions.add_parser("remove", help="take a credential away, but not the last"))
    remove.add_argument("--access-key-id", required=True, metavar="ID")
    remove.set_defaults(run=run_remove_credential)


def _add_keys(actions: Commands) -> None:
    create = _of_prefix(actions.add_parser("create", help="make a key"))
    create.add_argument("--id", help="1 to 128 of A-Z, a-z, 0-9, ., _ and -; random if not given")
    create.add_argument("--object", metavar="LABEL", help="an AES-256 key that is in the HSM's token already")
    create.set_defaults(run=run_create_key)
    listing = _of_prefix(actions.add_parser("list", help="list the keys of a key store by id"))
    listing.set_defaults(run=run_list_keys)
    enable = _of_key(actions.add_parser("enable", help="let a key be used again"))
    enable.set_defaults(run=run_enable_key)
    disable = _of_key(actions.add_parser("disable", help="let a key not be used"))
    disable.set_defaults(run=run_disable_key)
    delete = _of_key(actions.add_parser("delete", help="delete a disabled key at once and for good"))
    delete.set_defaults(run=run_delete_key)


def _of_prefix(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add_config(parser)
    parser.add_argument("--prefix", required=True, help="what stands before /kms/xks/v1: '' or /example")
    return parser


def _of_key(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    _of_prefix(parser).add_argument("--id", required=True, help="the external key id")
    return parser


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    return app.serve_xks_proxy(
        with_overrides(config_of(arguments), port=None, workers=arguments.workers),
        announce=lambda line: print(line, flush=True),
    )


def run_create_store(arguments: argparse.Namespace) -> int:
    """Make a key store; a server that runs knows it at once."""
    rules = None if arguments.rules is None else _read_rules(arguments.rules)
    config = config_of(arguments)
    _show(app.create_xks_store(config, arguments.prefix, rate=arguments.rate, rules=rules, now=time.time()))
    return 0


def run_list_stores(arguments: argparse.Namespace) -> int:
    """Print a line for each key store: its prefix, its rate, its credentials and how many keys it has."""
    for store, access_key_ids, keys in app.list_xks_stores(config_of(arguments)):
        rules = "rules" if store.rules else "no rules"
        ids = ",".join(access_key_ids)
        print(f"{shlex.quote(store.prefix)}  {store.rate}/s  {rules}  {ids}  {keys} keys")
    return 0


def run_update_store(arguments: argparse.Namespace) -> int:
    """Change a key store; a server that runs goes by it at once."""
    rules = None if arguments.rules is None else _read_rules(arguments.rules)
    config = config_of(arguments)
    app.update_xks_store(config, arguments.prefix, rate=arguments.rate, rules=rules, now=time.time())
    print(f"Updated {shlex.quote(arguments.prefix)}")
    return 0


def run_delete_store(arguments: argparse.Namespace) -> int:
    """Delete a key store; a server that runs refuses it at once."""
    app.delete_xks_store(config_of(arguments), arguments.prefix, time.time())
    print(f"Deleted {shlex.quote(arguments.prefix)}")
    return 0


def run_add_credential(arguments: argparse.Namespace) -> int:
    """Make another credential; both are good until one is removed."""
    _show(app.add_xks_credential(config_of(arguments), arguments.prefix, time.time()))
    return 0


def run_remove_credential(arguments: argparse.Namespace) -> int:
    """Take a credential away; a server that runs refuses it at once."""
    app.remove_xks_credential(config_of(arguments), arguments.prefix, arguments.access_key_id, time.time())
    print(f"Removed {arguments.access_key_id}")
    return 0


def run_create_key(arguments: argparse.Namespace) -> int:
    """Make a key, and print its id, alone on a line."""
    config = config_of(arguments)
    key = app.create_external_key(config, arguments.prefix, arguments.id, label=arguments.object, now=time.time())
    print(key.external_key_id)
    return 0


def run_list_keys(arguments: argparse.Namespace) -> int:
    """Print a line for each key: its id, whether it is enabled, when it was made, and what protects it."""
    for key in app.list_external_keys(config_of(arguments), arguments.prefix):
        state = "enabled" if key.enabled else "disabled"
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(key.created))
        print(f"{key.external_key_id}  {state}  {created}  {key.key_store}")
    return 0


def run_enable_key(arguments: argparse.Namespace) -> int:
    """Let a key be used again."""
    app.enable_external_key(config_of(arguments), arguments.prefix, arguments.id, time.time())
    print(f"Enabled {arguments.id}")
    return 0


def run_disable_key(arguments: argparse.Namespace) -> int:
    """Let a key not be used; a server that runs refuses it at once."""
    app.disable_external_key(config_of(arguments), arguments.prefix, arguments.id, time.time())
    print(f"Disabled {arguments.id}")
    return 0


def run_delete_key(arguments: argparse.Namespace) -> int:
    """Delete a key, and erase its material from the database's files."""
    unerased = app.delete_external_key(config_of(arguments), arguments.prefix, arguments.id, time.time())
    print(f"Deleted {arguments.id}")
    if unerased is not None:
        sys.stderr.write(
            f"strongroom: its key material is not erased from the files yet, and the server will do it: {unerased}\n"
        )
    return 0


def _read_rules(path: Path) -> str:
    """The rules in a file. Raises ConfigurationError if it is not text."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8") from None


def _show(issued: app.IssuedCredential) -> None:
    """Print what the console of AWS KMS takes as the configuration of a proxy."""
    credential = {"AccessKeyId": issued.access_key_id, "RawSecretAccessKey": issued.secret}
    shown = {"XksProxyUriPath": issued.uri_path, "XksProxyAuthenticationCredential": credential}
    print(json.dumps(shown, indent=2))
