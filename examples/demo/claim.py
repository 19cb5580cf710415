"""One demo at a time works in a folder, and another process can find it there and end it."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = "demo.lock"  # holds the process id of who locks it; the lock goes with the process
HOLDER_POLL_SECONDS = 0.02


class Occupied(Exception):
    """Another demo works in the folder; says how to end it."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Raises Occupied."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Occupied(
                f"another demo runs in {folder}, process {_holder(folder)}; `make down` stops it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def end_holder(folder: Path) -> int | None:
    """End the demo that runs in the folder, wait until it has cleaned up, and return its process id."""
    if not (folder / LOCK_FILE).exists():
        return None
    with (folder / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(folder)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGTERM)
            fcntl.flock(file, fcntl.LOCK_EX)
            return holder
        return None


def _holder(folder: Path) -> int:
    while not (text := (folder / LOCK_FILE).read_text()):  # it writes its number just after it has the lock
        time.sleep(HOLDER_POLL_SECONDS)
    return int(text)
