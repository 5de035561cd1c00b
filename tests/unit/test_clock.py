"""When the clock is trusted."""

import pytest
from msgspec.structs import replace

from strongroom.clock import Clocks, doubt, note, read_clocks
from strongroom.model.clock_reading import ClockReading
from strongroom.storage.contract import Delete, Insert, Replace

DAY = 86_400.0
READING = ClockReading("boot-1", 1_790_000_000.0, 1_000.0, 1_790_003_600.0)
READINGS = [(READING, 7)]


def clocks(wall: float, boot: float, boot_id: str = "boot-1") -> Clocks:
    """Both clocks, in seconds after the reading."""
    return Clocks(boot_id, READING.wall + wall, READING.boot + boot)


@pytest.mark.parametrize(
    ("wall", "boot"),
    [(0, 0), (59, 0), (-59, 0), (DAY, DAY), (30 * DAY, 30 * DAY), (30 * DAY + 2_500, 30 * DAY), (DAY - 100, DAY)],
)
def test_a_clock_that_goes_with_the_boot_clock_is_trusted(wall: float, boot: float) -> None:
    assert doubt(clocks(wall, boot), READINGS) is None


@pytest.mark.parametrize(
    ("wall", "boot", "text"),
    [
        (40 * DAY, 10, "the clock is 40 days ahead of what the boot clock says"),
        (-40 * DAY, 0, "the clock is 40 days behind what the boot clock says"),
        (100, 0, "the clock is 100 seconds ahead of what the boot clock says"),
        (DAY, 2 * DAY, "the clock is 24 hours behind what the boot clock says"),
    ],
)
def test_a_clock_that_jumped_is_not(wall: float, boot: float, text: str) -> None:
    assert doubt(clocks(wall, boot), READINGS) == text


@pytest.mark.parametrize("stop", [-30, 0, 60, 3600])
def test_after_a_short_stop_the_clock_is_trusted(stop: float) -> None:
    assert doubt(clocks(3600 + stop, -900, "boot-2"), READINGS) is None


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (3601, "the clock is 60 minutes past the newest time that was trusted"),
        (40 * DAY, "the clock is 40 days past the newest time that was trusted"),
        (-61, "the clock is 61 seconds before the newest time that was trusted"),
    ],
)
def test_after_a_long_stop_and_before_what_was_seen_it_is_not(stop: float, text: str) -> None:
    expected = f"the machine was started anew, and {text}"
    assert doubt(clocks(3600 + stop, -900, "boot-2"), READINGS) == expected
    other = ClockReading("boot-0", READING.wall - DAY, 0.0, READING.wall - DAY)
    assert doubt(clocks(3600 + stop, -900, "boot-2"), [*READINGS, (other, 3)]) == expected


def test_without_any_reading_nothing_is_trusted() -> None:
    assert doubt(clocks(0, 0), []) == "nobody has confirmed the time yet"


def test_the_first_reading_of_a_boot_stays_what_the_clock_is_measured_by() -> None:
    """Otherwise many small steps of the clock would add up to a large one."""
    now = clocks(7_000, 7_000)
    assert note(now, READINGS) == [Replace(replace(READING, latest=now.wall), 7)]
    assert note(clocks(3_700, 3_700), READINGS) == []
    started = clocks(3_700, 5, "boot-2")
    assert note(started, READINGS) == [
        Delete(READING, 7),
        Insert(ClockReading("boot-2", started.wall, started.boot, started.wall)),
    ]


def test_this_machine_has_the_clocks() -> None:
    first, second = read_clocks(), read_clocks()
    assert first.boot_id == second.boot_id
    assert first.boot <= second.boot
