"""The directories `ab/cd` of a blob directory: made when first needed, and durable before anything in them counts as stored."""

import os
from collections.abc import Iterable
from pathlib import Path

FAN_OUT_DIGITS = 4
DIRECTORIES = 16**FAN_OUT_DIGITS


class BlobTree:
    """Thread-safe. Remembers which directories it has seen durable itself: another process may have made one and not synced it yet."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)  # text: paths as objects cost as much as what is done with them
        self._durable = bytearray(DIRECTORIES)  # by the first four digits of the hash

    def move_in(self, temporary: str, place: str) -> None:
        """Rename a file to its place below the root, such as `ab/cd/abcd...`. Raises OSError."""
        target = f"{self._root}/{place}"
        if not self._durable[_number(place)]:
            self._make(place)
        try:
            os.replace(temporary, target)  # noqa: PTH105 - see __init__
        except FileNotFoundError:  # whoever deletes old blobs may delete empty directories, too
            self._durable[_number(place)] = 0
            self._make(place)
            os.replace(temporary, target)  # noqa: PTH105 - see __init__

    def sync(self, places: Iterable[str]) -> None:
        """Make sure that these files are found after a power cut: each directory on the way is synced once. Raises OSError."""
        wanted = set(places)
        new = {place for place in wanted if not self._durable[_number(place)]}
        directories = {_directory(place) for place in wanted}
        directories.update(above for place in new for above in ("", place[:2]))
        for directory in sorted(directories):
            _sync_directory(f"{self._root}/{directory}")
        for place in new:
            self._durable[_number(place)] = 1

    def _make(self, place: str) -> None:
        Path(self._root, _directory(place)).mkdir(parents=True, exist_ok=True)


def _directory(place: str) -> str:
    return place[:5]


def _number(place: str) -> int:
    """Of `ab/cd/abcd...`."""
    return int(place[:2] + place[3:5], 16)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
