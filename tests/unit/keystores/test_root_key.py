import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import DataDirectoryError, IntegrityError, OperatorError, RootKeyError
from strongroom.keystores.root_key import RootKey, create_root_key, read_root_key

BINDING = ("domain-key", "installation", "purpose", "1")
LAYOUT = r"strongroom root key, version 1\nid ([0-9a-f]{16})\nkey ([0-9a-f]{64})\nchecksum ([0-9a-f]{16})\n"


def test_the_file_is_laid_out_as_documented(path: Path) -> None:
    root_key = create_root_key(path)
    text = path.read_text()
    match = re.fullmatch(LAYOUT, text)
    assert match is not None
    assert match[1] == root_key.root_key_id
    assert match[3] == hashlib.sha256(text[: text.index("checksum")].encode()).hexdigest()[:16]
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_gives_the_key_that_was_made(path: Path) -> None:
    wrapped = create_root_key(path).wrap(b"secret", BINDING)
    assert read_root_key(path).unwrap(wrapped, BINDING) == b"secret"


def test_each_root_key_is_another(tmp_path: Path) -> None:
    one, other = create_root_key(tmp_path / "one"), create_root_key(tmp_path / "other")
    assert one.root_key_id != other.root_key_id
    assert (tmp_path / "one").read_text()[51:120] != (tmp_path / "other").read_text()[51:120]


def test_an_existing_file_is_never_overwritten(path: Path) -> None:
    path.write_text("something")
    with pytest.raises(RootKeyError, match="exists already"):
        create_root_key(path)
    assert path.read_text() == "something"


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="cannot be made: No such file or directory"):
        create_root_key(tmp_path / "nowhere" / "root.key")


@pytest.mark.parametrize("call", [1, 2])
def test_no_file_is_left_if_it_cannot_be_brought_to_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = 0
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(28, "No space left on device")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataDirectoryError, match="cannot be written: No space left on device"):
        create_root_key(path)
    assert calls == call
    assert not path.exists()


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(RootKeyError, match=re.escape(f"{path} does not exist")):
        read_root_key(path)


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="not a regular file"):
        read_root_key(tmp_path)


def test_a_named_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path, 0o600)
    with pytest.raises(DataDirectoryError, match="not a regular file"):
        read_root_key(path)


def test_a_file_below_another_file_cannot_be_read(path: Path) -> None:
    path.touch()
    with pytest.raises(DataDirectoryError, match="cannot be read: Not a directory"):
        read_root_key(path / "root.key")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_alone_is_read(path: Path, mode: int) -> None:
    created = create_root_key(path)
    path.chmod(mode)
    assert read_root_key(path).root_key_id == created.root_key_id


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    create_root_key(path)
    path.chmod(mode)
    with pytest.raises(DataDirectoryError, match=f"its mode is {mode:04o}, not 0600"):
        read_root_key(path)


def play_status(monkeypatch: pytest.MonkeyPatch, *, mode: int, user: int, group: int) -> None:
    """Make files look as if `user` and `group` owned them with `mode`, to a process of user 1000."""
    status = os.stat_result((0o100000 | mode, 0, 0, 1, user, group, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(("mode", "user", "group"), [(0o400, 0, 0), (0o440, 0, 0), (0o400, 1000, 1000)])
def test_a_systemd_credential_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, group: int
) -> None:
    created = create_root_key(path)
    play_status(monkeypatch, mode=mode, user=user, group=group)
    assert read_root_key(path).root_key_id == created.root_key_id


@pytest.mark.parametrize(
    ("mode", "user", "group", "reason"),
    [
        (0o600, 1001, 1001, "belongs to another user"),
        (0o440, 0, 1000, "open to others"),
        (0o460, 0, 0, "open to others"),
        (0o444, 0, 0, "open to others"),
        (0o440, 1000, 0, "open to others"),
    ],
)
def test_a_file_of_others_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, group: int, reason: str
) -> None:
    create_root_key(path)
    play_status(monkeypatch, mode=mode, user=user, group=group)
    with pytest.raises(DataDirectoryError, match=reason):
        read_root_key(path)


