"""The time that one call of a proxy has, from looking up its name to the last byte of its answer."""

import time

SECONDS = 0.25
"""What AWS KMS waits for a proxy (XKS specification, "Performance and availability requirements")."""


def new_deadline() -> float:
    """When a call that begins now must have ended, in seconds of the monotonic clock."""
    return time.monotonic() + SECONDS


def left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError if there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
