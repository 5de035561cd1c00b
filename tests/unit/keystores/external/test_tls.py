"""Whom a proxy must prove to be, and how it is spoken to (XKS specification, "Transport")."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom.errors import ConfigurationError
from strongroom.keystores.external.failures import Kind
from tests.xks.certificates import Authority
from tests.xks.client import Connect, fails, healthy, restarted
from tests.xks.proxy import XksProxy


def test_a_certificate_of_another_authority_is_refused(connect: Connect, tmp_path: Path) -> None:
    fails(connect(ca=Authority(tmp_path, "other").certificate), Kind.TLS)


def test_the_authorities_of_the_system_do_not_stand_for_others(connect: Connect) -> None:
    fails(connect(ca=None), Kind.TLS)


def test_the_systems_authorities_are_not_trusted_beside_the_file(
    connect: Connect, xks: XksProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path, "other").certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(xks.ca))
    healthy(connect(ca=None))
    fails(connect(ca=other), Kind.TLS)


@pytest.mark.parametrize("endpoint", ["https://other.example.test", "https://example.test", "https://127.0.0.1"])
def test_a_certificate_of_another_name_is_refused(connect: Connect, endpoint: str) -> None:
    fails(connect(uri_endpoint=endpoint), Kind.TLS)


def test_the_name_is_that_of_the_endpoint_wherever_it_is_connected_to(connect: Connect, xks: XksProxy) -> None:
    names: list[str | None] = []

    def note(context: ssl.SSLContext) -> None:
        context.sni_callback = lambda _, name, __: names.append(name)

    with restarted(xks, note):
        healthy(connect(connect=f"localhost:{xks.port}"))
    assert names == ["xks.example.test"]


def test_a_file_that_has_no_authorities_is_the_operators_to_mend(connect: Connect, tmp_path: Path) -> None:
    for content in (None, "no certificates"):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigurationError, match=r"ca\.pem cannot be used"):
            connect(ca=path)


def version_1_1(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def version_1_2(*suites: str) -> Callable[[ssl.SSLContext], None]:
    def change(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(suites))

    return change


def test_tls_1_1_is_refused(connect: Connect, xks: XksProxy) -> None:
    with restarted(xks, version_1_1):
        fails(connect(), Kind.TLS)


@pytest.mark.parametrize(
    "suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
)
def test_other_suites_of_tls_1_2_are_refused(connect: Connect, xks: XksProxy, suite: str) -> None:
    with restarted(xks, version_1_2(suite)):
        fails(connect(), Kind.TLS)


def test_tls_1_2_with_ecdsa(connect: Connect, xks: XksProxy) -> None:
    with restarted(xks, version_1_2("ECDHE-ECDSA-AES256-GCM-SHA384")):
        healthy(connect())


def test_tls_1_2_with_rsa(connect: Connect, xks: XksProxy) -> None:
    certificate = xks.authority.issue("xks.example.test", rsa.generate_private_key(65537, 2048))

    def change(context: ssl.SSLContext) -> None:
        context.load_cert_chain(certificate)
        version_1_2("ECDHE-RSA-AES256-GCM-SHA384")(context)

    with restarted(xks, change):
        healthy(connect())


def test_tls_1_3_alone(connect: Connect, xks: XksProxy) -> None:
    def change(context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3

    with restarted(xks, change):
        healthy(connect())


def test_a_server_without_tls_is_refused(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            with plain.accept()[0] as taken:
                taken.recv(10_000)
                taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        fails(connect(connect=f"127.0.0.1:{plain.getsockname()[1]}"), Kind.TLS)
        thread.join()
