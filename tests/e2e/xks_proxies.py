"""A Strongroom that serves the XKS proxy over TLS, and another whose external key store it is."""

import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from cryptography import x509

from strongroom import cli
from strongroom.testing.server import initialize
from tests.xks.certificates import Authority

HOST = "xks.example.test"
START_SECONDS = 30


class ProxyProcess:
    """`strongroom xks-proxy serve` over an installation in `data`. The port stays once it was taken."""

    def __init__(self, data: Path, *options: str) -> None:
        """Make the installation; `options` are those of `init`."""
        initialize(data, *options)
        self.data = data
        self.port = 0
        self.authority = Authority(data)
        self.ca = self.authority.certificate
        self._certificate = self.authority.issue(HOST)
        self._settings = (data / "strongroom.yaml").read_text()

    @property
    def connect(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, workers: int = 1, wrapper: Sequence[str] = ()) -> None:
        """Start it and wait until it listens. `wrapper` is a command that runs another."""
        tls = f"{{certificate: {self._certificate}, key: {self._certificate}}}"
        section = f"xks_proxy: {{host: 127.0.0.1, port: {self.port}, tls: {tls}}}\nworkers: {workers}\n"
        (self.data / "strongroom.yaml").write_text(self._settings + section)
        command = [*wrapper, sys.executable, "-m", "strongroom", "xks-proxy", "serve", "--config", self.config]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.fullmatch(r"The XKS proxy listens on https://127\.0\.0\.1:([0-9]+)\n", line)
            if found is not None:
                self.port = int(found[1])
                return
        raise RuntimeError(f"the proxy ended with code {self.process.wait()} before it listened")

    @property
    def config(self) -> str:
        return str(self.data / "strongroom.yaml")

    def renew_certificate(self) -> None:
        """Put another certificate in the place of the one that is served."""
        self.authority.issue(HOST).replace(self._certificate)

    def serial_number(self) -> int:
        """The serial number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=self.ca)
        raw = socket.create_connection(("127.0.0.1", self.port))
        with context.wrap_socket(raw, server_hostname=HOST) as connection:
            shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        code = self.process.wait(timeout=START_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def run(self, *words: str) -> str:
        """Run a command of `strongroom xks-proxy`, in this process; return what it prints."""
        kind, action, *rest = words
        printed, told = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(told):
            code = cli.run(["xks-proxy", kind, action, "--config", self.config, *rest])
        assert code == 0, told.getvalue()
        return printed.getvalue()

    def issued(self, *words: str) -> dict[str, Any]:
        """The configuration that a command prints."""
        found: dict[str, Any] = json.loads(self.run(*words))
        return found


def external_store(name: str, issued: dict[str, Any]) -> dict[str, Any]:
    """The parameters of CreateCustomKeyStore for a store of the proxy."""
    return {
        "CustomKeyStoreName": name,
        "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": f"https://{HOST}",
        **issued,
    }
