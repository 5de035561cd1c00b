"""Whether what was given is to blame for a call that failed, or the token.

Some tokens tell wrong data by a general error, which could be anything. Then the same must succeed with what is known
to be right, and is tried once more with what was given.
"""

from collections.abc import Callable
from typing import TypeVar

from strongroom.errors import InvalidCiphertext, RequestError
from strongroom.keystores.hsm.failures import DataRefusedError, NotPossibleError, Pkcs11Error, UnclearError

DECRYPTION_REFUSED: tuple[type[Pkcs11Error], ...] = (DataRefusedError, UnclearError)
"""How tokens tell a ciphertext that is wrong."""
KEY_REFUSED: tuple[type[Pkcs11Error], ...] = (*DECRYPTION_REFUSED, NotPossibleError)
"""How tokens tell a key that is wrong: some blame the template, or its length."""

NOT_WRAPPED: tuple[type[Pkcs11Error], ...] = (DataRefusedError, NotPossibleError)
"""How tokens tell a key that opens, and that they cannot wrap: its parts are no key's."""

Result = TypeVar("Result")


def certainly(
    attempt: Callable[[], Result],
    prove: Callable[[], object],
    refusal: type[RequestError] = InvalidCiphertext,
    refused: tuple[type[Pkcs11Error], ...] = DECRYPTION_REFUSED,
) -> Result:
    """Return what an attempt does. Raises `refusal` only if what was given is to blame, and not the token.

    `prove` does the same with what is known to be right, and raises Pkcs11Error if that fails too.
    """
    try:
        return attempt()
    except refused:
        prove()
    try:
        return attempt()
    except refused:
        raise refusal from None
