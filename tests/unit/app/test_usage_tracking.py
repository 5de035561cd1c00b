"""Since when uses are tracked: since the installation, or the first start, or an accepted rollback."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom.app.installing import Opened, open_installation
from strongroom.app.usage_tracking import begin_tracking, tracking_anew
from strongroom.config import Config, read_config
from strongroom.model.installation import Installation
from strongroom.storage.contract import Replace
from strongroom.testing.server import initialize

UPGRADE = 1_990_000_000.0


@pytest.fixture
def config(data: Path) -> Config:
    initialize(data)
    return read_config(data / "strongroom.yaml")


@contextmanager
def opened(config: Config) -> Iterator[Opened]:
    installation = open_installation(config)
    try:
        yield installation
    finally:
        installation.storage.load()
        installation.storage.close()


def tracked_since(config: Config) -> float | None:
    with opened(config) as installation:
        return installation.installation.usage_tracked_since


def test_a_new_installation_tracks_uses_from_its_beginning(config: Config) -> None:
    with opened(config) as installation:
        begin_tracking(installation, UPGRADE)
        assert installation.installation.created == installation.installation.usage_tracked_since
    since = tracked_since(config)
    assert since is not None
    assert time.time() - 60 < since <= time.time()


def test_an_installation_of_an_older_version_does_from_the_first_start(config: Config) -> None:
    with opened(config) as installation:
        ((record, number),) = installation.storage.find_all(Installation)
        installation.storage.commit([Replace(replace(record, usage_tracked_since=None), number)], None)
    assert tracked_since(config) is None
    for now in (UPGRADE, UPGRADE + 1):
        with opened(config) as installation:
            begin_tracking(installation, now)
    assert tracked_since(config) == UPGRADE


def test_where_uses_may_be_lost_tracking_begins_anew(config: Config) -> None:
    with opened(config) as installation:
        installation.storage.commit([tracking_anew(installation, UPGRADE)], None)
    assert tracked_since(config) == UPGRADE
