"""An HSM under load: many threads and processes, many keys, many uses."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm import token as token_module
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.module import open_module
from strongroom.testing.server import initialize, running_server
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import hsm_key_store, hsm_options, new_token
from tests.keys import KEY, generate
from tests.sizes import SMALL, Size

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
WORKER = "tests.fault.hsm_worker"
PROCESSES = 2


@pytest.fixture
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def data(tmp_path: Path, softhsm: SoftHsm, label: str) -> Path:
    data = tmp_path / "data"
    initialize(data, *hsm_options(softhsm, label))
    return data


def test_threads_and_processes_share_a_token(data: Path, size: Size) -> None:
    """8 threads in each of 2 processes, on one token."""
    command = [sys.executable, "-m", WORKER, str(data / "strongroom.yaml"), str(size.hsm_seconds)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    ended = [(process.communicate(timeout=size.hsm_seconds + 120), process.returncode) for process in running]
    assert [(stderr, code) for (_, stderr), code in ended] == [("", 0)] * PROCESSES
    operations = [int(stdout) for (stdout, _), _ in ended]
    assert min(operations) > 0
    print(f"\n{sum(operations)} operations in {size.hsm_seconds} s by {PROCESSES} processes of 8 threads")


def memory_of(process: int) -> int:
    """Resident memory of the server's processes, in MiB."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in [process, *children])
    return pages * 4 // 1024


def objects_in_token(softhsm: SoftHsm, label: str) -> int:
    """How many objects a token holds."""
    module = open_module(str(LIBRARY))
    module.enter()
    try:
        slot = module.find_slot(label)
        assert slot is not None
        session = module.open_session(slot)
        session.login(softhsm.pin_file.read_bytes())
        return len(session.find(Template({p11.CKA_TOKEN: True})))
    finally:
        module.leave()


def test_many_keys_need_no_room_in_the_token(
    data: Path, softhsm: SoftHsm, label: str, kms_client: Callable[..., Any], size: Size
) -> None:
    with running_server(data, workers=2) as server:
        with ThreadPoolExecutor(4) as threads:
            keys = list(threads.map(lambda _: made(kms_client(server)), range(4)))
            clients = [kms_client(server) for _ in range(4)]
            keys += threads.map(lambda n: made(clients[n % 4]), range(size.hsm_keys - 4))
        blobs = {key: encrypted(kms_client(server), key) for key in keys[:: max(1, len(keys) // 100)]}
    assert objects_in_token(softhsm, label) == 11
    began = time.monotonic()
    with running_server(data, workers=1) as server:
        started = time.monotonic() - began
        at_start = memory_of(server.process.pid)
        kms = kms_client(server)
        for key, blob in blobs.items():
            assert kms.decrypt(CiphertextBlob=blob)["KeyId"].endswith(key)
        for key in keys:
            encrypted(kms, key)
        used = memory_of(server.process.pid)
    print(f"\n{len(keys)} keys: {started:.1f} s to start, {at_start} MiB, {used} MiB with all of them used")


def made(kms: Any) -> str:
    key_id: str = kms.create_key()["KeyMetadata"]["KeyId"]
    return key_id


def encrypted(kms: Any, key_id: str) -> bytes:
    blob: bytes = kms.encrypt(KeyId=key_id, Plaintext=b"plaintext")["CiphertextBlob"]
    return blob


def test_memory_does_not_grow_with_use(softhsm: SoftHsm, size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every encryption makes an object in the token and destroys it, of which SoftHSM keeps a part."""
    if size is SMALL:
        monkeypatch.setattr(token_module, "DESTROYED_LIMIT", size.hsm_encryptions // 10)
    rounds = 20
    resident: list[int] = []
    with hsm_key_store(softhsm) as store:
        material = generate(store)
        for _ in range(rounds):
            for _ in range(size.hsm_encryptions // rounds):
                store.open_symmetric(KEY, material).encrypt(b"plaintext", {})
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024)
    print(f"\n{size.hsm_encryptions} encryptions: resident memory in MiB {resident}")
    assert max(resident[rounds // 2 :]) <= max(resident[: rounds // 2]) + 8
