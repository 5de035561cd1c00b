"""Whether an installation is in use: server processes and commands share a lock that excludes who must be alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.config import Config
from strongroom.errors import ConfigurationError, DataDirectoryError
from strongroom.storage.postgresql import is_used


@contextmanager
def serving(config: Config) -> Iterator[None]:
    """Be a server process, or change something. Raises ConfigurationError while somebody is alone with it."""
    with _locked(config, fcntl.LOCK_SH, "the installation is being moved: try again afterwards"):
        yield


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Be alone with the installation. Raises ConfigurationError while a server runs, or somebody else is."""
    with _locked(config, fcntl.LOCK_EX, "a server runs: stop it first"):
        if config.postgresql is not None and is_used(config.postgresql.url):
            raise ConfigurationError("nodes are connected to the database: stop them all first")
        yield


@contextmanager
def _locked(config: Config, how: int, refusal: str) -> Iterator[None]:
    try:
        descriptor = os.open(config.served, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryError(f"cannot open {config.served}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(refusal) from None
    try:
        yield
    finally:
        os.close(descriptor)
