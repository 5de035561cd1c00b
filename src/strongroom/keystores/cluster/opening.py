"""The token of a cluster open in this process, and what connecting says if that fails."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import ConfigurationError, ConnectionFailedError, HsmError, KMSInvalidState, OperatorError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.capabilities import LastingKeys
from strongroom.keystores.hsm.failures import (
    LoginRefusedError,
    NoTokenError,
    OpeningFailedError,
    Pkcs11Error,
    SessionLostError,
    TokenLostError,
)
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.pin import Pin
from strongroom.keystores.hsm.proofs import encrypts_with_gcm, probe_lasting_keys
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.token import Token

_OF_LOGIN = {
    0xA0: "INVALID_CREDENTIALS",  # PIN_INCORRECT, and before
    0xA1: "INVALID_CREDENTIALS",  # PIN_INVALID
    0xA2: "INVALID_CREDENTIALS",  # PIN_LEN_RANGE
    0xA3: "INVALID_CREDENTIALS",  # PIN_EXPIRED
    0xA4: "USER_LOCKED_OUT",  # PIN_LOCKED
    0x102: "USER_NOT_FOUND",  # USER_PIN_NOT_INITIALIZED
    0x103: "USER_NOT_FOUND",  # USER_TYPE_INVALID
    0x104: "USER_LOGGED_IN",  # USER_ANOTHER_ALREADY_LOGGED_IN
    0x105: "USER_LOGGED_IN",  # USER_TOO_MANY_TYPES
}
"""Return code of the login -> ConnectionErrorCode."""


class Place(NamedTuple):
    """Which token it is, and how to get in."""

    library: Path
    label: str
    pin: Pin


def open_token(place: Place, load: Callable[[str], Module]) -> Token[LastingKeys]:
    """Load the library, log in, and prove what the token can do. Raises ConnectionFailedError."""
    try:
        module = load(str(place.library))
    except ConfigurationError as error:
        raise ConnectionFailedError("CLUSTER_NOT_FOUND", str(error)) from None
    proven: list[LastingKeys] = []

    def prepare(session: Session) -> LastingKeys:
        if not proven:
            proven.append(probe_lasting_keys(session))
        if not proven[0].gcm:
            raise HsmError(f"the token {place.label!r} cannot be used: it lacks AES-GCM")
        return proven[0]

    def test(session: Session, _: LastingKeys) -> None:
        if module.token_info(session.slot).label != place.label:  # session objects outlive it
            raise NoTokenError(f"there is no token {place.label!r}")
        if not encrypts_with_gcm(session):
            raise HsmError(f"the token {place.label!r} does not do AES-GCM as before")

    token = Token(module, place.label, place.pin, prepare, test)
    token.name = f"the HSM cluster of token {place.label!r}"
    token.unavailable = unreachable
    try:
        token.open()
    except OperatorError as error:
        token.close()
        raise ConnectionFailedError(_error_code(error), str(error)) from None
    except BaseException:
        token.close()
        raise
    return token


def unreachable() -> KMSInvalidState:
    """What callers are told while the token is away."""
    return KMSInvalidState("KMS cannot communicate with your CloudHSM cluster.")


def _error_code(error: OperatorError) -> str:
    match error:
        case LoginRefusedError(code=code):
            return _OF_LOGIN.get(code, "INTERNAL_ERROR")
        case NoTokenError():
            return "INSUFFICIENT_CLOUDHSM_HSMS"
        case OpeningFailedError(error=failed):
            return _code_of_call(failed)
    return "INTERNAL_ERROR"


def _code_of_call(failed: Pkcs11Error) -> str:
    if failed.code == p11.CKR_TOKEN_NOT_PRESENT:
        return "INSUFFICIENT_CLOUDHSM_HSMS"
    lost = isinstance(failed, TokenLostError | SessionLostError) and failed.code != p11.CKR_SESSION_COUNT
    return "NETWORK_ERRORS" if lost else "INTERNAL_ERROR"
