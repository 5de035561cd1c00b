import re
from pathlib import Path

import pytest

from strongroom.errors import RootKeyError
from strongroom.keystores.root_key import create_root_key, read_root_key
from strongroom.keystores.root_key_export import export_root_key, place_root_key

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root key and its export: Argon2id takes a second."""
    directory = tmp_path_factory.mktemp("export")
    create_root_key(directory / "root.key").close()
    _, exported = export_root_key(directory / "root.key", PASSPHRASE)
    (directory / "exported").write_bytes(exported)
    return directory


def test_is_laid_out_as_documented(directory: Path) -> None:
    layout = (
        "strongroom root key export, version 1\nid ([0-9a-f]{16})\nargon2id 262144 3 4\nsalt [0-9a-f]{32}\n"
        "wrapped [0-9a-f]{374}\n"
    )
    text = (directory / "exported").read_text()
    match = re.fullmatch(layout, text)
    assert match is not None
    assert match[1] == read_root_key(directory / "root.key").root_key_id
    key = (directory / "root.key").read_text().split()[8]
    assert len(key) == 64
    assert key not in text


def test_gives_back_the_file_that_was_exported(directory: Path, tmp_path: Path) -> None:
    place_root_key(directory / "exported", tmp_path / "root.key", lambda: PASSPHRASE)
    assert (tmp_path / "root.key").read_bytes() == (directory / "root.key").read_bytes()
    assert (tmp_path / "root.key").stat().st_mode & 0o777 == 0o600


def test_takes_a_root_key_file_as_it_is(directory: Path, tmp_path: Path) -> None:
    place_root_key(directory / "root.key", tmp_path / "root.key", lambda: pytest.fail("there is no passphrase"))
    assert (tmp_path / "root.key").read_bytes() == (directory / "root.key").read_bytes()


def test_the_same_root_key_is_left_and_another_never_overwritten(directory: Path, tmp_path: Path) -> None:
    place_root_key(directory / "root.key", directory / "root.key", lambda: PASSPHRASE)
    create_root_key(tmp_path / "root.key").close()
    before = (tmp_path / "root.key").read_bytes()
    with pytest.raises(RootKeyError, match="never overwritten"):
        place_root_key(directory / "root.key", tmp_path / "root.key", lambda: PASSPHRASE)
    assert (tmp_path / "root.key").read_bytes() == before


def test_a_wrong_passphrase_is_one_clear_line(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(RootKeyError) as failure:
        place_root_key(directory / "exported", tmp_path / "root.key", lambda: b"incorrect horse")
    assert str(failure.value) == f"the passphrase does not open {directory / 'exported'}, or the file was altered"
    assert not (tmp_path / "root.key").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id ", "id 0"),
        ("argon2id 262144", "argon2id 1048577"),
        ("argon2id 262144 3 4", "argon2id 262144 17 4"),
        ("argon2id 262144 3 4", "argon2id 262144 3 17"),
        ("argon2id 262144 3 4", "argon2id 262144 99999 4"),
        ("wrapped ", "wrapped 00"),
        ("version 1", "version 2"),
        ("\nsalt", "\n\nsalt"),
    ],
)
def test_a_damaged_file_is_called_so_before_anything_is_derived(
    directory: Path, tmp_path: Path, old: str, new: str
) -> None:
    (tmp_path / "exported").write_text((directory / "exported").read_text().replace(old, new))
    (tmp_path / "exported").chmod(0o600)
    with pytest.raises(RootKeyError, match="damaged"):
        place_root_key(tmp_path / "exported", tmp_path / "root.key", lambda: PASSPHRASE)


@pytest.mark.parametrize(
    ("line", "another"), [("argon2id 262144 3 4", "argon2id 1024 1 1"), ("id [0-9a-f]{16}", f"id {'0' * 16}")]
)
def test_an_altered_line_does_not_open(directory: Path, tmp_path: Path, line: str, another: str) -> None:
    text = (directory / "exported").read_text()
    altered = re.sub(f"(?m)^{line}$", another, text)
    assert altered != text
    (tmp_path / "exported").write_text(altered)
    with pytest.raises(RootKeyError, match="the passphrase does not open"):
        place_root_key(tmp_path / "exported", tmp_path / "root.key", lambda: PASSPHRASE)


def test_a_short_passphrase_is_refused(directory: Path) -> None:
    with pytest.raises(RootKeyError, match="shorter than 12"):
        export_root_key(directory / "root.key", b"short")
