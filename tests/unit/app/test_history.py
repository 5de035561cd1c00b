import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.app.auditing import accept_rollback, verify_audit
from strongroom.app.history import LostChanges, find_lost_changes, refuse_rollback
from strongroom.app.installing import Opened, audit_log, open_installation
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config, read_config
from strongroom.errors import RollbackError
from strongroom.testing.server import initialize

NOW = 1_790_000_000.0


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
        installation.storage.close()


def change(config: Config, name: str, count: int = 1) -> int:
    """Make changes, each in a chain of its own; return the last one's number."""
    with opened(config) as installation:
        for _ in range(count):
            record = service_event(name=name, event_id=name, now=NOW, details={})
            number = commit_recorded(audit_log(installation), record, [], installation.storage.commit).number
    return number


def lost(config: Config) -> LostChanges | None:
    with opened(config) as installation:
        installation.storage.load()
        return find_lost_changes(installation)


def copy(source: Path, target: Path) -> None:
    for path in target.glob("strongroom.db*"):
        path.unlink()
    target.mkdir(exist_ok=True)
    for path in source.glob("strongroom.db*"):
        shutil.copy(path, target)


def leave(_directory: Path) -> None:
    """Let the chain be as a clean end leaves it: signed."""


def unsign(directory: Path) -> None:
    """Let no chain after the first be signed, as if their processes had been killed."""
    for path in sorted(directory.glob("*/*.digest"), key=lambda digest: digest.stat().st_mtime_ns)[1:]:
        path.unlink()


@pytest.mark.parametrize("end", [leave, unsign])
@pytest.mark.parametrize("further", [1, 3])
def test_a_database_with_another_past_is_refused_until_accepted(
    config: Config, data: Path, tmp_path: Path, end: Callable[[Path], None], further: int
) -> None:
    copy(data, tmp_path / "older")
    first = change(config, "Lost")
    copy(tmp_path / "older", data)
    shutil.move(config.audit_directory, tmp_path / "log")
    number = change(config, "Fork", further)
    end(tmp_path / "log")
    shutil.rmtree(config.audit_directory)
    shutil.move(tmp_path / "log", config.audit_directory)

    assert lost(config) == LostChanges(first, first, forked=True)
    with opened(config) as installation, pytest.raises(RollbackError) as refused:
        refuse_rollback(installation)
    assert str(refused.value) == (
        f"change {first} of the database is not the one that the audit log knows: another copy was put back; "
        f"to go on with it knowingly: strongroom accept-rollback --config FILE --to {number}"
    )
    assert accept_rollback(config, to=number, now=NOW) == first
    assert lost(config) is None
    with opened(config) as installation:  # no key is said to be unused for the time of what was lost
        assert installation.installation.usage_tracked_since == NOW
    change(config, "After")
    assert lost(config) is None
    kinds = {finding.kind for finding in verify_audit(config).findings}
    assert kinds.isdisjoint({"unregistered", "other-record", "forged"})


def test_a_database_that_has_all_of_the_log_is_not_refused(config: Config) -> None:
    change(config, "One", 3)
    assert lost(config) is None
    with pytest.raises(RollbackError, match="nothing to accept"):
        accept_rollback(config, to=4, now=NOW)
    assert verify_audit(config).findings == []
