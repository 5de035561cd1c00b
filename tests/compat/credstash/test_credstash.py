"""credstash keeps versions of secrets, each under a data key of `alias/credstash`; moto is the DynamoDB beside it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients import SECONDS, program, run


@pytest.fixture(scope="module")
def dynamodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a running moto."""
    path = tmp_path_factory.mktemp("moto") / "log"
    command = [program("credstash", "moto_server"), "-H", "127.0.0.1", "-p", "0"]
    with path.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", path.read_text())):
            assert process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, "moto listens"
            time.sleep(0.05)
        yield found[1]
        process.terminate()


class Credstash:
    """The program, with an empty table of secrets."""

    def __init__(self, environment: dict[str, str], dynamodb: str) -> None:
        self._environment = {**environment, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb}
        self.must("setup")

    def try_to(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = Path(self._environment["HOME"])
        return run([program("credstash", "credstash"), *arguments], self._environment, home)

    def must(self, *arguments: str) -> str:
        done = self.try_to(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def refused(self, *arguments: str) -> str:
        """Check that it failed without a secret; return what it said."""
        done = self.try_to(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr


@pytest.fixture(scope="module")
def credstash(environment: dict[str, str], dynamodb: str, kms: Any, key_arn: str) -> Credstash:
    kms.create_alias(AliasName="alias/credstash", TargetKeyId=key_arn)
    return Credstash(environment, dynamodb)


def test_versions_are_put_got_and_deleted(credstash: Credstash) -> None:
    credstash.must("put", "password", "first", "app=shop")
    credstash.must("put", "--autoversion", "password", "second", "app=shop")
    credstash.must("put", "token", "third", "app=shop")

    assert credstash.must("get", "password", "app=shop") == "second"
    assert credstash.must("get", "--version", f"{1:019}", "password", "app=shop") == "first"
    assert json.loads(credstash.must("getall", "app=shop")) == {"password": "second", "token": "third"}
    assert "encryption context provided may not match" in credstash.refused("get", "password", "app=bank")

    credstash.must("delete", "password")
    assert credstash.must("keys") == "token"
    assert "couldn't be found" in credstash.refused("get", "password", "app=shop")


def test_an_alias_that_does_not_exist_is_refused(credstash: Credstash) -> None:
    said = credstash.refused("put", "--key", "alias/none", "other", "secret")

    assert "NotFoundException" in said
    assert "alias/none" in said
