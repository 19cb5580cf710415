"""Where a refresh token lives that the provider replaces with each use: one JSON file, written whole and synced, readable by its owner alone.

Several processes, and `postlane doctor`, share it: who renews holds the lock beside it from reading the token until its successor is
written, because a provider takes a second use of a replaced token for theft and ends the grant.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOCK_LOOK_SECONDS = 0.05
FILE_BYTES_MAX = 65_536  # a refresh token is a few KB


class RefreshTokenFileError(Exception):
    """The file cannot be used; the text says why and what to do, and holds no token."""


class RefreshTokenFileBusy(RefreshTokenFileError):
    """Another process renews the token now; the same call may be made again."""


class RefreshTokenFile:
    """The file at `path`, for the successors of the `configured` refresh token. All calls block."""

    def __init__(self, path: Path, configured: str) -> None:
        self._path = path
        self._configured = configured
        self._origin = hashlib.sha256(configured.encode()).hexdigest()

    def prepare(self) -> None:
        """Prove that the file can be read and replaced. Raises RefreshTokenFileError."""
        with self.locked(0.0, must=False):
            self.read()
            try:
                descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
                os.close(descriptor)
                Path(name).unlink()
            except OSError as error:
                raise self._fault("cannot be written", error) from None

    @contextlib.contextmanager
    def locked(self, wait_seconds: float, *, must: bool = True) -> Iterator[None]:
        """Hold the lock. Raises RefreshTokenFileBusy when another process keeps it longer (unless not `must`), RefreshTokenFileError."""
        try:
            descriptor = os.open(
                self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600
            )
        except OSError as error:
            raise self._fault("cannot be locked", error) from None
        try:
            until = time.monotonic() + wait_seconds
            while not _try_lock(descriptor):
                if time.monotonic() >= until:
                    if must:
                        raise RefreshTokenFileBusy(f"{self._path}: another process is renewing the token")
                    break
                time.sleep(LOCK_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)  # which gives the lock back

    def read(self) -> str:
        """The latest successor; the configured token where there is none, or where another one has been configured since."""
        try:
            with self._path.open("rb") as file:
                said = json.loads(file.read(FILE_BYTES_MAX))
            token: str = said["refresh_token"]
            follows = bool(token.encode()) and said["follows_sha256"] == self._origin
        except FileNotFoundError:
            return self._configured
        except OSError as error:
            raise self._fault("cannot be read", error) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RefreshTokenFileError(
                f"{self._path}: holds no refresh token of ours; remove it to start from refresh_token"
            ) from None
        return token if follows else self._configured

    def write(self, token: str) -> None:
        """Make the successor durable. Raises RefreshTokenFileError."""
        content = json.dumps({"follows_sha256": self._origin, "refresh_token": token}).encode()
        try:
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")  # 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            _sync_directory(self._path.parent)
        except OSError as error:
            raise self._fault("cannot be written", error) from None

    def _fault(self, what: str, error: OSError) -> RefreshTokenFileError:
        words = error.strerror or type(error).__name__
        return RefreshTokenFileError(
            f"{self._path}: {what}: {words}; check refresh_token_file and its folder"
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
