"""The AWS CLI as a person has it: the file that the server wrote is sourced, and a command runs."""

import json
import subprocess
from pathlib import Path
from typing import Any

from strongroom.testing.server import Server

AWS = Path(__file__).parents[2] / ".venv" / "awscli" / "bin" / "aws"


def shell(server: Server, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the line that the server prints has it."""
    assert AWS.exists(), "`make test` installs the AWS CLI"
    script = f"set -a; . {server.data}/client.env; set +a; {command}"
    return subprocess.run(
        ["bash", "-c", script.replace("aws ", f"{AWS} ")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(server.data)},
        capture_output=True,
        text=True,
        check=False,
    )


def run(server: Server, command: str) -> str:
    """Run a command that must succeed; return what it prints."""
    done = shell(server, command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(server: Server, command: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(run(server, command))
    return members


def refusal(server: Server, command: str) -> str:
    """Run a command that must be refused; return the code, the operation and the text in AWS's words."""
    done = shell(server, command)
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr.partition("An error occurred ")[2].strip()
