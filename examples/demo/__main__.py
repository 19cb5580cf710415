"""`python -m demo`: play all scenes; exit status 0 only if every one of them was seen to hold."""

import argparse
import sys
from pathlib import Path

from demo.ending import Ending

FOLDER = Path(__file__).resolve().parents[2] / ".local" / "demo"


def main() -> int:
    """Play the demo as the command line says."""
    ending = Ending()
    try:
        ending.listen()
        from demo.play import play, stop  # noqa: PLC0415  # takes a second, and Ctrl-C is heard meanwhile

        parser = argparse.ArgumentParser(prog="demo", description=__doc__)
        parser.add_argument(
            "--keep", action="store_true", help="leave everything running until Ctrl-C, and say where"
        )
        parser.add_argument("--stop", action="store_true", help="stop the demo that runs, and play nothing")
        parser.add_argument(
            "--folder", type=Path, default=FOLDER, help="where servers keep their data and logs"
        )
        options = parser.parse_args()
        folder = options.folder.resolve()
        code = stop(folder) if options.stop else play(folder, ending, keep=options.keep)
    except BaseException:  # Ended, or what a library made of it
        if ending.exit_code is None:
            raise
        code = ending.exit_code
    return ending.exit_code or code


if __name__ == "__main__":
    sys.exit(main())
