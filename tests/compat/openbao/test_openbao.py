"""OpenBao unseals itself at a start: its seal `awskms` keeps its root key wrapped by a KMS key."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.server import Server, running_server
from tests.compat.clients import SECONDS, program, recorded, run, variables

UNSEALED = 0
SEALED = 2


class OpenBao:
    """OpenBao over storage in a folder, reached by a socket there and by nothing else."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._folder = folder
        self._environment: dict[str, str] = {}

    def seal_with(self, server: Server, key_arn: str) -> None:
        """Configure it for a key of a server. It must be given an API address, though nothing listens there."""
        self._environment = variables(server, self._folder, BAO_ADDR=f"unix://{self._folder}/bao.sock")
        (self._folder / "bao.hcl").write_text(
            f"""
            disable_clustering = true
            api_addr = "http://127.0.0.1:8200"
            storage "file" {{ path = "{self._folder}/storage" }}
            listener "unix" {{ address = "{self._folder}/bao.sock" }}
            seal "awskms" {{
              region = "{server.region}"
              endpoint = "{server.endpoint}"
              kms_key_id = "{key_arn}"
            }}
            """
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the server; begin when it answers, sealed or not. Raises ChildProcessError if it ends before."""
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [program("openbao", "bao"), "server", "-config", "bao.hcl"],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait_until(lambda: process.poll() is not None or self.status() in (UNSEALED, SEALED))
            if process.poll() is not None:
                raise ChildProcessError(self.log.read_text())
            yield
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def status(self) -> int:
        """What `bao status` says by its exit code: UNSEALED, SEALED, or that there is no answer."""
        return self.try_to("status").returncode

    def try_to(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        command = [program("openbao", "bao"), *arguments]
        return run(command, {**self._environment, "BAO_TOKEN": token}, self._folder)

    def must(self, *arguments: str, token: str = "") -> str:
        done = self.try_to(*arguments, token=token)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def openbao(tmp_path: Path, server: Server, key_arn: str) -> OpenBao:
    openbao = OpenBao(tmp_path)
    openbao.seal_with(server, key_arn)
    return openbao


@pytest.fixture
def token(openbao: OpenBao) -> str:
    """The root token of OpenBao, which is initialized and stopped again."""
    return initialize(openbao)


def initialize(openbao: OpenBao) -> str:
    """Initialize OpenBao, put a secret into it and stop it; return its root token."""
    with openbao.running():
        assert openbao.status() == SEALED, "it is not initialized"
        shares = ("-recovery-shares=1", "-recovery-threshold=1")
        made: dict[str, Any] = json.loads(openbao.must("operator", "init", *shares, "-format=json"))
        assert len(made["recovery_keys_b64"]) == 1
        assert made["unseal_keys_b64"] == []
        token: str = made["root_token"]
        openbao.must("secrets", "enable", "kv", token=token)
        openbao.must("kv", "put", "kv/letter", "text=hello", token=token)
    return token


def assert_it_unseals_itself(openbao: OpenBao, token: str) -> None:
    with openbao.running():
        openbao.wait_until(lambda: openbao.status() == UNSEALED)
        assert openbao.must("kv", "get", "-field=text", "kv/letter", token=token).strip() == "hello"


def test_it_unseals_itself_at_every_start(openbao: OpenBao, token: str) -> None:
    assert_it_unseals_itself(openbao, token)
    assert_it_unseals_itself(openbao, token)


def test_it_moves_to_another_key(openbao: OpenBao, token: str, server: Server, other_key_arn: str) -> None:
    """A ciphertext names its key: OpenBao opens what the old key wrapped, and wraps it anew."""
    openbao.seal_with(server, other_key_arn)
    before = len(recorded(server))
    assert_it_unseals_itself(openbao, token)

    assert "upgrading stored keys" in openbao.log.read_text()
    assert ("Encrypt", None) in recorded(server)[before:]


def test_it_does_not_start_without_its_key(openbao: OpenBao, token: str, server: Server, key_arn: str) -> None:
    missing = key_arn.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
    openbao.seal_with(server, missing)

    with pytest.raises(ChildProcessError, match="NotFoundException"), openbao.running():
        pass


def test_it_stays_sealed_with_a_key_of_another_installation(
    openbao: OpenBao, token: str, tmp_path: Path, kms_client: Callable[..., Any]
) -> None:
    with running_server(tmp_path / "elsewhere") as elsewhere:
        openbao.seal_with(elsewhere, kms_client(elsewhere).create_key()["KeyMetadata"]["Arn"])
        with openbao.running():
            openbao.wait_until(lambda: "failed to unseal core" in openbao.log.read_text())
            assert openbao.status() == SEALED
            assert "is not authorized to perform: kms:Decrypt" in openbao.log.read_text()
            assert openbao.try_to("kv", "get", "kv/letter", token=token).returncode != 0


def test_it_does_not_start_while_the_server_is_down(
    openbao: OpenBao, data: Path, kms_client: Callable[..., Any]
) -> None:
    with running_server(data) as first:
        key_arn = kms_client(first).create_key()["KeyMetadata"]["Arn"]
        openbao.seal_with(first, key_arn)
        token = initialize(openbao)

    with pytest.raises(ChildProcessError, match="send request failed"), openbao.running():
        pass

    with running_server(data) as second:
        openbao.seal_with(second, key_arn)
        assert_it_unseals_itself(openbao, token)
