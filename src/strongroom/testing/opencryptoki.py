"""The soft token of opencryptoki, for tests of ours. Needs Debian's package `opencryptoki`, and to be root.

    with running_opencryptoki(directory) as opencryptoki:
        place = Place(open_module(LIBRARY), opencryptoki.label, Pin(file=opencryptoki.pin_file))

A machine has one such token, in directories that cannot be chosen. So it is used by one process at a time, what tests
make in it is theirs to destroy, and a token that somebody else has made is left alone. Its daemon is started if it does
not run, and then stopped at the end. It does not end while a process uses the library: close tokens before.
"""

import contextlib
import fcntl
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

LIBRARY = "libopencryptoki.so.0"
"""Where it is depends on the kind of machine; the loader finds it."""
LABEL = "strongroom-test"
PIN = "934871"
START_SECONDS = 10
"""How long the daemon may take until it answers."""

_SO_PIN = "51420867"
_FIRST_SO_PIN = "87654321"
"""Every token has it at first, and does nothing until it is changed."""
_PROGRAM = "/usr/sbin/pkcsconf"
_DAEMON = Path("/etc/init.d/pkcsslotd")
_LOCK = Path("/run/lock/strongroom-opencryptoki")
_TOKEN = re.compile(r"Token #(\d+) Info:\n\s+Label: (.*?) *\n.*\n\s+Model: IBM SoftTok.*\n.*\n\s+Flags: .*\((.*)\)")


class Opencryptoki(Struct):
    """The token: its label, and a file with its PIN."""

    label: str
    pin_file: Path


class _State(Struct):
    """The token as it is now: its slot, its label, and its flags by their names."""

    slot: str
    label: str
    flags: frozenset[str]


@contextlib.contextmanager
def running_opencryptoki(directory: Path) -> Iterator[Opencryptoki]:
    """Have the daemon run and the token ready; `directory` takes the PIN's file. Waits for other processes.

    Raises RuntimeError if opencryptoki is not installed, or the token is somebody else's.
    """
    if not _DAEMON.exists():
        raise RuntimeError("opencryptoki is not installed: `make test` installs it")
    with _alone(), _daemon():
        _make_token()
        pin_file = directory / "pin"
        pin_file.touch(0o600)
        pin_file.write_text(PIN)
        yield Opencryptoki(LABEL, pin_file)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _daemon() -> Iterator[None]:
    """Debian's script makes the directories that are lost with a restart of the machine, too."""
    if _control("status").returncode == 0:
        yield
        return
    _control("start").check_returncode()
    try:
        yield
    finally:
        _control("stop").check_returncode()


def _control(action: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(_DAEMON), action], check=False, stdout=subprocess.DEVNULL)  # noqa: S603 — Debian's script


def _make_token() -> None:
    """Bring the token from whatever state it is in, that of an interrupted run too, to one that can be used."""
    token = _found()
    if token.label != LABEL:
        if "TOKEN_INITIALIZED" in token.flags:
            raise RuntimeError(f"the soft token of opencryptoki is in use, by its label {token.label!r}")
        _configure(token, "-I", "-S", _FIRST_SO_PIN, asked=LABEL)
        token = _found()
    if "SO_PIN_TO_BE_CHANGED" in token.flags:
        _configure(token, "-P", "-S", _FIRST_SO_PIN, "-n", _SO_PIN)
    if "USER_PIN_INITIALIZED" not in token.flags:
        _configure(token, "-u", "-S", _SO_PIN, "-n", PIN)


def _found() -> _State:
    """Find the token, as soon as the daemon answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        told = subprocess.run([_PROGRAM, "-t"], check=False, capture_output=True, text=True)  # noqa: S603 — its own
        found = _TOKEN.search(told.stdout)
        if found is not None:
            return _State(found[1], found[2], frozenset(found[3].split("|")))
        time.sleep(0.05)
    raise RuntimeError("opencryptoki shows no soft token")


def _configure(token: _State, *arguments: str, asked: str = "") -> None:
    """Run opencryptoki's own program. `asked` is what it asks for."""
    command = [_PROGRAM, "-c", token.slot, *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, input=f"{asked}\n")  # noqa: S603 — as above
