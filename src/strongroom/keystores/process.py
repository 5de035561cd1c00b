"""What a process that holds keys does to itself first: its memory is written to no file and read by no neighbor."""

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def disable_core_dumps() -> None:
    """Make sure that no crash writes this process's memory to disk. Cannot be undone.

    On Linux the process is made undumpable too (prctl(2)): a core collector that ignores the limit gets nothing, and
    other processes of the same user can no longer attach to it or read its memory. Raises OSError if that is refused.
    The setting outlives fork but not exec: a spawned process calls this again.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
