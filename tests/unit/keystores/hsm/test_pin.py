"""The PIN: from where it comes, who else could read it, and that a wrong one is tried once."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.errors import DataDirectoryError, HsmError
from strongroom.keystores.hsm.failures import PinRefusedError, TokenLostError
from strongroom.keystores.hsm.pin import Pin

REFUSED_HERE = "^the token has refused this PIN: it is not tried again until it is another one$"
REFUSED_BEFORE = "^a PIN was refused before, and is not tried again: write the right one into its file"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.touch(0o600)
    path.write_text("1234\n")
    return path


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "refused"


def tried(pin: Pin) -> bytes:
    """Try a PIN, which is right."""
    with pin.tried() as value:
        return value


def refused(pin: Pin) -> None:
    """Try a PIN, which is wrong."""
    with pytest.raises(PinRefusedError), pin.tried():
        raise PinRefusedError("C_Login", 0xA0)


def written(file: Path, pin: str, marker: Path) -> None:
    """Write a PIN a second after one was refused."""
    file.write_text(pin)
    after = marker.stat().st_mtime + 1
    os.utime(file, (after, after))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_file_has_it_without_the_end_of_its_line(file: Path, ending: str) -> None:
    file.write_bytes(b" p\xc3\xaen " + ending.encode())
    assert tried(Pin(file=file)) == b" p\xc3\xaen "


def test_the_environment_has_it_whole() -> None:
    assert tried(Pin(file=None, text="pîn\n")) == b"p\xc3\xaen\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_is_open_to_others_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    told = f"^the PIN file {file} is open to others: its mode is {mode:04o}, not 0600$"
    with pytest.raises(DataDirectoryError, match=told):
        tried(Pin(file=file))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match=f"^the PIN file {tmp_path}/none does not exist$"):
        tried(Pin(file=tmp_path / "none"))


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_pin_nothing_is_tried(file: Path, text: str | None) -> None:
    file.write_text("\n")
    for pin in (Pin(file=file), Pin(file=None, text=text)):
        with pytest.raises(HsmError, match=r"^there is no PIN for the token: "):
            tried(pin)


def test_a_refused_one_is_not_tried_again_but_another_is(file: Path) -> None:
    pin = Pin(file=file)
    refused(pin)
    for _ in range(2):
        with pytest.raises(HsmError, match=REFUSED_HERE):
            tried(pin)
    file.write_text("4321")
    assert tried(pin) == b"4321"
    file.write_text("1234")
    assert tried(pin) == b"1234"


def test_whatever_else_fails_is_not_held_against_it(file: Path, marker: Path) -> None:
    pin = Pin(file=file, marker=marker)
    with pytest.raises(TokenLostError), pin.tried():
        raise TokenLostError("C_Login", 0x30)
    assert tried(pin) == b"1234"
    assert not marker.exists()


def test_a_refusal_leaves_a_private_empty_file(file: Path, marker: Path) -> None:
    refused(Pin(file=file, marker=marker))
    assert stat.S_IMODE(marker.stat().st_mode) == 0o600
    assert marker.read_bytes() == b""


def test_another_process_does_not_try_it_until_the_file_is_written_anew(file: Path, marker: Path) -> None:
    refused(Pin(file=file, marker=marker))
    other = Pin(file=file, marker=marker)
    for _ in range(2):
        with pytest.raises(HsmError, match=REFUSED_BEFORE):
            tried(other)
    written(file, "4321", marker)
    assert tried(other) == b"4321"
    assert not marker.exists()
    assert tried(Pin(file=file, marker=marker)) == b"4321"


def test_a_newer_one_that_is_refused_too_is_not_tried_again(file: Path, marker: Path) -> None:
    refused(Pin(file=file, marker=marker))
    file.write_text("4321")
    earlier = marker.stat().st_mtime - 10
    os.utime(marker, (earlier, earlier))
    refused(Pin(file=file, marker=marker))
    with pytest.raises(HsmError, match=REFUSED_BEFORE):
        tried(Pin(file=file, marker=marker))


def test_of_the_environment_none_is_tried_until_the_marker_is_deleted(marker: Path) -> None:
    refused(Pin(file=None, text="1234", marker=marker))
    with pytest.raises(
        HsmError, match=f"^it was refused before, and is not tried again: give the right one, or else delete {marker}$"
    ):
        tried(Pin(file=None, text="4321", marker=marker))
    marker.unlink()
    assert tried(Pin(file=None, text="4321", marker=marker)) == b"4321"


def test_of_processes_that_begin_at_once_one_tries_a_wrong_one(file: Path, marker: Path) -> None:
    attempts: list[bytes] = []
    together = threading.Barrier(8)

    def process() -> str:
        pin = Pin(file=file, marker=marker)
        together.wait()
        try:
            with pin.tried() as value:
                log_in(value)
        except (HsmError, PinRefusedError) as error:
            return type(error).__name__
        return "logged in"

    def log_in(value: bytes) -> None:
        attempts.append(value)
        raise PinRefusedError("C_Login", 0xA0)

    with ThreadPoolExecutor(8) as threads:
        ended = sorted(done.result() for done in [threads.submit(process) for _ in range(8)])
    assert attempts == [b"1234"]
    assert ended == ["LoginRefusedError"] * 7 + ["PinRefusedError"]


def test_it_is_never_shown(file: Path, marker: Path) -> None:
    for pin in (Pin(file=file, marker=marker), Pin(file=None, text="1234")):
        assert repr(pin) == str(pin) == "Pin()"
    pin = Pin(file=file, marker=marker)
    refused(pin)
    with pytest.raises(HsmError) as error:
        tried(pin)
    assert "1234" not in repr(error.value)
    assert b"1234" not in (pin._refused or b"")
