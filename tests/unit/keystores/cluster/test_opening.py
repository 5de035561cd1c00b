"""Connecting to an HSM cluster: why it failed, and that a wrong password is tried once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.errors import ConfigurationError, ConnectionFailedError, DependencyTimeout, KMSInvalidState
from strongroom.keystores.cluster.store import ClusterKeyStore, absence
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm import threads as threads_module
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.testing.softhsm import LIBRARY, PIN, SoftHsm
from tests.hsm import Faults, cluster_key_store, new_token, token_away

WAIT = 20


class Library(NamedTuple):
    faults: Faults
    module: Module
    label: str


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def library(label: str) -> Iterator[Library]:
    faults = Faults(load(str(LIBRARY)))
    module = Module(faults.functions)
    yield Library(faults, module, label)
    assert (module.users, module.away, module.epoch) == (0, 0, 0)
    assert module.before_finalizing == []


def refusal(store: ClusterKeyStore) -> str:
    with pytest.raises(ConnectionFailedError) as failed:
        store.connect("request")
    assert PIN not in str(failed.value)
    return failed.value.code


def test_a_wrong_password_is_tried_once_and_by_nobody_else_and_a_new_one_again(
    library: Library, tmp_path: Path
) -> None:
    for _ in range(2):
        with cluster_key_store(library.label, tmp_path / "first", library.module, password="000000") as store:
            for _ in range(2):
                assert refusal(store) == "INVALID_CREDENTIALS"
            with pytest.raises(KMSInvalidState):
                store.random_bytes(1)
    assert library.faults.calls["C_Login"] == 1
    with cluster_key_store(library.label, tmp_path / "second", library.module) as store:
        store.connect("request")
        assert len(store.random_bytes(16)) == 16
    assert library.faults.calls["C_Login"] == 2


def test_stores_that_begin_at_once_try_a_wrong_password_once(library: Library, tmp_path: Path) -> None:
    marker = tmp_path / "its own" / "refused"

    def connect(_: int) -> str:
        with cluster_key_store(library.label, marker, library.module, password="000000") as store:
            return refusal(store)

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(connect, range(4))) == {"INVALID_CREDENTIALS"}
    assert library.faults.calls["C_Login"] == 1


def test_where_no_refusal_can_be_noted_no_password_is_tried(library: Library, tmp_path: Path) -> None:
    (tmp_path / "its own").mkdir()
    (tmp_path / "its own/refused.trying").symlink_to("nowhere/refused")  # as good as a disk that is full
    with cluster_key_store(library.label, tmp_path / "its own/refused", library.module) as store:
        for _ in range(2):
            assert refusal(store) == "INTERNAL_ERROR"
        (tmp_path / "its own/refused.trying").unlink()
        store.connect("request")
    assert library.faults.calls["C_Login"] == 1


@pytest.mark.parametrize(
    ("call", "code", "told", "again"),
    [
        ("C_Login", 0xA0, "INVALID_CREDENTIALS", False),
        ("C_Login", 0xA1, "INVALID_CREDENTIALS", False),
        ("C_Login", 0xA3, "INVALID_CREDENTIALS", False),
        ("C_Login", 0xA4, "USER_LOCKED_OUT", False),
        ("C_Login", 0x102, "USER_NOT_FOUND", True),
        ("C_Login", 0x103, "USER_NOT_FOUND", True),
        ("C_Login", 0x104, "USER_LOGGED_IN", True),
        ("C_Login", 0x105, "USER_LOGGED_IN", True),
        ("C_Login", 0x30, "NETWORK_ERRORS", True),
        ("C_Login", 0x06, "INTERNAL_ERROR", False),
        ("C_GetSlotList", 0x30, "NETWORK_ERRORS", True),
        ("C_GetTokenInfo", 0x30, "INSUFFICIENT_CLOUDHSM_HSMS", True),
        ("C_OpenSession", 0x32, "NETWORK_ERRORS", True),
        ("C_OpenSession", 0xE0, "INSUFFICIENT_CLOUDHSM_HSMS", True),
        ("C_OpenSession", 0xB1, "INTERNAL_ERROR", True),
        ("C_OpenSession", 0x05, "INTERNAL_ERROR", True),
        ("C_Initialize", 0x30, "NETWORK_ERRORS", True),
        ("C_Initialize", 0x02, "INTERNAL_ERROR", True),
        ("C_EncryptInit", 0x70, "INTERNAL_ERROR", True),
    ],
)
def test_each_failure_has_its_code_and_may_end(
    library: Library, tmp_path: Path, call: str, code: int, told: str, *, again: bool
) -> None:
    """`again`: whether the password is tried again, since nobody counts it as wrong."""
    library.faults.fail(call, code, times=1_000)
    with cluster_key_store(library.label, tmp_path / "refused", library.module) as store:
        assert refusal(store) == told
        library.faults.clear()
        if again:
            store.connect("request")
            assert len(store.random_bytes(1)) == 1
        else:
            logins = library.faults.calls["C_Login"]
            assert refusal(store) == "INVALID_CREDENTIALS"
            assert library.faults.calls["C_Login"] == logins


def test_a_token_whose_user_is_locked_out_is_not_tried(library: Library, tmp_path: Path) -> None:
    def locked(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        code = call(*arguments)
        arguments[1]._obj.flags |= p11.CKF_USER_PIN_LOCKED  # type: ignore[attr-defined]
        return code

    library.faults.set("C_GetTokenInfo", locked)
    with cluster_key_store(library.label, tmp_path / "refused", library.module) as store:
        assert refusal(store) == "USER_LOCKED_OUT"
    assert library.faults.calls["C_Login"] == 0


def test_a_token_that_is_not_there(library: Library, tmp_path: Path, softhsm: SoftHsm) -> None:
    with cluster_key_store("nowhere", tmp_path / "refused", library.module) as store:
        assert refusal(store) == "INSUFFICIENT_CLOUDHSM_HSMS"
    assert not library.module.has_token("nowhere")
    assert library.module.has_token(library.label)
    with token_away(softhsm, library.label):
        assert not library.module.has_token(library.label)
    assert library.module.has_token(library.label)
    library.faults.fail("C_GetSlotList", 0x30)
    assert not library.module.has_token(library.label)
    assert library.faults.calls["C_Login"] == 0


def test_a_library_that_cannot_be_loaded(tmp_path: Path) -> None:
    def fail(_: str) -> Module:
        raise ConfigurationError("cannot load it")

    store = ClusterKeyStore(
        library=tmp_path / "none.so", label="payments", password="secret", marker=tmp_path / "refused",
        count_use=lambda _: None, load=fail,
    )  # fmt: skip
    assert refusal(store) == "CLUSTER_NOT_FOUND"
    store.close()
    assert "cannot load" in (absence(tmp_path / "none.so", "payments") or "")


def test_when_all_threads_hang_calls_fail_at_once_until_one_comes_back(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "_LOOK_SECONDS", 0.02)
    goes_on = threading.Event()

    def hang(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        goes_on.wait(WAIT)
        return call(*arguments)

    async def run(store: ClusterKeyStore) -> None:
        calls = store.calls
        calls._limit = 0.2
        assert len(await calls.run(store.random_bytes, 16)) == 16
        library.faults.set("C_GenerateRandom", hang)
        library.faults.set("C_OpenSession", hang)  # and so does whoever looks how the token is
        hanging = [asyncio.ensure_future(calls.run(store.random_bytes, 16)) for _ in range(4)]
        for one in hanging:
            with pytest.raises(DependencyTimeout):
                await one
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(DependencyTimeout):
                await calls.run(store.random_bytes, 16)
        assert time.monotonic() - began < calls._limit
        library.faults.clear()
        goes_on.set()
        async with asyncio.timeout(WAIT):
            while True:
                try:
                    assert len(await calls.run(store.random_bytes, 16)) == 16
                except (DependencyTimeout, KMSInvalidState):
                    await asyncio.sleep(0.01)
                else:
                    break
        await calls.run(store.close)
        with pytest.raises(DependencyTimeout):
            await calls.run(store.random_bytes, 16)

    with cluster_key_store(library.label, tmp_path / "refused", library.module) as store:
        asyncio.run(run(store))


def test_one_that_is_closed_while_its_login_hangs_logs_out_when_it_comes_back(library: Library, tmp_path: Path) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hang(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        begun.set()
        goes_on.wait(WAIT)
        return call(*arguments)

    library.faults.set("C_Login", hang)
    with (
        ThreadPoolExecutor(1) as thread,
        cluster_key_store(library.label, tmp_path / "refused", library.module) as store,
    ):
        waiting = thread.submit(store.random_bytes, 1)
        assert begun.wait(WAIT)
        began = time.monotonic()
        store.close()
        assert time.monotonic() - began < WAIT / 2
        goes_on.set()
        with pytest.raises(KMSInvalidState):
            waiting.result()
