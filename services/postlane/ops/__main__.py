"""`python -m postlane.ops`: the command line, where the script `postlane` is not on the path."""

import sys

from postlane.ops.cli import main

if __name__ == "__main__":
    sys.exit(main())
