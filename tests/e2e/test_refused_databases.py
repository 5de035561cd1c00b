"""A database that is not what this service left behind is refused at the start, and what is wrong is named."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.app.installing import open_installation
from strongroom.config import read_config
from strongroom.model.key import KmsKey
from strongroom.storage.contract import Replace
from strongroom.testing.server import Server, initialize, start_server
from tests.e2e.commands import refused, serve, strongroom

KmsClient = Callable[..., Any]


@contextmanager
def database(data: Path) -> Iterator[sqlite3.Connection]:
    """The database of a stopped service, in the hands of who writes it."""
    with closing(sqlite3.connect(data / "strongroom.db")) as connection, connection:
        yield connection


def copy_database(data: Path, to: Path) -> None:
    """Copy what a thief of the stopped service could: the database and its log."""
    to.mkdir()
    for path in data.glob("strongroom.db*"):
        shutil.copy(path, to)


def put_back(copy: Path, data: Path) -> None:
    for path in data.glob("strongroom.db*"):
        path.unlink()
    for path in copy.iterdir():
        shutil.copy(path, data)


@pytest.fixture
def served(data: Path, kms_client: KmsClient) -> tuple[Path, list[str]]:
    """An installation with three keys, stopped."""
    initialize(data)
    server = start_server(data)
    kms = kms_client(server)
    key_ids = [kms.create_key(Description="before")["KeyMetadata"]["KeyId"] for _ in range(3)]
    assert server.stop() == 0
    return data, key_ids


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_an_older_copy_is_refused_until_accepted_by_name(
    served: tuple[Path, list[str]], kms_client: KmsClient, tmp_path: Path, end: Callable[[Server], object]
) -> None:
    data, key_ids = served
    copy_database(data, tmp_path / "older")
    server = start_server(data)
    lost = kms_client(server).create_key()["KeyMetadata"]["KeyId"]
    end(server)
    put_back(tmp_path / "older", data)

    newest = 7 if end is Server.stop else 6  # a process that ends stores the last uses
    expected = (
        f"the database ends with change 5, but the audit log knows change {newest}: an older copy was put back; "
        "to go on with it knowingly: strongroom accept-rollback --config FILE --to 5"
    )
    assert refused(serve(data)) == expected
    assert f"WRONG  {expected}" in strongroom("doctor", "--config", data / "strongroom.yaml").stdout

    accept = ("accept-rollback", "--config", data / "strongroom.yaml", "--to")
    assert refused(strongroom(*accept, "3")) == "the database ends with change 5, not with 3"
    assert strongroom(*accept, "5").returncode == 0
    assert any(b'"eventName":"AcceptRollback"' in path.read_bytes() for path in (data / "audit").glob("*/*.log"))
    server = start_server(data)
    found = [entry["KeyId"] for entry in kms_client(server).list_keys()["Keys"]]
    assert sorted(found) == sorted(key_ids)
    assert lost not in found
    kms_client(server).create_key()
    assert server.stop() == 0
    verified = strongroom("audit", "verify", "--config", data / "strongroom.yaml")
    assert verified.returncode == 0, verified.stdout


def test_a_deleted_row_is_named(served: tuple[Path, list[str]]) -> None:
    data, key_ids = served
    with database(data) as connection:
        connection.execute("DELETE FROM kms_keys WHERE key_id = ?", [key_ids[1]])

    reason = refused(serve(data))
    assert "kms_keys" in reason
    assert key_ids[1] in reason


def test_an_edited_row_is_named(served: tuple[Path, list[str]]) -> None:
    data, key_ids = served
    with database(data) as connection:
        connection.execute(
            "UPDATE kms_keys SET policy = replace(policy, 'Allow', 'Deny') WHERE key_id = ?", [key_ids[0]]
        )

    reason = refused(serve(data))
    assert "kms_keys" in reason
    assert key_ids[0] in reason
    assert key_ids[1] not in reason


def test_a_row_put_back_from_before_is_named(served: tuple[Path, list[str]]) -> None:
    data, key_ids = served
    row = "SELECT * FROM kms_keys WHERE key_id = ?"
    with database(data) as connection:
        before = connection.execute(row, [key_ids[0]]).fetchone()
    opened = open_installation(read_config(data / "strongroom.yaml"))
    key = next(stored for stored in opened.storage.load().records if getattr(stored.record, "key_id", "") == key_ids[0])
    assert isinstance(key.record, KmsKey)
    opened.storage.commit([Replace(replace(key.record, description="after"), key.number)], None)
    opened.close()
    with database(data) as connection:
        connection.execute("DELETE FROM kms_keys WHERE key_id = ?", [key_ids[0]])
        connection.execute(f"INSERT INTO kms_keys VALUES ({', '.join('?' * len(before))})", before)

    reason = refused(serve(data))
    assert "kms_keys" in reason
    assert key_ids[0] in reason


@pytest.mark.parametrize("damage", [b"", b"not a database", None])
def test_a_damaged_database_is_refused(served: tuple[Path, list[str]], damage: bytes | None) -> None:
    data, _ = served
    path = data / "strongroom.db"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)

    assert "strongroom.db" in refused(serve(data))
