"""Fixtures of the tests of IAM and STS."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.app.installing import initialize
from tests.composed import NOW
from tests.unit.operations.iam.account import ACCOUNT, Account, opened_account


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes fresh installations, which are copies of one: that is much faster."""
    made = tmp_path_factory.mktemp("installation") / "data"
    initialize(made, region="us-east-1", port=0, account=ACCOUNT, now=NOW)
    return lambda: shutil.copytree(made, tmp_path_factory.mktemp("account") / "data")


@pytest.fixture(scope="module")
def account(install: Callable[[], Path]) -> Iterator[Account]:
    """One account for a module: every test names its own identities."""
    with opened_account(install()) as account:
        yield account
