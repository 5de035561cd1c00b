"""`python -m strongroom` and the `strongroom` command."""

import sys

from strongroom.cli import run
from strongroom.keystores.process import disable_core_dumps


def main() -> None:
    """Run the command line and exit with its code. Many commands hold keys."""
    disable_core_dumps()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
