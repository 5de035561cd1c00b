"""Verify the audit log; accept an older copy of the database."""

import uuid
from functools import partial

from strongroom.app.history import newest_recorded_change
from strongroom.app.installing import audit_log, open_installation
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config
from strongroom.errors import RollbackError


def accept_rollback(config: Config, *, to: int, now: float) -> int:
    """Go on from change `to` of an older database, past all that the audit log knows; return the newest lost change.

    Raises RollbackError if there is nothing to accept, or if `to` is not the database's newest change.
    """
    opened = open_installation(config)
    try:
        lost = newest_recorded_change(opened)
        position = opened.storage.position()
        if lost <= position.number:
            raise RollbackError("the database is not behind the audit log: there is nothing to accept")
        if position.number != to:
            raise RollbackError(f"the database ends with change {position.number}, not with {to}")
        opened.storage.load()
        event = service_event(
            name="AcceptRollback",
            event_id=str(uuid.uuid4()),
            now=now,
            details={"newestChange": to, "newestLostChange": lost},
        )
        commit_recorded(audit_log(opened), event, [], partial(opened.storage.commit, beyond=lost))
    finally:
        opened.storage.close()
    return lost
