"""Whether the database is as new as the audit log knows it to have been, and has the same past."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from strongroom.app.client_files import write_private
from strongroom.app.installing import Opened, audit_log
from strongroom.audit.rollback import known_changes
from strongroom.config import Config
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
    seen = _seen(opened.config)
    position = opened.storage.position()  # after all that: others may be writing meanwhile
    # Only the changes that are still in the feed, and have a record, can be compared.
    recorded = dict(opened.storage.change_records()) if known.unsigned else {}
    others = [number for number, record_hash in known.unsigned if recorded.get(number, record_hash) != record_hash]
    marks = [mark for mark in (known.signed, seen) if mark is not None]
    others += [mark.number for mark in marks if not _holds(opened.storage, mark, position)]
    newest = max([known.newest, *(mark.number for mark in marks)])
    if others:
        return LostChanges(min(others), newest, forked=True)
    if newest > position.number:
        return LostChanges(position.number + 1, newest, forked=False)
    return None


def note_seen(config: Config, position: Position) -> None:
    """Remember how far the database had come: not all changes are in this node's log.

    Other nodes' are not, so a standby that was behind when it was promoted is refused after a restart too. Nor are
    those without a record, which a write-ahead log that loses its end takes along. Raises OSError.
    """
    with _one_at_a_time(config):
        seen = _seen(config)
        if seen is None or seen.number < position.number:
            write_private(config.newest_change, f"{position.number} {position.chain.hex()}\n")


def forget_seen(config: Config) -> None:
    """Go on from another database, knowingly."""
    config.newest_change.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(config: Config) -> Iterator[None]:
    """Alone among the processes of this node that note something. They hold the data directory's lock for a moment."""
    directory = os.open(config.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _seen(config: Config) -> Position | None:
    try:
        number, chain = config.newest_change.read_text("ascii").split()
        return Position(int(number), bytes.fromhex(chain))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataDirectoryError(f"{config.newest_change} has not its form: remove it, knowingly") from error


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
    """The ids of the audit chains that the database knows and the log does not hold, oldest first.

    Without them it cannot be told whether the database is behind the log.
    """
    directory = opened.config.audit_directory
    if audit_log(opened).archive is not None:
        return []  # the database has them
    registered = [chain.chain_id for chain in opened.storage.chains() if chain.sequence > 0]
    return [chain_id for chain_id in registered if not (directory / chain_id).is_dir()]


def _holds(storage: Storage, signed: Position, position: Position) -> bool:
    """Return whether `signed` is in the database's past. Call it only where rows are proven, or will be."""
    if signed.number > position.number:
        return True  # Not a fork: the database ends before it.
    try:
        storage.refuse_other_past(signed)
    except IntegrityError:
        return False
    return True
