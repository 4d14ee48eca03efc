"""`python -m smsgwd` is the command `smsgwd`."""

import sys

from smsgwd.cli import main

if __name__ == "__main__":
    sys.exit(main())
