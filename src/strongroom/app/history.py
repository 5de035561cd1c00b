"""Whether the database is as new as the audit log knows it to have been, and has the same past."""

from typing import NamedTuple

from strongroom.app.installing import Opened, audit_log
from strongroom.audit.rollback import known_changes
from strongroom.errors import DataDirectoryError, IntegrityError, RollbackError
from strongroom.storage.contract import Position, Storage


class LostChanges(NamedTuple):
    """The changes `first` to `newest` as the audit log knows them, without which the database goes on.

    `forked` is set if the database has other changes in their place; else it ends before them.
    """

    first: int
    newest: int
    forked: bool


def find_lost_changes(opened: Opened) -> LostChanges | None:
    """Compare the database with the audit log; None if it has all that the log knows.

    Raises IntegrityError if what it compares was altered in the database, DataDirectoryError if it cannot read the log.
    """
    directory = opened.config.audit_directory
    try:
        known = known_changes(directory, opened.installation, chain_private_key=opened.domain_keys.chain_private_key)
    except OSError as error:
        raise DataDirectoryError(f"cannot read {directory}: {error.strerror}") from error
    position = opened.storage.position()  # after the log was read: others may be writing both
    # Only the changes that are still in the feed, and have a record, can be compared.
    recorded = dict(opened.storage.change_records()) if known.unsigned else {}
    others = [number for number, record_hash in known.unsigned if recorded.get(number, record_hash) != record_hash]
    if known.signed is not None and not _holds(opened.storage, known.signed, position):
        others.append(known.signed.number)
    if others:
        return LostChanges(min(others), known.newest, forked=True)
    if known.newest > position.number:
        return LostChanges(position.number + 1, known.newest, forked=False)
    return None


def refuse_rollback(opened: Opened) -> None:
    """Raise RollbackError if the database is behind the audit log, or has other changes than the log."""
    lost = find_lost_changes(opened)
    if lost is None:
        return
    number = opened.storage.position().number
    way_out = f"to go on with it knowingly: strongroom accept-rollback --config FILE --to {number}"
    if lost.forked:
        raise RollbackError(
            f"change {lost.first} of the database is not the one that the audit log knows: "
            f"another copy was put back; {way_out}"
        )
    raise RollbackError(
        f"the database ends with change {number}, but the audit log knows change {lost.newest}: an older "
        f"copy was put back; {way_out}"
    )


def missing_chains(opened: Opened) -> list[str]:
    """The ids of this node's audit chains that the database knows and the log does not hold, oldest first.

    Without them it cannot be told whether the database is behind the log.
    """
    directory = opened.config.audit_directory
    own = f"{audit_log(opened).node_id}."
    here = [chain.chain_id for chain in opened.storage.chains() if chain.sequence > 0]
    registered = here if opened.config.postgresql is None else [one for one in here if one.startswith(own)]
    return [chain_id for chain_id in registered if not (directory / chain_id).is_dir()]


def _holds(storage: Storage, signed: Position, position: Position) -> bool:
    """Return whether `signed` is in the database's past. Call it only where rows are proven, or will be."""
    if signed.number > position.number:
        return True  # Not a fork: the database ends before it.
    try:
        storage.changes_since(signed)
    except IntegrityError:
        return False
    return True
