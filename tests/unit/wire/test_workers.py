"""The supervisor of N server processes, as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WORKER = '''
"""A server process of the tests: answers every connection with its process id."""

import os, signal, sys
from pathlib import Path

folder = Path(__file__).parent


def start(number, sockets, ready):
    [listener] = sockets
    listener.setblocking(True)
    broken, waiting = (folder / "broken").exists(), (folder / "waiting").exists()
    (folder / f"started-{os.getpid()}").write_text(str(number))
    if broken:
        print("this cannot work", file=sys.stderr, flush=True)
        sys.exit(2)
    if waiting:
        sys.exit(75)
    signal.signal(signal.SIGTERM, (lambda *_: None) if (folder / "deaf").exists() else (lambda *_: sys.exit(0)))
    ready()
    while True:
        connection, _ = listener.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()
'''

MAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from strongroom.wire.server import bind
from strongroom.wire.workers import Pace, supervise
import worker

if __name__ == "__main__":
    listener = bind("127.0.0.1", 0)
    ready = lambda: print(listener.getsockname()[1], flush=True)
    pace = Pace(settled=60, first_delay=0.1, longest_delay=0.2, patience=1)
    sys.exit(supervise(int(sys.argv[2]), worker.start, [listener], ready=ready, pace=pace))
"""

Eventually = Callable[[Callable[[], bool]], None]
Supervisor = subprocess.Popen[str]


@contextmanager
def supervisor(folder: Path, count: int = 2) -> Iterator[Supervisor]:
    (folder / "worker.py").write_text(WORKER)
    (folder / "main.py").write_text(MAIN)
    command = [sys.executable, str(folder / "main.py"), str(folder), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def port_of(process: Supervisor) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def answering(port: int) -> int:
    """Process id of whoever answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return int(connection.recv(100))


def started(folder: Path) -> set[int]:
    return {int(path.name.removeprefix("started-")) for path in folder.glob("started-*")}


def place_of(folder: Path, process_id: int) -> str:
    return (folder / f"started-{process_id}").read_text()


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_all_processes_serve_one_socket_and_end_with_the_supervisor(tmp_path: Path, eventually: Eventually) -> None:
    with supervisor(tmp_path, 3) as process:
        port = port_of(process)
        eventually(lambda: len(started(tmp_path)) == 3)
        assert answering(port) in started(tmp_path)

        process.terminate()
        output = process.communicate(timeout=10)

    assert (process.returncode, *output) == (0, "", "")
    assert not any(alive(worker) for worker in started(tmp_path))


def test_a_killed_process_is_replaced_in_its_place(tmp_path: Path, eventually: Eventually) -> None:
    with supervisor(tmp_path) as process:
        port = port_of(process)
        eventually(lambda: len(started(tmp_path)) == 2)
        for number in (3, 4):
            victim, before = answering(port), started(tmp_path)
            os.kill(victim, signal.SIGKILL)
            eventually(lambda number=number: len(started(tmp_path)) == number)  # type: ignore[misc]
            (replacement,) = started(tmp_path) - before
            eventually(lambda one=replacement: place_of(tmp_path, one) != "")  # type: ignore[misc]
            assert place_of(tmp_path, replacement) == place_of(tmp_path, victim)
            assert answering(port) != victim
        process.terminate()
        _, errors = process.communicate(timeout=10)

    assert errors.count("was killed by signal 9; starting another") == 2
    assert process.returncode == 0


def test_if_the_first_process_gives_up_so_does_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with supervisor(tmp_path, 3) as process:
        output = process.communicate(timeout=10)

    assert (process.returncode, *output) == (2, "", "this cannot work\n")
    assert len(started(tmp_path)) == 1


def test_if_a_replacement_gives_up_so_does_the_supervisor(tmp_path: Path, eventually: Eventually) -> None:
    with supervisor(tmp_path) as process:
        port = port_of(process)
        eventually(lambda: len(started(tmp_path)) == 2)
        (tmp_path / "broken").touch()
        os.kill(answering(port), signal.SIGKILL)
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 2
    assert errors.endswith("this cannot work\n")
    assert not any(alive(worker) for worker in started(tmp_path))


def test_a_replacement_that_waits_for_something_is_tried_again(tmp_path: Path, eventually: Eventually) -> None:
    """The others serve meanwhile."""
    with supervisor(tmp_path) as process:
        port = port_of(process)
        eventually(lambda: len(started(tmp_path)) == 2)
        (tmp_path / "waiting").touch()
        os.kill(answering(port), signal.SIGKILL)
        eventually(lambda: len(started(tmp_path)) >= 4)
        assert alive(answering(port))
        (tmp_path / "waiting").unlink()
        eventually(lambda: sum(map(alive, started(tmp_path))) == 2)
        process.terminate()
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 0
    assert "ended with code 75; starting another" in errors


def test_what_the_first_process_waits_for_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "waiting").touch()
    with supervisor(tmp_path) as process:
        process.communicate(timeout=10)

    assert process.returncode == 2


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "deaf").touch()
    with supervisor(tmp_path, 1) as process:
        port_of(process)
        process.terminate()
        _, errors = process.communicate(timeout=10)

    assert "did not end within 1 s and was killed" in errors
    assert process.returncode == 1


def test_processes_end_when_the_supervisor_is_killed(tmp_path: Path, eventually: Eventually) -> None:
    with supervisor(tmp_path) as process:
        port_of(process)
        eventually(lambda: len(started(tmp_path)) == 2)
        process.kill()
        eventually(lambda: not any(alive(worker) for worker in started(tmp_path)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_processes_start_stops(tmp_path: Path, number: signal.Signals) -> None:
    with supervisor(tmp_path) as process:
        port_of(process)
        began = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=10)

    assert process.returncode == 0
    assert time.monotonic() - began < 5
    assert not any(alive(worker) for worker in started(tmp_path))
