"""Since when every use of a KMS key is noted (AWS: TrackingStartDate, for keys that are older than that).

That is since the installation was made. If an older version of Strongroom made it, since this one was first started; if
an older database was accepted, in which later uses are missing, since then. So no key is said to be unused for a time
in which nobody looked.
"""

from msgspec.structs import replace

from strongroom.app.installing import Opened
from strongroom.errors import ConflictError, DataDirectoryError
from strongroom.model.installation import Installation
from strongroom.storage.contract import Replace


def begin_tracking(opened: Opened, now: float) -> None:
    """Note that uses are tracked since `now` (seconds since the epoch), unless they are already."""
    installation, number = _read(opened)
    if installation.usage_tracked_since is not None:
        return
    try:
        opened.storage.commit([_tracked(installation, number, now)], None)
    except ConflictError:  # another process began
        return


def tracking_anew(opened: Opened, now: float) -> Replace:
    """The write by which uses are tracked since `now`, whatever was noted before."""
    return _tracked(*_read(opened), now)


def _tracked(installation: Installation, number: int, now: float) -> Replace:
    return Replace(replace(installation, usage_tracked_since=now), number)


def _read(opened: Opened) -> tuple[Installation, int]:
    found = opened.storage.find(Installation, (opened.installation.installation_id,))
    if found is None:
        raise DataDirectoryError(f"{opened.storage.name} does not name its installation")
    return found
