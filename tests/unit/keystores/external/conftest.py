"""A key store over a proxy in this process."""

from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.keystores.contract import KeyStore
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys
from strongroom.keystores.external import deadline
from strongroom.keystores.external.proxy import Endpoint, Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.keystores.root_key import RootKey
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.testing.softhsm import SoftHsm
from tests.xks.client import Connect
from tests.xks.proxy import BASE, XksProxy, running_proxy
from tests.xks.rules import REGION


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, softhsm: SoftHsm) -> Iterator[XksProxy]:
    with running_proxy(tmp_path_factory.mktemp("xks"), softhsm) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls have much time: a machine under load may need it. `late` gives them theirs."""
    monkeypatch.setattr(deadline, "SECONDS", 10.0)


@pytest.fixture
def xks(running: XksProxy) -> XksProxy:
    """The proxy, as new."""
    running.cut()
    running.reset()
    return running


@pytest.fixture
def connect(xks: XksProxy) -> Iterator[Connect]:
    """Makes clients of the proxy; what is given is other than it should be."""
    made: list[Proxy] = []

    def connect(**other: Any) -> Proxy:
        access_key_id, secret = next(iter(xks.credentials.items()))
        right = Endpoint(xks.endpoint, BASE, REGION, access_key_id, secret, xks.connect, xks.ca)
        made.append(Proxy(right._replace(**other)))
        return made[-1]

    yield connect
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy(connect: Connect) -> Proxy:
    return connect()


@pytest.fixture(scope="module")
def default(root_key: RootKey) -> KeyStore:
    new = generate_domain_keys(root_key, "installation", 0.0)
    return SoftwareKeyStore(DomainKeys.open(root_key, "installation", new.records))


@pytest.fixture
def store(default: KeyStore, proxy: Proxy) -> ExternalKeyStore:
    return ExternalKeyStore(default, proxy)
