"""Whether the database is as new as the audit log knows it to have been."""

from strongroom.app.installing import Opened
from strongroom.audit.recovery import newest_change
from strongroom.errors import RollbackError


def newest_recorded_change(opened: Opened) -> int:
    """The number of the newest change that the audit log knows; 0 if it knows none."""
    known = newest_change(
        opened.config.audit_directory,
        opened.installation,
        chain_private_key=opened.domain_keys.chain_private_key,
    )
    return 0 if known is None else known.number


def refuse_rollback(opened: Opened) -> None:
    """Raise RollbackError if the database is behind the audit log, or its newest change is another one."""
    known = newest_change(
        opened.config.audit_directory,
        opened.installation,
        chain_private_key=opened.domain_keys.chain_private_key,
    )
    position = opened.storage.position()  # after the log was read: others may be writing both
    if known is None:
        return
    if known.number > position.number:
        raise RollbackError(
            f"the database ends with change {position.number}, but the audit log knows change {known.number}: an older "
            f"copy was put back; to go on with it knowingly: strongroom accept-rollback --to {position.number}"
        )
    if known.number == position.number and known.chain not in (None, position.chain):
        raise RollbackError(f"change {position.number} of the database is not the one that the audit log knows")
