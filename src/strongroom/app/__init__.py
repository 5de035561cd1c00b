"""The composition root: it alone knows every layer, and puts the parts together from the configuration.

    installing   make an installation; open one
    serving      storage, key store, snapshot, audit -> pipeline -> HTTP, in one or more server processes
    diagnosis    what is wrong with a configuration or data directory
    auditing     verify the audit log; accept an older copy of the database
    accounts     make and list accounts
    explaining   why a request was allowed or refused
    timekeeping  confirm the time

What is named below is all that the command line uses.
"""

from strongroom.app.accounts import create_account, list_accounts
from strongroom.app.auditing import accept_rollback, verify_audit, verify_audit_offline
from strongroom.app.diagnosis import WRONG, Finding, diagnose
from strongroom.app.explaining import ExplainedDecision, explain
from strongroom.app.installing import initialize, is_installed
from strongroom.app.serving import serve
from strongroom.app.timekeeping import confirm_time
from strongroom.authorization.ground import Ground, Unmet

__all__ = [
    "WRONG",
    "ExplainedDecision",
    "Finding",
    "Ground",
    "Unmet",
    "accept_rollback",
    "confirm_time",
    "create_account",
    "diagnose",
    "explain",
    "initialize",
    "is_installed",
    "list_accounts",
    "serve",
    "verify_audit",
    "verify_audit_offline",
]
