"""Fixtures of the fault tests."""

from pathlib import Path

import pytest

from tests.fault.clocks import ShiftedClock


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """The clocks of the servers and commands that the test starts."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "shifted_clock"))
    monkeypatch.setenv("SHIFTED_CLOCK", str(tmp_path / "clock"))
    return ShiftedClock(tmp_path / "clock")
