"""A move to PostgreSQL ends with all of it there, whatever interrupts it, and the file is never opened again."""

import asyncio
import errno
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.app import migrating
from strongroom.app.accounts import create_account
from strongroom.app.auditing import accept_rollback, verify_audit
from strongroom.app.backup import back_up
from strongroom.app.installing import Opened, audit_log, open_installation
from strongroom.app.migrating import migrate
from strongroom.app.serving_lock import alone, serving
from strongroom.app.timekeeping import confirm_time
from strongroom.audit.writer import AuditWriter
from strongroom.config import Config, read_config
from strongroom.errors import ConfigurationError, DataDirectoryError, RollbackError, StorageError
from strongroom.storage.contract import Contents, Position
from strongroom.storage.database import Database
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


def interrupted(config: Config, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a move that ends right after the copy."""

    def end(*_: object) -> None:
        raise OSError(errno.EIO, "ended")

    with monkeypatch.context() as patched:
        patched.setattr(migrating, "_record", end)
        with pytest.raises(DataDirectoryError):
            migrate(config, url, NOW)


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


def test_no_command_changes_anything_meanwhile(config: Config, url: str) -> None:
    with alone(config), pytest.raises(ConfigurationError, match="is being moved: try again"):
        create_account(config, account=None, now=NOW)
    with alone(config), pytest.raises(ConfigurationError, match="is being moved: try again"):
        confirm_time(config, date=time.strftime("%Y-%m-%d", time.gmtime()))
    with serving(config), pytest.raises(ConfigurationError, match="stop it first"):
        migrate(config, url, NOW)


def test_what_was_used_after_the_copy_is_not_forgotten(
    config: Config, url: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move was interrupted right after the copy, and the file was served again: no change, but records."""
    interrupted(config, url, monkeypatch)
    opened = open_installation(config)
    position = opened.storage.position()

    async def use() -> None:
        with ThreadPoolExecutor(1) as executor:
            writer = AuditWriter.open(audit_log(opened), now=lambda: NOW, executor=executor, on_fatal=pytest.fail)
            await writer.write(b'{"used":1}')
            await writer.close()

    asyncio.run(use())
    assert opened.storage.position() == position
    opened.close()
    with pytest.raises(StorageError, match="there is an older copy in it"):
        migrate(config, url, NOW)
    assert not config.moved.exists()


def test_a_copy_that_goes_on_without_a_record_of_the_move_gets_one(
    config: Config, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move was interrupted right after the copy, and the copy was used."""
    interrupted(config, url, monkeypatch)
    text = (config.data / "strongroom.yaml").read_text()
    moved = moved_to(config, url)
    create_account(moved, account=None, now=NOW)
    (config.data / "strongroom.yaml").write_text(text)
    migrate(config, url, NOW)
    migrations = [log for log in config.audit_directory.glob("*/*.log") if b'"MoveDatabase"' in log.read_bytes()]
    assert len(migrations) == 1
    assert verify_audit(moved).findings == []


def test_a_file_that_changes_meanwhile_is_not_marked(config: Config, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who takes no lock, as an older version of the program."""
    copy = migrating._copy

    def copy_then_change(opened: Opened, server: Database) -> Position:
        position = copy(opened, server)
        opened.storage.commit([], None)
        return position

    monkeypatch.setattr(migrating, "_copy", copy_then_change)
    with pytest.raises(StorageError, match="was changed meanwhile"):
        migrate(config, url, NOW)
    assert not config.moved.exists()


def test_a_password_in_the_url_is_refused(config: Config) -> None:
    with pytest.raises(ConfigurationError, match="a password on the command line is seen by others"):
        migrate(config, "postgresql://user:secret@localhost/database", NOW)


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
