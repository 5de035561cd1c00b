"""A real server in a directory of its own, for tests of ours and of users.

    with running_server(tmp_path / "data") as server:
        boto3.client("kms", endpoint_url=server.endpoint, region_name=server.region,
                     aws_access_key_id=server.access_key_id, aws_secret_access_key=server.secret_access_key)

The server ends with the block; the directory stays.
"""

import configparser
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from strongroom.cli import run

START_SECONDS = 30
"""How long a server may take until it listens."""


class Server(Struct):
    """A server process that listens. `data` is its data directory.

    `health` is where it tells of its health and its metrics; empty if the configuration has no place for that.
    """

    data: Path
    process: subprocess.Popen[str]
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    health: str = ""

    def kill(self) -> None:
        """End the server process at once, as a power cut would (SIGKILL), with all its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> int:
        """Ask the server to end (SIGTERM); return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(timeout=START_SECONDS)
        assert self.process.stdout is not None, "asked for a pipe"
        self.process.stdout.close()
        return code

    def __repr__(self) -> str:
        return f"Server({self.endpoint})"


protection: list[str] = []
"""Options of `strongroom init` that all installations are made with: those of an HSM, or none."""


def initialize(data: Path, *options: str) -> None:
    """Make an installation in `data`, which must not exist; `options` are those of `strongroom init`.

    Raises RuntimeError if it cannot be made. Without an HSM it is made in this process: to start one takes longer.
    """
    words = ["init", "--data", str(data), "--port", "0", *(options or protection)]
    if "--hsm" in words:
        subprocess.run([sys.executable, "-m", "strongroom", *words], check=True)  # noqa: S603 — our own command
    elif run(words) != 0:
        raise RuntimeError(f"no installation was made in {data}")


def join(data: Path, other: Path, node: str) -> None:
    """Make the data directory of another node over the database of an installation: its configuration and root key."""
    data.mkdir(mode=0o700)
    for name in ("strongroom.yaml", "root.key", "credentials"):
        if (other / name).exists():
            shutil.copy2(other / name, data / name)
    with (data / "strongroom.yaml").open("a") as configuration:
        configuration.write(f"node: {node}\n")


def start_server(data: Path, *, workers: int = 1, wrapper: Sequence[str] = ()) -> Server:
    """Start a server on a free port over an installation; `wrapper` is put before its command line (strace, nice …).

    Raises RuntimeError, with what the server said, if it does not come up.
    """
    command = [sys.executable, "-m", "strongroom", "serve", "--config", str(data / "strongroom.yaml"), "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 — our own command
        [*wrapper, *command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None, "asked for a pipe"
    health = ""
    for line in process.stdout:
        if line.startswith("Health and metrics "):
            health = line.split()[-1]
        if line.startswith("Listening on "):
            return _server(data, process, health)
    process.stdout.close()
    raise RuntimeError(f"the server ended with code {process.wait()} before it listened")


@contextlib.contextmanager
def running_server(data: Path, *, workers: int = 1) -> Iterator[Server]:
    """Make an installation if there is none, serve it, and stop it at the end."""
    if not data.exists():
        initialize(data)
    server = start_server(data, workers=workers)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def _server(data: Path, process: subprocess.Popen[str], health: str) -> Server:
    lines = (data / "client.env").read_text().splitlines()
    environment = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}
    credentials = configparser.ConfigParser()
    credentials.read(environment["AWS_SHARED_CREDENTIALS_FILE"])
    profile = credentials[environment["AWS_PROFILE"]]
    return Server(
        data,
        process,
        environment["AWS_ENDPOINT_URL"],
        environment["AWS_REGION"],
        profile["aws_access_key_id"],
        profile["aws_secret_access_key"],
        health,
    )
