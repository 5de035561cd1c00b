"""What clients need: the profile with the root credential, and an environment file that points them here."""

import fcntl
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.config import Config

PROFILE = "strongroom"


def write_credentials(data: Path, *, access_key_id: str, secret: str, region: str) -> None:
    """Write `credentials` (AWS's shared credentials format, mode 0600): the only place a secret is ever shown."""
    write_private(data / "credentials", _profile(PROFILE, access_key_id=access_key_id, secret=secret, region=region))


@contextmanager
def added_profile(data: Path, profile: str, *, access_key_id: str, secret: str, region: str) -> Iterator[None]:
    """Have a profile in `credentials`, durably, and take it away again if the block fails.

    One of the same name that an earlier attempt left is replaced: nobody can sign with it.
    """
    path = data / "credentials"
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        before = _without(profile, path.read_text() if path.exists() else "")
        write_private(path, before + _profile(profile, access_key_id=access_key_id, secret=secret, region=region))
        try:
            yield
        except Exception:  # an interrupt may come after the block has done its work: then the profile is needed
            write_private(path, before)
            raise
    finally:
        os.close(directory)


def _without(profile: str, text: str) -> str:
    """The text of a credentials file without a profile; its last line ends."""
    sections = re.split(r"(?m)^(?=\[)", text)
    kept = "".join(section for section in sections if not section.startswith(f"[{profile}]"))
    return kept if not kept or kept.endswith("\n") else f"{kept}\n"


def _profile(name: str, *, access_key_id: str, secret: str, region: str) -> str:
    return f"[{name}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\nregion = {region}\n"


def write_client_environment(config: Config) -> Path:
    """Write `client.env` (mode 0600): KEY=value lines that a shell can source with `set -a`."""
    values = {
        "AWS_ENDPOINT_URL": config.endpoint,
        "AWS_REGION": config.region,  # JavaScript and Go read this one
        "AWS_DEFAULT_REGION": config.region,  # Python reads this one
        "AWS_SHARED_CREDENTIALS_FILE": str((config.data / "credentials").resolve()),
        "AWS_PROFILE": PROFILE,
    }
    path = config.data / "client.env"
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    return path


def write_private(path: Path, text: str) -> None:
    """Put a file that only its owner may read in place, whole or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
