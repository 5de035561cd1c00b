"""Two tokens in one library: what one of them needs is no failure of the other."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.errors import CustomKeyStoreInvalidState, HsmError, KMSInternal, KMSInvalidState
from strongroom.keystores.cluster.store import ClusterKeyStore
from strongroom.keystores.hsm import gate as gate_module
from strongroom.keystores.hsm import module as module_module
from strongroom.keystores.hsm import token as token_module
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.gate import Gate
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.token import Token
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, cluster_key_store, new_token, opened_hsm, token_away
from tests.keys import KEY, generate

pytestmark = pytest.mark.usefixtures("proven_before")
WAIT = 20
THREADS = 3
USE = KeyStoreUse("request", "Encrypt", "arn:aws:iam::111122223333:root")


class Both(NamedTuple):
    """The installation's HSM and a cluster, both tokens of one library."""

    hsm: HsmKeyStore
    token: Token[object]
    cluster: ClusterKeyStore
    cluster_label: str
    module: Module
    faults: Faults


@pytest.fixture(scope="module")
def labels(softhsm: SoftHsm) -> list[str]:
    return [new_token(softhsm), new_token(softhsm)]


@pytest.fixture
def both(softhsm: SoftHsm, labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    monkeypatch.setattr(token_module, "LONGEST_PAUSE", 0.1)
    faults = Faults(load(str(LIBRARY)))
    module = Module(faults.functions)
    with (
        opened_hsm(softhsm, module, label=labels[0]) as hsm,
        cluster_key_store(labels[1], tmp_path / "refused", module) as cluster,
    ):
        cluster.connect("request")
        store = HsmKeyStore(hsm.token, hsm.can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)
        yield Both(store, hsm.token, cluster, labels[1], module, faults)  # type: ignore[arg-type]
    assert (module.users, module.away, module.epoch) == (0, 0, 0)


class Load:
    """Threads that use both stores over and over. No use may fail of one that is well."""

    def __init__(self, both: Both) -> None:
        self.done = 0
        self.refused = 0
        self._both = both
        self._materials = (
            generate(both.hsm),
            both.cluster.new_material(USE, KEY, material_id="ab" * 32, created=1.5),
        )
        self._stop = threading.Event()

    def _work(self, *, hsm: bool) -> None:
        own, others = self._materials
        while not self._stop.is_set():
            try:
                opened = (
                    self._both.hsm.open_symmetric(KEY, own)
                    if hsm
                    else self._both.cluster.open_symmetric(USE, KEY, others)
                )
                assert opened.decrypt(parse(opened.encrypt(b"plaintext", {})), {}) == b"plaintext"
                self.done += 1
            except (KMSInternal, KMSInvalidState):
                self.refused += 1
                time.sleep(0.002)

    @contextmanager
    def under_way(self, *, hsm: bool = True, cluster: bool = True) -> Iterator[None]:
        kinds = [True] * THREADS * hsm + [False] * THREADS * cluster
        with ThreadPoolExecutor(len(kinds)) as threads:
            working = [threads.submit(self._work, hsm=kind) for kind in kinds]
            try:
                yield
            finally:
                self._stop.set()
        for one in working:
            one.result()
        self._both.cluster.destroy(KEY.arn, [self._materials[1].material_id])


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_renewal_under_load_fails_nobody(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either token has the library initialized anew, again and again, and the other follows."""
    monkeypatch.setattr(token_module, "DESTROYED_LIMIT", 200)
    load = Load(both)
    initialized = both.faults.calls["C_Initialize"]
    with load.under_way():
        wait_for(lambda: both.faults.calls["C_Initialize"] >= initialized + 8)
    assert load.done > 0
    assert load.refused == 0
    assert both.token.quarantined is None
    assert both.cluster.check("request") is None


def test_the_recovery_of_one_fails_no_call_of_the_other(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_module, "QUIET_SECONDS", 0.0)
    load = Load(both)
    with load.under_way(hsm=False):
        for _ in range(5):
            both.token.quarantine("a test")
            wait_for(lambda: both.token.quarantined is None)
            assert both.module.reinitialize()
            both.token.run(lambda lease: lease.session.random(1))
    assert load.done > 0
    assert load.refused == 0


def test_a_token_that_is_away_leaves_the_other_alone_and_comes_back(
    both: Both, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Load(both)
    initialized = both.faults.calls["C_Initialize"]
    with load.under_way(cluster=False):
        with token_away(softhsm, both.cluster_label):
            with pytest.raises(CustomKeyStoreInvalidState):
                both.cluster.new_material(USE, KEY, material_id="cd" * 32, created=1.5)
            wait_for(lambda: both.cluster.check("request") is not None)
            looked = both.faults.calls["C_GetSlotList"]
            wait_for(lambda: both.faults.calls["C_GetSlotList"] > looked + 10)
            assert not both.module.has_token(both.cluster_label)
        assert both.faults.calls["C_Initialize"] == initialized
        monkeypatch.setattr(module_module, "QUIET_SECONDS", 0.05)
        wait_for(lambda: both.cluster.check("request") is None)
        assert both.faults.calls["C_Initialize"] > initialized
    assert load.done > 0
    assert load.refused == 0
    assert len(both.cluster.random_bytes(16)) == 16


def test_a_well_token_is_entered_once_more_without_the_library_being_initialized(both: Both) -> None:
    material = generate(both.hsm)
    opened = both.hsm.open_symmetric(KEY, material)
    blob = opened.encrypt(b"plaintext", {})
    initialized = both.faults.calls["C_Initialize"]
    epoch = both.token.run(lambda lease: lease.session.epoch)
    both.token.quarantine("a test")
    wait_for(lambda: both.token.quarantined is None)
    assert both.token.run(lambda lease: lease.session.epoch) > epoch
    assert opened.decrypt(parse(blob), {}) == b"plaintext"
    assert both.faults.calls["C_Initialize"] == initialized


def test_a_call_of_one_that_hangs_does_not_stop_the_other(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "DRAIN_SECONDS", 0.1)
    begun, goes_on = threading.Event(), threading.Event()

    def hang(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if not begun.is_set():
            begun.set()
            goes_on.wait(WAIT)
        return call(*arguments)

    both.faults.set("C_GenerateRandom", hang)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(both.cluster.random_bytes, 8)
        assert begun.wait(WAIT)
        initialized = both.faults.calls["C_Initialize"]
        assert not both.module.reinitialize()
        assert len(both.hsm.random_bytes(8)) == 8
        assert both.faults.calls["C_Initialize"] == initialized
        goes_on.set()
        assert len(waiting.result()) == 8
    assert both.module.reinitialize()
    assert len(both.hsm.random_bytes(8)) == len(both.cluster.random_bytes(8)) == 8


def test_a_token_that_was_made_after_the_library_was_initialized_is_found(
    both: Both, softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = new_token(softhsm)
    assert not both.module.has_token(label)
    monkeypatch.setattr(module_module, "QUIET_SECONDS", 0.0)
    with cluster_key_store(label, tmp_path / "another", both.module) as store:
        assert len(store.random_bytes(8)) == 8
    assert len(both.hsm.random_bytes(8)) == len(both.cluster.random_bytes(8)) == 8


def test_a_token_that_cannot_enter_again_is_quarantined_and_comes_back(both: Both) -> None:
    def fail(_: object, __: object) -> None:
        raise HsmError("it is not well")

    test, both.token._test = both.token._test, fail
    assert both.module.reinitialize()
    with pytest.raises(KMSInternal):
        both.hsm.random_bytes(1)
    assert both.token.quarantined == "it is not well"
    both.token._test = test
    wait_for(lambda: both.token.quarantined is None)
    assert len(both.hsm.random_bytes(8)) == len(both.cluster.random_bytes(8)) == 8


def test_whoever_has_a_library_alone_waits_for_calls_and_calls_for_him() -> None:
    gate = Gate()
    order: list[str] = []
    inside, alone, leave = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        with gate.inside() as entered:
            assert entered
            inside.set()
            leave.wait(WAIT)
            order.append("a call")

    def initialize() -> None:
        with gate.alone() as drained:
            assert drained
            order.append("alone")
            alone.set()
            with gate.inside(0.05) as entered:
                assert not entered
        order.append("open")

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(call)
        assert inside.wait(WAIT)
        second = threads.submit(initialize)
        wait_for(lambda: gate.closed)
        third = threads.submit(call)
        leave.set()
        for one in (first, second, third):
            one.result()
    assert order[:2] == ["a call", "alone"]
    assert order.count("a call") == 2
    assert (gate.under_way, gate.closed) == (0, False)
