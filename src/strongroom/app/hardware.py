"""The HSM that a configuration names, and what protects the installation's own keys: it, or the root key file."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from strongroom.config import Config
from strongroom.config import Hsm as HsmConfig
from strongroom.errors import ConfigurationError
from strongroom.keystores.domain_keys import Root, versions_in_hsm
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.keystores.hsm.module import open_module
from strongroom.keystores.hsm.opening import FIRST_VERSION, Hsm, Place, clear_token, open_hsm, prepare_token
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.root_key import create_root_key, read_root_key
from strongroom.model.domain_key import DomainKey


class Protection(NamedTuple):
    """What opens the domain keys, and the HSM if it is one."""

    root: Root
    hsm: Hsm | None


def place_of(config: Config, hsm: HsmConfig) -> Place:
    """The token that a configuration names. Raises ConfigurationError."""
    unknown = sorted(set(hsm.allow) - set(WEAKER_WAYS))
    if unknown:
        raise ConfigurationError(f"hsm.allow names {unknown[0]!r}; the weaker ways are {', '.join(WEAKER_WAYS)}")
    installed = config.postgresql is not None or config.database.exists()
    own = hsm is config.hsm and installed  # another token's PIN is a person's to try again
    marker = config.refused_pin if own else None
    pin = Pin(file=hsm.pin_file, text=hsm.pin_text, rewritten=hsm.pin.file is not None, marker=marker)
    return Place(open_module(str(hsm.library)), hsm.token, pin)


@contextmanager
def new_protection(config: Config, installation_id: str) -> Iterator[Root]:
    """Make what protects a new installation: a root key file, or domain keys in the token. Closed after the block."""
    if config.hsm is None:
        root_key = create_root_key(config.data / "root.key")
        try:
            yield root_key
        finally:
            root_key.close()
        return
    with made_in_token(config, config.hsm, installation_id, FIRST_VERSION, needed=lambda: False) as hsm:
        yield HsmRoot(hsm.token)


@contextmanager
def made_in_token(
    config: Config, settings: HsmConfig, installation_id: str, version: int, *, needed: Callable[[], bool]
) -> Iterator[Hsm]:
    """Make a version of the domain keys in a token, and open it.

    If the block fails they are destroyed again, unless they are `needed`: what they wrapped is stored. Raises HsmError
    if the token has that version already.
    """
    place = place_of(config, settings)
    prepare_token(place, installation_id, settings.allow, version)
    try:
        hsm = open_hsm(place, installation_id, {version}, settings.allow)
        try:
            yield hsm
        finally:
            hsm.token.close()
    except BaseException:
        if not needed():
            clear_token(place, installation_id, version)
        raise


@contextmanager
def opened_protection(config: Config, installation_id: str, records: Collection[DomainKey]) -> Iterator[Protection]:
    """Open what protects an installation; a root key is dropped again, an HSM stays open unless the block fails.

    Raises RootKeyError, HsmError or ConfigurationError.
    """
    versions = versions_in_hsm(records)
    if config.hsm is None:
        if versions:
            raise ConfigurationError("the keys of this installation are in an HSM: the configuration must name it")
        root_key = read_root_key(config.root_key)
        try:
            yield Protection(root_key, None)
        finally:
            root_key.close()
        return
    if not versions:
        raise ConfigurationError("this installation has a root key file: its keys cannot be moved into an HSM")
    hsm = open_hsm(place_of(config, config.hsm), installation_id, versions, config.hsm.allow)
    try:
        yield Protection(HsmRoot(hsm.token), hsm)
    except BaseException:
        hsm.token.close()
        raise
