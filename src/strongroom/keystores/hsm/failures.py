"""The return codes of PKCS #11 calls, as a few kinds of errors; and why a token was not opened."""

from strongroom.errors import HsmError


class Pkcs11Error(Exception):
    """A call that failed. `code` is the standard's CKR number."""

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"{function} gave back 0x{code:X}")
        self.function = function
        self.code = code


class SessionLostError(Pkcs11Error):
    """The session is gone. Another can be opened."""


class TokenLostError(Pkcs11Error):
    """The token, the login, or the library's connection to it is gone."""


class HandleLostError(Pkcs11Error):
    """The object is not there any more, or not as it was."""


class DataRefusedError(Pkcs11Error):
    """What was given cannot be decrypted, unwrapped or verified."""


class NoRoomError(Pkcs11Error):
    """The token has no memory for another object."""


class NotPossibleError(Pkcs11Error):
    """The token does not do this, or not with this key."""


class PinRefusedError(Pkcs11Error):
    """The PIN is wrong, locked or expired. It must not be tried again."""


class UserRefusedError(Pkcs11Error):
    """The token lets its user in with no PIN at present: there is none, or another is logged in."""


class UnclearError(Pkcs11Error):
    """Anything else: a general error, a failed function, no memory, a maker's own code."""


_KINDS: dict[type[Pkcs11Error], tuple[int, ...]] = {
    SessionLostError: (0xB0, 0xB1, 0xB3, 0xB4),  # SESSION_CLOSED, _COUNT, _HANDLE_INVALID, _PARALLEL_NOT_SUPPORTED
    # SLOT_ID_INVALID, DEVICE_ERROR, _REMOVED, TOKEN_NOT_PRESENT, _NOT_RECOGNIZED, USER_NOT_LOGGED_IN,
    # CRYPTOKI_NOT_INITIALIZED
    TokenLostError: (0x03, 0x30, 0x32, 0xE0, 0xE1, 0x101, 0x190),
    NoRoomError: (0x31,),  # DEVICE_MEMORY
    HandleLostError: (0x60, 0x82),  # KEY_HANDLE_INVALID, OBJECT_HANDLE_INVALID
    # DATA_INVALID, _LEN_RANGE, ENCRYPTED_DATA_INVALID, _LEN_RANGE, SIGNATURE_INVALID, _LEN_RANGE, WRAPPED_KEY_INVALID,
    # _LEN_RANGE
    DataRefusedError: (0x20, 0x21, 0x40, 0x41, 0xC0, 0xC1, 0x110, 0x112),
    # FUNCTION_NOT_SUPPORTED, ATTRIBUTE_*, ACTION_PROHIBITED, KEY_*, MECHANISM_*, TEMPLATE_*, UNWRAPPING_KEY_*,
    # WRAPPING_KEY_*, CURVE_NOT_SUPPORTED
    NotPossibleError: (
        0x54, 0x10, 0x11, 0x12, 0x13, 0x1B, 0x62, 0x63, 0x67, 0x68, 0x69, 0x6A, 0x70, 0x71, 0xD0, 0xD1, 0xF0, 0xF1,
        0xF2, 0x113, 0x114, 0x115, 0x140,
    ),
    PinRefusedError: (0xA0, 0xA1, 0xA2, 0xA3, 0xA4),
    # USER_PIN_NOT_INITIALIZED, USER_TYPE_INVALID, USER_ANOTHER_ALREADY_LOGGED_IN, USER_TOO_MANY_TYPES
    UserRefusedError: (0x102, 0x103, 0x104, 0x105),
}  # fmt: skip
_KIND_OF = {code: kind for kind, codes in _KINDS.items() for code in codes}


def failed(function: str, code: int) -> Pkcs11Error:
    """The error of a return code."""
    return _KIND_OF.get(code, UnclearError)(function, code)


def check(function: str, code: int) -> None:
    """Raise the error of a return code, unless it is none."""
    if code:
        raise failed(function, code)


class NoTokenError(HsmError):
    """There is no token with the label."""


class LoginRefusedError(HsmError):
    """The token does not let its user in, now or before. `code` is the standard's CKR number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class OpeningFailedError(HsmError):
    """A call failed while a token was opened. `error` is the call's."""

    def __init__(self, message: str, error: Pkcs11Error) -> None:
        super().__init__(message)
        self.error = error
