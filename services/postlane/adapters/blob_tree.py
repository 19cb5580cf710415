"""The directories `00` to `ff` of a blob directory: made before they are needed, and durable before anything in them counts as stored."""

import os
from collections.abc import Iterable
from pathlib import Path

from postlane.core.blob_names import FAN_OUT_DIGITS

DIRECTORIES = [f"{number:0{FAN_OUT_DIGITS}x}" for number in range(16**FAN_OUT_DIGITS)]


class BlobTree:
    """Thread-safe. Syncs the root for directories that it has not found durable itself: another process may have made one and not synced it yet."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)  # text: paths as objects cost as much as what is done with them
        self._durable: frozenset[str] = frozenset()

    def make_all(self) -> None:
        """Make every directory that is missing, so that no mail has to wait for one. Raises OSError."""
        for directory in DIRECTORIES:
            self._make(directory)
        sync_directory(self._root)
        self._durable = frozenset(DIRECTORIES)

    def move_in(self, temporary: str, place: str) -> None:
        """Rename a file to its place below the root, such as `ab/abcd...`. Raises OSError."""
        target = f"{self._root}/{place}"
        try:
            os.replace(temporary, target)  # noqa: PTH105 - see __init__
        except FileNotFoundError:  # whoever deletes old blobs may delete empty directories, too
            self._durable -= {_directory(place)}
            self._make(_directory(place))
            os.replace(temporary, target)  # noqa: PTH105 - see __init__

    def sync(self, places: Iterable[str]) -> None:
        """Make sure that these files are found after a power cut: each directory on the way is synced once. Raises OSError."""
        directories = {_directory(place) for place in places}
        for directory in sorted(directories):
            sync_directory(f"{self._root}/{directory}")
        if not directories <= self._durable:
            sync_directory(self._root)
            self._durable |= directories

    def _make(self, directory: str) -> None:
        Path(self._root, directory).mkdir(parents=True, exist_ok=True)


def sync_directory(directory: str) -> None:
    """Make the names in it durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _directory(place: str) -> str:
    """Of `ab/abcd...`."""
    return place[:FAN_OUT_DIGITS]
