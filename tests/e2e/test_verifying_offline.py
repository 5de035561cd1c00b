"""Verifying a copy of the log with nothing but the public key."""

import shutil
from pathlib import Path

import pytest

from strongroom.testing.server import running_server
from strongroom.testing.signed_client import SignedClient
from tests.e2e.commands import refused, strongroom


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that ended cleanly."""
    data = tmp_path_factory.mktemp("ended") / "data"
    with running_server(data) as server, SignedClient(server) as client:
        client.call("CreateKey", b"")
    return data


def verify(log: Path, key: Path) -> tuple[int, str]:
    done = strongroom("audit", "verify", "--log", log, "--public-key", key)
    return done.returncode, done.stdout


def test_a_whole_log_an_altered_one_and_one_without_digests(ended: Path, tmp_path: Path) -> None:
    key = ended / "audit-public-key.pem"
    copy = tmp_path / "audit"
    shutil.copytree(ended / "audit", copy)
    assert verify(copy, key) == (0, "2 chains, 2 segments, 0 records: 0 findings\n")

    served = max(copy.glob("*/*.log"), key=lambda path: path.stat().st_size)
    served.write_bytes(served.read_bytes().replace(b"CreateKey", b"DeleteKey", 1))
    code, said = verify(copy, key)
    assert code == 1
    assert served.parent.name in said

    for digest in served.parent.glob("*.digest*"):
        digest.unlink()
    code, said = verify(copy, key)
    assert "note   1 of 2 segments have no digest yet: their records were not checked" in said


def test_a_directory_without_a_log_is_no_sound_log(ended: Path, tmp_path: Path) -> None:
    key = ended / "audit-public-key.pem"
    for wrong in (tmp_path / "nothing", tmp_path, ended, next((ended / "audit").iterdir())):
        done = strongroom("audit", "verify", "--log", wrong, "--public-key", key)
        assert f"{wrong} holds no audit log" in refused(done)
