"""Calls of a proxy, and how they fail."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from strongroom.keystores.external import deadline
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.proxy import Proxy
from tests.xks.proxy import XksProxy

Connect = Callable[..., Proxy]
"""Makes clients of a proxy; what is given is other than it should be."""
SECONDS = deadline.SECONDS


def healthy(proxy: Proxy) -> None:
    """The proxy answers."""
    proxy.health("r", "KmsHealthCheck")


def fails(proxy: Proxy, kind: Kind) -> None:
    """It does not."""
    with pytest.raises(ProxyError) as failed:
        healthy(proxy)
    assert failed.value.kind is kind


def late(work: Callable[[], object]) -> None:
    """A call that takes the time that it has, and not much more."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deadline, "SECONDS", SECONDS)
        began = time.monotonic()
        with pytest.raises(ProxyError) as failed:
            work()
    assert failed.value.kind is Kind.TIMED_OUT
    assert SECONDS - 0.01 <= time.monotonic() - began < 10 * SECONDS


@contextmanager
def restarted(xks: XksProxy, tls: Callable[[ssl.SSLContext], None]) -> Iterator[None]:
    """Have the proxy speak another TLS for a while."""
    xks.stop()
    xks.start(tls)
    try:
        yield
    finally:
        xks.stop()
        xks.start()
