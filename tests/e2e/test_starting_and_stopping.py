"""What can be wrong at a start is said in one line; a stop finishes what is under way."""

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from strongroom.testing.server import initialize, running_server, start_server
from strongroom.testing.signed_client import SignedClient
from tests.e2e.commands import refused, serve, strongroom


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("installed") / "data"
    initialize(data)
    return data


def test_the_files_of_an_installation_are_private(installed: Path) -> None:
    for path in (installed, *installed.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.root_key
def test_an_installation_is_never_made_over_another(installed: Path, tmp_path: Path) -> None:
    before = (installed / "root.key").read_bytes()
    assert refused(strongroom("init", "--data", installed)) == f"{installed} is an installation already"
    assert strongroom("init", "--if-missing", "--data", installed).returncode == 0
    assert (installed / "root.key").read_bytes() == before

    (tmp_path / "file").touch()
    assert "is not empty" in refused(strongroom("init", "--data", tmp_path))
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_port_in_use(installed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for workers in ("1", "2"):
            done = strongroom("serve", "--config", installed / "strongroom.yaml", "--port", port, "--workers", workers)
            assert refused(done) == f"port {port} on 127.0.0.1 is in use"


def test_serving_other_machines_needs_tls(installed: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "strongroom.yaml"
    configuration.write_text(f"data: {installed}\nroot_key: {installed}/root.key\nlisten: {{host: 0.0.0.0}}\n")

    assert "0.0.0.0 is not a loopback address" in refused(strongroom("serve", "--config", configuration))


@pytest.mark.root_key
def test_a_wrong_a_missing_and_an_open_root_key(installed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    initialize(other)
    own = (installed / "root.key").read_bytes()
    try:
        (installed / "root.key").write_bytes((other / "root.key").read_bytes())
        assert "the root key" in refused(serve(installed))
        (installed / "root.key").write_bytes(own[:20])
        assert "root.key" in refused(serve(installed))
        (installed / "root.key").unlink()
        assert "root.key" in refused(serve(installed))
        assert not (installed / "root.key").exists(), "a start never makes a key"
        (installed / "root.key").write_bytes(own)
        (installed / "root.key").chmod(0o644)
        assert "root.key" in refused(serve(installed))
    finally:
        (installed / "root.key").write_bytes(own)
        (installed / "root.key").chmod(0o600)


def test_a_data_directory_that_is_missing_or_open_to_others(installed: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "strongroom.yaml"
    configuration.write_text("data: nowhere\n")
    assert "nowhere" in refused(strongroom("serve", "--config", configuration))

    installed.chmod(0o755)
    try:
        assert "is open to other users" in refused(serve(installed))
    finally:
        installed.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("port: 1", "unknown field"), ("data: [", "not YAML"), ("workers: 0", "workers"), ("workers: many", "workers")],
)
def test_a_configuration_that_cannot_be_used(tmp_path: Path, text: str, reason: str) -> None:
    configuration = tmp_path / "strongroom.yaml"
    configuration.write_text(text)

    assert reason in refused(strongroom("serve", "--config", configuration))
    assert strongroom("doctor", "--config", configuration).returncode == 1


def test_doctor_finds_nothing_wrong_with_a_new_installation(installed: Path) -> None:
    done = strongroom("doctor", "--config", installed / "strongroom.yaml")

    assert done.returncode == 0, done.stdout
    assert "WRONG" not in done.stdout
    assert "the database is proven" in done.stdout


def test_keys_survive_a_restart_with_more_workers(data: Path) -> None:
    with running_server(data) as server, SignedClient(server) as client:
        key_id = json.loads(client.call("CreateKey", b"").body)["KeyMetadata"]["KeyId"]
    with running_server(data, workers=2) as server:
        clients = [SignedClient(server) for _ in range(8)]
        for client in clients:
            assert client.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}).status == 200
        # What one process makes, every other knows at once.
        for client in clients:
            made = json.loads(client.call("CreateKey", b"").body)["KeyMetadata"]["KeyId"]
            for other in clients:
                assert other.call("Encrypt", {"KeyId": made, "Plaintext": "QUJD"}).status == 200
        for client in clients:
            client.close()


def test_sigterm_answers_what_is_under_way(data: Path) -> None:
    initialize(data)
    server = start_server(data)
    statuses: list[int] = []
    with SignedClient(server) as client:
        key_id = json.loads(client.call("CreateKey", b"").body)["KeyMetadata"]["KeyId"]

    def work() -> None:
        with SignedClient(server) as client:
            while True:
                try:
                    statuses.append(client.call("Encrypt", {"KeyId": key_id, "Plaintext": "QUJD"}).status)
                except OSError:
                    return  # the connection was closed between two requests

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(statuses) < 100:
        os.sched_yield()
    assert server.stop() == 0
    for thread in threads:
        thread.join()

    assert set(statuses) == {200}
    assert strongroom("audit", "verify", "--config", data / "strongroom.yaml").returncode == 0