def test_every_truncation_is_called_damaged(path: Path) -> None:
    create_root_key(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(RootKeyError, match="damaged"):
            read_root_key(path)


def test_every_flipped_bit_is_called_damaged(path: Path) -> None:
    create_root_key(path)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        with pytest.raises(RootKeyError, match="damaged"):
            read_root_key(path)


@pytest.mark.parametrize("addition", [b"\n", b"x", bytes(1_000_000)])
def test_additions_are_called_damaged(path: Path, addition: bytes) -> None:
    create_root_key(path)
    path.write_bytes(path.read_bytes() + addition)
    with pytest.raises(RootKeyError, match="damaged"):
        read_root_key(path)


def test_reasons_are_one_line_and_show_no_key(path: Path) -> None:
    create_root_key(path)
    key = path.read_text()[55:119]
    path.write_bytes(path.read_bytes().replace(b"checksum ", b"checksum_"))
    with pytest.raises(OperatorError) as refused:
        read_root_key(path)
    assert "\n" not in str(refused.value)
    assert key not in str(refused.value)


def test_wraps_with_its_id_in_front(root_key: RootKey) -> None:
    wrapped = root_key.wrap(b"secret", BINDING)
    assert wrapped.startswith(bytes.fromhex(root_key.root_key_id))
    assert len(wrapped) == len(b"secret") + 49
    assert wrapped != root_key.wrap(b"secret", BINDING)


def test_names_both_ids_if_another_root_key_wrapped(root_key: RootKey, path: Path) -> None:
    other = create_root_key(path)
    with pytest.raises(RootKeyError) as refused:
        other.unwrap(root_key.wrap(b"secret", BINDING), BINDING)
    assert str(refused.value) == (
        "the root key does not open this installation's domain keys: "
        f"its id is {other.root_key_id}, they were wrapped by {root_key.root_key_id}"
    )


@given(st.integers(min_value=64), st.integers(min_value=0, max_value=7))
def test_finds_altered_wrapped_bytes(root_key: RootKey, position: int, bit: int) -> None:
    altered = bytearray(root_key.wrap(b"secret", BINDING))
    altered[8 + position % (len(altered) - 8)] ^= 1 << bit
    with pytest.raises(IntegrityError, match="domain-key installation purpose 1"):
        root_key.unwrap(bytes(altered), BINDING)


@pytest.mark.parametrize("length", [0, 7, 8, 9, 33, 48])
def test_finds_cut_wrapped_bytes(root_key: RootKey, length: int) -> None:
    with pytest.raises(IntegrityError):
        root_key.unwrap(root_key.wrap(b"secret", BINDING)[:length], BINDING)


def test_finds_moved_wrapped_bytes(root_key: RootKey) -> None:
    with pytest.raises(IntegrityError):
        root_key.unwrap(root_key.wrap(b"secret", BINDING), (*BINDING[:-1], "2"))


def test_does_nothing_once_closed(path: Path) -> None:
    root_key = create_root_key(path)
    wrapped = root_key.wrap(b"secret", BINDING)
    root_key.close()
    root_key.close()
    with pytest.raises(ValueError, match="closed"):
        root_key.unwrap(wrapped, BINDING)
    with pytest.raises(ValueError, match="closed"):
        root_key.wrap(b"secret", BINDING)


def test_shows_its_id_only(path: Path) -> None:
    root_key = create_root_key(path)
    assert repr(root_key) == f"RootKey({root_key.root_key_id})"


USE_AND_CLOSE = """
import sys
from pathlib import Path
from strongroom.keystores.root_key import read_root_key
root_key = read_root_key(Path(sys.argv[1]))
root_key.unwrap(root_key.wrap(b"secret", ("a",)), ("a",))
for close in (lambda: None, root_key.close):
    close()
    print("look", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_copy_of_the_key_stays_in_memory_once_closed(path: Path) -> None:
    create_root_key(path)
    digits = path.read_bytes()[55:119]
    key = bytes.fromhex(digits.decode())
    with subprocess.Popen(
        [sys.executable, "-c", USE_AND_CLOSE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        open_memory = memory_of(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        closed_memory = memory_of(process.pid)
        process.stdin.close()
    assert path.read_bytes()[34:50] in open_memory, "the id, which is kept: the search works"
    assert open_memory.count(key) <= 1, "OpenSSL's copy; not every processor's key schedule shows it"
    assert digits not in open_memory
    assert key not in closed_memory
    assert digits not in closed_memory


def memory_of(process_id: int) -> bytes:
    """Return everything that a process can write to in its memory."""
    found = bytearray()
    with Path(f"/proc/{process_id}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process_id}/maps").read_text().splitlines():
            addresses, permissions = line.split()[:2]
            if permissions.startswith("rw"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return bytes(found)
