"""Confirm the time, so that what waits for a clock that can be trusted goes on."""

import re
import time
import uuid

from strongroom.app.installing import audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.clock import Clocks, read_clocks
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.model.clock_reading import ClockReading
from strongroom.storage.contract import Delete, Insert, Replace, Write


def confirm_time(config: Config, *, date: str) -> str:
    """Note that the clock of this machine tells the time; return what it says, in UTC.

    `date` (`2026-01-31`, in UTC) is what a person says: ConfigurationError if the clock says otherwise.
    """
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", date) is None:
        raise ConfigurationError(f"{date!r} is not a date: write it as 2026-01-31")
    now = read_clocks()
    told = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now.wall))
    if not told.startswith(f"{date} "):
        raise ConfigurationError(f"the clock says {told} UTC, not {date}: one of the two is wrong")
    with opened_to_change(config) as opened:
        writes = _confirmed(now, opened.storage.find_all(ClockReading))
        event = service_event(
            name="ConfirmTime", event_id=str(uuid.uuid4()), now=now.wall, details={"bootId": now.boot_id}
        )
        commit_recorded(audit_log(opened), event, writes, opened.storage.commit)
    return told


def _confirmed(now: Clocks, readings: list[tuple[ClockReading, int]]) -> list[Write]:
    """Replace every reading by this one: one that a wrong clock left would be in its way."""
    confirmed = ClockReading(now.boot_id, now.wall, now.boot, now.wall)
    writes: list[Write] = []
    for reading, number in readings:
        writes.append(Replace(confirmed, number) if reading.boot_id == now.boot_id else Delete(reading, number))
    if not any(reading.boot_id == now.boot_id for reading, _ in readings):
        writes.append(Insert(confirmed))
    return writes
