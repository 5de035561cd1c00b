"""Shifts the clocks of a process by what the file SHIFTED_CLOCK says: seconds for the wall and for the boot clock.

Python imports this by itself where the folder is on PYTHONPATH, before anything has taken hold of a clock.
"""

import os
import time
from pathlib import Path

_shifts = Path(os.environ["SHIFTED_CLOCK"])
_time = time.time
_clock_gettime = time.clock_gettime


def _shifted_time() -> float:
    return _time() + float(_shifts.read_text().split()[0])


def _shifted_clock_gettime(clock: int) -> float:
    shift = float(_shifts.read_text().split()[1]) if clock == time.CLOCK_BOOTTIME else 0.0
    return _clock_gettime(clock) + shift


time.time = _shifted_time
time.clock_gettime = _shifted_clock_gettime
