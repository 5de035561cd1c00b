"""A SoftHSM in a directory of its own, for tests of ours and of users. Needs Debian's package `softhsm2`."""

import os
import subprocess
from pathlib import Path

from msgspec import Struct

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "934871"
_SO_PIN = "51420867"


class SoftHsm(Struct):
    """Where its tokens are. A process sees them that has `environment` before it loads the library."""

    directory: Path

    @property
    def tokens(self) -> Path:
        """The directory of the tokens, each in a directory of its own."""
        return self.directory / "tokens"

    @property
    def pin_file(self) -> Path:
        """A file with the PIN of all tokens."""
        return self.directory / "pin"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that say where they are."""
        return {"SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")}

    def add_token(self, label: str, pin: str = PIN) -> None:
        """Make an empty token."""
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", _SO_PIN, "--pin", pin]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | self.environment)  # noqa: S603


def make_softhsm(directory: Path, *labels: str) -> SoftHsm:
    """Make a SoftHSM with empty tokens in a directory that is there."""
    softhsm = SoftHsm(directory)
    softhsm.tokens.mkdir(mode=0o700)
    (directory / "softhsm2.conf").write_text(
        f"directories.tokendir = {softhsm.tokens}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
    )
    softhsm.pin_file.touch(0o600)
    softhsm.pin_file.write_text(PIN)
    for label in labels:
        softhsm.add_token(label)
    return softhsm
