"""A move to PostgreSQL ends with all of it there, whatever interrupts it, and the file is never opened again."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.app.auditing import accept_rollback, verify_audit
from strongroom.app.backup import back_up
from strongroom.app.installing import open_installation
from strongroom.app.migrating import migrate
from strongroom.app.serving_lock import serving
from strongroom.config import Config, read_config
from strongroom.errors import ConfigurationError, RollbackError, StorageError
from strongroom.storage.contract import Contents
from strongroom.testing.postgresql import Postgresql
from strongroom.testing.server import initialize
from tests.composed import NOW
from tests.sizes import Size


@pytest.fixture
def config(data: Path) -> Config:
    initialize(data)
    return read_config(data / "strongroom.yaml")


@pytest.fixture
def url(postgresql: Postgresql) -> Iterator[str]:
    with postgresql.database() as url:
        yield url


def contents(config: Config) -> Contents:
    opened = open_installation(config)
    found = opened.storage.load()
    opened.close()
    return found


def moved_to(config: Config, url: str) -> Config:
    """The configuration that the operator writes."""
    path = config.data / "strongroom.yaml"
    path.write_text(f"{path.read_text()}postgresql: {{url: '{url}'}}\n")
    return read_config(path)


def test_all_rows_are_there_and_the_log_verifies(config: Config, url: str) -> None:
    before = contents(config)
    told = migrate(config, url, NOW)
    assert (told.records, told.change) == (len(before.records), before.position.number)
    assert "password" not in told.to
    moved = moved_to(config, url)
    after = contents(moved)
    assert sorted(map(repr, after.records)) == sorted(map(repr, before.records))
    assert after.position.number == before.position.number + 1
    assert verify_audit(moved).findings == []
    assert any(b'"eventName":"MoveDatabase"' in log.read_bytes() for log in config.audit_directory.glob("*/*.log"))


def test_what_was_accepted_as_lost_goes_along(config: Config, url: str, data: Path, tmp_path: Path) -> None:
    """Chains in the log that the database does not know must stay there as they were."""
    shutil.copytree(data, tmp_path / "older")
    back_up(config, tmp_path / "backup", NOW)
    for file in data.glob("strongroom.db*"):
        file.unlink()
    for file in (tmp_path / "older").glob("strongroom.db*"):
        shutil.copy(file, data)
    accept_rollback(config, to=contents(config).position.number, now=NOW)
    migrate(config, url, NOW)
    assert verify_audit(moved_to(config, url)).findings == []


def test_the_file_is_never_opened_again(config: Config, url: str) -> None:
    migrate(config, url, NOW)
    with pytest.raises(ConfigurationError, match=r"strongroom.db was moved to PostgreSQL database .*, which the conf"):
        open_installation(config)
    with pytest.raises(ConfigurationError, match="was moved to"):
        migrate(config, url, NOW)
    (config.data / "strongroom.db.moved").unlink()
    with pytest.raises(RollbackError, match="an older copy was put back"):
        back_up(config, config.data / "backup", NOW)


def test_it_is_refused_while_a_server_runs(config: Config, url: str) -> None:
    with serving(config), pytest.raises(ConfigurationError, match="a server runs: stop it first"):
        migrate(config, url, NOW)


def test_another_database_is_not_touched(config: Config, url: str, data: Path) -> None:
    initialize(data.with_name("other"), "--postgresql", url)
    with pytest.raises(StorageError, match="there is another installation in it"):
        migrate(config, url, NOW)
    assert contents(config).records


def test_a_copy_that_was_left_behind_is_refused(config: Config, url: str, data: Path) -> None:
    """The move was interrupted after the copy, and the file was served again."""
    migrate(config, url, NOW)
    (data / "strongroom.db.moved").unlink()
    opened = open_installation(config)
    opened.storage.commit([], None)
    opened.storage.commit([], None)
    opened.close()
    with pytest.raises(StorageError, match="there is an older copy in it"):
        migrate(config, url, NOW)


@pytest.mark.soak
def test_a_kill_at_any_moment_and_the_same_command_again(
    data: Path, postgresql: Postgresql, size: Size, tmp_path: Path
) -> None:
    initialize(tmp_path / "original")
    took = 0.0
    for kill in range(size.migration_kills + 1):
        shutil.copytree(tmp_path / "original", data)
        config = read_config(data / "strongroom.yaml")
        before = contents(config)
        with postgresql.database() as url:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "strongroom", "migrate", "--config", data / "strongroom.yaml", "--to", url],
                stdout=subprocess.DEVNULL,
            )
            try:
                process.wait(took * kill / (size.migration_kills + 1) if kill else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            took = took or time.monotonic() - began
            if not config.moved.exists():
                migrate(config, url, NOW)
            moved = moved_to(config, url)
            assert sorted(map(repr, contents(moved).records)) == sorted(map(repr, before.records))
            assert verify_audit(moved).findings == []
        shutil.rmtree(data)
