import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom.crypto.key_pairs import KeyPair, generate_key_pair
from strongroom.errors import Throttling
from strongroom.keystores import generation
from strongroom.keystores.generation import AT_ONCE, KeyPairGenerator

PAIR = KeyPair(b"private", b"public")


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What RSA key pairs wait for before they are made."""
    event = threading.Event()

    def slow(key_spec: str) -> KeyPair:
        if not key_spec.startswith("RSA"):
            return generate_key_pair(key_spec)
        assert event.wait(10)
        return PAIR

    monkeypatch.setattr(generation, "generate_key_pair", slow)
    return event


def test_too_many_rsa_key_pairs_at_once_are_throttled(go_on: threading.Event) -> None:
    generator = KeyPairGenerator()
    throttled = threading.Event()

    def ask() -> KeyPair | None:
        try:
            return generator.generate("RSA_4096")
        except Throttling:
            throttled.set()
            return None

    with ThreadPoolExecutor(AT_ONCE + 1) as callers:
        asked = [callers.submit(ask) for _ in range(AT_ONCE + 1)]
        assert throttled.wait(10)
        assert len(generator.generate("ECC_NIST_P256").public) == 91, "what is quick does not wait"
        go_on.set()
        assert sorted(one.result() is None for one in asked) == [*[False] * AT_ONCE, True]
    assert generator.generate("RSA_2048") == PAIR, "there is room again"


def test_rsa_key_pairs_are_made_on_a_thread_that_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    niceness: list[int] = []

    def note(_key_spec: str) -> KeyPair:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return PAIR

    monkeypatch.setattr(generation, "generate_key_pair", note)
    KeyPairGenerator().generate("RSA_2048")
    assert niceness == [10]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 10


UNPRIVILEGED = """
import os
from strongroom.keystores.generation import KeyPairGenerator
os.nice(15)
if os.getuid() == 0:
    os.setuid(65534)
print(len(KeyPairGenerator().generate("RSA_2048").public))
"""


def test_a_process_that_is_nicer_than_that_and_may_not_change_it_makes_keys_too() -> None:
    made = subprocess.run([sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=False)

    assert (made.returncode, made.stdout) == (0, "294\n"), made.stderr
