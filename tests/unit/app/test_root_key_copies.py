"""The root key leaves by a command that is recorded, and comes back to where it belongs, or not at all."""

import time
from pathlib import Path

import pytest

from strongroom.app.auditing import verify_audit
from strongroom.app.installing import open_installation
from strongroom.app.root_key_copies import export_root_key, import_root_key, read_passphrase
from strongroom.config import Config, read_config
from strongroom.errors import DataDirectoryError, RootKeyError
from strongroom.keystores.root_key import create_root_key
from strongroom.testing.server import initialize

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def config(data: Path) -> Config:
    initialize(data)
    return read_config(data / "strongroom.yaml")


def test_an_export_is_recorded_and_brings_the_root_key_back(config: Config, tmp_path: Path) -> None:
    root_key_id = export_root_key(config, tmp_path / "exported", PASSPHRASE, now=time.time())
    assert (tmp_path / "exported").stat().st_mode & 0o777 == 0o600
    log = b"".join(path.read_bytes() for path in config.audit_directory.glob("*/*.log"))
    assert b'"eventName":"ExportRootKey"' in log
    assert f'"rootKeyId":"{root_key_id}"'.encode() in log
    assert PASSPHRASE not in log
    before = config.root_key.read_bytes()
    config.root_key.unlink()
    assert import_root_key(config, tmp_path / "exported", lambda: PASSPHRASE) == root_key_id
    assert config.root_key.read_bytes() == before
    assert verify_audit(config).findings == []


def test_a_file_is_not_written_over_and_nothing_is_recorded(config: Config, tmp_path: Path) -> None:
    (tmp_path / "exported").write_text("kept")
    opened = open_installation(config)
    position = opened.storage.position()
    with pytest.raises(DataDirectoryError, match="exists already"):
        export_root_key(config, tmp_path / "exported", PASSPHRASE, now=time.time())
    assert (tmp_path / "exported").read_text() == "kept"
    assert opened.storage.position() == position
    opened.close()


def test_a_root_key_that_does_not_open_the_database_is_taken_away_again(config: Config, tmp_path: Path) -> None:
    create_root_key(tmp_path / "other").close()
    with pytest.raises(RootKeyError, match="never overwritten"):
        import_root_key(config, tmp_path / "other", bytes)
    config.root_key.unlink()
    with pytest.raises(RootKeyError, match="does not open this installation's domain keys"):
        import_root_key(config, tmp_path / "other", bytes)
    assert not config.root_key.exists()


def test_a_passphrase_is_the_first_line_of_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PASSPHRASE + b"\r\nanother line\n")
    (tmp_path / "file").chmod(0o640)
    with pytest.raises(DataDirectoryError, match="is open to others"):
        read_passphrase(tmp_path / "file")
    (tmp_path / "file").chmod(0o600)
    assert read_passphrase(tmp_path / "file") == PASSPHRASE


def test_without_a_database_it_is_put_in_place(tmp_path: Path) -> None:
    create_root_key(tmp_path / "copy").close()
    (tmp_path / "strongroom.yaml").write_text("root_key: root.key\n")
    import_root_key(read_config(tmp_path / "strongroom.yaml"), tmp_path / "copy", bytes)
    assert (tmp_path / "root.key").read_bytes() == (tmp_path / "copy").read_bytes()
