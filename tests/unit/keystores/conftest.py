from pathlib import Path

import pytest

from strongroom.keystores.root_key import RootKey, create_root_key


@pytest.fixture(scope="session")
def root_key(tmp_path_factory: pytest.TempPathFactory) -> RootKey:
    return create_root_key(tmp_path_factory.mktemp("root_key") / "root.key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a root key file can be made."""
    return tmp_path / "root.key"
