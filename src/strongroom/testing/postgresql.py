"""A PostgreSQL server in a directory of its own, for tests of ours and of users.

    with running_postgresql() as postgresql, postgresql.database() as url:
        storage = create_storage(url, row_key)

It listens on a Unix socket in its own directory and nowhere else. PostgreSQL refuses to run as root: as root it is run
as the user `postgres`, or `nobody` if there is none. What it holds is gone afterwards. It ends with the block, or with
the thread that started it if that is killed.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

START_SECONDS = 30
"""How long the server may take until it answers."""

_SUPERUSER = "strongroom"
_SETTINGS = {"listen_addresses": "", "max_connections": "200"}


class Postgresql(Struct):
    """A server. `folder` is its directory, `programs` where PostgreSQL's programs are.

    `process` runs, has ended, or is none yet.

    Unless it is `durable` nothing is synced to the disk: what it holds outlives its own end, and not the machine's.
    """

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None
    durable: bool = False
    databases: int = 0

    def create_database(self, like: str = "template1") -> str:
        """Make a database, empty or `like` another that nobody is connected to; return its URL."""
        self.databases += 1
        name = f"database{self.databases}"
        self.run("createdb", "--template", like, name)
        return f"postgresql://{_SUPERUSER}@/{name}?host={quote(str(self.folder))}"

    @contextlib.contextmanager
    def database(self, like: str = "template1") -> Iterator[str]:
        """A database for one block, empty at first or `like` another; its URL. Open connections are ended with it."""
        url = self.create_database(like)
        name = f"database{self.databases}"
        try:
            yield url
        finally:
            self.run("dropdb", "--force", name)

    def query(self, sql: str, database: str = "postgres") -> str:
        """Run a statement as the superuser; return what it gave, one row a line."""
        return self.run("psql", "-d", database, "-qAtc", sql).strip()

    def crash(self) -> None:
        """End the server at once, without writing anything (SIGQUIT): its next start recovers from the log."""
        assert self.process is not None, "it was started"
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(START_SECONDS)

    def start(self) -> None:
        """Start a server that has ended, and wait until it answers."""
        self.process = _serve(self.programs, self.folder, durable=self.durable)

    def copy(self) -> "Postgresql":
        """Make a standby of this server as it is now, in a directory of its own, not started: so it is behind soon."""
        folder = _new_folder()
        options = [
            "-h",
            str(self.folder),
            "-U",
            _SUPERUSER,
            "-D",
            str(folder / "data"),
            "-R",
            "--no-sync",
            "-c",
            "fast",
        ]
        _run(self.programs / "pg_basebackup", options, folder)
        return Postgresql(folder, self.programs, None)

    def promote(self) -> None:
        """Let a standby go on as a server of its own."""
        self.query("SELECT pg_promote()")

    def remove(self) -> None:
        """End the server and remove its directory."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # a fast stop: it does not wait for clients
            try:
                self.process.wait(START_SECONDS)
            finally:
                self.process.kill()
        shutil.rmtree(self.folder)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's client programs; return what it printed."""
        command = [str(self.programs / program), "-h", str(self.folder), "-U", _SUPERUSER, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 — PostgreSQL's own


def find_programs() -> Path:
    """Where PostgreSQL's programs are: the newest of Debian's, or those on the PATH. Raises RuntimeError."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("postgres")
    if found is None:
        raise RuntimeError("PostgreSQL is not installed: `make test` installs it")
    return Path(found).parent


@contextlib.contextmanager
def running_postgresql(*, durable: bool = False) -> Iterator[Postgresql]:
    """Make a server with nothing in it, run it, and stop it at the end."""
    programs = find_programs()
    folder = _new_folder()
    try:
        _run(programs / "initdb", ["-D", str(folder / "data"), "-U", _SUPERUSER, "-A", "trust", "--no-sync"], folder)
        server = Postgresql(folder, programs, _serve(programs, folder, durable=durable), durable=durable)
    except BaseException:
        shutil.rmtree(folder)
        raise
    try:
        yield server
    finally:
        server.remove()


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="strongroom-postgresql-"))
    user = _unprivileged_user()
    if user is not None:
        os.chown(folder, user, -1)
    return folder


def _serve(programs: Path, folder: Path, *, durable: bool) -> "subprocess.Popen[bytes]":
    settings = [f"--{name}={value}" for name, value in (_SETTINGS | {"fsync": "on" if durable else "off"}).items()]
    server = _start([str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *settings], folder)
    try:
        _wait_until_ready(server, programs, folder)
    except BaseException:
        server.kill()
        raise
    return server


def _unprivileged_user() -> int | None:
    """The user to become, by number; None if we are one already."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])


def _run(program: Path, options: Sequence[str], folder: Path) -> None:
    if _start([str(program), *options], folder).wait() != 0:
        raise RuntimeError(f"PostgreSQL's {program.name} failed")


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    user = _unprivileged_user()
    return subprocess.Popen(  # noqa: S603 — PostgreSQL's own programs
        ["/usr/bin/setpriv", "--pdeathsig", "INT", *command],  # it ends when we do, even if we are killed
        user=user,
        extra_groups=None if user is None else [],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_until_ready(server: subprocess.Popen[bytes], programs: Path, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    ready = [str(programs / "pg_isready"), "-q", "-h", str(folder), "-U", _SUPERUSER]
    while subprocess.run(ready, check=False).returncode != 0:  # noqa: S603 — as above
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("PostgreSQL does not answer")
        time.sleep(0.05)
