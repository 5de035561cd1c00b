"""Run clients that nobody here wrote, each in the environment that the Makefile made for it.

They are set up as the README tells people to: by the variables of the `client.env` that the server wrote.

A client is a folder here. It holds

- its pins, itself first: `requirements.txt`, or `package.json` with the lock file that `npm install --package-lock-only
  --omit-lockfile-registry-resolved` makes;
- `test_<folder>.py`, whose docstring begins with the sentence for docs/compatibility.md;
- `driver.py` or `driver.cjs` if it is a library: functions for `Driver.ask` to call. They run in the client's
  environment, where nothing of Strongroom's can be imported.

What needs no environment of its own is a file beside the folders: it has PyJWT and cryptography, on which Strongroom
depends, and OpenSSL.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from strongroom.testing.server import Server

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
ENVIRONMENTS = ROOT / ".venv" / "compat"
SECONDS = 60
"""How long one run of a client may take."""


class RefusedError(Exception):
    """What a client's library raised: the name of its error, and its text."""


def variables(server: Server, home: Path, **more: str) -> dict[str, str]:
    """The whole environment of a client: where programs are, a home directory, and what `client.env` says."""
    words = shlex.split((server.data / "client.env").read_text(encoding="utf-8"))
    settings = dict(word.split("=", 1) for word in words)
    return {"PATH": os.environ["PATH"], "HOME": str(home), **settings, **more}


def program(client: str, name: str) -> str:
    """Where a client's program is. Raises AssertionError if `make test` did not install it."""
    path = ENVIRONMENTS / client / "bin" / name
    assert path.exists(), "`make test` installs the clients"
    return str(path)


def run(command: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


class Driver:
    """A client's library at work: its `driver.py` or `driver.cjs` in a process of its own, which answers JSON lines."""

    def __init__(self, client: str, environment: Mapping[str, str]) -> None:
        modules = ENVIRONMENTS / client / "node_modules"
        command = (
            ["node", str(FOLDER / client / "driver.cjs")]
            if modules.exists()
            else [program(client, "python"), "-m", f"tests.compat.{client}.driver"]
        )
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "NODE_PATH": str(modules)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, function: str, **arguments: Any) -> Any:
        """Call one of the driver's functions; return its result. Raises RefusedError if it failed."""
        assert self._process.stdin, "asked for a pipe"
        assert self._process.stdout, "asked for a pipe"
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RefusedError(f"{answer['error']}: {answer['text']}")
        return answer["result"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=SECONDS)


def recorded(server: Server) -> list[tuple[str, str | None]]:
    """Every call that the server recorded, in order: the operation, and the error code if it was refused."""
    records = [
        json.loads(line.split(b" ", 3)[3])
        for path in sorted((server.data / "audit").glob("*/*.log"))
        for line in path.read_bytes().splitlines()
    ]
    return [
        (record["eventName"], record.get("errorCode")) for record in records if record.get("eventType") == "AwsApiCall"
    ]
