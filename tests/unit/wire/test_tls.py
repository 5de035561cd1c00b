"""Serving with a certificate, and the change of its files while serving."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import resource
import shutil
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from strongroom.errors import ConfigurationError
from strongroom.model.exchange import TlsDetails
from strongroom.wire.server import Server, bind
from strongroom.wire.tls import Certificate

if TYPE_CHECKING:
    from tests.unit.wire.conftest import Serve, Served

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
NAME = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])


class Pair(NamedTuple):
    """Files of a certificate and its key."""

    certificate: Path
    key: Path

    def load(self) -> Certificate:
        return Certificate(self.certificate, self.key)

    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


def make_pair(folder: Path, encryption: KeySerializationEncryption | None = None) -> Pair:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pair = Pair(folder / "certificate.pem", folder / "key.pem")
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path / "first")


def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(served: Served) -> str:
    """Fingerprint of the certificate that a new connection is shown."""
    with served.connect(client()) as connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        certificate = connection.socket.getpeercert(binary_form=True)
        assert certificate
        assert connection.send(REQUEST).response().status == 200
    return hashlib.sha256(certificate).hexdigest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_application_learns_what_was_negotiated(serve: Serve, pair: Pair, version: ssl.TLSVersion) -> None:
    heard: list[TlsDetails] = []

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "http"
        assert scope["scheme"] == "https"
        heard.append(scope["state"]["tls"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    context = client()
    context.maximum_version = version
    with serve(app, certificate=pair.load()).connect(context) as connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        connection.send(REQUEST).response()
        connection.send(REQUEST).response()
        cipher = connection.socket.cipher()

    assert cipher
    name = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert heard == [TlsDetails(name, cipher[0])] * 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_refused(serve: Serve, pair: Pair) -> None:
    context = client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError):
        serve(certificate=pair.load()).connect(context)


def test_a_client_that_speaks_plainly_to_a_tls_port_is_closed(serve: Serve, pair: Pair) -> None:
    with serve(certificate=pair.load()).connect() as connection:
        got = connection.send(REQUEST).rest()

    assert b"HTTP" not in got


def test_changed_files_are_taken_up_for_new_connections(
    serve: Serve, pair: Pair, tmp_path: Path, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    second = make_pair(tmp_path / "second")
    served = serve(certificate=pair.load())
    before = shown(served)
    with served.connect(client()) as old_connection:
        shutil.copy(second.key, pair.key)
        shutil.copy(second.certificate, pair.certificate)
        eventually(lambda: shown(served) == second.fingerprint())

        assert old_connection.send(REQUEST).response().status == 200
    assert before != second.fingerprint()


def test_files_that_cannot_be_used_change_nothing_and_are_reported_once(
    serve: Serve, pair: Pair, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate = pair.load()
    served = serve(certificate=certificate)
    before = shown(served)
    pair.key.write_text("half a ke")
    certificate.refresh()
    certificate.refresh()

    assert shown(served) == before
    [line] = capfd.readouterr().err.splitlines()
    assert str(pair.key) in line
    assert "the previous certificate stays in use" in line


def test_files_that_could_not_be_opened_for_want_of_descriptors_are_tried_again(
    serve: Serve, pair: Pair, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate = pair.load()
    second = make_pair(tmp_path / "second")
    shutil.copy(second.key, pair.key)
    shutil.copy(second.certificate, pair.certificate)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        certificate.refresh()
        certificate.refresh()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    [line] = capfd.readouterr().err.splitlines()
    certificate.refresh()

    assert "Too many open files" in line
    assert capfd.readouterr().err == ""
    assert shown(serve(certificate=certificate)) == second.fingerprint()


def test_each_failure_is_reported_by_itself(pair: Pair, capfd: pytest.CaptureFixture[str]) -> None:
    certificate = pair.load()
    whole = pair.key.read_text()
    pair.key.write_text("half a ke")
    certificate.refresh()
    pair.key.unlink()
    certificate.refresh()
    pair.key.write_text(whole)
    certificate.refresh()
    certificate.refresh()
    pair.key.unlink()
    certificate.refresh()

    assert len(capfd.readouterr().err.splitlines()) == 3


def test_a_key_without_its_certificate_is_not_taken_until_that_comes(
    pair: Pair, tmp_path: Path, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    second = make_pair(tmp_path / "second")
    certificate = pair.load()
    served = serve(certificate=certificate)
    before = shown(served)
    pair.key.unlink()
    certificate.refresh()
    shutil.copy(second.key, pair.key)
    certificate.refresh()

    assert shown(served) == before
    shutil.copy(second.certificate, pair.certificate)
    certificate.refresh()
    assert shown(served) == second.fingerprint()


def missing(pair: Pair) -> None:
    pair.certificate.unlink()


def no_pem(pair: Pair) -> None:
    pair.certificate.write_text("nothing")


def other_key(pair: Pair) -> None:
    shutil.copy(make_pair(pair.key.parent.parent / "other").key, pair.key)


@pytest.mark.parametrize("damage", [missing, no_pem, other_key])
def test_files_that_cannot_be_used_at_first_are_an_error_in_one_line(
    pair: Pair, damage: Callable[[Pair], None]
) -> None:
    damage(pair)

    with pytest.raises(ConfigurationError, match=r"\ATLS certificate .*/certificate\.pem with key [^\n]+: [^\n]+\Z"):
        pair.load()


def test_an_encrypted_key_is_refused_without_asking_the_terminal(tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "encrypted", BestAvailableEncryption(b"secret"))

    with pytest.raises(ConfigurationError, match="encrypted"):
        pair.load()


def test_a_client_that_keeps_its_connection_does_not_hold_up_the_stop(serve: Serve, pair: Pair) -> None:
    served = serve(certificate=pair.load())
    with served.connect(client()) as connection:
        connection.send(REQUEST).response()

        served.stop()  # within less than the time a stop may take


def test_a_handshake_that_goes_on_ends_with_the_serving(pair: Pair) -> None:
    """It would bring requests after the end, when nobody is there to answer them."""

    async def never(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        raise AssertionError

    async def run() -> bytes:
        listener = bind("127.0.0.1", 0)
        server = Server(never, certificate=pair.load())
        serving = asyncio.create_task(server.serve([listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await asyncio.sleep(0.2)
        server.stop()
        await serving
        async with asyncio.timeout(5):  # a handshake may take 10 s
            got = await reader.read()
        writer.close()
        return got

    with ThreadPoolExecutor(1) as pool:  # in the main thread, the stop would leave it deaf to signals
        assert pool.submit(uvloop.run, run()).result() == b""


def test_a_handshake_that_goes_on_makes_room(serve: Serve, pair: Pair) -> None:
    served = serve(certificate=pair.load())
    served.server.state.room.capacity = 2
    with served.connect(client()) as asked, served.connect() as silent:
        assert asked.send(REQUEST).response().status == 200
        began = time.monotonic()
        with served.connect(client()) as new:
            assert silent.rest() == b""
            assert time.monotonic() - began < 5
            assert new.send(REQUEST).response().status == 200
            assert asked.send(REQUEST).response().status == 200
    assert served.server.state.room.evicted == 1


def test_an_idle_tls_connection_makes_room(serve: Serve, pair: Pair) -> None:
    served = serve(certificate=pair.load())
    served.server.state.room.capacity = 1
    with served.connect(client()) as asked:
        assert asked.send(REQUEST).response().status == 200
        assert shown(served) == pair.fingerprint()
        assert asked.rest() == b""


def test_failed_handshakes_take_no_room(serve: Serve, pair: Pair) -> None:
    served = serve(certificate=pair.load())
    served.server.state.room.capacity = 2
    for _ in range(5):
        with served.connect() as connection:
            connection.send(REQUEST).rest()

    assert shown(served) == pair.fingerprint()
    assert served.server.state.room.evicted == 0
