"""Whether the clock can be trusted with what cannot be undone: deletion, and expiry.

A clock can lie: it jumps, or a machine comes up in another year. It is trusted

1. while the machine runs, if as much time passed on it as on the boot clock, which nobody sets, since the first reading
   that was trusted on this boot (up to a minute, and a thousandth for the drift of both);
2. after the machine was started anew, if it is not before the newest time that was trusted, nor over an hour past it.

Otherwise what cannot be undone waits for a person (`strongroom confirm-time`), and no waiting period begins: one that
was dated by a clock that is behind would be over as soon as the clock is right.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from strongroom.model.clock_reading import ClockReading
from strongroom.storage.contract import Delete, Insert, Replace, Write

_TOLERANCE = 60.0
"""Seconds that the clock may be apart from what it should be, where it is set by hand or by NTP."""
_DRIFT = 0.001
"""How much faster or slower it may run: twice what NTP corrects at most."""
_LONGEST_STOP = 3600.0
"""Seconds that a machine may be off."""
_NOTED_EVERY = 600.0
"""Seconds after which a newer time is noted."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clocks(NamedTuple):
    """Both clocks at one moment: `wall` in seconds since the epoch, `boot` (CLOCK_BOOTTIME) since `boot_id` began."""

    boot_id: str
    wall: float
    boot: float


Readings = Collection[tuple[ClockReading, int]]
"""Stored readings with the numbers of the changes that wrote them."""


def read_clocks() -> Clocks:
    """Read this machine's clocks."""
    return Clocks(_BOOT_ID.read_text().strip(), time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def doubt(now: Clocks, readings: Readings) -> str | None:
    """Why the clock cannot be trusted, in plain words; None if it can."""
    same_boot = _of_boot(now.boot_id, readings)
    if same_boot is not None:
        passed = now.boot - same_boot[0].boot
        ahead = now.wall - same_boot[0].wall - passed
        if abs(ahead) <= _TOLERANCE + passed * _DRIFT:
            return None
        return f"the clock is {_told(ahead)} {'ahead of' if ahead > 0 else 'behind'} what the boot clock says"
    newest = max((reading.latest for reading, _ in readings), default=None)
    if newest is None:
        return "nobody has confirmed the time yet"
    ahead = now.wall - newest
    if -_TOLERANCE <= ahead <= _LONGEST_STOP:
        return None
    where = "past" if ahead > 0 else "before"
    return f"the machine was started anew, and the clock is {_told(ahead)} {where} the newest time that was trusted"


def note(now: Clocks, readings: Readings) -> list[Write]:
    """The writes that note a time which is trusted; none if one was noted lately."""
    same_boot = _of_boot(now.boot_id, readings)
    if same_boot is None:
        earlier = [Delete(reading, number) for reading, number in readings]
        return [*earlier, Insert(ClockReading(now.boot_id, now.wall, now.boot, now.wall))]
    reading, number = same_boot
    if now.wall - reading.latest < _NOTED_EVERY:
        return []
    return [Replace(replace(reading, latest=now.wall), number)]


def _told(seconds: float) -> str:
    """A length of time as people say it."""
    whole = round(abs(seconds))
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if whole >= 2 * length:
            return f"{whole / length:,.0f} {unit}"
    return f"{whole:,} seconds"


def _of_boot(boot_id: str, readings: Readings) -> tuple[ClockReading, int] | None:
    return next((found for found in readings if found[0].boot_id == boot_id), None)
