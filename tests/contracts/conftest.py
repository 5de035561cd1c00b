"""The key stores that the contract is tried on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.keystores.contract import KeyStore
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys
from strongroom.keystores.root_key import create_root_key
from strongroom.keystores.software import SoftwareKeyStore
from strongroom.testing.softhsm import SoftHsm
from tests.hsm import hsm_key_store


def software(directory: Path) -> KeyStore:
    root_key = create_root_key(directory / "root.key")
    new = generate_domain_keys(root_key, "installation", 0.0)
    return SoftwareKeyStore(DomainKeys.open(root_key, "installation", new.records))


@pytest.fixture(scope="module", params=["software", "hsm"])
def key_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, softhsm: SoftHsm
) -> Iterator[KeyStore]:
    if request.param == "software":
        yield software(tmp_path_factory.mktemp("key_store"))
    else:
        with hsm_key_store(softhsm) as key_store:
            yield key_store
