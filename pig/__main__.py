"""`python -m pig VERB`, as torchrun starts it: the same as `pig VERB`."""

import sys

from pig.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
