"""Key pairs made aside. RSA takes seconds, and must not take them from requests that go on meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from strongroom.crypto.key_pairs import KeyPair, generate_key_pair
from strongroom.crypto.rsa import MODULUS_BITS
from strongroom.errors import Throttling
from strongroom.keystores.niceness import be_nice

AT_ONCE = 4
"""RSA key pairs that may be asked for at once, in one process: fewer than there are threads that could wait."""


class FewAtOnce:
    """Places for what takes long: whoever finds none is told to come again."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Have one until the block ends. Raises Throttling."""
        if not self._places.acquire(blocking=False):
            raise Throttling(
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
            )
        try:
            yield
        finally:
            self._places.release()


class KeyPairGenerator:
    """Makes key pairs: those of RSA one after the other, on a thread that yields to all others."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rsa", initializer=be_nice)
        self._few = FewAtOnce(AT_ONCE)

    def generate(self, key_spec: str) -> KeyPair:
        """Make a key pair; wait if others of RSA are being made. Raises Throttling if too many are waited for."""
        if key_spec not in MODULUS_BITS:
            return generate_key_pair(key_spec)
        with self._few.place():
            return self._thread.submit(generate_key_pair, key_spec).result()
