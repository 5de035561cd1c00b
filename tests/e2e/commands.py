"""The command line, as tests run it."""

import subprocess
import sys
from pathlib import Path


def strongroom(*arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "strongroom", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def serve(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `serve` for an installation that it must refuse."""
    return strongroom("serve", "--config", data / "strongroom.yaml", "--port", "0", *options)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a command failed with one line and no stack trace; return that line."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("strongroom: ")
    return lines[0].removeprefix("strongroom: ")
