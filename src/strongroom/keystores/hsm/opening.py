"""An HSM in this process: its library loaded, its token open, what it can do proven, and its domain keys found."""

import hmac
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeVar

from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism
from strongroom.keystores.hsm.capabilities import Capabilities, check_allowed
from strongroom.keystores.hsm.domain_keys import (
    INTEGRITY,
    TokenKeys,
    destroy_domain_keys,
    find_domain_keys,
    make_domain_keys,
)
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.proofs import probe
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.token import Token

FIRST_VERSION = 1

Result = TypeVar("Result")

_HMAC = Mechanism(p11.CKM_SHA256_HMAC)
_KNOWN = b"strongroom self-test"


class Place(NamedTuple):
    """Which token it is, and how to get in."""

    module: Module
    token: str
    pin: Pin


class Hsm(NamedTuple):
    """An open token with the domain keys of an installation, and what was proven of it."""

    token: Token[TokenKeys]
    can: Capabilities

    def __repr__(self) -> str:
        return "Hsm()"


def open_hsm(place: Place, installation_id: str, versions: Collection[int], allowed: Collection[str]) -> Hsm:
    """Open the token of an installation.

    Raises HsmError: the token or its domain keys are not there, or it needs a weaker way that is not allowed.
    """
    module = place.module
    proven: list[Capabilities] = []
    known: list[bytes] = []

    def prepare(session: Session) -> TokenKeys:
        if not proven:
            proven.append(probe(module, session))
            check_allowed(proven[0], allowed)
        return find_domain_keys(session, installation_id, versions, proven[0])

    def test(session: Session, keys: TokenKeys) -> None:
        _, integrity = keys.newest(INTEGRITY)
        code = session.sign(_HMAC, integrity, _KNOWN)
        known[:] = known or [code]
        if not hmac.compare_digest(known[0], code):
            raise HsmError("the token holds other keys than before")

    token = Token(module, place.token, place.pin, prepare, test)
    try:
        token.open()
    except BaseException:
        token.close()
        raise
    return Hsm(token, proven[0])


def prepare_token(place: Place, installation_id: str, allowed: Collection[str], version: int = FIRST_VERSION) -> None:
    """Make the domain keys of an installation in a token that has none of that version. Raises HsmError."""

    def make(session: Session, can: Capabilities) -> None:
        check_allowed(can, allowed)
        make_domain_keys(session, installation_id, version, can)

    _visit(place, make)


def clear_token(place: Place, installation_id: str, version: int = FIRST_VERSION) -> None:
    """Destroy the domain keys of a version, with which nothing was wrapped that is stored. Raises HsmError."""
    _visit(place, lambda session, _: destroy_domain_keys(session, installation_id, version))


def probe_token(place: Place) -> Capabilities:
    """Prove what a token can do. Raises HsmError."""
    return _visit(place, lambda _, can: can)


def _visit(place: Place, work: Callable[[Session, Capabilities], Result]) -> Result:
    """Open a token, do some work with a session, and close it."""
    module = place.module
    done: list[Result] = []

    def prepare(session: Session) -> None:
        done.append(work(session, probe(module, session)))

    token = Token(module, place.token, place.pin, prepare, lambda *_: None)
    try:
        token.open()
    finally:
        token.close()
    return done[0]
