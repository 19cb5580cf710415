"""Tells which processes of this machine have died: each keeps a file locked for as long as it lives (flock(2)).

The kernel lets go of the lock with the process and of its sockets too, however it ended; a process that is merely stopped keeps both. So who
finds the lock free knows that nothing of that process is under way any more. Only for processes that share this directory.
"""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

SUFFIX = ".alive"


class NoLifeSigns(Exception):
    """The directory cannot be used; the text says which and why."""


class LifeSigns:
    """`kind` separates what has nothing to do with each other. Call `begin` first."""

    def __init__(self, kind: str, directory: Path | None = None) -> None:
        self._kind = kind
        self._directory = directory or Path(tempfile.gettempdir()) / f"postlane-{os.getuid()}"
        self._own: tuple[Path, int] | None = None

    def begin(self, name: str) -> None:
        """Be seen to live under this name, which must be new. Raises NoLifeSigns."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._directory.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise NoLifeSigns(f"{self._directory} is not a directory of our own")
            self._own = self._path(name), _locked_file(self._directory, self._path(name))
        except OSError as error:
            raise NoLifeSigns(f"{self._directory}: {error.strerror}") from None

    def dead(self) -> list[str]:
        """The names of those who died and were not forgotten yet."""
        return [self._name(path) for path in self._others() if _is_free(path)]

    def forget(self, name: str) -> None:
        """Everybody who must know of this death does."""
        with suppress(OSError):
            self._path(name).unlink()

    def end(self) -> None:
        """An orderly end: there is nothing that others would have to clear up."""
        if self._own is not None:
            path, descriptor = self._own
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)
            self._own = None

    def _others(self) -> list[Path]:
        own = None if self._own is None else self._own[0]
        try:
            return [path for path in self._directory.glob(f"{self._kind}-*{SUFFIX}") if path != own]
        except OSError:
            return []

    def _path(self, name: str) -> Path:
        return self._directory / f"{self._kind}-{name}{SUFFIX}"

    def _name(self, path: Path) -> str:
        return path.name.removeprefix(f"{self._kind}-").removesuffix(SUFFIX)


def _locked_file(directory: Path, path: Path) -> int:
    """Make it; locked before anybody can find it by its name."""
    descriptor, made = tempfile.mkstemp(dir=directory)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        Path(made).rename(path)
    except OSError:
        os.close(descriptor)
        Path(made).unlink()
        raise
    return descriptor


def _is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # somebody else has just cleared it up
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
