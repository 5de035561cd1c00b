"""What is known of a machine's clock: by it a clock that lies is told from one that tells the time."""

from msgspec import Struct


class ClockReading(Struct, frozen=True):
    """A wall clock that was trusted, on a machine since it was started (Linux: its boot id).

    When the boot clock (CLOCK_BOOTTIME, in seconds) stood at `boot`, the wall clock stood at `wall`. `latest` is the
    newest time of the wall clock that was trusted. Both are in seconds since the epoch.
    """

    boot_id: str
    wall: float
    boot: float
    latest: float
