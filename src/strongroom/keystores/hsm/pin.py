"""The PIN of a token: where it comes from, and that a wrong one is never tried a second time.

Tokens lock after a few wrong PINs. That one was refused is remembered in this process until the source gives another,
and in a file of the data directory, which all processes look at, until the PIN's file is written anew. The file is
made before the attempt, under another name: where none can be made, none can tell the others, and nothing is tried.
"""

import fcntl
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.failures import LoginRefusedError, PinRefusedError
from strongroom.keystores.private_file import read_private_file

_MAX_LENGTH = 1024
_LOCK_SECONDS = 10.0


class Pin:
    """A PIN in a file of its owner's, or in the environment."""

    def __init__(
        self, *, file: Path | None, text: str | None = None, rewritten: bool = True, marker: Path | None = None
    ) -> None:
        """`text` is what the environment says, if there is no file. `marker` is made when a PIN was refused.

        `rewritten`: that the file is newer than the marker means that somebody has corrected it. (Of a systemd
        credential it means nothing: it is written at every start.)
        """
        self._file = file
        self._text = text
        self._rewritten = rewritten
        self._marker = marker
        self._salt = secrets.token_bytes(16)
        self._refused: bytes | None = None

    def __repr__(self) -> str:
        return "Pin()"

    @contextmanager
    def tried(self) -> Iterator[bytes]:
        """Have the PIN to try it, alone among all processes; a PinRefusedError of the block is remembered.

        Raises HsmError if it cannot be read or the attempt not be noted, LoginRefusedError if it was refused before.
        """
        with self._alone():
            pin = self._read()
            self._check(pin)
            with self._noted():
                try:
                    yield pin
                except PinRefusedError:
                    self._refused = self._digest(pin)
                    raise
            self._refused = None
            if self._marker is not None:
                self._marker.unlink(missing_ok=True)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Have the marker ready, and make it the marker if the PIN is refused."""
        if self._marker is None:
            yield
            return
        ready = self._marker.with_name(f"{self._marker.name}.trying")
        try:
            ready.touch(0o600)
        except OSError as error:
            raise HsmError(f"no PIN is tried, since nobody could be told of its refusal: {error}") from None
        try:
            yield
        except PinRefusedError:
            ready.rename(self._marker)
            raise
        finally:
            ready.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._marker is None:
            yield
            return
        try:
            self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(self._marker.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HsmError(f"no PIN is tried: {error}") from None
        try:
            _lock(directory)
            yield
        finally:
            os.close(directory)

    def _read(self) -> bytes:
        if self._file is None:
            pin = (self._text or "").encode()
        else:
            pin = read_private_file(self._file, "the PIN file", _MAX_LENGTH).rstrip(b"\r\n")
        if not pin:
            raise HsmError("there is no PIN for the token: neither a file nor the environment has one")
        return pin

    def _check(self, pin: bytes) -> None:
        if self._refused is not None and hmac.compare_digest(self._refused, self._digest(pin)):
            text = "the token has refused this PIN: it is not tried again until it is another one"
            raise LoginRefusedError(text, p11.CKR_PIN_INCORRECT)
        if self._marker is not None and self._marker.exists():
            written = self._file.stat().st_mtime_ns if self._file is not None and self._rewritten else 0
            if written <= self._marker.stat().st_mtime_ns:
                text = "a PIN was refused before, and is not tried again: write the right one into its file"
                if self._file is None:
                    text = "it was refused before, and is not tried again: give the right one"
                raise LoginRefusedError(f"{text}, or else delete {self._marker}", p11.CKR_PIN_INCORRECT)

    def _digest(self, pin: bytes) -> bytes:
        return hmac.digest(self._salt, pin, sha256)


def _lock(directory: int) -> None:
    """Wait for other processes, but not for one whose login hangs. Raises HsmError."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise HsmError("another process is logging in to the token and does not come to an end") from None
            time.sleep(0.01)
        else:
            return
