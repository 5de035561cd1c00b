"""The server's certificate: loaded whole, looked at once a second, changed for new connections only."""

import os
import ssl
import sys
from pathlib import Path
from typing import NoReturn

from strongroom.errors import ConfigurationError

_Fingerprint = tuple[int, int, int] | None  # what of a file changes when it does; None if it is not there
_Fingerprints = tuple[_Fingerprint, _Fingerprint]  # of certificate and key


class Certificate:
    """A certificate chain and its private key, from two PEM files that may be replaced while we serve.

    `context` is for the listening sockets, for good: each handshake takes the newest pair that could be used. A pair
    that cannot (half written, not belonging together) is reported on standard error and the older one stays.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both files; raise `ConfigurationError` if they cannot be used."""
        self._certificate = certificate
        self._key = key
        self._used = self._fingerprint()
        self._reported: tuple[_Fingerprints, str] | None = None
        self.context = self._newest = self._load()
        # Called in every handshake, whether or not the client names a server (RFC 6066 3).
        self.context.sni_callback = self._take_newest

    def refresh(self) -> None:
        """Take up the files if they have changed. Costs two `stat` calls if they have not.

        Files that cannot be used are tried again each time: the reason may be ours (no free file descriptor) and pass.
        """
        fingerprints = self._fingerprint()
        if fingerprints == self._used:
            return
        try:
            self._newest = self._load()
        except ConfigurationError as error:
            failure = fingerprints, str(error)
            if failure != self._reported:
                print(f"strongroom: {error}; the previous certificate stays in use", file=sys.stderr, flush=True)  # noqa: T201 - for the operator
            self._reported = failure
        else:
            self._used = fingerprints
            self._reported = None

    def _take_newest(self, session: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        session.context = self._newest

    def _fingerprint(self) -> _Fingerprints:
        return _fingerprint(self._certificate), _fingerprint(self._key)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse_passphrase)
        except OSError as error:  # ssl.SSLError is one
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigurationError(
                f"TLS certificate {self._certificate} with key {self._key} cannot be used: {reason or error}"
            ) from error
        return context


def _fingerprint(path: Path) -> _Fingerprint:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a second, for as long as we serve
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _refuse_passphrase() -> NoReturn:
    """Keep OpenSSL from asking the terminal."""
    raise ConfigurationError("the TLS key is encrypted; a server needs it without a passphrase")
