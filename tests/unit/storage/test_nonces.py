import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.storage.contract import NONCE_SECONDS
from strongroom.storage.nonces import DatabaseNonces, SqliteNonces
from strongroom.storage.postgresql import create_storage
from strongroom.testing.postgresql import Postgresql


def test_a_nonce_is_new_once_for_each_owner(tmp_path: Path) -> None:
    nonces = SqliteNonces(tmp_path / "nonces.db")
    assert nonces.first_use("s3", "a", 1.0)
    assert not nonces.first_use("s3", "a", 1.0)
    assert nonces.first_use("ebs", "a", 1.0)
    assert nonces.first_use("s3", "b", 1.0)
    assert not SqliteNonces(tmp_path / "nonces.db").first_use("s3", "a", 2.0)


def test_it_is_remembered_for_as_long_as_a_request_can_be_sent(tmp_path: Path) -> None:
    nonces = SqliteNonces(tmp_path / "nonces.db")
    assert nonces.first_use("s3", "a", 1.0)
    assert not nonces.first_use("s3", "a", 1.0 + NONCE_SECONDS)
    assert nonces.first_use("s3", "a", 1.5 + NONCE_SECONDS)


def test_of_many_at_once_one_is_first(tmp_path: Path) -> None:
    nonces = SqliteNonces(tmp_path / "nonces.db")
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda number: nonces.first_use("s3", str(number % 20), 1.0), range(200)))
    assert first.count(True) == 20


def _use(path: Path, number: int) -> bool:
    return SqliteNonces(path).first_use("s3", str(number), 1.0)


def test_processes_share_them(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_use, tmp_path / "nonces.db", 1).result()
    assert not _use(tmp_path / "nonces.db", 1)


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    SqliteNonces(tmp_path / "nonces.db")
    assert (tmp_path / "nonces.db").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    nonces = SqliteNonces(tmp_path / "nonces.db")
    with sqlite3.connect(tmp_path / "nonces.db") as connection:
        connection.execute("DROP TABLE nonces")
    with pytest.raises(StorageError):
        nonces.first_use("s3", "a", 1.0)


def test_nodes_share_them(postgresql: Postgresql) -> None:
    with postgresql.database() as url:
        storage = create_storage(url, bytes(32))
        one, other = DatabaseNonces(storage.database), DatabaseNonces(storage.database)
        assert one.first_use("s3", "a", 1.0)
        assert not other.first_use("s3", "a", 1.0 + NONCE_SECONDS)
        assert other.first_use("ebs", "a", 1.0)
        assert other.first_use("s3", "a", 1.5 + NONCE_SECONDS)
        with ThreadPoolExecutor(8) as pool:
            first = list(pool.map(lambda number: one.first_use("s3", str(number % 20), 2.0), range(200)))
        assert first.count(True) == 20
        storage.close()


@pytest.mark.parametrize(
    "harm", [lambda content: b"not a database" + content, lambda content: content[:5_000], lambda _: b""]
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "nonces.db"
    nonces = SqliteNonces(path)
    assert all(nonces.first_use("s3", f"{number}", 1.0) for number in range(20))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StorageError, match=r"\Acannot (use|open) [^\n]*\Z"):
        SqliteNonces(path)


def test_a_nonce_that_was_altered_is_found(tmp_path: Path) -> None:
    path = tmp_path / "nonces.db"
    assert SqliteNonces(path).first_use("s3", "the nonce", 1.0)
    path.write_bytes(path.read_bytes().replace(b"the nonce", b"a nonce!!", 1))
    with pytest.raises(StorageError, match="it is damaged"):
        SqliteNonces(path)
