"""Threads that yield to all others, for what takes long and can wait."""

import os
import threading

_NICENESS = 10


def be_nice() -> None:
    """Give this thread the time that others leave (Linux: a niceness is a thread's own), if we may say so."""
    thread = threading.get_native_id()
    try:
        inherited = os.getpriority(os.PRIO_PROCESS, thread)  # to lower it would need a privilege
        os.setpriority(os.PRIO_PROCESS, thread, max(inherited, _NICENESS))
    except OSError:
        return  # it is a courtesy, which a sandbox may forbid
