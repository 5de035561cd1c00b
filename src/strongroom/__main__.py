"""`python -m strongroom` and the `strongroom` command."""

import gc
import sys

gc.set_threshold(100_000, 50, 50)  # what is imported stays: to look for garbage meanwhile takes a fifth of the start

from strongroom.cli import run  # noqa: E402
from strongroom.keystores.process import disable_core_dumps  # noqa: E402


def main() -> None:
    """Run the command line and exit with its code. Many commands hold keys."""
    disable_core_dumps()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
