"""The function table of a PKCS #11 library.

The published bindings were measured and not taken: two of them crash or are serial with threads.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_ulong

from strongroom.errors import ConfigurationError
from strongroom.keystores.hsm import pkcs11 as p11

Call = Callable[..., int]


class Functions:
    """The functions of a library, by their names. A test may put another in the place of one."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        for name, call in calls.items():
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Call:  # what `__init__` did not set
        raise AttributeError(f"{name} is not a function that is used")


def load(path: str) -> Functions:
    """Load a library. Raises ConfigurationError."""
    try:
        library = ctypes.CDLL(path)
        listed = ctypes.POINTER(p11.CK_FUNCTION_LIST)()
        code = library.C_GetFunctionList(byref(listed))
    except (OSError, AttributeError) as error:
        raise ConfigurationError(f"cannot load the PKCS #11 library {path}: {error}") from None
    if code != p11.CKR_OK:
        raise ConfigurationError(f"the PKCS #11 library {path} gives no list of functions (0x{code:X})")
    calls: dict[str, Call] = {}
    for name, parameters in p11.SIGNATURES.items():
        address = getattr(listed.contents, name)
        if not address:
            raise ConfigurationError(f"the PKCS #11 library {path} has no {name}")
        calls[name] = ctypes.CFUNCTYPE(c_ulong, *parameters)(address)  # type: ignore[arg-type]
    return Functions(calls)
