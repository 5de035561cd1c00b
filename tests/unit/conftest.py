from functools import partial
from pathlib import Path

import pytest

from strongroom.keystores.hsm import opening
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.opening import probe_token
from strongroom.testing.softhsm import SoftHsm
from tests.composed import Run, run_composed
from tests.hsm import new_token, place_of


@pytest.fixture
def run(data: Path) -> Run:
    """Run a test against a fresh installation."""
    return partial(run_composed, data)


@pytest.fixture(scope="session")
def softhsm_can(softhsm: SoftHsm) -> Capabilities:
    """What SoftHSM can do."""
    return probe_token(place_of(softhsm, new_token(softhsm)))


@pytest.fixture
def proven_before(softhsm_can: Capabilities, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are not proven at each opening: that takes longer than many a test."""
    monkeypatch.setattr(opening, "probe", lambda *_: softhsm_can)
