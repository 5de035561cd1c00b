"""The composition root: it alone knows every layer, and puts the parts together from the configuration.

    installing   make an installation; open one
    serving      storage, key store, snapshot, audit -> pipeline -> HTTP, in one or more server processes
    hardware     the HSM that a configuration names, or the root key file
    key_store    the key store, with the threads that it needs
    probing      what an HSM can do
    diagnosis    what is wrong with a configuration or data directory
    auditing     verify the audit log; accept an older copy of the database
    accounts     make and list accounts
    services     declare, remove and list the services that may use keys for users
    xks_proxy    the key stores and credentials that the XKS proxy serves; xks_proxy_keys, their keys
    revocation   end sessions
    explaining   why a request was allowed or refused
    timekeeping  confirm the time
    backup       copy the database, sealed
    restoring    make an installation from a backup; replay, what came after it
    migrating    move the database to PostgreSQL
    root_key_copies  export and import the root key

What is named below is all that the command line uses.
"""

from strongroom.app.accounts import create_account, list_accounts
from strongroom.app.auditing import accept_rollback, export_audit, verify_audit, verify_audit_offline
from strongroom.app.backup import BackedUp, back_up
from strongroom.app.diagnosis import NOTE, WRONG, Finding, diagnose
from strongroom.app.explaining import ExplainedDecision, Explanation, explain
from strongroom.app.hsm_backup import verify_backup
from strongroom.app.installing import initialize, is_installed
from strongroom.app.migrating import Migrated, migrate
from strongroom.app.moving import move_to_token
from strongroom.app.probing import Probed, probe_hsm
from strongroom.app.restoring import ByRecoveryKey, ByRootKey, ByToken, Restored, restore
from strongroom.app.revocation import revoke_sessions
from strongroom.app.root_key_copies import export_root_key, import_root_key, read_passphrase
from strongroom.app.services import declare_service, list_services, remove_service
from strongroom.app.serving import serve, serve_xks_proxy
from strongroom.app.timekeeping import confirm_time
from strongroom.app.xks_proxy import (
    IssuedCredential,
    ListedStore,
    add_xks_credential,
    create_xks_store,
    delete_xks_store,
    list_xks_stores,
    remove_xks_credential,
    update_xks_store,
)
from strongroom.app.xks_proxy_keys import (
    create_external_key,
    delete_external_key,
    disable_external_key,
    enable_external_key,
    list_external_keys,
)
from strongroom.authorization.ground import Ground, Unmet

__all__ = [
    "NOTE",
    "WRONG",
    "BackedUp",
    "ByRecoveryKey",
    "ByRootKey",
    "ByToken",
    "ExplainedDecision",
    "Explanation",
    "Finding",
    "Ground",
    "IssuedCredential",
    "ListedStore",
    "Migrated",
    "Probed",
    "Restored",
    "Unmet",
    "accept_rollback",
    "add_xks_credential",
    "back_up",
    "confirm_time",
    "create_account",
    "create_external_key",
    "create_xks_store",
    "declare_service",
    "delete_external_key",
    "delete_xks_store",
    "diagnose",
    "disable_external_key",
    "enable_external_key",
    "explain",
    "export_audit",
    "export_root_key",
    "import_root_key",
    "initialize",
    "is_installed",
    "list_accounts",
    "list_external_keys",
    "list_services",
    "list_xks_stores",
    "migrate",
    "move_to_token",
    "probe_hsm",
    "read_passphrase",
    "remove_service",
    "remove_xks_credential",
    "restore",
    "revoke_sessions",
    "serve",
    "serve_xks_proxy",
    "update_xks_store",
    "verify_audit",
    "verify_audit_offline",
    "verify_backup",
]
