"""A backup tells nothing without the root key, and is taken whole, as it was made, or not at all."""

import asyncio
import configparser
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.app import backup as backing_up
from strongroom.app.accounts import create_account
from strongroom.app.auditing import export_audit, verify_audit
from strongroom.app.backup import back_up
from strongroom.app.installing import Opened, open_installation
from strongroom.app.restoring import ByRootKey, restore
from strongroom.config import read_config
from strongroom.errors import ConfigurationError, DataDirectoryError, IntegrityError, OperatorError, RootKeyError
from strongroom.keystores.root_key import create_root_key
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial
from strongroom.testing.postgresql import Postgresql
from strongroom.testing.server import initialize
from tests.composed import NOW, Composed, Run
from tests.importing import wrapped


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation and its backup, beside it."""
    data = tmp_path_factory.mktemp("installation") / "data"
    initialize(data)
    back_up(read_config(data / "strongroom.yaml"), data.with_name("backup"), NOW)
    return data


def restored(installation: Path, backup: Path, elsewhere: Path, root_key: Path | None = None) -> Path:
    restore(
        backup,
        elsewhere,
        ByRootKey(root_key or installation / "root.key", bytes),
        audit=[installation / "audit"],
        now=NOW,
    )
    return elsewhere


def test_anybody_can_read_the_manifest(installation: Path) -> None:
    first, second, _ = installation.with_name("backup").read_bytes().split(b"\n", 2)
    manifest = json.loads(second)
    opened = open_installation(read_config(installation / "strongroom.yaml"))
    position = opened.storage.position()
    opened.close()
    assert first == b"strongroom backup, version 1"
    assert manifest["created"] == "2026-09-21T14:13:20Z"
    assert manifest["installationId"] == opened.installation.installation_id
    assert (manifest["change"], manifest["chain"]) == (position.number, position.chain.hex())
    assert manifest["records"] == 9
    assert installation.with_name("backup").stat().st_mode & 0o777 == 0o600


def test_neither_backup_nor_database_shows_a_secret(run: Run, data: Path) -> None:
    """Material that was imported is known here, and so is the root user's secret; names are sealed in a backup."""
    material = os.urandom(32)

    async def use(parts: Composed) -> None:
        made = await parts.ask_kms("CreateKey", Origin="EXTERNAL", Description="a description")
        key_id = made.key_metadata.key_id
        asked = {"KeyId": key_id, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
        parameters = await parts.ask_kms("GetParametersForImport", **asked)
        import_key = ImportKey("RSA_2048", "RSAES_OAEP_SHA_256", "", 0, b"", parameters.public_key)
        await parts.ask_kms(
            "ImportKeyMaterial",
            KeyId=key_id,
            ImportToken=parameters.import_token,
            EncryptedKeyMaterial=wrapped(import_key, material),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
        sealed.extend(stored.wrapped for stored, _ in parts.opened.storage.find_all(KeyMaterial))
        await asyncio.to_thread(back_up, parts.opened.config, data.with_name("backup"), NOW)

    sealed: list[bytes] = []
    run(use)
    credentials = configparser.ConfigParser()
    credentials.read(data / "credentials")
    secret = credentials["strongroom"]["aws_secret_access_key"].encode()
    root_key = (data / "root.key").read_bytes().split()[8]
    backup = data.with_name("backup").read_bytes()
    database = b"".join(path.read_bytes() for path in data.glob("strongroom.db*"))
    for known in (material, secret, root_key, bytes.fromhex(root_key.decode()), material.hex().encode()):
        assert known not in backup
        assert known not in database
    assert sealed[0] in database
    assert sealed[0] not in backup
    assert b"a description" not in backup


def test_a_restored_installation_opens_as_it_was(installation: Path, tmp_path: Path) -> None:
    elsewhere = restored(installation, installation.with_name("backup"), tmp_path / "data")
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in elsewhere.iterdir()} == {
        "audit", "audit-public-key.pem", "root.key", "strongroom.db", "strongroom.yaml",
    }  # fmt: skip
    assert (elsewhere / "audit-public-key.pem").read_bytes() == (installation / "audit-public-key.pem").read_bytes()


@pytest.mark.parametrize(
    ("alter", "error"),
    [
        (lambda backup: backup[:-1], "damaged, cut off or altered"),
        (lambda backup: backup + b"x", "damaged, cut off or altered"),
        (lambda backup: backup[:5000] + bytes([backup[5000] ^ 1]) + backup[5001:], "damaged, cut off or altered"),
        (lambda backup: backup.replace(b'"created":"2026', b'"created":"2027'), "damaged, cut off or altered"),
        (lambda backup: backup.replace(b'"wrappedKey":"', b'"wrappedKey":"AAAA'), "another root key"),
        (lambda backup: backup.replace(b"version 1", b"version 2"), "not a backup of version 1"),
        (lambda backup: backup[:200], "the manifest of the backup is damaged"),
        (lambda _: b"", "not a backup of version 1"),
    ],
)
def test_what_was_altered_is_refused_in_one_line_and_nothing_is_left(
    installation: Path, tmp_path: Path, alter: Callable[[bytes], bytes], error: str
) -> None:
    (tmp_path / "backup").write_bytes(alter(installation.with_name("backup").read_bytes()))
    with pytest.raises(OperatorError, match=error) as failure:
        restored(installation, tmp_path / "backup", tmp_path / "data")
    assert "\n" not in str(failure.value)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_another_root_key_is_refused(installation: Path, tmp_path: Path) -> None:
    create_root_key(tmp_path / "root.key").close()
    with pytest.raises(RootKeyError, match="the backup was made under another root key"):
        restored(installation, installation.with_name("backup"), tmp_path / "data", tmp_path / "root.key")


def test_a_directory_that_holds_anything_is_not_touched(installation: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("kept")
    with pytest.raises(DataDirectoryError, match="is not empty"):
        restored(installation, installation.with_name("backup"), tmp_path / "data")
    assert (tmp_path / "data" / "file").read_text() == "kept"


def test_a_log_in_two_copies_is_refused(installation: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is in two of the copies"):
        restore(
            installation.with_name("backup"),
            tmp_path / "data",
            ByRootKey(installation / "root.key", bytes),
            audit=[installation / "audit"] * 2,
            now=NOW,
        )


def test_a_file_is_not_written_over(installation: Path) -> None:
    before = installation.with_name("backup").read_bytes()
    with pytest.raises(DataDirectoryError, match="never written over"):
        back_up(read_config(installation / "strongroom.yaml"), installation.with_name("backup"), NOW)
    assert installation.with_name("backup").read_bytes() == before


def test_a_file_that_appears_meanwhile_is_not_written_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It appears while the rows are written."""
    initialize(data)
    write = backing_up._write

    def write_beside(opened: Opened, path: Path, now: float) -> backing_up.BackedUp:
        (tmp_path / "backup").write_text("kept")
        return write(opened, path, now)

    monkeypatch.setattr(backing_up, "_write", write_beside)
    with pytest.raises(DataDirectoryError, match="never written over"):
        back_up(read_config(data / "strongroom.yaml"), tmp_path / "backup", NOW)
    assert (tmp_path / "backup").read_text() == "kept"
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup"]


def test_links_in_a_copy_of_the_log_are_refused(installation: Path, tmp_path: Path) -> None:
    shutil.copytree(installation / "audit", tmp_path / "copy")
    chain = min((tmp_path / "copy").iterdir())
    (chain / "other").write_text("not of the log")
    opener = ByRootKey(installation / "root.key", bytes)
    restore(installation.with_name("backup"), tmp_path / "data", opener, audit=[tmp_path / "copy"], now=NOW)
    assert not list((tmp_path / "data" / "audit").glob("*/other"))
    (chain / "00000009.log").symlink_to(installation / "root.key")
    with pytest.raises(ConfigurationError, match=r"00000009.log is not a regular file"):
        restore(installation.with_name("backup"), tmp_path / "again", opener, audit=[tmp_path / "copy"], now=NOW)
    chain.rename(tmp_path / "chain")
    chain.symlink_to(tmp_path / "chain")
    with pytest.raises(ConfigurationError, match="is a link"):
        restore(installation.with_name("backup"), tmp_path / "again", opener, audit=[tmp_path / "copy"], now=NOW)


def test_no_backup_is_made_of_a_database_that_was_altered(data: Path, tmp_path: Path) -> None:
    initialize(data)
    with closing(sqlite3.connect(data / "strongroom.db")) as connection, connection:
        connection.execute("UPDATE accounts SET created = created + 1")
    with pytest.raises(IntegrityError, match="accounts"):
        back_up(read_config(data / "strongroom.yaml"), tmp_path / "backup", NOW)
    assert not list(tmp_path.glob("backup*"))


def test_what_nodes_share_is_restored_to_a_file(data: Path, tmp_path: Path, postgresql: Postgresql) -> None:
    """A backup is of either database system, and the log is what `audit export` wrote."""
    with postgresql.database() as url:
        initialize(data, "--postgresql", url)
        config = read_config(data / "strongroom.yaml")
        back_up(config, tmp_path / "backup", NOW)
        account = create_account(config, account=None, now=NOW)
        export_audit(config, tmp_path / "log")
    opener = ByRootKey(data / "root.key", bytes)
    told = restore(tmp_path / "backup", tmp_path / "elsewhere", opener, audit=[tmp_path / "log"], now=NOW)
    assert [(one.change.event.event_name, account in one.about) for one in told.left] == [("CreateAccount", True)]
    restored_config = read_config(tmp_path / "elsewhere" / "strongroom.yaml")
    assert restored_config.postgresql is None
    assert verify_audit(restored_config).findings == []
