"""What clients need: the profile with the root credential, and an environment file that points them here."""

import fcntl
import os
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
    """Add a profile to `credentials`, durably, and take it away again if the block raises."""
    descriptor = os.open(data / "credentials", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        length = os.fstat(descriptor).st_size
        try:
            file.write(_profile(profile, access_key_id=access_key_id, secret=secret, region=region))
            file.flush()
            os.fsync(descriptor)
            yield
        except BaseException:
            file.truncate(length)
            raise


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
