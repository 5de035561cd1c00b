"""Key material in an HSM is nowhere else: not in the database, its WAL, or the audit log, nor in an idle server."""

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from strongroom.app.installing import open_installation
from strongroom.authorization.documents import default_key_policy
from strongroom.config import read_config
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.model.principal import Account
from strongroom.storage.contract import Insert
from strongroom.testing.server import initialize, running_server
from strongroom.testing.softhsm import SoftHsm
from tests.hsm import hsm_options, new_token
from tests.importing import imported as import_
from tests.keys import kms_key


def imported(data: Path, secret: bytes) -> str:
    """Import a secret through the key store, as the material of a new key; return the key's ARN."""
    opened = open_installation(read_config(data / "strongroom.yaml"))
    try:
        opened.storage.load()
        ((account, _),) = opened.storage.find_all(Account)
        policy = default_key_policy(account.account)
        key = replace(kms_key(), account=account.account, policy=policy)
        assert opened.hsm is not None, "its configuration names one"
        store = HsmKeyStore(
            opened.hsm.token,
            opened.hsm.can,
            allowed=(),
            count_use=lambda _: None,
            material_ids=opened.domain_keys.material_ids,
        )
        material = import_(store, key, store.new_import_key(key, "RSA_2048", "RSAES_OAEP_SHA_1"), secret)
        key = replace(key, current_material_id=material.material_id)
        opened.storage.commit([Insert(key), Insert(material)], None)
    finally:
        opened.close()
    return key.arn


def processes_of(supervisor: int) -> list[int]:
    """The server and its processes."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [supervisor, *map(int, children)]


def memory_of(process: int) -> Iterator[bytes]:
    """What a process can read and write of its memory. Needs the right to trace it."""
    maps = Path(f"/proc/{process}/maps").read_text()
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for begin, end in re.findall("^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.MULTILINE):
            memory.seek(int(begin, 16))
            yield memory.read(int(end, 16) - int(begin, 16))


def test_imported_material_is_found_nowhere(tmp_path: Path, softhsm: SoftHsm, kms_client: Callable[..., Any]) -> None:
    data, secret = tmp_path / "data", secrets.token_bytes(32)
    initialize(data, *hsm_options(softhsm, new_token(softhsm)))
    arn = imported(data, secret)
    with running_server(data) as server:
        kms = kms_client(server)
        for _ in range(20):
            blob = kms.encrypt(KeyId=arn, Plaintext=b"plaintext")["CiphertextBlob"]
            assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plaintext"
        for path in data.rglob("*"):
            assert path.is_dir() or secret not in path.read_bytes(), path
        found = dict.fromkeys((secret, server.secret_access_key.encode()), 0)
        for process in processes_of(server.process.pid):
            for piece in memory_of(process):
                for needle in found:
                    found[needle] += needle in piece
    assert found.pop(secret) == 0
    assert all(found.values()), "the search finds what is there"
