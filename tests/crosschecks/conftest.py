"""The key pairs of tests/crosschecks/keys.py in the hands of OpenSSL's command line."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.crosschecks.keys import key_pair
from tests.crosschecks.openssl import OpensslKeyPair


@pytest.fixture(scope="session")
def openssl_key_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OpensslKeyPair]:
    return cache(lambda key_spec: OpensslKeyPair(key_pair(key_spec), tmp_path_factory.mktemp(key_spec)))
