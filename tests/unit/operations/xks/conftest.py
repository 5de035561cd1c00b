"""Fixtures of the tests of the XKS proxy."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.config import read_config
from tests.composed import NOW
from tests.unit.operations.xks.proxy import Furnished, Proxy, furnish, opened_proxy


@pytest.fixture(scope="session")
def furnished(install: Callable[[], Path]) -> Furnished:
    """An installation with all key stores. It is made once."""
    data = install()
    return Furnished(data, furnish(read_config(data / "strongroom.yaml")))


@pytest.fixture(scope="module")
def module_proxy(furnished: Furnished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    data = shutil.copytree(furnished.data, tmp_path_factory.mktemp("proxy") / "data")
    with opened_proxy(Furnished(data, furnished.signers)) as proxy:
        yield proxy


@pytest.fixture
def proxy(module_proxy: Proxy) -> Proxy:
    """One proxy for a module, at the time at which it was made: no test changes what another needs."""
    module_proxy.parts.clock.now = NOW
    return module_proxy
