"""An installation with its keys, and a database for its audit log."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.audit.writer import AuditLog, AuditWriter
from strongroom.crypto.sealing import public_key_of
from strongroom.model.installation import Installation
from strongroom.storage.sqlite import create_storage, open_storage

ROW_KEY = bytes(range(32))
CHAIN_PRIVATE_KEY = secrets.token_bytes(32)


@pytest.fixture(scope="session")
def digest_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def chain_private_key() -> bytes:
    return CHAIN_PRIVATE_KEY


@pytest.fixture(scope="session")
def installation(digest_key: RSAPrivateKey) -> Installation:
    return Installation(
        installation_id="0b4f1e4e-5a8d-4a7e-9c5c-2f6f6a7a3c11",
        created=1_790_000_000.0,
        chain_public_key=public_key_of(CHAIN_PRIVATE_KEY),
        digest_public_key=digest_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "strongroom.db"
    create_storage(path, ROW_KEY).close()
    return path


@pytest.fixture
def log(
    tmp_path: Path, installation: Installation, digest_key: RSAPrivateKey, empty_database: Path
) -> Iterator[AuditLog]:
    path = tmp_path / "strongroom.db"
    shutil.copyfile(empty_database, path)
    path.chmod(0o600)
    storage = open_storage(path, ROW_KEY)
    yield AuditLog(tmp_path / "audit", installation, digest_key, storage, "node1")
    storage.close()


@pytest.fixture
def open_writer(log: AuditLog) -> Iterator[Callable[..., AuditWriter]]:
    """Open writers that a test may leave as a killed process would: lock free, chain not ended."""
    opened: list[AuditWriter] = []
    executor = ThreadPoolExecutor(1)

    def open_it(**options: object) -> AuditWriter:
        settings: dict[str, object] = {"now": lambda: 1_790_000_000.0, "executor": executor, "on_fatal": pytest.fail}
        writer = AuditWriter.open(log, **(settings | options))  # type: ignore[arg-type]
        opened.append(writer)
        return writer

    yield open_it
    for writer in opened:
        writer._release()
    executor.shutdown()
